using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Bench.Dispatch;

/// <summary>Sweeps of passes that do nothing: what is left is the farm's own work.</summary>
internal static class NoOpSweeps
{
    public static readonly EngineIdentity Engine = new("no-op", "1.0", "bench");

    public static WorkerCapability Capability(string name, int slots) => new(
        $"host-{name}",
        name,
        Map(("os", PropertyValue.Of("linux")), ("arch", PropertyValue.Of("x64"))),
        Map<string>(),
        [new Device("cpu", "cpu", Map(("memory.total", PropertyValue.Of(8e9))), 8_000_000_000, "bench cpu")],
        [],
        [new ToolchainInfo(Engine, ["NoOp"])],
        slots);

    /// <summary>Independent jobs; those with the same salt and number are equal work.</summary>
    public static SweepSubmission Make(string id, int jobs, string salt)
    {
        var source = new ArtifactRef(Digest.OfText("model"), ArtifactKind.File, 5, "gguf", "model.gguf");
        ImmutableArray<JobInput> inputs = [new JobInput("model", InputSource.Of(source))];
        var requirements = new JobRequirements("no-op", "NoOp", null, null, [new Requirement("os", "linux")]);
        var planned = ImmutableArray.CreateBuilder<JobSpec>(jobs);
        for (var i = 0; i < jobs; i++)
        {
            planned.Add(new JobSpec
            {
                Id = JobSpec.MakeId(id, i),
                Kind = JobKind.Optimize,
                Operation = "NoOp",
                Engine = Engine,
                Parameters = Map(("salt", salt), ("number", i.ToString(CultureInfo.InvariantCulture))),
                Inputs = inputs,
                Outputs = ["model"],
                Requirements = requirements,
                Model = "m",
                Form = "Q4_0",
            });
        }

        var spec = new SweepSpec("bench", Map<string>(), [new ModelSpec("m", "file:model.gguf", Map<ImmutableArray<long>>())], [], [], [], Map<string>(), []);
        return new SweepSubmission(
            id, "", Digest.OfText(id), "bench", "name: bench", spec, Map(("m", source)), new SweepPlan(planned.ToImmutable(), [], []), Fresh: false);
    }

    public static JobOutcome Succeed(JobSpec spec)
    {
        var now = DateTimeOffset.UtcNow;
        var output = new ArtifactRef(Digest.OfText("output"), ArtifactKind.File, 300, "gguf", "model.gguf");
        return new JobOutcome(
            new JobResult { Outputs = Map(("model", output)), Measurements = [], Engine = spec.Engine, Settings = Map<string>() }, null, default, now, now);
    }

    private static ImmutableSortedDictionary<string, T> Map<T>(params (string Key, T Value)[] pairs) =>
        pairs.ToImmutableSortedDictionary(p => p.Key, p => p.Value, StringComparer.Ordinal);
}
