using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Sweeps;

/// <summary>Where a sweep stands.</summary>
public enum SweepStatus
{
    /// <summary>Never set; a wire default.</summary>
    Unspecified = 0,

    /// <summary>Jobs wait or run.</summary>
    Running = 1,

    /// <summary>Every job succeeded.</summary>
    Completed = 2,

    /// <summary>It ended, but some jobs failed or could not be placed.</summary>
    Partial = 3,

    /// <summary>It ended and no entry was measured.</summary>
    Failed = 4,

    /// <summary>A user cancelled it.</summary>
    Cancelled = 5,
}

/// <summary>Where a job stands.</summary>
public enum JobStatus
{
    /// <summary>Never set; a wire default.</summary>
    Unspecified = 0,

    /// <summary>Some input is not made yet.</summary>
    Blocked = 1,

    /// <summary>Ready, waiting for a worker.</summary>
    Waiting = 2,

    /// <summary>Leased to a worker.</summary>
    Running = 3,

    /// <summary>Has a result.</summary>
    Succeeded = 4,

    /// <summary>Failed for good.</summary>
    Failed = 5,

    /// <summary>Will never run, because a job that it depends on failed.</summary>
    Skipped = 6,

    /// <summary>Cancelled with its sweep.</summary>
    Cancelled = 7,
}

/// <summary>What is submitted: everything that a sweep needs for ever, so that a later planner never replans it.</summary>
/// <param name="Id">The sweep's id: a lower-case name and a suffix; letters, digits, dots, dashes.</param>
/// <param name="RequestId">Given by the client; the same id and content return the same sweep.</param>
/// <param name="ContentDigest">Digest of the YAML and the source digests.</param>
/// <param name="Owner">Who submitted; empty when the farm knows no users.</param>
/// <param name="Yaml">The file as given.</param>
/// <param name="Spec">What it means.</param>
/// <param name="Sources">Model or data set id to artifact.</param>
/// <param name="Plan">The first plan.</param>
/// <param name="Fresh">Neither takes results from the cache nor waits for equal work in flight.</param>
public sealed record SweepSubmission(
    string Id,
    string RequestId,
    Digest ContentDigest,
    string Owner,
    string Yaml,
    SweepSpec Spec,
    ImmutableSortedDictionary<string, ArtifactRef> Sources,
    SweepPlan Plan,
    bool Fresh)
{
    /// <summary>The W3C <c>traceparent</c> under which spans of this sweep stand, however much later they are; empty when it is not traced.</summary>
    public string TraceParent { get; init; } = "";

    /// <summary>
    /// Variants of runtimes' libraries that the fleet had when it was submitted. What a cached evaluation of another variant saved is not
    /// compared with: nobody could compute the other side with the same kernels. Empty when that is not asked.
    /// </summary>
    public ImmutableArray<string> LibraryVariants { get; init; } = [];
}

/// <summary>A device of a host.</summary>
/// <param name="HostId">Stable machine id.</param>
/// <param name="DeviceId">Id of the device on it.</param>
public sealed record DeviceAddress(string HostId, string DeviceId);

/// <summary>How one attempt of a job ended, as the dispatcher or the cache tells the sweep.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Attempt">From 1.</param>
/// <param name="Fence">Fence of the lease; 0 for a cached result.</param>
/// <param name="Outcome">Result or failure.</param>
/// <param name="Worker">Name of the worker; empty for a cached result.</param>
/// <param name="Device">Where it ran, or null for a cached result.</param>
/// <param name="DeviceClass">Device class of the device; empty when none fits.</param>
/// <param name="Cached">Taken from the cache, or from equal work of another sweep.</param>
/// <param name="Action">The job's action digest.</param>
public sealed record JobReport(
    string JobId,
    int Attempt,
    long Fence,
    JobOutcome Outcome,
    string Worker,
    DeviceAddress? Device,
    string DeviceClass,
    bool Cached,
    Digest Action)
{
    /// <summary>Memory of the device that it ran on, in bytes, so that an out-of-memory job can ask for more; 0 when unknown.</summary>
    public long DeviceMemory { get; init; }
}

/// <summary>A ready job in the queue.</summary>
/// <param name="Job">The job.</param>
/// <param name="Sweep">Its sweep.</param>
/// <param name="Attempt">Number of the coming attempt, from 1.</param>
/// <param name="BoundTo">The device that its group is bound to, or null while none is.</param>
/// <param name="MinimumMemory">Bytes of host memory to ask for after an out-of-memory failure; 0 for none.</param>
/// <param name="Avoid">Hosts where it crashed; others are preferred.</param>
/// <param name="Fresh">Must not share equal work in flight.</param>
public sealed record QueuedJob(
    ReadyJob Job,
    string Sweep,
    int Attempt,
    DeviceAddress? BoundTo,
    long MinimumMemory,
    ImmutableSortedSet<string> Avoid,
    bool Fresh)
{
    /// <summary>Devices on which a benchmark must not run, because another number of the same target measures there.</summary>
    public ImmutableArray<DeviceAddress> NotOn { get; init; } = [];

    /// <summary>
    /// Variant of the runtime's library that computed what this evaluation compares with; a device with that variant is preferred, so that
    /// the figures hold no difference between kernels. Empty when any will do.
    /// </summary>
    public string LibraryVariant { get; init; } = "";

    /// <summary>The sweep's <see cref="SweepSubmission.TraceParent"/>.</summary>
    public string TraceParent { get; init; } = "";
}

/// <summary>What a sweep is asked to do. Every command gets a reply.</summary>
public abstract record SweepCommand
{
    /// <summary>Starts it.</summary>
    public sealed record Submit(SweepSubmission Submission) : SweepCommand;

    /// <summary>Stops it: nothing new starts, what runs is killed.</summary>
    public sealed record Cancel(string Reason) : SweepCommand;

    /// <summary>Runs failed jobs again, as new attempts; all, or those of one failure type.</summary>
    public sealed record Retry(FailureType? Type) : SweepCommand;

    /// <summary>Attempts ended. A batch becomes one event.</summary>
    public sealed record Report(ImmutableArray<JobReport> Reports) : SweepCommand;

    /// <summary>The cache answered for ready jobs: those it has results for, and those it has none for.</summary>
    public sealed record CacheAnswered(ImmutableArray<JobReport> Hits, ImmutableArray<string> Misses) : SweepCommand;

    /// <summary>The device that a group of benchmarks was bound to is gone for good.</summary>
    public sealed record DeviceLost(string Group, DeviceAddress Device) : SweepCommand;
}

/// <summary>What happened to a sweep: the truth, in the journal.</summary>
/// <param name="At">When it was decided.</param>
public abstract record SweepEvent(DateTimeOffset At)
{
    /// <summary>It was submitted; the plan follows in <see cref="PlanGrown"/> events.</summary>
    public sealed record Submitted(DateTimeOffset At, SweepSubmission Submission) : SweepEvent(At);

    /// <summary>At most a thousand jobs, and the entries that they complete, were added. An entry whose id is known replaces the older one.</summary>
    public sealed record PlanGrown(DateTimeOffset At, ImmutableArray<JobSpec> Jobs, ImmutableArray<PlannedEntry> Entries) : SweepEvent(At);

    /// <summary>Attempts ended; <see cref="AttemptEnd.Final"/> tells which ended their job.</summary>
    public sealed record AttemptsEnded(DateTimeOffset At, ImmutableArray<AttemptEnd> Attempts) : SweepEvent(At);

    /// <summary>A device was lost: waiting benchmarks of the group go on, with their baseline, in a new group elsewhere.</summary>
    public sealed record GroupRebound(DateTimeOffset At, string OldGroup, string NewGroup, ImmutableArray<string> Jobs) : SweepEvent(At);

    /// <summary>Failed jobs, and the jobs that were skipped because of them, were made to run again.</summary>
    public sealed record JobsRetried(DateTimeOffset At, ImmutableArray<string> Jobs) : SweepEvent(At);

    /// <summary>A user cancelled it.</summary>
    public sealed record CancelRequested(DateTimeOffset At, string Reason) : SweepEvent(At);

    /// <summary>Nothing waits or runs any more.</summary>
    public sealed record Ended(DateTimeOffset At, SweepStatus Status) : SweepEvent(At);
}

/// <summary>The end of one attempt, as journaled.</summary>
/// <param name="Report">How it ended.</param>
/// <param name="Final">Whether it ended the job; otherwise another attempt follows.</param>
public sealed record AttemptEnd(JobReport Report, bool Final);

/// <summary>What must be done once a sweep's events are durable.</summary>
public abstract record SweepEffect
{
    /// <summary>Ask the result cache for these; answer with <see cref="SweepCommand.CacheAnswered"/>.</summary>
    public sealed record AskCache(ImmutableArray<QueuedJob> Jobs) : SweepEffect;

    /// <summary>Hand these to the dispatcher. Repeating it is harmless.</summary>
    public sealed record Queue(ImmutableArray<QueuedJob> Jobs) : SweepEffect;

    /// <summary>Take these back from the dispatcher; running ones are killed.</summary>
    public sealed record Withdraw(ImmutableArray<string> JobIds) : SweepEffect;

    /// <summary>Tell the dispatcher that the ends of these attempts are durable (or known already), so that the worker may forget them.</summary>
    public sealed record Acknowledge(ImmutableArray<AttemptKey> Attempts) : SweepEffect;

    /// <summary>Put these successes and deterministic failures into the cache.</summary>
    public sealed record FillCache(ImmutableArray<JobReport> Reports) : SweepEffect;
}

/// <summary>Names one attempt of a job under one lease.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Attempt">From 1.</param>
/// <param name="Fence">Fence of its lease.</param>
public sealed record AttemptKey(string JobId, int Attempt, long Fence);

/// <summary>What a sweep decides on a command.</summary>
/// <param name="Events">To persist, in order; then each is applied.</param>
/// <param name="Effects">To run once the events are durable, besides those that applying yields.</param>
/// <param name="Refusal">Why the command was refused, or null.</param>
public sealed record SweepDecision(ImmutableArray<SweepEvent> Events, ImmutableArray<SweepEffect> Effects, Failure? Refusal);
