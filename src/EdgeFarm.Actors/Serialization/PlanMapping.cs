using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using Google.Protobuf;
using Google.Protobuf.Collections;

namespace EdgeFarm.Actors.Serialization;

/// <summary>
/// Parts of plans as records.proto and back: what jobs have in common is written once, and once read it is one object in memory for all
/// jobs of the part.
/// </summary>
internal static class PlanMapping
{
    /// <summary>A plan of more jobs goes from coordinator to coordinator in parts: as single jobs a million would not fit into one message.</summary>
    public const int LargePlan = 10_000;

    private const int ValuesPerInput = 4;

    /// <summary>Jobs of one sweep, and entries, as a part.</summary>
    public static Wire.PlanPart Part(ImmutableArray<JobSpec> jobs, ImmutableArray<PlannedEntry> entries)
    {
        var part = new Wire.PlanPart();
        var writer = new PartWriter(part);
        part.Jobs.Put(jobs, writer.Write);
        part.Entries.Put(entries, RecordMapping.Wire);
        return part;
    }

    /// <summary>The jobs of a part. Throws <see cref="InvalidDataException"/> when one names what the part does not hold.</summary>
    public static ImmutableArray<JobSpec> Jobs(Wire.PlanPart part, string sweep)
    {
        var reader = new PartReader(part, sweep);
        return part.Jobs.Array(reader.Read);
    }

    /// <summary>A large plan's jobs in parts of <see cref="SweepState.MaxBatch"/>, its entries in the last.</summary>
    public static IEnumerable<Wire.PlanPart> Parts(SweepPlan plan)
    {
        const int Size = SweepState.MaxBatch;
        for (var start = 0; start < plan.Jobs.Length; start += Size)
        {
            var size = Math.Min(Size, plan.Jobs.Length - start);
            yield return Part(plan.Jobs.Slice(start, size), start + size == plan.Jobs.Length ? plan.Entries : []);
        }
    }

    private static int NumberOf(string jobId) =>
        int.Parse(jobId.AsSpan(jobId.LastIndexOf('/') + 1), NumberStyles.None, CultureInfo.InvariantCulture);

    /// <summary>Values that are written once each; a value's place counts from 1.</summary>
    private sealed class Table<T>(RepeatedField<T> field)
        where T : IMessage<T>
    {
        private readonly Dictionary<ByteString, int> _places = [];

        public int Place(T value)
        {
            var key = value.ToByteString();
            if (!_places.TryGetValue(key, out var place))
            {
                field.Add(value);
                _places.Add(key, place = field.Count);
            }

            return place;
        }
    }

    private sealed class PartWriter(Wire.PlanPart part)
    {
        private readonly Dictionary<string, int> _texts = new(StringComparer.Ordinal);
        private readonly Dictionary<ArtifactRef, int> _artifacts = [];
        private readonly Table<Wire.JobShape> _shapes = new(part.Shapes);
        private readonly Table<Wire.PlannedParameters> _parameters = new(part.Parameters);
        private readonly Table<Wire.PlannedInputs> _inputs = new(part.Inputs);

        // Jobs that are alike mostly stand together and share their parts: then nothing is built and compared.
        private (JobSpec Spec, int Shape, int Parameters, int Inputs)? _last;

        public Wire.PlannedJob Write(JobSpec spec)
        {
            var last = _last?.Spec;
            var isSameShape = last is not null
                && (last.Kind, last.Operation, last.TimeoutSeconds) == (spec.Kind, spec.Operation, spec.TimeoutSeconds)
                && ReferenceEquals(last.Engine, spec.Engine)
                && ReferenceEquals(last.Requirements, spec.Requirements)
                && last.Outputs == spec.Outputs;
            var shape = isSameShape ? _last!.Value.Shape : _shapes.Place(Shape(spec));
            var parameters = last is not null && ReferenceEquals(last.Parameters, spec.Parameters) ? _last!.Value.Parameters : Parameters(spec.Parameters);
            var inputs = last is not null && last.Inputs == spec.Inputs ? _last!.Value.Inputs : Inputs(spec.Inputs);
            _last = (spec, shape, parameters, inputs);
            var wire = new Wire.PlannedJob
            {
                Number = NumberOf(spec.Id),
                Shape = shape,
                Parameters = parameters,
                Inputs = inputs,
                Model = Text(spec.Model),
                Form = Text(spec.Form),
                Target = Text(spec.Target),
                DeviceGroup = Text(spec.DeviceGroup),
            };
            foreach (var entry in spec.Entries)
            {
                wire.Entries.Add(Text(entry));
            }

            return wire;
        }

        private static Wire.JobShape Shape(JobSpec spec)
        {
            var wire = new Wire.JobShape
            {
                JobKind = (int)spec.Kind,
                Operation = spec.Operation,
                Engine = spec.Engine.Wire(),
                Requirements = spec.Requirements.Wire(),
                TimeoutSeconds = spec.TimeoutSeconds,
            };
            wire.Outputs.Add(spec.Outputs);
            return wire;
        }

        private int Parameters(ImmutableSortedDictionary<string, string> parameters)
        {
            if (parameters.IsEmpty)
            {
                return 0;
            }

            var wire = new Wire.PlannedParameters();
            foreach (var (name, value) in parameters)
            {
                wire.Texts.Add(Text(name));
                wire.Texts.Add(Text(value));
            }

            return _parameters.Place(wire);
        }

        private int Inputs(ImmutableArray<JobInput> inputs)
        {
            if (inputs.IsEmpty)
            {
                return 0;
            }

            var wire = new Wire.PlannedInputs();
            foreach (var input in inputs)
            {
                wire.Values.Add(Text(input.Name));
                wire.Values.Add(Text(input.Source.Output));
                wire.Values.Add(input.Source.Artifact is { } artifact ? Artifact(artifact) : 0);
                wire.Values.Add(input.Source.Job is { } job ? NumberOf(job) + 1 : 0);
            }

            return _inputs.Place(wire);
        }

        private int Artifact(ArtifactRef artifact)
        {
            if (!_artifacts.TryGetValue(artifact, out var place))
            {
                part.Artifacts.Add(artifact.Wire());
                _artifacts.Add(artifact, place = part.Artifacts.Count);
            }

            return place;
        }

        private int Text(string? text)
        {
            if (text is null)
            {
                return 0;
            }

            if (!_texts.TryGetValue(text, out var place))
            {
                part.Texts.Add(text);
                _texts.Add(text, place = part.Texts.Count);
            }

            return place;
        }
    }

    private sealed class PartReader(Wire.PlanPart part, string sweep)
    {
        private readonly ImmutableArray<(Wire.JobShape Wire, EngineIdentity Engine, JobRequirements Requirements, ImmutableArray<string> Outputs)> _shapes =
            part.Shapes.Array(s => (s, s.Engine.ToCore(), s.Requirements.ToCore(), s.Outputs.ToImmutableArray()));

        private readonly ImmutableArray<ArtifactRef> _artifacts = part.Artifacts.Array(RecordMapping.ToCore);
        private ImmutableArray<ImmutableSortedDictionary<string, string>> _parameters;
        private ImmutableArray<ImmutableArray<JobInput>> _inputs;

        public JobSpec Read(Wire.PlannedJob wire)
        {
            if (_parameters.IsDefault)
            {
                _parameters = part.Parameters.Array(Parameters);
                _inputs = part.Inputs.Array(Inputs);
            }

            var (shape, engine, requirements, outputs) = At(_shapes, wire.Shape, "shape");
            var spec = new JobSpec
            {
                Id = JobSpec.MakeId(sweep, wire.Number),
                Kind = (JobKind)shape.JobKind,
                Operation = shape.Operation,
                Engine = engine,
                Parameters = wire.Parameters == 0 ? RecordMapping.NoEntries<string>.Value : At(_parameters, wire.Parameters, "parameters"),
                Inputs = wire.Inputs == 0 ? [] : At(_inputs, wire.Inputs, "inputs"),
                Outputs = outputs,
                Requirements = requirements,
                Model = Text(wire.Model) ?? "",
                Form = Text(wire.Form),
                Target = Text(wire.Target),
                DeviceGroup = Text(wire.DeviceGroup),
                TimeoutSeconds = shape.TimeoutSeconds,
            };
            return wire.Entries.Count == 0 ? spec : spec with { Entries = wire.Entries.Array(e => Text(e) ?? "") };
        }

        private ImmutableSortedDictionary<string, string> Parameters(Wire.PlannedParameters wire)
        {
            var pairs = new KeyValuePair<string, string>[wire.Texts.Count / 2];
            for (var i = 0; i < pairs.Length; i++)
            {
                pairs[i] = KeyValuePair.Create(Text(wire.Texts[2 * i]) ?? "", Text(wire.Texts[(2 * i) + 1]) ?? "");
            }

            return pairs.ToImmutableSortedDictionary(StringComparer.Ordinal);
        }

        private ImmutableArray<JobInput> Inputs(Wire.PlannedInputs wire)
        {
            var inputs = ImmutableArray.CreateBuilder<JobInput>(wire.Values.Count / ValuesPerInput);
            for (var i = 0; i + ValuesPerInput <= wire.Values.Count; i += ValuesPerInput)
            {
                var (name, output, artifact, job) = (wire.Values[i], wire.Values[i + 1], wire.Values[i + 2], wire.Values[i + 3]);
                inputs.Add(new JobInput(
                    Text(name) ?? "",
                    new InputSource(artifact == 0 ? null : At(_artifacts, artifact, "artifact"), job == 0 ? null : JobSpec.MakeId(sweep, job - 1), Text(output))));
            }

            return inputs.ToImmutable();
        }

        private string? Text(int place)
        {
            if (place == 0)
            {
                return null;
            }

            return place > 0 && place <= part.Texts.Count ? part.Texts[place - 1] : throw Missing("text", place);
        }

        private T At<T>(ImmutableArray<T> table, int place, string what) => place > 0 && place <= table.Length ? table[place - 1] : throw Missing(what, place);

        private InvalidDataException Missing(string what, int place) => new($"a part of the plan of sweep {sweep} names {what} {place}, which it does not hold");
    }
}
