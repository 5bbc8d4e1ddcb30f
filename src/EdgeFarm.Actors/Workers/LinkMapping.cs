using System.Collections.Immutable;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Link = EdgeFarm.Contracts.Link.V1;

namespace EdgeFarm.Actors.Workers;

/// <summary>
/// Core's values as worker_link.proto and back. Alike to the journal's mapping, and apart from it on purpose: the link serves
/// workers of other releases, the journal serves replay. Reading is of untrusted bytes: what makes no sense is a
/// <see cref="LinkProtocolException"/>.
/// </summary>
internal static class LinkMapping
{
    public static Link.Hello Hello(WorkerCapability c, string session, string release, ImmutableArray<HeldLease> held)
    {
        var hello = new Link.Hello
        {
            ProtocolVersion = LinkProtocol.Version,
            Release = release,
            Session = session,
            HostId = c.HostId,
            Worker = c.Worker,
            Slots = (uint)c.Slots,
        };
        if (c.DrainTime is { } drain)
        {
            hello.DrainTime = Duration.FromTimeSpan(drain);
        }

        Put(hello.Properties, c.Properties, ToLink);
        Put(hello.Labels, c.Labels, v => v);
        hello.Devices.AddRange(c.Devices.Select(ToLink));
        hello.Runtimes.AddRange(c.Runtimes.Select(ToLink));
        hello.Toolchains.AddRange(c.Toolchains.Select(t => new Link.Toolchain { Engine = ToLink(t.Identity), Passes = { t.Passes } }));
        hello.Held.AddRange(held.Select(h => new Link.HeldLease
        {
            Key = ToLink(h.Key),
            Sweep = h.Sweep,
            DeviceId = h.DeviceId,
            Exclusive = h.Exclusive,
            Ended = h.Ended,
        }));
        return hello;
    }

    public static WorkerCapability Capability(Link.Hello h)
    {
        Require(h.Worker.Length is > 0 and <= 200, "worker: a name of 1 to 200 characters");
        Require(h.HostId.Length is > 0 and <= 200, "host_id: 1 to 200 characters");
        Require(h.Session.Length is > 0 and <= 200, "session: 1 to 200 characters");
        Require(h.Devices.Count > 0, "devices: at least the CPU");
        Require(h.Slots is > 0 and <= 4096, "slots: 1 to 4096");
        return new WorkerCapability(
            h.HostId,
            h.Worker,
            Sorted(h.Properties, ToCore),
            Sorted(h.Labels, v => v),
            [.. h.Devices.Select(d => new Device(d.Id, d.Kind, Sorted(d.Properties, ToCore), d.MemoryBytes, d.Fingerprint))],
            [.. h.Runtimes.Select(r => new RuntimeInfo(ToCore(r.Engine), r.LibraryVariant, r.LibraryDigest, [.. r.Formats], [.. r.Devices]))],
            [.. h.Toolchains.Select(t => new ToolchainInfo(ToCore(t.Engine), [.. t.Passes]))],
            (int)h.Slots)
        {
            DrainTime = h.DrainTime is { } drain ? ToSpan(drain) : null,
        };
    }

    private static TimeSpan ToSpan(Duration duration)
    {
        Require(duration.Seconds is >= 0 and <= 10L * 365 * 24 * 3600 && duration.Nanos is >= 0 and < 1_000_000_000, "drain_time: 0 s to 10 years");
        return duration.ToTimeSpan();
    }

    public static ImmutableArray<HeldLease> Held(Link.Hello h) =>
        [.. h.Held.Select(l => new HeldLease(ToCore(l.Key), l.Sweep, l.DeviceId, l.Exclusive) { Ended = l.Ended })];

    public static Link.AttemptKey ToLink(AttemptKey k) => new() { JobId = k.JobId, Attempt = (uint)k.Attempt, Fence = k.Fence };

    public static AttemptKey ToCore(Link.AttemptKey? k)
    {
        Require(k is not null && k.JobId.Length > 0 && k.Attempt is > 0 and <= int.MaxValue, "key: job_id and attempt");
        return new AttemptKey(k!.JobId, (int)k.Attempt, k.Fence);
    }

    public static Link.LeaseOffer ToLink(Lease lease, long sequence)
    {
        var spec = lease.Job.Spec;
        var job = new Link.Job
        {
            Id = spec.Id,
            Kind = (Link.JobKind)spec.Kind,
            Operation = spec.Operation,
            Engine = ToLink(spec.Engine),
            Model = spec.Model,
            TimeoutSeconds = (uint)spec.TimeoutSeconds,
            Action = ToLink(lease.Job.Action),
            Outputs = { spec.Outputs },
        };
        Put(job.Parameters, spec.Parameters, v => v);
        Put(job.Inputs, lease.Job.Inputs, ToLink);
        if (spec.Form is { } form)
        {
            job.Form = form;
        }

        if (spec.Target is { } target)
        {
            job.Target = target;
        }

        if (spec.DeviceGroup is { } group)
        {
            job.DeviceGroup = group;
        }

        return new Link.LeaseOffer
        {
            Sequence = sequence,
            Job = job,
            Sweep = lease.Sweep,
            Attempt = (uint)lease.Attempt,
            Fence = lease.Fence,
            DeviceId = lease.DeviceId,
            TransferTimeout = Duration.FromTimeSpan(lease.TransferTimeout),
            ExecutionTimeout = Duration.FromTimeSpan(lease.ExecutionTimeout),
            Traceparent = lease.TraceParent,
        };
    }

    public static Lease ToCore(Link.LeaseOffer offer)
    {
        var job = offer.Job;
        Require(job is not null && job.Id.Length > 0, "job: an id");
        Require(offer.Attempt is > 0 and <= int.MaxValue, "attempt: from 1");
        var inputs = Sorted(job!.Inputs, ToCore);
        var spec = new JobSpec
        {
            Id = job.Id,
            Kind = (JobKind)job.Kind,
            Operation = job.Operation,
            Engine = ToCore(job.Engine),
            Parameters = Sorted(job.Parameters, v => v),
            Inputs = [.. inputs.Select(i => new JobInput(i.Key, InputSource.Of(i.Value)))],
            Outputs = [.. job.Outputs],
            Requirements = JobRequirements.None,
            Model = job.Model,
            Form = job.HasForm ? job.Form : null,
            Target = job.HasTarget ? job.Target : null,
            DeviceGroup = job.HasDeviceGroup ? job.DeviceGroup : null,
            TimeoutSeconds = (int)Math.Min(job.TimeoutSeconds, int.MaxValue),
        };
        return new Lease(
            new ReadyJob(spec, inputs, ToDigest(job.Action)),
            offer.Sweep,
            (int)offer.Attempt,
            offer.Fence,
            offer.DeviceId,
            offer.TransferTimeout?.ToTimeSpan() ?? TimeSpan.Zero,
            offer.ExecutionTimeout?.ToTimeSpan() ?? TimeSpan.Zero)
        {
            TraceParent = offer.Traceparent,
        };
    }

    public static Link.Outcome ToLink(JobOutcome o) => new()
    {
        Result = o.Result is null ? null : ToLink(o.Result),
        Failure = o.Failure is null ? null : ToLink(o.Failure),
        Log = ToLink(o.Log),
        StartedAt = Timestamp.FromDateTimeOffset(o.StartedAt),
        FinishedAt = Timestamp.FromDateTimeOffset(o.FinishedAt),
    };

    public static JobOutcome ToCore(Link.Outcome? o)
    {
        Require(o is not null && (o.Result is null) != (o.Failure is null), "outcome: either a result or a failure");
        return new JobOutcome(
            o!.Result is null ? null : ToCore(o.Result),
            o.Failure is null ? null : ToCore(o.Failure),
            ToDigest(o.Log),
            o.StartedAt?.ToDateTimeOffset() ?? default,
            o.FinishedAt?.ToDateTimeOffset() ?? default);
    }

    public static Link.Result ToLink(PendingResult r) => new()
    {
        Key = ToLink(r.Lease.Key),
        Sweep = r.Lease.Sweep,
        DeviceId = r.Lease.DeviceId,
        Action = ToLink(r.Lease.Job.Action),
        Outcome = ToLink(r.Outcome),
    };

    public static ByteString ToLink(Digest digest) =>
        digest.IsEmpty ? ByteString.Empty : ByteString.CopyFrom(Convert.FromHexString(digest.Hex));

    public static Digest ToDigest(ByteString bytes)
    {
        Require(bytes.Length is 0 or 32, "a digest: 32 bytes");
        return bytes.IsEmpty ? default : Digest.FromHash(bytes.Span);
    }

    private static Link.JobResult ToLink(JobResult r)
    {
        var link = new Link.JobResult
        {
            Engine = r.Engine is null ? null : ToLink(r.Engine),
            LibraryVariant = r.LibraryVariant,
            LibraryDigest = r.LibraryDigest,
            Report = r.Report,
            Log = ToLink(r.Log),
            Flags = { r.Flags },
            Warnings = { r.Warnings },
        };
        Put(link.Outputs, r.Outputs, ToLink);
        Put(link.Settings, r.Settings, v => v);
        Put(link.Environment, r.Environment, ToLink);
        foreach (var m in r.Measurements)
        {
            var measurement = new Link.Measurement { Metric = m.Metric, By = m.By, Samples = { m.Samples } };
            if (m.StandardError is { } error)
            {
                measurement.StandardError = error;
            }

            link.Measurements.Add(measurement);
        }

        return link;
    }

    private static JobResult ToCore(Link.JobResult r)
    {
        foreach (var m in r.Measurements)
        {
            Require(m.Samples.Count > 0 && m.Samples.All(double.IsFinite), $"measurement {m.Metric}: finite samples");
        }

        return new JobResult
        {
            Outputs = Sorted(r.Outputs, ToCore),
            Measurements = [.. r.Measurements.Select(m => new Measurement(m.Metric, [.. m.Samples], m.By, m.HasStandardError ? m.StandardError : null))],
            Settings = Sorted(r.Settings, v => v),
            Engine = r.Engine is null ? null : ToCore(r.Engine),
            LibraryVariant = r.LibraryVariant,
            LibraryDigest = r.LibraryDigest,
            Environment = Sorted(r.Environment, ToCore),
            Flags = r.Flags.SortedSet(),
            Warnings = [.. r.Warnings],
            Report = r.Report,
            Log = ToDigest(r.Log),
        };
    }

    private static Link.Failure ToLink(Failure f)
    {
        var link = new Link.Failure { Type = (Link.FailureType)f.Type, Message = f.Message, LogTail = f.LogTail };
        if (f.ExitCode is { } code)
        {
            link.ExitCode = code;
        }

        if (f.Signal is { } signal)
        {
            link.Signal = signal;
        }

        return link;
    }

    private static Failure ToCore(Link.Failure f) => new(
        (FailureType)f.Type,
        f.Message,
        f.LogTail.Length > Failure.MaxLogTail ? f.LogTail[^Failure.MaxLogTail..] : f.LogTail,
        f.HasExitCode ? f.ExitCode : null,
        f.HasSignal ? f.Signal : null);

    private static Link.Artifact ToLink(ArtifactRef a) => new()
    {
        Digest = ToLink(a.Digest),
        Kind = (Link.ArtifactKind)a.Kind,
        Size = a.Size,
        Format = a.Format,
        FileName = a.FileName,
    };

    private static ArtifactRef ToCore(Link.Artifact a)
    {
        Require(a.Digest.Length == 32 && a.Size >= 0, "artifact: a digest and a size");
        return new ArtifactRef(ToDigest(a.Digest), (ArtifactKind)a.Kind, a.Size, a.Format, a.FileName);
    }

    private static Link.Engine ToLink(EngineIdentity e) => new() { Id = e.Id, Release = e.Release, SourceCommit = e.SourceCommit };

    private static EngineIdentity ToCore(Link.Engine? e)
    {
        Require(e is not null, "engine: missing");
        return new EngineIdentity(e!.Id, e.Release, e.SourceCommit);
    }

    private static Link.Property ToLink(PropertyValue v)
    {
        if (v.Text is { } text)
        {
            return new Link.Property { Text = text };
        }

        return v.Number is { } number
            ? new Link.Property { Number = number }
            : new Link.Property { Set = new Link.PropertySet { Items = { v.Items! } } };
    }

    private static PropertyValue ToCore(Link.Property p) => p.ValueCase switch
    {
        Link.Property.ValueOneofCase.Number => PropertyValue.Of(p.Number),
        Link.Property.ValueOneofCase.Set => PropertyValue.Of(p.Set.Items),
        _ => PropertyValue.Of(p.Text),
    };

    private static Link.Device ToLink(Device d)
    {
        var link = new Link.Device { Id = d.Id, Kind = d.Kind, MemoryBytes = d.MemoryBytes, Fingerprint = d.Fingerprint };
        Put(link.Properties, d.Properties, ToLink);
        return link;
    }

    private static Link.Runtime ToLink(RuntimeInfo r) => new()
    {
        Engine = ToLink(r.Identity),
        LibraryVariant = r.LibraryVariant,
        LibraryDigest = r.LibraryDigest,
        Formats = { r.Formats },
        Devices = { r.Devices },
    };

    private static void Put<TIn, TOut>(MapField<string, TOut> map, IEnumerable<KeyValuePair<string, TIn>> values, Func<TIn, TOut> convert)
    {
        foreach (var (key, value) in values)
        {
            map.Add(key, convert(value));
        }
    }

    private static ImmutableSortedDictionary<string, TOut> Sorted<TIn, TOut>(MapField<string, TIn> map, Func<TIn, TOut> convert) =>
        map.Sorted(convert);

    private static void Require(bool condition, string what)
    {
        if (!condition)
        {
            throw new LinkProtocolException(what);
        }
    }
}
