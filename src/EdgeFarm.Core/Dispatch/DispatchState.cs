using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

/// <summary>
/// The dispatcher, decided: who runs what, where and until when. It keeps nothing durable: after a restart, sweeps queue their
/// ready jobs again and workers say what they hold. Deterministic: no clock, no randomness, no I/O. Not thread-safe.
/// A lost attempt is reported to its sweep as <see cref="FailureType.WorkerLost"/>, one of a worker that stops as
/// <see cref="FailureType.HandedBack"/>, and the sweep queues the job again under the next attempt number, so that one number names one
/// start; only a lease that certainly never started is given again as it is.
/// </summary>
public sealed partial class DispatchState
{
    /// <summary>Benchmarks in a row on a host before shared jobs that wait for it have a turn.</summary>
    private const int MaxStreak = 8;

    private const int MaxRecent = 4096;
    private const int MaxIdleSignatures = 4096;

    /// <summary>
    /// How long an outcome is handed on from memory. It bridges the moment until the cache has it and no more: whether its artifacts
    /// are still in the store only the cache looks up.
    /// </summary>
    private static readonly TimeSpan RecentFor = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RepeatAfter = TimeSpan.FromSeconds(10);

    /// <summary>
    /// A sweep whose coordinator died starts elsewhere with the first message that comes after the dead one's removal (8 s), so its reports
    /// come again sooner than all else. They are no more than workers have slots.
    /// </summary>
    private static readonly TimeSpan ReportAgainAfter = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan ForgetGroupAfter = TimeSpan.FromHours(1);
    private static readonly TimeSpan UnknownLeaseLimit = TimeSpan.FromHours(24);

    private readonly DispatchLimits _limits;
    private readonly ImmutableArray<DeviceClass> _classes;
    private readonly Dictionary<string, WorkerNode> _workers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, WorkerNode> _links = new(StringComparer.Ordinal);
    private readonly Dictionary<string, HostNode> _hosts = new(StringComparer.Ordinal);
    private readonly Dictionary<long, LeaseNode> _leases = [];
    private readonly Dictionary<string, QueueEntry> _entries = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _jobsBySweep = new(StringComparer.Ordinal);

    /// <summary>Leases that a worker brought for jobs that their sweeps have not queued (yet), by job.</summary>
    private readonly Dictionary<string, LeaseNode> _unclaimed = new(StringComparer.Ordinal);
    private readonly Dictionary<string, SweepQueue> _queues = new(StringComparer.Ordinal);

    /// <summary>Sweeps with waiting jobs; the next to be served stands first.</summary>
    private readonly LinkedList<SweepQueue> _ring = new();
    private readonly Dictionary<(string Sweep, string Group), GroupNode> _groups = [];
    private readonly Dictionary<(string Sweep, string Stem), List<GroupNode>> _siblings = [];
    private readonly Dictionary<JobDemand, Signature> _signatures = [];

    private readonly Dictionary<Digest, QueueEntry> _leaders = [];
    private readonly Dictionary<Digest, (JobOutcome Outcome, DateTimeOffset At)> _recent = [];
    private readonly Queue<(Digest Action, DateTimeOffset At)> _recentOrder = [];
    private readonly Dictionary<string, QueueEntry> _reporting = new(StringComparer.Ordinal);

    /// <summary>Results that were passed on to sweeps that have not stored them yet.</summary>
    private readonly Dictionary<AttemptKey, PassedOn> _passedOn = [];

    /// <summary>The last of them for each job.</summary>
    private readonly Dictionary<string, AttemptKey> _passedJobs = new(StringComparer.Ordinal);
    private readonly List<HostNode> _dirty = [];
    private readonly HashSet<HostNode> _isDirty = [];
    private List<DispatchEffect> _effects = [];
    private DateTimeOffset _now;
    private DateTimeOffset? _start;
    private bool _open;
    private long _nextFence;
    private long _nextOrder;
    private int _exclusiveWaiting;
    private long _exclusiveVersion;

    /// <summary>A dispatcher that starts.</summary>
    /// <param name="limits">Its time limits.</param>
    /// <param name="classes">Device classes, most specific first.</param>
    /// <param name="firstFence">Greater than any fence that the farm gave before, at least 1.</param>
    public DispatchState(DispatchLimits limits, ImmutableArray<DeviceClass> classes, long firstFence)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(firstFence, 1);
        _limits = limits;
        _classes = classes;
        _nextFence = firstFence;
    }

    /// <summary>The fence that the next lease will have.</summary>
    public long NextFence => _nextFence;

    /// <summary>Handles one input. Effects are to be run in order; a crash may come between any two.</summary>
    public IReadOnlyList<DispatchEffect> Handle(DispatchInput input, DateTimeOffset now)
    {
        _effects = [];
        _start ??= now;
        _now = now;
        switch (input)
        {
            case DispatchInput.WorkerLinked linked:
                Linked(linked, now);
                break;
            case DispatchInput.CreditAnnounced announced:
                Announced(announced);
                break;
            case DispatchInput.LinkLost lost:
                LinkLost(lost.Link, now);
                break;
            case DispatchInput.WorkerDraining draining:
                Draining(draining.Link);
                break;
            case DispatchInput.LeaseReturned returned:
                Returned(returned, now);
                break;
            case DispatchInput.JobsQueued queued:
                Queued(queued.Jobs, now);
                break;
            case DispatchInput.JobsWithdrawn withdrawn:
                Withdrawn(withdrawn, now);
                break;
            case DispatchInput.ResultReported reported:
                Reported(reported, now);
                break;
            case DispatchInput.ResultsStored stored:
                Stored(stored, now);
                break;
            case DispatchInput.Tick:
                Tick(now);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(input), input.GetType().Name, "unknown dispatch input");
        }

        Schedule(now);
        return _effects;
    }

    private void Tick(DateTimeOffset now)
    {
        foreach (var worker in _workers.Values.Where(w => w.Link is null && w.LostAt + _limits.ReconnectGrace <= now).ToList())
        {
            foreach (var lease in worker.Leases.Values.ToList())
            {
                Lose(lease, $"worker {worker.Name} was lost and did not come back within {_limits.ReconnectGrace.TotalSeconds:0} s", now);
            }

            Forget(worker);
        }

        foreach (var lease in _leases.Values.Where(l => l.Worker.Link is not null).ToList())
        {
            if (lease.Revoking && lease.RevokedAt + RepeatAfter <= now)
            {
                Revoke(lease, "revoked before", now);
            }
            else if (!lease.Revoking && lease.Deadline <= now)
            {
                var entry = lease.Entry;
                Revoke(lease, "its deadline passed", now);
                if (entry is not null)
                {
                    ReportLost(entry, lease, FailureType.WorkerLost, $"worker {lease.Worker.Name} brought no result by the deadline of the lease", now);
                }
            }
        }

        // Messages between coordinators may be lost; a sweep that knows an end already only acknowledges it again.
        foreach (var entry in _reporting.Values.Where(e => e.ReportedAt + ReportAgainAfter <= now))
        {
            entry.ReportedAt = now;
            _effects.Add(new DispatchEffect.Report(entry.Job.Sweep, entry.Report!));
        }

        foreach (var passed in _passedOn.Values.Where(p => p.At + ReportAgainAfter <= now))
        {
            passed.At = now;
            _effects.Add(new DispatchEffect.Report(passed.Sweep, passed.Report));
        }

        WatchDevices(now);
        Forget(now);
    }

    /// <summary>Tells sweeps of bound devices that have been away too long while benchmarks wait for them.</summary>
    private void WatchDevices(DateTimeOffset now)
    {
        if (_exclusiveWaiting == 0)
        {
            return;
        }

        foreach (var bucket in _ring.SelectMany(q => q.Exclusive).Where(b => b.Group!.Binding is not null))
        {
            var group = bucket.Group!;
            if (!group.Suspended && Serves(bucket, _hosts.GetValueOrDefault(group.Binding!.HostId)))
            {
                group.AwaySince = null;
                continue;
            }

            group.AwaySince ??= now;
            if (group.Suspended ? group.ToldAt + RepeatAfter <= now : group.AwaySince + _limits.DeviceLostAfter <= now)
            {
                (group.Suspended, group.ToldAt) = (true, now);
                BindingsChanged();
                _effects.Add(new DispatchEffect.NotifyDeviceLost(group.Sweep, group.Name, group.Binding!));
            }
        }
    }

    private void Forget(DateTimeOffset now)
    {
        while (_recentOrder.TryPeek(out var oldest) && (oldest.At + RecentFor <= now || _recentOrder.Count > MaxRecent))
        {
            _recentOrder.Dequeue();
            if (_recent.TryGetValue(oldest.Action, out var kept) && kept.At == oldest.At)
            {
                _recent.Remove(oldest.Action);
            }
        }

        foreach (var group in _groups.Values.Where(g => g.Entries == 0 && g.IdleSince + ForgetGroupAfter <= now).ToList())
        {
            _groups.Remove((group.Sweep, group.Name));
            var siblings = _siblings[(group.Sweep, group.Parts.Stem)];
            siblings.Remove(group);
            if (siblings.Count == 0)
            {
                _siblings.Remove((group.Sweep, group.Parts.Stem));
            }
        }

        if (_signatures.Count > MaxIdleSignatures)
        {
            foreach (var (demand, signature) in _signatures.Where(s => s.Value.Buckets == 0).ToList())
            {
                _signatures.Remove(demand);
                foreach (var worker in signature.Eligible.Keys)
                {
                    worker.Signatures.Remove(signature);
                }
            }
        }
    }

    private HostNode Host(string id)
    {
        if (!_hosts.TryGetValue(id, out var host))
        {
            _hosts.Add(id, host = new HostNode(id));
        }

        return host;
    }

    private void MarkDirty(HostNode host)
    {
        if (_isDirty.Add(host))
        {
            _dirty.Add(host);
        }
    }

    private string ClassOf(WorkerNode worker, string deviceId) => worker.DeviceClasses.GetValueOrDefault(deviceId, "");
}
