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
                Add(entry);
                Join(entry);
                Adopt(entry, brought);
                return;
            }

            Revoke(brought, "superseded", now);
        }

        if (_passedJobs.TryGetValue(id, out var ended) && ended.Attempt == job.Attempt)
        {
            // A worker brought its result before the sweep, which did not know that yet, queued it: it must not run again.
            Add(entry);
            Join(entry);
            (entry.State, entry.Report, entry.ReportedAt) = (EntryState.Reporting, _passedOn[ended].Report, now);
            _reporting[id] = entry;
            return;
        }

        if (IsShareable(job) && _recent.TryGetValue(job.Job.Action, out var recent) && (recent.Outcome.IsSuccess || job.Attempt == 1))
        {
            ReportEqual(job, recent.Outcome);
            return;
        }

        Add(entry);
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

    private void Add(QueueEntry entry)
    {
        _entries.Add(entry.Id, entry);
        _jobsBySweep[entry.Job.Sweep] = _jobsBySweep.GetValueOrDefault(entry.Job.Sweep) + 1;
    }

    private void Drop(QueueEntry entry)
    {
        if (_entries.Remove(entry.Id))
        {
            var left = _jobsBySweep[entry.Job.Sweep] - 1;
            if (left == 0)
            {
                _jobsBySweep.Remove(entry.Job.Sweep);
            }
            else
            {
                _jobsBySweep[entry.Job.Sweep] = left;
            }
        }

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
}
