using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

/// <summary>The right to run one attempt of a job on a device until a deadline.</summary>
/// <param name="Job">The job with its inputs.</param>
/// <param name="Sweep">Its sweep.</param>
/// <param name="Attempt">From 1.</param>
/// <param name="Fence">Grows with every lease that the farm gives; a stale one tells that the lease was given to another.</param>
/// <param name="DeviceId">The device of the worker's host to run on.</param>
/// <param name="TransferTimeout">Longest time to fetch inputs and to upload outputs, each.</param>
/// <param name="ExecutionTimeout">Longest run of the child.</param>
public sealed record Lease(
    ReadyJob Job,
    string Sweep,
    int Attempt,
    long Fence,
    string DeviceId,
    TimeSpan TransferTimeout,
    TimeSpan ExecutionTimeout)
{
    /// <summary>Names the attempt.</summary>
    public AttemptKey Key => new(Job.Spec.Id, Attempt, Fence);

    /// <summary>The W3C <c>traceparent</c> of what comes before the attempt in its trace; empty when the sweep is not traced.</summary>
    public string TraceParent { get; init; } = "";
}

/// <summary>A lease that a worker says it still holds when it links.</summary>
/// <param name="Key">The attempt.</param>
/// <param name="Sweep">Its sweep.</param>
/// <param name="DeviceId">Where it runs.</param>
/// <param name="Exclusive">Whether it owns the machine.</param>
public sealed record HeldLease(AttemptKey Key, string Sweep, string DeviceId, bool Exclusive)
{
    /// <summary>Its child has ended and only the acknowledgement is missing: it takes no slot and no machine any more.</summary>
    public bool Ended { get; init; }
}

/// <summary>Free capacity of a worker, absolute: a new announcement replaces the old one.</summary>
/// <param name="Shared">Free slots for shared jobs.</param>
/// <param name="Exclusive">Whether it would take an exclusive job.</param>
/// <param name="Sequence">Number of the last lease message that the worker has seen on this link, so that leases in flight are not given twice.</param>
public sealed record WorkerCredit(int Shared, bool Exclusive, long Sequence);

/// <summary>What the dispatcher is told. One link is one stream of one worker; its id is never used again.</summary>
public abstract record DispatchInput
{
    /// <summary>A worker linked and said what it holds.</summary>
    public sealed record WorkerLinked(string Link, string Session, WorkerCapability Capability, ImmutableArray<HeldLease> Held) : DispatchInput;

    /// <summary>A worker announced its credit.</summary>
    public sealed record CreditAnnounced(string Link, WorkerCredit Credit) : DispatchInput;

    /// <summary>A link broke, by either side.</summary>
    public sealed record LinkLost(string Link) : DispatchInput;

    /// <summary>A worker will take no new lease.</summary>
    public sealed record WorkerDraining(string Link) : DispatchInput;

    /// <summary>A worker hands a lease back unfinished; it counts as no failure.</summary>
    public sealed record LeaseReturned(string Link, AttemptKey Key) : DispatchInput;

    /// <summary>Jobs of a sweep became ready. Those that are known already are ignored.</summary>
    public sealed record JobsQueued(ImmutableArray<QueuedJob> Jobs) : DispatchInput;

    /// <summary>A sweep no longer wants these.</summary>
    public sealed record JobsWithdrawn(string Sweep, ImmutableArray<string> JobIds) : DispatchInput;

    /// <summary>A worker reported how an attempt ended.</summary>
    public sealed record ResultReported(string Link, string Sweep, AttemptKey Key, JobOutcome Outcome, string DeviceId, Digest Action) : DispatchInput;

    /// <summary>A sweep holds these ends durably.</summary>
    public sealed record ResultsStored(string Sweep, ImmutableArray<AttemptKey> Keys) : DispatchInput;

    /// <summary>Time passed; deadlines are looked at.</summary>
    public sealed record Tick : DispatchInput;
}

/// <summary>What the dispatcher wants done.</summary>
public abstract record DispatchEffect
{
    /// <summary>Give a lease to a worker. <paramref name="Sequence"/> numbers lease messages on the link.</summary>
    public sealed record SendLease(string Link, Lease Lease, long Sequence) : DispatchEffect
    {
        /// <summary>Since when the job waited for it.</summary>
        public DateTimeOffset QueuedAt { get; init; }
    }

    /// <summary>Tell a worker to kill an attempt.</summary>
    public sealed record SendRevoke(string Link, AttemptKey Key, string Reason) : DispatchEffect;

    /// <summary>Tell a worker that an end is durable.</summary>
    public sealed record SendAcknowledge(string Link, AttemptKey Key) : DispatchEffect;

    /// <summary>Close a link, e.g. because the same worker linked again.</summary>
    public sealed record CloseLink(string Link, string Reason) : DispatchEffect;

    /// <summary>Refuse a link that was just opened: another worker that is linked has its name.</summary>
    public sealed record RefuseLink(string Link, string Reason) : DispatchEffect;

    /// <summary>Tell a sweep how an attempt ended.</summary>
    public sealed record Report(string Sweep, JobReport JobReport) : DispatchEffect;

    /// <summary>Tell a sweep that an attempt started; for its views only.</summary>
    public sealed record NotifyStarted(string Sweep, AttemptKey Key, string Worker, DeviceAddress Device) : DispatchEffect;

    /// <summary>Tell a sweep that an attempt was lost and the job waits again; for its views only.</summary>
    public sealed record NotifyRequeued(string Sweep, string JobId, string Reason) : DispatchEffect;

    /// <summary>Tell a sweep that the device its group is bound to is gone.</summary>
    public sealed record NotifyDeviceLost(string Sweep, string Group, DeviceAddress Device) : DispatchEffect;
}

/// <summary>Time limits of the dispatcher.</summary>
/// <param name="ReconnectGrace">How long a lost link's leases are kept for the worker to come back and go on.</param>
/// <param name="AdoptOnly">How long after its start the dispatcher only adopts held leases and gives none (none in the embedded farm).</param>
/// <param name="DeviceLostAfter">How long a bound device may be away before its group is bound anew.</param>
/// <param name="TransferTimeout">Given to leases.</param>
/// <param name="LeaseSlack">Added to the times of transfers, of waiting for the machine and of execution; after that an attempt without a result is given up.</param>
public sealed record DispatchLimits(
    TimeSpan ReconnectGrace,
    TimeSpan AdoptOnly,
    TimeSpan DeviceLostAfter,
    TimeSpan TransferTimeout,
    TimeSpan LeaseSlack)
{
    /// <summary>Limits of the embedded farm.</summary>
    public static readonly DispatchLimits Embedded = new(
        TimeSpan.FromSeconds(5), TimeSpan.Zero, TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(30), TimeSpan.FromSeconds(30));

    /// <summary>
    /// Limits of a cluster. A worker whose coordinator was cut off notices that within 8 s and is linked to another 3 s later at most, while
    /// the others have removed that coordinator after 8 s: 7 s of grace let it come back with what it runs. Workers of a dispatcher that
    /// died link again within 2 s of its successor's start.
    /// </summary>
    public static readonly DispatchLimits Cluster = Embedded with { ReconnectGrace = TimeSpan.FromSeconds(7), AdoptOnly = TimeSpan.FromSeconds(4) };
}

/// <summary>A device class of the farm's configuration: a named set of properties. A job counts for the first that satisfies it.</summary>
/// <param name="Name">E.g. <c>cpu-x64</c>.</param>
/// <param name="Require">Property name to required value.</param>
public sealed record DeviceClass(string Name, ImmutableArray<Requirement> Require)
{
    /// <summary>The classes of a farm without a configuration of its own, most specific first.</summary>
    public static readonly ImmutableArray<DeviceClass> Defaults =
    [
        new("cuda", [new("gpu.vendor", "nvidia")]),
        new("intel-npu", [new("device.kind", "npu"), new("cpu.vendor", "intel")]),
        new("intel-gpu", [new("gpu.vendor", "intel")]),
        new("apple-silicon", [new("os", "macos"), new("arch", "arm64")]),
        new("snapdragon-x", [new("gpu.vendor", "qualcomm")]),
        new("vulkan", [new("gpu.backend", "Vulkan")]),
        new("cpu-x64", [new("device.kind", "cpu"), new("arch", "x64")]),
        new("cpu-arm64", [new("device.kind", "cpu"), new("arch", "arm64")]),
    ];
}

/// <summary>Why a job waits, as values.</summary>
/// <param name="JobId">The job.</param>
/// <param name="Position">Its place in the queue, from 1; 0 when it runs.</param>
/// <param name="Reason">One line, e.g. <c>no worker has arch = arm64</c>, <c>host x is busy with a benchmark</c>.</param>
/// <param name="Nearest">The workers that come nearest and what each lacks, best first; at most five.</param>
public sealed record WaitExplanation(string JobId, int Position, string Reason, ImmutableArray<NearWorker> Nearest);

/// <summary>A worker and what it lacks for a job.</summary>
/// <param name="Worker">Its name.</param>
/// <param name="Lacks">What it lacks; empty when it could take the job but is busy.</param>
/// <param name="Busy">What keeps it busy, when it lacks nothing.</param>
public sealed record NearWorker(string Worker, ImmutableArray<Lack> Lacks, string Busy);

/// <summary>Where jobs with some requirements could run, for a dry run.</summary>
/// <param name="Requirements">The requirements.</param>
/// <param name="Devices">Devices of linked workers that could take them; empty when none can.</param>
/// <param name="DeviceClass">Class that such jobs count for; <c>none</c> when no class is known.</param>
/// <param name="Nearest">The workers that come nearest and what each lacks, best first; at most five.</param>
public sealed record Placement(
    JobRequirements Requirements,
    ImmutableArray<DeviceAddress> Devices,
    string DeviceClass,
    ImmutableArray<NearWorker> Nearest);
