using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

public sealed partial class DispatchState
{
    /// <summary>A lease is lost with its worker: the attempt is reported, the sweep queues another.</summary>
    private void Lose(LeaseNode lease, string reason, DateTimeOffset now) => Lose(lease, FailureType.WorkerLost, reason, now);

    private void Lose(LeaseNode lease, FailureType type, string reason, DateTimeOffset now)
    {
        var entry = lease.Revoking ? null : lease.Entry;
        Release(lease);
        if (entry is not null)
        {
            ReportLost(entry, lease, type, reason, now);
        }
    }

    private void ReportLost(QueueEntry entry, LeaseNode lease, FailureType type, string reason, DateTimeOffset now)
    {
        // The loss has a fence of its own: that it is durable must not acknowledge a result which the worker may still bring.
        var outcome = new JobOutcome(null, new Failure(type, reason), default, lease.Since, now);
        var device = new DeviceAddress(lease.Worker.Host.Id, lease.DeviceId);
        Report(
            entry,
            new JobReport(
                entry.Id,
                lease.Key.Attempt,
                _nextFence++,
                outcome,
                lease.Worker.Name,
                device,
                ClassOf(lease.Worker, lease.DeviceId),
                false,
                entry.Job.Job.Action),
            now);
    }

    private LeaseNode Record(
        WorkerNode worker, HeldLease held, QueueEntry? entry, DateTimeOffset since, DateTimeOffset deadline, bool revoking)
    {
        var lease = new LeaseNode(held.Key, held.Sweep, held.DeviceId, held.Exclusive, worker)
        {
            Entry = entry,
            Since = since,
            Deadline = deadline,
            Ended = held.Ended,
            Revoking = revoking,
        };
        if (entry is not null)
        {
            entry.Lease = lease;
        }

        Occupy(lease);
        return lease;
    }

    private void Occupy(LeaseNode lease)
    {
        _leases.Add(lease.Key.Fence, lease);
        lease.Worker.Leases.Add(lease.Key.Fence, lease);
        if (!lease.Ended)
        {
            lease.Worker.Host.Active++;
            lease.Worker.Host.Exclusives += lease.Exclusive ? 1 : 0;
            _exclusiveVersion += lease.Exclusive ? 1 : 0;
        }
    }

    private void Release(LeaseNode lease)
    {
        if (!_leases.Remove(lease.Key.Fence))
        {
            return;
        }

        lease.Worker.Leases.Remove(lease.Key.Fence);
        if (_unclaimed.TryGetValue(lease.Key.JobId, out var unclaimed) && unclaimed == lease)
        {
            _unclaimed.Remove(lease.Key.JobId);
        }

        var host = lease.Worker.Host;
        if (!lease.Ended)
        {
            host.Active--;
            host.Exclusives -= lease.Exclusive ? 1 : 0;
            _exclusiveVersion += lease.Exclusive ? 1 : 0;
        }

        MarkDirty(host);
    }

    /// <summary>Tells the worker to kill an attempt. Its machine stays taken until the worker confirms.</summary>
    private void Revoke(LeaseNode lease, string reason, DateTimeOffset now)
    {
        if (lease.Entry is { } entry)
        {
            entry.Lease = null;
            lease.Entry = null;
        }

        if (_unclaimed.TryGetValue(lease.Key.JobId, out var unclaimed) && unclaimed == lease)
        {
            _unclaimed.Remove(lease.Key.JobId);
        }

        lease.Revoking = true;
        lease.RevokedAt = now;
        if (lease.Worker.Link is { } link)
        {
            _effects.Add(new DispatchEffect.SendRevoke(link, lease.Key, reason));
        }
    }
}
