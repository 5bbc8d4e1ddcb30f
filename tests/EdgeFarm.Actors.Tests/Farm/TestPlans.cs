using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>
/// A small sweep: import, one pass, a benchmark of the baseline and of the form, an evaluation of the form. The golden bytes of the
/// serializer hold these values, so what is here stays; other tests change what they need with <c>with</c>.
/// </summary>
internal static class TestPlans
{
    public const int Import = 0, Pass = 1, BaselineBenchmark = 2, FormBenchmark = 3, Evaluation = 4;

    public static readonly EngineIdentity Engine = new("test-engine", "1.0", "abc");

    private static readonly ImmutableSortedDictionary<string, string> None = Map<string>();

    public static string Job(string sweep, int number) => JobSpec.MakeId(sweep, number);

    public static SweepSubmission Submission(string id, string request = "", string content = "", bool fresh = false)
    {
        var source = new ArtifactRef(Digest.OfText("model"), ArtifactKind.File, 5, "gguf", "model.gguf");
        var model = InputSource.Of(Job(id, Import), "model");
        var quantized = InputSource.Of(Job(id, Pass), "model");
        ImmutableArray<JobSpec> jobs =
        [
            Spec(id, Import, JobKind.Import, "Import", [new JobInput("model", InputSource.Of(source))], ["model"]),
            Spec(id, Pass, JobKind.Optimize, "Quantize", [new JobInput("model", model)], ["model"]) with { Form = "Q4_0" },
            Benchmark(id, BaselineBenchmark, model, "F16", "e0"),
            Benchmark(id, FormBenchmark, quantized, "Q4_0", "e1"),
            Spec(id, Evaluation, JobKind.Evaluate, "Perplexity", [new JobInput("baseline", model), new JobInput("model", quantized)], []) with { Form = "Q4_0" },
        ];
        ImmutableArray<PlannedEntry> entries =
        [
            Entry(id, 0, "F16", Import, BaselineBenchmark, []),
            Entry(id, 1, "Q4_0", Pass, FormBenchmark, [Job(id, Evaluation)]),
        ];
        var spec = new SweepSpec(
            "test", Map(("team", "red")), [new ModelSpec("m", "file:model.gguf", Map<ImmutableArray<long>>())], [], [], [], None, []);
        return new SweepSubmission(
            id,
            request,
            Digest.OfText(content),
            "owner",
            "name: test",
            spec,
            Map(("m", source)),
            new SweepPlan(jobs, entries, []),
            fresh);
    }

    public static WorkerCapability Capability(string name, string host, int slots = 2) => new(
        host,
        name,
        Map(("os", PropertyValue.Of("linux")), ("arch", PropertyValue.Of("x64")), ("cpu.features", PropertyValue.Of(["avx2", "fma"]))),
        Map(("room", "lab")),
        [new Device("cpu", "cpu", Map(("memory.total", PropertyValue.Of(8e9))), 8_000_000_000, "test cpu")],
        [new RuntimeInfo(Engine, "", "", ["gguf"], ["cpu"])],
        [new ToolchainInfo(Engine, ["Quantize"])],
        slots);

    public static JobOutcome Succeed(Lease lease)
    {
        var spec = lease.Job.Spec;
        var speed = spec.Form == "F16" ? 10.0 : 20.0;
        var now = DateTimeOffset.UtcNow;
        var outputs = spec.Outputs.ToImmutableSortedDictionary(
            o => o,
            o => new ArtifactRef(Digest.OfText($"{spec.Operation} {o}"), ArtifactKind.File, spec.Kind == JobKind.Import ? 1000 : 300, "gguf", "model.gguf"),
            StringComparer.Ordinal);
        ImmutableArray<Measurement> measurements = spec.Kind switch
        {
            JobKind.Benchmark => [new Measurement("tg", [speed, speed + 1, speed + 2], Engine.Id)],
            JobKind.Evaluate => [new Measurement("kld_mean", [0.01], Engine.Id)],
            _ => [],
        };
        var result = new JobResult { Outputs = outputs, Measurements = measurements, Engine = Engine, Settings = Map(("n_threads", "2")) };
        return new JobOutcome(result, null, default, now, now);
    }

    public static JobOutcome Fail(FailureType type, string message) =>
        new(null, new Failure(type, message), default, DateTimeOffset.UtcNow, DateTimeOffset.UtcNow);

    public static ImmutableSortedDictionary<string, T> Map<T>(params (string Key, T Value)[] pairs) =>
        pairs.ToImmutableSortedDictionary(p => p.Key, p => p.Value, StringComparer.Ordinal);

    private static JobSpec Spec(string sweep, int number, JobKind kind, string operation, ImmutableArray<JobInput> inputs, ImmutableArray<string> outputs) => new()
    {
        Id = Job(sweep, number),
        Kind = kind,
        Operation = operation,
        Engine = Engine,
        Parameters = Map(("threads", "2")),
        Inputs = inputs,
        Outputs = outputs,
        Requirements = new JobRequirements(null, null, "test-engine", "gguf", [new Requirement("os", "linux")]),
        Model = "m",
    };

    private static JobSpec Benchmark(string sweep, int number, InputSource model, string form, string entry) =>
        Spec(sweep, number, JobKind.Benchmark, "Benchmark", [new JobInput("model", model)], []) with
        {
            Form = form,
            Target = "any",
            DeviceGroup = "m|test-engine|any|0",
            Entries = [$"{sweep}/{entry}"],
        };

    private static PlannedEntry Entry(string sweep, int number, string form, int artifact, int benchmark, ImmutableArray<string> evaluations) => new()
    {
        Id = $"{sweep}/e{number}",
        Model = "m",
        Toolchain = Engine.Id,
        Runtime = Engine.Id,
        Form = form,
        Recipe = [new PassStep("Quantize", Map(("type", form)))],
        PrecisionClass = "3-4",
        Target = "any",
        IsBaseline = number == 0,
        BaselineId = $"{sweep}/e0",
        ArtifactJob = Job(sweep, artifact),
        BenchmarkJob = Job(sweep, benchmark),
        EvaluationJobs = evaluations,
    };
}
