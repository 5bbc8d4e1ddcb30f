using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Workers;

/// <summary>
/// One worker, decided: its slots, the attempts that run, the results that the farm has not acknowledged. Pure and deterministic.
/// A result is kept on disk before it is sent, and sent again on every new link until it is acknowledged. Not thread-safe.
/// </summary>
public sealed class WorkerState
{
    private readonly int _slots;
    private readonly SortedDictionary<long, Attempt> _attempts = [];
    private string? _link;

    /// <summary>Attempts whose child runs. Counted, because results that wait for their acknowledgement may be thousands.</summary>
    private int _running;

    /// <summary>How many of those own the machine.</summary>
    private int _exclusive;
    private long _sequence;
    private DateTimeOffset? _drainDeadline;
    private bool _drained;

    /// <summary>A worker that starts.</summary>
    /// <param name="slots">Shared jobs that it runs at once, at least 1.</param>
    /// <param name="kept">Results found on its disk: kept and not acknowledged before it stopped.</param>
    public WorkerState(int slots, ImmutableArray<PendingResult> kept)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(slots, 1);
        _slots = slots;
        foreach (var result in kept)
        {
            _attempts[result.Lease.Fence] = new Attempt(result.Lease) { Phase = Phase.Kept, Outcome = result.Outcome };
        }
    }

    /// <summary>Whether it was asked to stop.</summary>
    public bool IsDraining => _drainDeadline is not null;

    /// <summary>Leases whose child runs, in the order in which they were given.</summary>
    public IEnumerable<Lease> Running => _attempts.Values.Where(a => a.Phase == Phase.Running).Select(a => a.Lease);

    /// <summary>Results that the farm has not acknowledged, in the order in which their leases were given.</summary>
    public IEnumerable<PendingResult> Pending =>
        _attempts.Values.Where(a => a.Phase != Phase.Running).Select(a => new PendingResult(a.Lease, a.Outcome!));

    /// <summary>Free capacity now.</summary>
    public WorkerCredit Credit => IsDraining || _exclusive > 0
        ? new WorkerCredit(0, false, _sequence)
        : new WorkerCredit(Math.Max(0, _slots - _running), _running == 0, _sequence);

    /// <summary>Handles one input. Effects are to be run in order; a crash may come between any two.</summary>
    public IReadOnlyList<WorkerEffect> Handle(WorkerInput input, DateTimeOffset now)
    {
        var effects = new List<WorkerEffect>();
        switch (input)
        {
            case WorkerInput.LinkUp up:
                Introduce(up.Link, effects);
                break;
            case WorkerInput.LinkDown down when down.Link == _link:
                _link = null;
                break;
            case WorkerInput.LinkDown:
                break;
            case WorkerInput.LeaseOffered offer when offer.Link == _link:
                Offer(offer, effects);
                break;
            case WorkerInput.LeaseOffered:
                // Of a link that is gone: the hello on the next one tells the farm that this lease is not held.
                break;
            case WorkerInput.LeaseRevoked revoked:
                Revoke(revoked, effects);
                break;
            case WorkerInput.AttemptEnded ended:
                End(ended, effects);
                break;
            case WorkerInput.ResultKept kept:
                Keep(kept.Key, effects);
                break;
            case WorkerInput.ResultAcknowledged acknowledged:
                Acknowledge(acknowledged.Key, effects);
                break;
            case WorkerInput.DrainRequested drain:
                Drain(drain.Deadline, effects);
                break;
            case WorkerInput.Tick:
                Tick(now, effects);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(input), input.GetType().Name, "unknown worker input");
        }

        if (IsDraining && !_drained && IsIdle(now))
        {
            _drained = true;
            effects.Add(new WorkerEffect.Drained());
        }

        return effects;
    }

    private void Introduce(string link, List<WorkerEffect> effects)
    {
        _link = link;
        _sequence = 0;
        effects.Add(new WorkerEffect.SendHello(link, [.. _attempts.Values.Select(a => a.Held)]));
        foreach (var attempt in _attempts.Values.Where(a => a.Phase == Phase.Kept))
        {
            effects.Add(new WorkerEffect.SendResult(link, new PendingResult(attempt.Lease, attempt.Outcome!)));
        }

        if (IsDraining)
        {
            effects.Add(new WorkerEffect.SendDraining(link));
        }

        SendCredit(effects);
    }

    private void Offer(WorkerInput.LeaseOffered offer, List<WorkerEffect> effects)
    {
        _sequence = Math.Max(_sequence, offer.Sequence);
        if (_attempts.TryGetValue(offer.Lease.Fence, out var known))
        {
            if (known.Lease.Key != offer.Lease.Key)
            {
                // A fence of another farm, or of this one before its database was set back: handed back, so that it is given under a new fence.
                effects.Add(new WorkerEffect.SendReturn(offer.Link, offer.Lease.Key));
                SendCredit(effects);
            }

            return;
        }

        var credit = Credit;
        if (offer.Lease.Job.Spec.IsExclusive ? !credit.Exclusive : credit.Shared == 0)
        {
            effects.Add(new WorkerEffect.SendReturn(offer.Link, offer.Lease.Key));
            SendCredit(effects);
            return;
        }

        _attempts.Add(offer.Lease.Fence, new Attempt(offer.Lease));
        _running++;
        _exclusive += offer.Lease.Job.Spec.IsExclusive ? 1 : 0;
        effects.Add(new WorkerEffect.Start(offer.Lease));
    }

    private void Revoke(WorkerInput.LeaseRevoked revoked, List<WorkerEffect> effects)
    {
        if (Find(revoked.Key) is not { } attempt)
        {
            // Confirmed all the same: the farm keeps the machine taken until it knows that nothing runs.
            SendReturn(revoked.Key, effects);
        }
        else if (attempt is { Phase: Phase.Running, Revoked: false })
        {
            attempt.Revoked = true;
            effects.Add(new WorkerEffect.Kill(revoked.Key, revoked.Reason));
        }
    }

    private void End(WorkerInput.AttemptEnded ended, List<WorkerEffect> effects)
    {
        if (Find(ended.Key) is not { Phase: Phase.Running } attempt)
        {
            return;
        }

        _running--;
        _exclusive -= attempt.Lease.Job.Spec.IsExclusive ? 1 : 0;
        if (attempt.Revoked)
        {
            _attempts.Remove(ended.Key.Fence);
            SendReturn(ended.Key, effects);
        }
        else
        {
            attempt.Phase = Phase.Keeping;
            attempt.Outcome = ended.Outcome;
            effects.Add(new WorkerEffect.KeepResult(new PendingResult(attempt.Lease, ended.Outcome)));
        }

        SendCredit(effects);
    }

    private void Keep(AttemptKey key, List<WorkerEffect> effects)
    {
        if (Find(key) is not { Phase: Phase.Keeping } attempt)
        {
            return;
        }

        attempt.Phase = Phase.Kept;
        if (_link is { } link)
        {
            effects.Add(new WorkerEffect.SendResult(link, new PendingResult(attempt.Lease, attempt.Outcome!)));
        }
    }

    private void Acknowledge(AttemptKey key, List<WorkerEffect> effects)
    {
        if (Find(key) is { Phase: Phase.Kept })
        {
            _attempts.Remove(key.Fence);
            effects.Add(new WorkerEffect.ForgetResult(key));
        }
    }

    private void Drain(DateTimeOffset deadline, List<WorkerEffect> effects)
    {
        var first = !IsDraining;
        _drainDeadline = deadline;
        if (first && _link is { } link)
        {
            effects.Add(new WorkerEffect.SendDraining(link));
            SendCredit(effects);
        }
    }

    private void Tick(DateTimeOffset now, List<WorkerEffect> effects)
    {
        if (_drainDeadline <= now)
        {
            foreach (var attempt in _attempts.Values.Where(a => a is { Phase: Phase.Running, Revoked: false }))
            {
                attempt.Revoked = true;
                effects.Add(new WorkerEffect.Kill(attempt.Lease.Key, "the worker stops"));
            }
        }

        SendCredit(effects);
    }

    /// <summary>Nothing runs, and every result is acknowledged or, past the deadline, at least on disk.</summary>
    private bool IsIdle(DateTimeOffset now) =>
        _attempts.Values.All(a => a.Phase == Phase.Kept) && (_attempts.Count == 0 || _drainDeadline <= now);

    private Attempt? Find(AttemptKey key) => _attempts.TryGetValue(key.Fence, out var attempt) && attempt.Lease.Key == key ? attempt : null;

    private void SendReturn(AttemptKey key, List<WorkerEffect> effects)
    {
        if (_link is { } link)
        {
            effects.Add(new WorkerEffect.SendReturn(link, key));
        }
    }

    private void SendCredit(List<WorkerEffect> effects)
    {
        if (_link is { } link)
        {
            effects.Add(new WorkerEffect.SendCredit(link, Credit));
        }
    }

    private enum Phase
    {
        Running,
        Keeping,
        Kept,
    }

    private sealed class Attempt(Lease lease)
    {
        public Lease Lease { get; } = lease;

        public Phase Phase { get; set; }

        public JobOutcome? Outcome { get; set; }

        /// <summary>Its child is being killed; how it ends is of no interest any more.</summary>
        public bool Revoked { get; set; }

        public HeldLease Held => new(Lease.Key, Lease.Sweep, Lease.DeviceId, Lease.Job.Spec.IsExclusive) { Ended = Phase != Phase.Running };
    }
}
