using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

public sealed partial class DispatchState
{
    private void Enqueue(QueueEntry entry, bool first)
    {
        var spec = entry.Spec;
        var signature = SignatureOf(entry.Job);
        if (!_queues.TryGetValue(entry.Job.Sweep, out var queue))
        {
            _queues.Add(entry.Job.Sweep, queue = new SweepQueue(entry.Job.Sweep));
            queue.Place = _ring.AddLast(queue);
        }

        var priority = spec.Kind switch { JobKind.Import => 0, JobKind.Optimize => 1, _ => 2 };
        if (!queue.Buckets.TryGetValue((signature, entry.Group, priority), out var bucket))
        {
            bucket = new Bucket(queue, signature, entry.Group, priority);
            queue.Buckets.Add((signature, entry.Group, priority), bucket);
            signature.Buckets++;
            var list = bucket.Group is null ? queue.Shared : queue.Exclusive;
            var index = list.FindIndex(b => b.Priority > priority);
            list.Insert(index < 0 ? list.Count : index, bucket);
        }

        entry.State = EntryState.Queued;
        entry.QueuedAt = _now;
        entry.Bucket = bucket;
        entry.Place = first ? bucket.Queue.AddFirst(entry) : bucket.Queue.AddLast(entry);
        if (bucket.Group is null)
        {
            signature.SharedWaiting++;
        }
        else
        {
            _exclusiveWaiting++;
            _exclusiveVersion++;
        }

        if (bucket.Queue.Count == 1 || first)
        {
            foreach (var worker in signature.Eligible.Keys)
            {
                MarkDirty(worker.Host);
            }
        }
    }

    private void Dequeue(QueueEntry entry)
    {
        if (entry.Bucket is not { } bucket)
        {
            return;
        }

        bucket.Queue.Remove(entry.Place!);
        (entry.Bucket, entry.Place) = (null, null);
        if (bucket.Group is null)
        {
            bucket.Signature.SharedWaiting--;
        }
        else
        {
            _exclusiveWaiting--;
            _exclusiveVersion++;
        }

        if (bucket.Queue.Count > 0)
        {
            return;
        }

        bucket.Signature.Buckets--;
        var queue = bucket.Sweep;
        queue.Buckets.Remove((bucket.Signature, bucket.Group, bucket.Priority));
        (bucket.Group is null ? queue.Shared : queue.Exclusive).Remove(bucket);
        if (bucket.ReservedHost is { } host)
        {
            // Shared jobs that were held back for it may go on.
            host.Reservation = null;
            bucket.ReservedHost = null;
            MarkDirty(host);
        }

        if (queue.Buckets.Count == 0)
        {
            _ring.Remove(queue.Place!);
            _queues.Remove(queue.Id);
        }
    }

    private Signature SignatureOf(QueuedJob job)
    {
        var demand = JobDemand.Of(job);
        if (!_signatures.TryGetValue(demand, out var signature))
        {
            _signatures.Add(demand, signature = new Signature(demand));
            foreach (var worker in _workers.Values)
            {
                signature.Update(worker);
            }
        }

        return signature;
    }

    private void Schedule(DateTimeOffset now)
    {
        if (!_open)
        {
            if (now < _start + _limits.AdoptOnly)
            {
                return;
            }

            _open = true;
            foreach (var host in _hosts.Values)
            {
                MarkDirty(host);
            }
        }

        for (var i = 0; i < _dirty.Count; i++)
        {
            _isDirty.Remove(_dirty[i]);
            Fill(_dirty[i], now);
        }

        _dirty.Clear();
        _isDirty.Clear();
    }

    /// <summary>Gives a host what it can take now.</summary>
    private void Fill(HostNode host, DateTimeOffset now)
    {
        while (host.Exclusives == 0)
        {
            if (host.Active == 0)
            {
                if (host.Streak >= MaxStreak && host.Workers.Values.Any(w => FindShared(w) is not null))
                {
                    (host.Streak, host.SharedTurn) = (0, host.Workers.Values.Sum(w => w.Capability.Slots));
                }

                if (host.SharedTurn == 0 && GiveExclusive(host, now))
                {
                    return;
                }
            }

            if (host.SharedTurn == 0 && IsReserved(host))
            {
                return;
            }

            var turn = host.SharedTurn > 0;
            var given = GiveShared(host, now);
            if (!turn || (host.SharedTurn > 0 && given > 0))
            {
                return;
            }

            // The turn of the shared jobs is over: the benchmarks that wait are looked at again.
            host.SharedTurn = 0;
        }
    }

    private bool GiveExclusive(HostNode host, DateTimeOffset now)
    {
        if (_exclusiveWaiting == 0)
        {
            return false;
        }

        foreach (var worker in host.Workers.Values)
        {
            if (worker.ExclusiveFree && FindExclusive(worker) is { } bucket && DeviceFor(bucket, worker) is { } device)
            {
                Give(bucket, worker, device, now);
                return true;
            }
        }

        return false;
    }

    private int GiveShared(HostNode host, DateTimeOffset now)
    {
        var given = 0;
        foreach (var worker in host.Workers.Values)
        {
            while (FindShared(worker) is { } bucket)
            {
                Give(bucket, worker, bucket.Signature.FirstDevice(worker)!, now);
                given++;
                if (host.SharedTurn > 0 && --host.SharedTurn == 0)
                {
                    return given;
                }
            }
        }

        return given;
    }

    /// <summary>The bucket whose first job a worker should get, or null.</summary>
    private Bucket? FindShared(WorkerNode worker)
    {
        if (worker.SharedFree == 0 || !HasShared(worker))
        {
            return null;
        }

        foreach (var queue in _ring)
        {
            foreach (var bucket in queue.Shared)
            {
                if (bucket.Signature.FirstDevice(worker) is not null)
                {
                    return bucket;
                }
            }
        }

        return null;
    }

    /// <summary>Whether any shared job waits that a worker should get: with thousands of sweeps in the ring, most looks end here.</summary>
    private static bool HasShared(WorkerNode worker)
    {
        foreach (var signature in worker.Signatures)
        {
            if (signature.SharedWaiting > 0 && signature.FirstDevice(worker) is not null)
            {
                return true;
            }
        }

        return false;
    }

    private Bucket? FindExclusive(WorkerNode worker) =>
        worker.Host.Reservation is { } reserved && DeviceFor(reserved, worker) is not null
            ? reserved
            : _ring.Select(q => q.Exclusive.Find(b => DeviceFor(b, worker) is not null)).FirstOrDefault(b => b is not null);

    /// <summary>The device of a worker on which a benchmark may run, or null.</summary>
    internal Device? DeviceFor(Bucket bucket, WorkerNode worker)
    {
        var group = bucket.Group!;
        if (group.Suspended)
        {
            return null;
        }

        if (group.Binding is { } bound)
        {
            // A comparison stays on its device, whatever its jobs would rather avoid.
            return bound.HostId == worker.Host.Id && bucket.Signature.Eligible.TryGetValue(worker, out var devices)
                ? devices.FirstOrDefault(d => d.Id == bound.DeviceId)
                : null;
        }

        // What may not be used is taken out first: a wish must not choose a device that is another number's.
        return bucket.Signature.Devices(worker, (w, d) => !IsTaken(group, new DeviceAddress(w.Host.Id, d.Id))).FirstOrDefault();
    }

    /// <summary>Whether a device measures another number of the group's target, as its sweep or this dispatcher knows.</summary>
    private bool IsTaken(GroupNode group, DeviceAddress device)
    {
        var siblings = _siblings[(group.Sweep, group.Parts.Stem)];
        return group.NotOn.Contains(device)
            || siblings.Exists(s => s.Parts.Number != group.Parts.Number
                && s.Binding == device
                && !siblings.Exists(later => later.Parts.Number == s.Parts.Number && later.Parts.Round > s.Parts.Round));
    }

    private bool Serves(Bucket bucket, HostNode? host) => host is not null && host.Workers.Values.Any(w => DeviceFor(bucket, w) is not null);

    /// <summary>
    /// Whether new shared jobs must stay away because a benchmark waits for the host. A benchmark that could run on several hosts
    /// keeps one of them free, the one with the least to finish, so that the others go on.
    /// </summary>
    private bool IsReserved(HostNode host)
    {
        if (host.Reservation is { } reserved)
        {
            if (reserved.Queue.Count > 0 && Serves(reserved, host))
            {
                return true;
            }

            Unreserve(host);
        }

        if (_exclusiveWaiting == 0 || host.CheckedVersion == _exclusiveVersion)
        {
            return false;
        }

        foreach (var bucket in _ring.SelectMany(q => q.Exclusive))
        {
            if (bucket.ReservedHost is { } kept && kept.Reservation == bucket && kept != host && Serves(bucket, kept))
            {
                continue;
            }

            if (BestHost(bucket) is not { } best)
            {
                continue;
            }

            if (bucket.ReservedHost is { } earlier && earlier.Reservation == bucket)
            {
                Unreserve(earlier);
            }

            best.Reservation = bucket;
            bucket.ReservedHost = best;
            if (best == host)
            {
                return true;
            }
        }

        host.CheckedVersion = _exclusiveVersion;
        return false;
    }

    private HostNode? BestHost(Bucket bucket)
    {
        HostNode? best = null;
        foreach (var worker in bucket.Signature.Eligible.Keys)
        {
            var host = worker.Host;
            if (host.Exclusives == 0 && host.Reservation is null && DeviceFor(bucket, worker) is not null
                && (best is null || (host.Active, host.Id).CompareTo((best.Active, best.Id)) < 0))
            {
                best = host;
            }
        }

        return best;
    }

    private static void Unreserve(HostNode host)
    {
        host.Reservation!.ReservedHost = null;
        host.Reservation = null;
    }

    private void Give(Bucket bucket, WorkerNode worker, Device device, DateTimeOffset now)
    {
        var entry = bucket.Queue.First!.Value;
        var queue = bucket.Sweep;
        var exclusive = bucket.Group is not null;
        if (exclusive)
        {
            BindTo(bucket.Group!, new DeviceAddress(worker.Host.Id, device.Id));
            worker.Host.Streak++;
        }
        else
        {
            worker.Host.Streak = 0;
        }

        Dequeue(entry);
        if (_queues.ContainsKey(queue.Id))
        {
            // Round robin: the sweep that was served goes to the end.
            _ring.Remove(queue.Place!);
            _ring.AddLast(queue.Place!);
        }

        var execution = TimeSpan.FromSeconds(entry.Spec.TimeoutSeconds);
        var key = new AttemptKey(entry.Id, entry.Job.Attempt, _nextFence++);
        var lease = new LeaseNode(key, entry.Job.Sweep, device.Id, exclusive, worker)
        {
            Entry = entry,
            Since = now,

            // The worker may wait for its machine as long as for the execution itself.
            Deadline = now + _limits.TransferTimeout + execution + execution + _limits.TransferTimeout + _limits.LeaseSlack,
        };
        Occupy(lease);
        (entry.State, entry.Lease) = (EntryState.Leased, lease);
        worker.InFlight.Enqueue((++worker.Sent, exclusive));
        _effects.Add(new DispatchEffect.SendLease(
            worker.Link!,
            new Lease(entry.Job.Job, entry.Job.Sweep, key.Attempt, key.Fence, device.Id, _limits.TransferTimeout, execution) { TraceParent = entry.Job.TraceParent },
            worker.Sent)
        {
            QueuedAt = entry.QueuedAt,
        });
        _effects.Add(new DispatchEffect.NotifyStarted(
            entry.Job.Sweep, key, worker.Name, new DeviceAddress(worker.Host.Id, device.Id)));
    }
}
