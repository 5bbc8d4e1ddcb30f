using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Jobs;

/// <summary>What a job does.</summary>
public enum JobKind
{
    /// <summary>Never set; a wire default.</summary>
    Unspecified = 0,

    /// <summary>Checks a model source and tells its format.</summary>
    Import = 1,

    /// <summary>Runs one pass.</summary>
    Optimize = 2,

    /// <summary>Measures speed and memory; owns its machine.</summary>
    Benchmark = 3,

    /// <summary>Measures quality.</summary>
    Evaluate = 4,
}

/// <summary>Where an input of a job comes from: an artifact that exists, or an output of another job of the sweep.</summary>
/// <param name="Artifact">The artifact, or null.</param>
/// <param name="Job">Id of the producing job, or null.</param>
/// <param name="Output">Name of its output, or null.</param>
public sealed record InputSource(ArtifactRef? Artifact, string? Job, string? Output)
{
    /// <summary>An artifact that exists.</summary>
    public static InputSource Of(ArtifactRef artifact) => new(artifact, null, null);

    /// <summary>An output of another job.</summary>
    public static InputSource Of(string job, string output) => new(null, job, output);
}

/// <summary>One named input of a job.</summary>
/// <param name="Name">E.g. <c>model</c>, <c>baseline</c>, <c>text</c>, <c>data</c>, <c>imatrix</c>.</param>
/// <param name="Source">Where it comes from.</param>
public sealed record JobInput(string Name, InputSource Source);

/// <summary>
/// One unit of work as planned. Immutable: it stands in the journal as it was planned, and a later planner never changes it.
/// </summary>
public sealed record JobSpec
{
    /// <summary>Unique in the farm: the sweep's id, a slash, and a number, e.g. <c>tiny-k3f9/12</c>.</summary>
    public required string Id { get; init; }

    /// <summary>What it does.</summary>
    public required JobKind Kind { get; init; }

    /// <summary>The pass type, <c>Import</c>, <c>Benchmark</c>, or the evaluation's operation.</summary>
    public required string Operation { get; init; }

    /// <summary>The engine that runs it: a toolchain's identity for a pass, a runtime's otherwise. Part of the action digest.</summary>
    public required EngineIdentity Engine { get; init; }

    /// <summary>Resolved parameters, defaults included: name to canonical text.</summary>
    public required ImmutableSortedDictionary<string, string> Parameters { get; init; }

    /// <summary>Inputs, by name in ordinal order.</summary>
    public required ImmutableArray<JobInput> Inputs { get; init; }

    /// <summary>Names of the artifacts that it makes; the empty list for benchmarks and most evaluations.</summary>
    public required ImmutableArray<string> Outputs { get; init; }

    /// <summary>What it needs of a worker.</summary>
    public required JobRequirements Requirements { get; init; }

    /// <summary>Id of the model in the sweep.</summary>
    public required string Model { get; init; }

    /// <summary>Id of the leaderboard entries that it serves: one for a benchmark; for an evaluation or the last pass of a form, all that show its figures.</summary>
    public ImmutableArray<string> Entries { get; init; } = [];

    /// <summary>The form that it makes or measures; null for an import.</summary>
    public string? Form { get; init; }

    /// <summary>Id of the target, for what is measured on one: a benchmark, a pass that chooses by times, an evaluation if the sweep wants it; null otherwise.</summary>
    public string? Target { get; init; }

    /// <summary>
    /// Benchmarks, and passes that choose by times, with the same group run on one physical device: <c>model|runtime|target|round</c>. Null for
    /// jobs that share slots.
    /// A job with a group is exclusive: it owns its machine.
    /// </summary>
    public string? DeviceGroup { get; init; }

    /// <summary>Longest run of one attempt, in seconds; then the child is killed and the attempt is TimedOut.</summary>
    public int TimeoutSeconds { get; init; } = 3600;

    /// <summary>Whether it owns its machine.</summary>
    public bool IsExclusive => DeviceGroup is not null;

    /// <summary>Whether it is an evaluation whose outputs others compare with.</summary>
    public bool IsReference => Kind is JobKind.Evaluate && Outputs.Length > 0;

    /// <summary>
    /// Whether its result may be taken from, and put into, the cache. Benchmarks are measured anew, and so is an evaluation on a
    /// target and a pass that chooses by times, because their results belong to a device that the action digest does not name.
    /// </summary>
    public bool IsCacheable => Kind is not JobKind.Benchmark && Target is null;

    /// <summary>Most jobs of a sweep that an id's number part can tell; a bound for parsers.</summary>
    public const int MaxJobsPerSweep = 10_000_000;

    /// <summary>Makes the id of a sweep's job.</summary>
    public static string MakeId(string sweep, int number) => $"{sweep}/{number}";

    /// <summary>The sweep that a job's id names, or null when it is no job id.</summary>
    public static string? SweepOf(string jobId)
    {
        var slash = jobId.LastIndexOf('/');
        return slash > 0 && slash < jobId.Length - 1 ? jobId[..slash] : null;
    }
}

/// <summary>A job whose inputs are all known artifacts: what is queued, leased and run.</summary>
/// <param name="Spec">The job.</param>
/// <param name="Inputs">Input name to artifact.</param>
/// <param name="Action">Key of the result cache and of equal work in flight.</param>
public sealed record ReadyJob(JobSpec Spec, ImmutableSortedDictionary<string, ArtifactRef> Inputs, Digest Action);
