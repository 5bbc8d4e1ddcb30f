using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

public sealed partial class DispatchState
{
    private void Linked(DispatchInput.WorkerLinked linked, DateTimeOffset now)
    {
        var capability = linked.Capability;
        if (_workers.TryGetValue(capability.Worker, out var namesake) && namesake.Link is not null && namesake.Session != linked.Session)
        {
            // Another process. Were it let in, the two would drive each other out without end.
            _effects.Add(new DispatchEffect.RefuseLink(
                linked.Link,
                $"a worker named '{capability.Worker}' is linked already, from host {namesake.Host.Id}; give this one another name with --name (one that has just died is forgotten within a minute)"));
            return;
        }

        var host = Host(capability.HostId);
        if (!_workers.TryGetValue(capability.Worker, out var worker))
        {
            _workers.Add(capability.Worker, worker = new WorkerNode(capability.Worker, host));
        }
        else if (worker.Link is { } old)
        {
            _links.Remove(old);
            _effects.Add(new DispatchEffect.CloseLink(old, $"worker {worker.Name} linked again"));
        }

        if (worker.Host != host)
        {
            // The name moved to another machine; what ran on the old one is not coming back under it.
            foreach (var lease in worker.Leases.Values.ToList())
            {
                Lose(lease, $"worker {worker.Name} came back as another machine", now);
            }

            worker.Host.Workers.Remove(worker.Name);
            worker.Host = host;
        }

        host.Workers[worker.Name] = worker;
        var sameSession = worker.Session == linked.Session;
        worker.Capability = capability;
        worker.DeviceClasses = capability.Devices.ToImmutableSortedDictionary(d => d.Id, d => Classify(capability, d), StringComparer.Ordinal);
        (worker.Link, worker.Session, worker.LinkedAt) = (linked.Link, linked.Session, now);
        (worker.Credit, worker.Sent, worker.Draining) = (null, 0, false);
        worker.InFlight.Clear();
        _links[linked.Link] = worker;
        FleetChanged(worker);

        var held = linked.Held.DistinctBy(h => h.Key.Fence).ToDictionary(h => h.Key.Fence);
        foreach (var lease in worker.Leases.Values.ToList())
        {
            if (!held.TryGetValue(lease.Key.Fence, out var known) || known.Key != lease.Key || !held.Remove(lease.Key.Fence))
            {
                Missing(lease, sameSession, now);
            }
            else if (known.Ended && !lease.Ended)
            {
                // Its child ended while the link was down: the machine is free, the result follows.
                var entry = lease.Entry;
                Release(lease);
                Record(worker, known, entry, lease.Since, lease.Deadline, lease.Revoking);
            }
            else if (lease.Revoking)
            {
                Revoke(lease, "revoked while the link was down", now);
            }
        }

        foreach (var lease in linked.Held.Where(h => held.Remove(h.Key.Fence)))
        {
            Bring(worker, lease, now);
        }
    }

    /// <summary>A worker came back without a lease that it was given.</summary>
    private void Missing(LeaseNode lease, bool sameSession, DateTimeOffset now)
    {
        if (sameSession && lease is { Revoking: false, Entry: { } entry })
        {
            // The same process does not know it, and what it ends it keeps: so the lease never arrived.
            Release(lease);
            Requeue(entry, $"the lease never reached worker {lease.Worker.Name}");
        }
        else
        {
            Lose(lease, $"worker {lease.Worker.Name} restarted while it ran the job", now);
        }
    }

    /// <summary>A worker holds a lease that this dispatcher has not given, or has given up.</summary>
    private void Bring(WorkerNode worker, HeldLease held, DateTimeOffset now)
    {
        if (_leases.TryGetValue(held.Key.Fence, out var elsewhere))
        {
            Lose(elsewhere, $"worker {worker.Name} holds it now", now);
        }

        var tainted = !held.Ended && Taint(worker, held, now);
        var entry = _entries.GetValueOrDefault(held.Key.JobId);
        var lease = Record(worker, held, null, now, now + UnknownLeaseLimit, false);
        if (tainted)
        {
            Revoke(lease, "its machine was shared while its worker was away", now);
        }
        else if (entry is null)
        {
            Claimable(lease, now);
        }
        else if (entry.State is EntryState.Queued or EntryState.Following && entry.Job.Attempt == held.Key.Attempt)
        {
            Adopt(entry, lease);
        }
        else if (entry is { State: EntryState.Leased, Lease: { } other } && entry.Job.Attempt == held.Key.Attempt && other.Key.Fence < held.Key.Fence)
        {
            // Both were given by dispatchers before this one; the later lease is the valid one.
            Revoke(other, "the job was given to another worker", now);
            Adopt(entry, lease);
        }
        else if (!held.Ended)
        {
            Revoke(lease, "the job was given to another worker", now);
        }
    }

    /// <summary>Keeps a lease until its sweep queues the job, and asks the sweep whether it wants it.</summary>
    private void Claimable(LeaseNode lease, DateTimeOffset now)
    {
        var job = lease.Key.JobId;
        if (_unclaimed.TryGetValue(job, out var other) && other != lease)
        {
            var (older, newer) = other.Key.Fence < lease.Key.Fence ? (other, lease) : (lease, other);
            _unclaimed[job] = newer;
            Revoke(older, "the job was given to another worker", now);
            if (newer == other)
            {
                return;
            }
        }

        _unclaimed[job] = lease;
        _effects.Add(new DispatchEffect.NotifyStarted(
            lease.Sweep, lease.Key, lease.Worker.Name, new DeviceAddress(lease.Worker.Host.Id, lease.DeviceId)));
    }

    /// <summary>
    /// A worker came back to a machine on which others were let run meanwhile: a benchmark among them shared its machine, and its
    /// figures are worth nothing, so it is measured again. True when the lease that the worker holds is such a benchmark.
    /// </summary>
    private bool Taint(WorkerNode worker, HeldLease held, DateTimeOffset now)
    {
        var others = worker.Host.Workers.Values.Where(w => w != worker).SelectMany(w => w.Leases.Values).Where(l => !l.Ended).ToList();
        foreach (var lease in others.Where(l => l is { Exclusive: true, Revoking: false }))
        {
            var entry = lease.Entry;
            Revoke(lease, $"worker {worker.Name} was running on the same machine", now);
            if (entry is not null)
            {
                Requeue(entry, "its machine was shared");
            }
        }

        return held.Exclusive && others.Count > 0;
    }

    private void Adopt(QueueEntry entry, LeaseNode lease)
    {
        Unqueue(entry);
        entry.State = EntryState.Leased;
        (entry.Lease, lease.Entry) = (lease, entry);
        if (entry.Group is { } group)
        {
            BindTo(group, new DeviceAddress(lease.Worker.Host.Id, lease.DeviceId));
        }

        Lead(entry);
        _effects.Add(new DispatchEffect.NotifyStarted(
            entry.Job.Sweep, lease.Key, lease.Worker.Name, new DeviceAddress(lease.Worker.Host.Id, lease.DeviceId)));
    }

    private void Announced(DispatchInput.CreditAnnounced announced)
    {
        if (!_links.TryGetValue(announced.Link, out var worker) || announced.Credit.Sequence < (worker.Credit?.Sequence ?? 0))
        {
            return;
        }

        worker.Credit = announced.Credit with { Shared = Math.Clamp(announced.Credit.Shared, 0, Math.Max(0, worker.Capability.Slots)) };
        while (worker.InFlight.TryPeek(out var oldest) && oldest.Sequence <= announced.Credit.Sequence)
        {
            worker.InFlight.Dequeue();
        }

        MarkDirty(worker.Host);
    }

    private void LinkLost(string link, DateTimeOffset now)
    {
        if (_links.Remove(link, out var worker) && worker.Link == link)
        {
            (worker.Link, worker.LostAt, worker.Credit) = (null, now, null);
            worker.InFlight.Clear();
            FleetChanged(worker);
            if (worker.Leases.Count == 0)
            {
                Forget(worker);
            }
        }
    }

    private void Draining(string link)
    {
        if (_links.TryGetValue(link, out var worker) && !worker.Draining)
        {
            worker.Draining = true;
            FleetChanged(worker);
        }
    }

    private void Returned(DispatchInput.LeaseReturned returned, DateTimeOffset now)
    {
        if (_links.TryGetValue(returned.Link, out var worker)
            && _leases.TryGetValue(returned.Key.Fence, out var lease)
            && lease.Key == returned.Key
            && lease.Worker == worker)
        {
            // Only a worker that stops may do so without end: it is given no more.
            Lose(lease, worker.Draining ? FailureType.HandedBack : FailureType.WorkerLost, $"worker {worker.Name} handed the job back", now);
        }
    }

    private void Forget(WorkerNode worker)
    {
        _workers.Remove(worker.Name);
        worker.Host.Workers.Remove(worker.Name);
        MarkDirty(worker.Host);
        if (worker.Host.Workers.Count == 0)
        {
            _hosts.Remove(worker.Host.Id);
        }
    }

    private void FleetChanged(WorkerNode worker)
    {
        foreach (var signature in _signatures.Values)
        {
            signature.Update(worker);
        }

        _exclusiveVersion++;

        // A worker that leaves may make another one the best for a job that would rather avoid it.
        foreach (var host in _hosts.Values)
        {
            MarkDirty(host);
        }
    }

    private string Classify(WorkerCapability worker, Device device)
    {
        foreach (var deviceClass in _classes)
        {
            if (RequirementMatcher.Lacks(worker, device, JobRequirements.None with { Properties = deviceClass.Require }).IsEmpty)
            {
                return deviceClass.Name;
            }
        }

        return "";
    }
}
