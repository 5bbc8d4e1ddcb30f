using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

public sealed partial class DispatchState
{
    private void Queued(IReadOnlyList<QueuedJob> jobs, DateTimeOffset now)
    {
        foreach (var job in jobs)
        {
            var id = job.Job.Spec.Id;
            if (!_entries.TryGetValue(id, out var entry))
            {
                Claim(job, now);
            }
            else if (entry.Job.Attempt == job.Attempt && entry.Spec.DeviceGroup == job.Job.Spec.DeviceGroup)
            {
                Repeated(entry, job, now);
            }
            else if (entry.Job.Attempt <= job.Attempt)
            {
                Remove(entry, "superseded", now);
                Claim(job, now);
            }
        }
    }

    /// <summary>A sweep queues again what is known: it restarted, or its group may go elsewhere.</summary>
    private void Repeated(QueueEntry entry, QueuedJob job, DateTimeOffset now)
    {
        if (entry is { State: EntryState.Reporting, Report: { } report })
        {
            entry.ReportedAt = now;
            _effects.Add(new DispatchEffect.Report(entry.Job.Sweep, report));
        }
        else if (entry.Group is { } group)
        {
            Bind(group, job);
        }
    }

    /// <summary>Takes a job that is not known, or that a worker brought.</summary>
    private void Claim(QueuedJob job, DateTimeOffset now)
    {
        var id = job.Job.Spec.Id;
        var entry = new QueueEntry(job, _nextOrder++);
        if (_unclaimed.Remove(id, out var brought))
        {
            if (brought.Key.Attempt >= job.Attempt)
            {
                _entries.Add(id, entry);
                Join(entry);
                Adopt(entry, brought);
                return;
            }

            Revoke(brought, "superseded", now);
        }

        if (IsShareable(job) && _recent.TryGetValue(job.Job.Action, out var recent) && (recent.Outcome.IsSuccess || job.Attempt == 1))
        {
            ReportEqual(job, recent.Outcome);
            return;
        }

        _entries.Add(id, entry);
        Join(entry);
        Wait(entry, false);
    }

    private static bool IsShareable(QueuedJob job) => job.Job.Spec.IsCacheable && !job.Fresh && !job.Job.Action.IsEmpty;

    private void Join(QueueEntry entry)
    {
        if (entry.Spec.DeviceGroup is not { } name)
        {
            return;
        }

        var key = (entry.Job.Sweep, name);
        if (!_groups.TryGetValue(key, out var group))
        {
            _groups.Add(key, group = new GroupNode(entry.Job.Sweep, name));
            if (!_siblings.TryGetValue((group.Sweep, group.Parts.Stem), out var siblings))
            {
                _siblings.Add((group.Sweep, group.Parts.Stem), siblings = []);
            }

            siblings.Add(group);
        }

        group.Entries++;
        entry.Group = group;
        Bind(group, entry.Job);
    }

    /// <summary>Takes the sweep's word on where a group measures; its silence frees a group whose device was lost or is another's.</summary>
    private void Bind(GroupNode group, QueuedJob job)
    {
        group.NotOn = job.NotOn;
        var isFree = job.BoundTo is null && (group.Suspended || (group.Binding is { } binding && group.NotOn.Contains(binding)));
        if (isFree || (job.BoundTo is not null && job.BoundTo != group.Binding))
        {
            (group.Suspended, group.Binding, group.AwaySince) = (false, job.BoundTo, null);
            BindingsChanged();
        }
    }

    /// <summary>Binds a group by its first lease.</summary>
    private void BindTo(GroupNode group, DeviceAddress device)
    {
        if (group.Binding is null)
        {
            group.Binding = device;
            BindingsChanged();
        }
    }

    /// <summary>Hosts may be kept free for benchmarks that no longer want them, or be wanted by others.</summary>
    private void BindingsChanged()
    {
        _exclusiveVersion++;
        foreach (var host in _hosts.Values)
        {
            MarkDirty(host);
        }
    }

    /// <summary>Makes a job wait for a worker, or for equal work that is under way.</summary>
    private void Wait(QueueEntry entry, bool first)
    {
        if (IsShareable(entry.Job) && _leaders.TryGetValue(entry.Job.Job.Action, out var leader) && leader != entry)
        {
            entry.State = EntryState.Following;
            entry.Leader = leader;
            (leader.Followers ??= []).Add(entry);
            return;
        }

        Lead(entry);
        Enqueue(entry, first);
    }

    private void Lead(QueueEntry entry)
    {
        if (entry.Spec.IsCacheable && !entry.Job.Job.Action.IsEmpty)
        {
            _leaders.TryAdd(entry.Job.Job.Action, entry);
        }
    }

    /// <summary>A lease ended without a start; its job goes to the front of its queue.</summary>
    private void Requeue(QueueEntry entry, string reason)
    {
        entry.Lease = null;
        Enqueue(entry, true);
        _effects.Add(new DispatchEffect.NotifyRequeued(entry.Job.Sweep, entry.Id, reason));
    }

    private void Withdrawn(DispatchInput.JobsWithdrawn withdrawn, DateTimeOffset now)
    {
        foreach (var id in withdrawn.JobIds)
        {
            if (_entries.TryGetValue(id, out var entry))
            {
                // Others may wait for what it makes: then it goes on, and its own sweep ignores the result.
                if (entry is not { State: EntryState.Leased, Followers.Count: > 0 })
                {
                    Remove(entry, "withdrawn by its sweep", now);
                }
            }
            else if (_unclaimed.Remove(id, out var lease))
            {
                Revoke(lease, "withdrawn by its sweep", now);
            }
        }
    }

    private void Reported(DispatchInput.ResultReported reported, DateTimeOffset now)
    {
        if (!_links.TryGetValue(reported.Link, out var worker))
        {
            return;
        }

        var key = reported.Key;
        var lease = _leases.GetValueOrDefault(key.Fence) is { } found && found.Key == key ? found : null;
        var entry = _entries.GetValueOrDefault(key.JobId);
        var isCurrent = lease is { Revoking: false } && entry is not null && entry.Lease == lease;
        var exclusive = lease?.Exclusive ?? entry?.Spec.IsExclusive ?? false;
        var revoked = lease is { Revoking: true };
        if (lease is not null)
        {
            Release(lease);
        }

        var isRepeated = entry is { State: EntryState.Reporting, Report: { } told } && told.Fence == key.Fence;
        if (exclusive && !isCurrent && !isRepeated && (revoked || entry is not null))
        {
            // A benchmark under a fence that is not the valid one, or was given up: its machine may have been shared.
            _effects.Add(new DispatchEffect.SendAcknowledge(reported.Link, key));
            return;
        }

        var report = MakeReport(worker, reported);
        _passedOn[key] = new PassedOn(worker.Name, reported.Sweep, report, now);
        if (isCurrent)
        {
            Report(entry!, report, now);
        }
        else
        {
            // Late, but of a pass or an evaluation, or of a job that this dispatcher does not know: the sweep tells what it is worth.
            _effects.Add(new DispatchEffect.Report(reported.Sweep, report));
        }
    }

    private JobReport MakeReport(WorkerNode worker, DispatchInput.ResultReported reported) => new(
        reported.Key.JobId,
        reported.Key.Attempt,
        reported.Key.Fence,
        reported.Outcome,
        worker.Name,
        new DeviceAddress(worker.Host.Id, reported.DeviceId),
        ClassOf(worker, reported.DeviceId),
        false,
        reported.Action)
    {
        DeviceMemory = worker.FindDevice(reported.DeviceId)?.MemoryBytes ?? 0,
    };

    /// <summary>Tells a sweep how its job's attempt ended, and those who wait for equal work.</summary>
    private void Report(QueueEntry entry, JobReport report, DateTimeOffset now)
    {
        Unqueue(entry);
        (entry.State, entry.Lease, entry.Report, entry.ReportedAt) = (EntryState.Reporting, null, report, now);
        _reporting[entry.Id] = entry;
        _effects.Add(new DispatchEffect.Report(entry.Job.Sweep, report));
        if (_leaders.TryGetValue(entry.Job.Job.Action, out var leader) && leader == entry)
        {
            var reusable = entry.Spec.IsCacheable && (report.Outcome.Failure?.IsDeterministic ?? true);
            if (reusable)
            {
                _recent[entry.Job.Job.Action] = (report.Outcome, now);
                _recentOrder.Enqueue((entry.Job.Job.Action, now));
            }

            Resign(entry, reusable ? report.Outcome : null);
        }
    }

    /// <summary>A leader is done: its followers get its outcome, or the first of them takes its place.</summary>
    private void Resign(QueueEntry leader, JobOutcome? outcome)
    {
        if (!_leaders.TryGetValue(leader.Job.Job.Action, out var current) || current != leader)
        {
            return;
        }

        _leaders.Remove(leader.Job.Job.Action);
        var followers = leader.Followers ?? [];
        leader.Followers = null;
        foreach (var follower in followers)
        {
            follower.Leader = null;
            if (outcome is not null)
            {
                Drop(follower);
                ReportEqual(follower.Job, outcome);
            }
            else
            {
                Wait(follower, false);
            }
        }
    }

    private void ReportEqual(QueuedJob job, JobOutcome outcome) => _effects.Add(new DispatchEffect.Report(
        job.Sweep, new JobReport(job.Job.Spec.Id, job.Attempt, 0, outcome, "", null, "", true, job.Job.Action)));

    private void Stored(DispatchInput.ResultsStored stored, DateTimeOffset now)
    {
        foreach (var key in stored.Keys)
        {
            if (_passedOn.Remove(key, out var passed) && _workers.GetValueOrDefault(passed.Worker) is { Link: { } link })
            {
                _effects.Add(new DispatchEffect.SendAcknowledge(link, key));
            }

            // The sweep holds an end of this attempt, under whatever fence: the attempt is over.
            if (_entries.TryGetValue(key.JobId, out var entry) && entry.Job.Attempt <= key.Attempt)
            {
                Remove(entry, "its result came from elsewhere", now);
            }
        }
    }

    /// <summary>Forgets a job; what still runs of it is killed.</summary>
    private void Remove(QueueEntry entry, string reason, DateTimeOffset now)
    {
        Unqueue(entry);
        if (entry.Lease is { } lease)
        {
            entry.Lease = null;
            lease.Entry = null;
            if (!lease.Ended)
            {
                Revoke(lease, reason, now);
            }
        }

        Drop(entry);
        Resign(entry, null);
    }

    private void Drop(QueueEntry entry)
    {
        _entries.Remove(entry.Id);
        _reporting.Remove(entry.Id);
        if (entry.Group is { } group && --group.Entries == 0)
        {
            group.IdleSince = _now;
        }
    }

    /// <summary>Takes a job out of its queue, or from behind its leader.</summary>
    private void Unqueue(QueueEntry entry)
    {
        if (entry.Leader is { } leader)
        {
            leader.Followers?.Remove(entry);
            entry.Leader = null;
        }

        Dequeue(entry);
    }

    /// <summary>A lease is lost with its worker: the attempt is reported, the sweep queues another.</summary>
    private void Lose(LeaseNode lease, string reason, DateTimeOffset now)
    {
        var entry = lease.Revoking ? null : lease.Entry;
        Release(lease);
        if (entry is not null)
        {
            ReportLost(entry, lease, reason, now);
        }
    }

    private void ReportLost(QueueEntry entry, LeaseNode lease, string reason, DateTimeOffset now)
    {
        // The loss has a fence of its own: that it is durable must not acknowledge a result which the worker may still bring.
        var outcome = new JobOutcome(null, new Failure(FailureType.WorkerLost, reason), default, lease.Since, now);
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
