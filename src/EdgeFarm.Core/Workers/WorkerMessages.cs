using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Workers;

/// <summary>The end of an attempt that the farm has not acknowledged yet. It is kept on the worker's disk.</summary>
/// <param name="Lease">What was run.</param>
/// <param name="Outcome">How it ended.</param>
public sealed record PendingResult(Lease Lease, JobOutcome Outcome);

/// <summary>What a worker is told.</summary>
public abstract record WorkerInput
{
    /// <summary>A link to a coordinator is up.</summary>
    public sealed record LinkUp(string Link) : WorkerInput;

    /// <summary>The link broke.</summary>
    public sealed record LinkDown(string Link) : WorkerInput;

    /// <summary>A lease came over a link.</summary>
    public sealed record LeaseOffered(string Link, Lease Lease, long Sequence) : WorkerInput;

    /// <summary>A lease was revoked.</summary>
    public sealed record LeaseRevoked(AttemptKey Key, string Reason) : WorkerInput;

    /// <summary>A running attempt ended.</summary>
    public sealed record AttemptEnded(AttemptKey Key, JobOutcome Outcome) : WorkerInput;

    /// <summary>A result is on this worker's disk.</summary>
    public sealed record ResultKept(AttemptKey Key) : WorkerInput;

    /// <summary>The farm holds a result durably.</summary>
    public sealed record ResultAcknowledged(AttemptKey Key) : WorkerInput;

    /// <summary>The worker is asked to stop: no new lease; what still runs at the deadline is handed back.</summary>
    public sealed record DrainRequested(DateTimeOffset Deadline) : WorkerInput;

    /// <summary>Time passed.</summary>
    public sealed record Tick : WorkerInput;
}

/// <summary>What a worker wants done.</summary>
public abstract record WorkerEffect
{
    /// <summary>Introduce the worker on a new link: leases that it holds (running, or ended and not acknowledged).</summary>
    public sealed record SendHello(string Link, ImmutableArray<HeldLease> Held) : WorkerEffect;

    /// <summary>Announce absolute credit.</summary>
    public sealed record SendCredit(string Link, WorkerCredit Credit) : WorkerEffect;

    /// <summary>Start the child of a lease.</summary>
    public sealed record Start(Lease Lease) : WorkerEffect;

    /// <summary>Kill the child of an attempt.</summary>
    public sealed record Kill(AttemptKey Key, string Reason) : WorkerEffect;

    /// <summary>Keep a result on disk; answer with <see cref="WorkerInput.ResultKept"/>.</summary>
    public sealed record KeepResult(PendingResult Result) : WorkerEffect;

    /// <summary>Forget a kept result.</summary>
    public sealed record ForgetResult(AttemptKey Key) : WorkerEffect;

    /// <summary>Report a result.</summary>
    public sealed record SendResult(string Link, PendingResult Result) : WorkerEffect;

    /// <summary>Hand a lease back unfinished.</summary>
    public sealed record SendReturn(string Link, AttemptKey Key) : WorkerEffect;

    /// <summary>Tell the farm that no new lease is taken.</summary>
    public sealed record SendDraining(string Link) : WorkerEffect;

    /// <summary>Nothing runs and nothing waits for acknowledgement: the worker may exit.</summary>
    public sealed record Drained : WorkerEffect;
}
