using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestCatalog;

namespace EdgeFarm.Core.Tests;

/// <summary>Jobs, workers and results by hand.</summary>
internal static class TestFarm
{
    public static readonly DateTimeOffset Now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static JobSpec Job(string id, params string[] producers) => new()
    {
        Id = id,
        Kind = JobKind.Optimize,
        Operation = "GgufQuantize",
        Engine = Llama,
        Parameters = Parameters(("id", id)),
        Inputs = [.. producers.Select((p, i) => new JobInput($"model{i}", InputSource.Of(p, "model")))],
        Outputs = ["model"],
        Requirements = JobRequirements.None with { Toolchain = "llama.cpp", Pass = "GgufQuantize" },
        Model = "tiny",
    };

    public static JobSpec Benchmark(string id, string group, params string[] producers) => Job(id, producers) with
    {
        Kind = JobKind.Benchmark,
        Operation = "Benchmark",
        Outputs = [],
        Requirements = JobRequirements.None with { Runtime = "llama.cpp", Format = "gguf" },
        DeviceGroup = group,
    };

    public static ReadyJob Ready(JobSpec spec)
    {
        var inputs = ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal);
        return new ReadyJob(spec, inputs, ActionDigest.Of(spec, inputs));
    }

    public static QueuedJob Queued(JobSpec spec, int attempt = 1, DeviceAddress? boundTo = null) =>
        new(Ready(spec), JobSpec.SweepOf(spec.Id)!, attempt, boundTo, 0, ImmutableSortedSet.Create<string>(StringComparer.Ordinal), false);

    public static WorkerCapability Capability(string worker, string host, int slots = 2, long memory = 1000, string arch = "x64", params string[] devices) => new(
        host,
        worker,
        ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal).Add("arch", PropertyValue.Of(arch)),
        Parameters(),
        [.. devices.Prepend("cpu").Select(d => new Device(
            d, d == "cpu" ? "cpu" : "gpu", ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal), memory, d))],
        [new RuntimeInfo(Llama, "", "", ["gguf"], [.. devices.Prepend("cpu")])],
        [new ToolchainInfo(Llama, ["GgufQuantize"])],
        slots);

    public static JobOutcome Success(JobSpec spec) => new(
        new JobResult { Outputs = spec.Outputs.ToImmutableSortedDictionary(o => o, o => Artifact($"{spec.Id} {o}", "gguf"), StringComparer.Ordinal) },
        null,
        default,
        Now,
        Now);

    public static JobOutcome Failed(FailureType type) => new(null, new Failure(type, $"{type} happened"), default, Now, Now);

    public static SweepSubmission Submission(string id, ImmutableArray<JobSpec> jobs, ImmutableArray<PlannedEntry> entries = default, bool fresh = false) => new(
        id,
        "request",
        Digest.OfText(id),
        "someone",
        "yaml",
        Spec([Model("tiny")], []),
        ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal),
        new SweepPlan(jobs, entries.IsDefault ? [] : entries, []),
        fresh);

    public static PlannedEntry Entry(string id, JobSpec artifact, JobSpec benchmark, string? baseline = null, params string[] evaluations) => new()
    {
        Id = id,
        Model = "tiny",
        Toolchain = "llama.cpp",
        Runtime = "llama.cpp",
        Form = id,
        Recipe = [],
        PrecisionClass = "half",
        Target = "any",
        IsBaseline = baseline is null,
        BaselineId = baseline ?? id,
        ArtifactJob = artifact.Id,
        BenchmarkJob = benchmark.Id,
        EvaluationJobs = [.. evaluations],
    };
}
