using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Core.Sweeps;

/// <summary>A sweep as clients see it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Name">metadata.name.</param>
/// <param name="Owner">Who submitted; empty when unknown.</param>
/// <param name="Labels">metadata.labels.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Counts">How many jobs stand where.</param>
/// <param name="CacheHits">Jobs whose result came from the cache.</param>
/// <param name="CreatedAt">When it was submitted.</param>
/// <param name="EndedAt">When it ended, or null.</param>
public sealed record SweepView(
    string Id,
    string Name,
    string Owner,
    ImmutableSortedDictionary<string, string> Labels,
    SweepStatus Status,
    ImmutableSortedDictionary<JobStatus, int> Counts,
    int CacheHits,
    DateTimeOffset CreatedAt,
    DateTimeOffset? EndedAt);

/// <summary>A job as clients see it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Sweep">Its sweep.</param>
/// <param name="Kind">What it does.</param>
/// <param name="Operation">Pass, benchmark or evaluation.</param>
/// <param name="Engine">Id of the engine that runs it.</param>
/// <param name="Model">Its model.</param>
/// <param name="Form">Its form; empty for an import.</param>
/// <param name="Target">Its target; empty when it has none.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Attempts">Its attempts, oldest first.</param>
/// <param name="Cached">Whether its result came from the cache.</param>
/// <param name="Progress">0 to 1 while it runs, else 0.</param>
/// <param name="ProgressText">What it is doing.</param>
/// <param name="Action">Its action digest once its inputs are known.</param>
/// <param name="Outputs">Its artifacts.</param>
public sealed record JobView(
    string Id,
    string Sweep,
    JobKind Kind,
    string Operation,
    string Engine,
    string Model,
    string Form,
    string Target,
    JobStatus Status,
    ImmutableArray<AttemptView> Attempts,
    bool Cached,
    double Progress,
    string ProgressText,
    Digest Action,
    ImmutableSortedDictionary<string, ArtifactRef> Outputs)
{
    /// <summary>Memory that it is predicted to take, in bytes; 0 when unknown. It waits for a device that has it.</summary>
    public long MemoryBytes { get; init; }
}

/// <summary>One attempt of a job.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Worker">Who ran it.</param>
/// <param name="Host">Stable machine id.</param>
/// <param name="Device">Device that it ran on.</param>
/// <param name="StartedAt">By the worker's clock; null while unknown.</param>
/// <param name="FinishedAt">By the worker's clock; null while it runs.</param>
/// <param name="Failure">How it failed, or null.</param>
/// <param name="Log">Its log in the artifact store, or the default value.</param>
public sealed record AttemptView(
    int Number,
    string Worker,
    string Host,
    string Device,
    DateTimeOffset? StartedAt,
    DateTimeOffset? FinishedAt,
    Failure? Failure,
    Digest Log);

/// <summary>One message of a watch: a snapshot first, then numbered changes.</summary>
/// <param name="Sequence">Grows by one per message of the sweep; a gap means that messages were dropped.</param>
/// <param name="Sweep">The sweep as it is now.</param>
/// <param name="Jobs">All jobs in a snapshot, else those that changed.</param>
/// <param name="IsSnapshot">Whether <paramref name="Jobs"/> replaces what the client knew.</param>
public sealed record SweepChange(long Sequence, SweepView Sweep, ImmutableArray<JobView> Jobs, bool IsSnapshot);

/// <summary>Why a job waits or failed.</summary>
/// <param name="Job">The job.</param>
/// <param name="Wait">Why it waits, or null when it does not.</param>
/// <param name="BlockedBy">Ids of the jobs whose outputs it needs; empty when it has them.</param>
/// <param name="Digest">Components of its action digest, in order; empty while inputs are missing.</param>
public sealed record JobExplanation(
    JobView Job,
    Dispatch.WaitExplanation? Wait,
    ImmutableArray<string> BlockedBy,
    ImmutableArray<KeyValuePair<string, string>> Digest);
