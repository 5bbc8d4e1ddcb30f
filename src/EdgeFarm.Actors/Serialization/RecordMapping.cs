using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;

namespace EdgeFarm.Actors.Serialization;

/// <summary>Core's values as records.proto and back.</summary>
internal static class RecordMapping
{
    private static readonly ImmutableSortedSet<string> NoTexts = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    /// <summary>The empty map, which most messages hold several of.</summary>
    internal static class NoEntries<T>
    {
        public static readonly ImmutableSortedDictionary<string, T> Value = ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);
    }

    public static ByteString Wire(this Digest digest) =>
        digest.IsEmpty ? ByteString.Empty : ByteString.CopyFrom(Convert.FromHexString(digest.Hex));

    public static Digest ToDigest(this ByteString bytes) => bytes.IsEmpty ? default : Digest.FromHash(bytes.Span);

    public static Timestamp Wire(this DateTimeOffset time) => Timestamp.FromDateTimeOffset(time);

    public static Timestamp? Wire(this DateTimeOffset? time) => time is { } value ? Timestamp.FromDateTimeOffset(value) : null;

    public static DateTimeOffset ToTime(this Timestamp? time) => time?.ToDateTimeOffset() ?? default;

    public static void Put<TIn, TOut>(this MapField<string, TOut> map, IEnumerable<KeyValuePair<string, TIn>> values, Func<TIn, TOut> convert)
    {
        foreach (var (key, value) in values)
        {
            map.Add(key, convert(value));
        }
    }

    public static void Put(this MapField<string, string> map, IEnumerable<KeyValuePair<string, string>> values) => map.Put(values, v => v);

    public static ImmutableSortedDictionary<string, TOut> Sorted<TIn, TOut>(this MapField<string, TIn> map, Func<TIn, TOut> convert) =>
        map.Count switch
        {
            0 => NoEntries<TOut>.Value,
            1 when map.First() is var (key, value) => NoEntries<TOut>.Value.Add(key, convert(value)),
            _ => map.ToImmutableSortedDictionary(p => p.Key, p => convert(p.Value), StringComparer.Ordinal),
        };

    public static ImmutableSortedDictionary<string, string> Sorted(this MapField<string, string> map) => map.Sorted(v => v);

    public static ImmutableSortedSet<string> SortedSet(this RepeatedField<string> field) =>
        field.Count == 0 ? NoTexts : field.ToImmutableSortedSet(StringComparer.Ordinal);

    public static ImmutableArray<TOut> Array<TIn, TOut>(this RepeatedField<TIn> field, Func<TIn, TOut> convert)
    {
        if (field.Count == 0)
        {
            return [];
        }

        var values = new TOut[field.Count];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = convert(field[i]);
        }

        return ImmutableCollectionsMarshal.AsImmutableArray(values);
    }

    public static void Put<TIn, TOut>(this RepeatedField<TOut> field, ImmutableArray<TIn> values, Func<TIn, TOut> convert)
    {
        if (!values.IsDefault)
        {
            field.Capacity = values.Length;
            foreach (var value in values)
            {
                field.Add(convert(value));
            }
        }
    }

    public static Wire.Artifact Wire(this ArtifactRef a) => new()
    {
        Digest = a.Digest.Wire(),
        ArtifactKind = (int)a.Kind,
        Size = a.Size,
        Format = a.Format,
        FileName = a.FileName,
    };

    public static ArtifactRef ToCore(this Wire.Artifact a) => new(a.Digest.ToDigest(), (ArtifactKind)a.ArtifactKind, a.Size, a.Format, a.FileName);

    public static Wire.Engine Wire(this EngineIdentity e) => new() { Id = e.Id, Release = e.Release, SourceCommit = e.SourceCommit };

    public static EngineIdentity ToCore(this Wire.Engine e) => new(e.Id, e.Release, e.SourceCommit);

    public static Wire.Property Wire(this PropertyValue v)
    {
        if (v.Text is { } text)
        {
            return new Wire.Property { Text = text };
        }

        return v.Number is { } number
            ? new Wire.Property { Number = number }
            : new Wire.Property { Set = new Wire.PropertySet { Items = { v.Items! } } };
    }

    public static PropertyValue ToCore(this Wire.Property p) => p.ValueCase switch
    {
        Serialization.Wire.Property.ValueOneofCase.Number => PropertyValue.Of(p.Number),
        Serialization.Wire.Property.ValueOneofCase.Set => PropertyValue.Of(p.Set.Items),
        _ => PropertyValue.Of(p.Text),
    };

    public static Wire.Failure Wire(this Failure f)
    {
        var wire = new Wire.Failure { FailureType = (int)f.Type, Message = f.Message, LogTail = f.LogTail };
        if (f.ExitCode is { } code)
        {
            wire.ExitCode = code;
        }

        if (f.Signal is { } signal)
        {
            wire.Signal = signal;
        }

        return wire;
    }

    public static Failure ToCore(this Wire.Failure f) => new(
        (FailureType)f.FailureType, f.Message, f.LogTail, f.HasExitCode ? f.ExitCode : null, f.HasSignal ? f.Signal : null);

    public static Wire.Job Wire(this JobSpec j)
    {
        var wire = new Wire.Job
        {
            Id = j.Id,
            JobKind = (int)j.Kind,
            Operation = j.Operation,
            Engine = j.Engine.Wire(),
            Requirements = j.Requirements.Wire(),
            Model = j.Model,
            TimeoutSeconds = j.TimeoutSeconds,
        };
        wire.Parameters.Put(j.Parameters);
        wire.Inputs.Put(j.Inputs, Wire);
        wire.Outputs.Put(j.Outputs, o => o);
        wire.Entries.Put(j.Entries, e => e);
        if (j.Form is { } form)
        {
            wire.Form = form;
        }

        if (j.Target is { } target)
        {
            wire.Target = target;
        }

        if (j.DeviceGroup is { } group)
        {
            wire.DeviceGroup = group;
        }

        return wire;
    }

    public static JobSpec ToCore(this Wire.Job j) => new()
    {
        Id = j.Id,
        Kind = (JobKind)j.JobKind,
        Operation = j.Operation,
        Engine = j.Engine.ToCore(),
        Parameters = j.Parameters.Sorted(),
        Inputs = j.Inputs.Array(ToCore),
        Outputs = [.. j.Outputs],
        Requirements = j.Requirements.ToCore(),
        Model = j.Model,
        Entries = [.. j.Entries],
        Form = j.HasForm ? j.Form : null,
        Target = j.HasTarget ? j.Target : null,
        DeviceGroup = j.HasDeviceGroup ? j.DeviceGroup : null,
        TimeoutSeconds = j.TimeoutSeconds,
    };

    public static Wire.ReadyJob Wire(this ReadyJob j)
    {
        var wire = new Wire.ReadyJob { Job = j.Spec.Wire(), Action = j.Action.Wire() };
        wire.Inputs.Put(j.Inputs, Wire);
        return wire;
    }

    public static ReadyJob ToCore(this Wire.ReadyJob j) => new(j.Job.ToCore(), j.Inputs.Sorted(ToCore), j.Action.ToDigest());

    public static Wire.PlannedEntry Wire(this PlannedEntry e)
    {
        var wire = new Wire.PlannedEntry
        {
            Id = e.Id,
            Model = e.Model,
            Toolchain = e.Toolchain,
            Runtime = e.Runtime,
            Form = e.Form,
            PrecisionClass = e.PrecisionClass,
            Target = e.Target,
            Baseline = e.IsBaseline,
            BaselineId = e.BaselineId,
            ArtifactJob = e.ArtifactJob,
            BenchmarkJob = e.BenchmarkJob,
            PredictedSize = e.PredictedSize,
        };
        wire.Recipe.Put(e.Recipe, Wire);
        wire.EvaluationJobs.Put(e.EvaluationJobs, j => j);
        return wire;
    }

    public static PlannedEntry ToCore(this Wire.PlannedEntry e) => new()
    {
        Id = e.Id,
        Model = e.Model,
        Toolchain = e.Toolchain,
        Runtime = e.Runtime,
        Form = e.Form,
        Recipe = e.Recipe.Array(ToCore),
        PrecisionClass = e.PrecisionClass,
        Target = e.Target,
        IsBaseline = e.Baseline,
        BaselineId = e.BaselineId,
        ArtifactJob = e.ArtifactJob,
        BenchmarkJob = e.BenchmarkJob,
        EvaluationJobs = [.. e.EvaluationJobs],
        PredictedSize = e.PredictedSize,
    };

    public static Wire.PassStep Wire(this PassStep s)
    {
        var wire = new Wire.PassStep { Type = s.Type };
        wire.Parameters.Put(s.Parameters);
        return wire;
    }

    public static PassStep ToCore(this Wire.PassStep s) => new(s.Type, s.Parameters.Sorted());

    public static Wire.Outcome Wire(this JobOutcome o) => new()
    {
        Result = o.Result?.Wire(),
        Failure = o.Failure?.Wire(),
        Log = o.Log.Wire(),
        StartedAt = o.StartedAt.Wire(),
        FinishedAt = o.FinishedAt.Wire(),
    };

    public static JobOutcome ToCore(this Wire.Outcome o) => new(
        o.Result?.ToCore(), o.Failure?.ToCore(), o.Log.ToDigest(), o.StartedAt.ToTime(), o.FinishedAt.ToTime());

    public static Wire.Result Wire(this JobResult r)
    {
        var wire = new Wire.Result
        {
            Engine = r.Engine?.Wire(),
            LibraryVariant = r.LibraryVariant,
            LibraryDigest = r.LibraryDigest,
            Report = r.Report,
            Log = r.Log.Wire(),
        };
        wire.Outputs.Put(r.Outputs, Wire);
        wire.Measurements.Put(r.Measurements, Wire);
        wire.Settings.Put(r.Settings);
        wire.Environment.Put(r.Environment, Wire);
        wire.Flags.Add(r.Flags);
        wire.Warnings.Put(r.Warnings, w => w);
        return wire;
    }

    public static JobResult ToCore(this Wire.Result r) => new()
    {
        Outputs = r.Outputs.Sorted(ToCore),
        Measurements = r.Measurements.Array(ToCore),
        Settings = r.Settings.Sorted(),
        Engine = r.Engine?.ToCore(),
        LibraryVariant = r.LibraryVariant,
        LibraryDigest = r.LibraryDigest,
        Environment = r.Environment.Sorted(ToCore),
        Flags = r.Flags.SortedSet(),
        Warnings = [.. r.Warnings],
        Report = r.Report,
        Log = r.Log.ToDigest(),
    };

    public static Wire.DeviceAddress Wire(this DeviceAddress d) => new() { HostId = d.HostId, DeviceId = d.DeviceId };

    public static DeviceAddress ToCore(this Wire.DeviceAddress d) => new(d.HostId, d.DeviceId);

    public static Wire.AttemptKey Wire(this AttemptKey k) => new() { JobId = k.JobId, Attempt = k.Attempt, Fence = k.Fence };

    public static AttemptKey ToCore(this Wire.AttemptKey k) => new(k.JobId, k.Attempt, k.Fence);

    public static Wire.JobReport Wire(this JobReport r) => new()
    {
        JobId = r.JobId,
        Attempt = r.Attempt,
        Fence = r.Fence,
        Outcome = r.Outcome.Wire(),
        Worker = r.Worker,
        Device = r.Device?.Wire(),
        DeviceClass = r.DeviceClass,
        Cached = r.Cached,
        Action = r.Action.Wire(),
        DeviceMemory = r.DeviceMemory,
    };

    public static JobReport ToCore(this Wire.JobReport r) => new(
        r.JobId, r.Attempt, r.Fence, r.Outcome.ToCore(), r.Worker, r.Device?.ToCore(), r.DeviceClass, r.Cached, r.Action.ToDigest())
    {
        DeviceMemory = r.DeviceMemory,
    };

    private static Wire.JobInput Wire(JobInput i)
    {
        var wire = new Wire.JobInput { Name = i.Name, Artifact = i.Source.Artifact?.Wire() };
        if (i.Source.Job is { } job)
        {
            wire.Job = job;
        }

        if (i.Source.Output is { } output)
        {
            wire.Output = output;
        }

        return wire;
    }

    private static JobInput ToCore(Wire.JobInput i) => new(
        i.Name, new InputSource(i.Artifact?.ToCore(), i.HasJob ? i.Job : null, i.HasOutput ? i.Output : null));

    public static Wire.Requirements Wire(this JobRequirements r)
    {
        var wire = new Wire.Requirements { MemoryBytes = r.MemoryBytes };
        wire.Properties.Put(r.Properties, p => new Wire.Requirement { Property = p.Property, Value = p.Value });
        if (r.Toolchain is { } toolchain)
        {
            wire.Toolchain = toolchain;
        }

        if (r.Pass is { } pass)
        {
            wire.Pass = pass;
        }

        if (r.Runtime is { } runtime)
        {
            wire.Runtime = runtime;
        }

        if (r.Format is { } format)
        {
            wire.Format = format;
        }

        return wire;
    }

    public static JobRequirements ToCore(this Wire.Requirements r) => new(
        r.HasToolchain ? r.Toolchain : null,
        r.HasPass ? r.Pass : null,
        r.HasRuntime ? r.Runtime : null,
        r.HasFormat ? r.Format : null,
        r.Properties.Array(p => new Requirement(p.Property, p.Value)),
        r.MemoryBytes);

    private static Wire.Measurement Wire(Measurement m)
    {
        var wire = new Wire.Measurement { Metric = m.Metric, By = m.By };
        wire.Samples.AddRange(m.Samples);
        if (m.StandardError is { } error)
        {
            wire.StandardError = error;
        }

        return wire;
    }

    private static Measurement ToCore(Wire.Measurement m) => new(m.Metric, [.. m.Samples], m.By, m.HasStandardError ? m.StandardError : null);
}
