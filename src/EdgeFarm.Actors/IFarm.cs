using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors;

/// <summary>
/// The gRPC edge's way to the actors: every method asks with a timeout and ends in a value or a typed failure.
/// <see cref="FarmUnavailableException"/> says that the actors did not answer in time.
/// </summary>
public interface IFarm
{
    /// <summary>Starts a sweep, or returns the one that the same request id and content made. Other content under a known request id is InvalidInput.</summary>
    Task<Outcome<SweepView>> SubmitAsync(SweepSubmission submission, CancellationToken cancellationToken);

    /// <summary>Cancels a sweep. An ended one stays as it is.</summary>
    Task<Outcome<SweepView>> CancelAsync(string sweep, string reason, CancellationToken cancellationToken);

    /// <summary>Runs failed jobs again; returns how many.</summary>
    Task<Outcome<int>> RetryAsync(string sweep, FailureType? type, CancellationToken cancellationToken);

    /// <summary>A sweep's jobs as they are now, with progress; in one message, so a large sweep is asked for some of them.</summary>
    /// <param name="sweep">The sweep.</param>
    /// <param name="jobs">Ids of the jobs that are wanted, unknown ones left out; empty for all.</param>
    /// <param name="cancellationToken">Ends the question.</param>
    Task<Outcome<SweepChange>> SnapshotAsync(string sweep, ImmutableArray<string> jobs, CancellationToken cancellationToken);

    /// <summary>All of a small sweep's jobs as they are now, with progress.</summary>
    Task<Outcome<SweepChange>> SnapshotAsync(string sweep, CancellationToken cancellationToken) => SnapshotAsync(sweep, [], cancellationToken);

    /// <summary>
    /// A snapshot, then changes until the sweep ended or the token is cancelled. With <paramref name="after"/> the changes after that
    /// number come without a snapshot when they are still known. An unknown sweep ends in <see cref="FailureException"/>.
    /// </summary>
    IAsyncEnumerable<SweepChange> WatchAsync(string sweep, long? after, CancellationToken cancellationToken);

    /// <summary>Why a job waits or failed.</summary>
    Task<Outcome<JobExplanation>> ExplainAsync(string jobId, CancellationToken cancellationToken);

    /// <summary>Workers, queue and leases.</summary>
    Task<FleetView> FleetAsync(CancellationToken cancellationToken);

    /// <summary>How many jobs count for each class of workers. <see cref="FarmUnavailableException"/> also while the dispatcher has just started and does not know the queue yet.</summary>
    Task<FleetDemand> DemandAsync(ImmutableArray<WorkerTemplate> templates, CancellationToken cancellationToken);
}

/// <summary>The actors did not answer in time: the farm starts, stops or is overloaded.</summary>
/// <param name="message">What was asked.</param>
public sealed class FarmUnavailableException(string message) : Exception(message);

/// <summary>The read side: indexed rows that the projection keeps. Never touches an actor.</summary>
public interface IFarmQueries
{
    /// <summary>Sweeps, newest first.</summary>
    Task<Page<SweepView>> ListSweepsAsync(int pageSize, string pageToken, CancellationToken cancellationToken);

    /// <summary>One sweep, or null.</summary>
    Task<SweepView?> FindSweepAsync(string id, CancellationToken cancellationToken);

    /// <summary>The YAML as it was submitted, or null.</summary>
    Task<string?> FindYamlAsync(string sweepId, CancellationToken cancellationToken);

    /// <summary>Model and data set ids of a sweep with the artifacts that their sources were; empty for an unknown sweep.</summary>
    Task<IReadOnlyDictionary<string, ArtifactRef>> FindSourcesAsync(string sweepId, CancellationToken cancellationToken);

    /// <summary>Jobs of a sweep in plan order; with <paramref name="failedOnly"/> those that failed.</summary>
    Task<Page<JobView>> ListJobsAsync(string sweep, bool failedOnly, int pageSize, string pageToken, CancellationToken cancellationToken);

    /// <summary>One job, or null.</summary>
    Task<JobView?> FindJobAsync(string jobId, CancellationToken cancellationToken);

    /// <summary>Rows of the leaderboard.</summary>
    Task<Page<LeaderboardEntry>> QueryLeaderboardAsync(LeaderboardQuery query, CancellationToken cancellationToken);

    /// <summary>One row with everything, or null. An id prefix that is unique is accepted.</summary>
    Task<LeaderboardEntry?> FindEntryAsync(string id, CancellationToken cancellationToken);

    /// <summary>All measurements of a row's metric over time, oldest first.</summary>
    Task<ImmutableArray<LeaderboardEntry>> EntryHistoryAsync(string id, CancellationToken cancellationToken);

    /// <summary>Completes when every event that was durable at the call is in the rows, so that a client reads its own writes.</summary>
    Task CaughtUpAsync(CancellationToken cancellationToken);
}
