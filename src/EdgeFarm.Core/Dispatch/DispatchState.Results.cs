using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

public sealed partial class DispatchState
{
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
        _passedJobs[key.JobId] = key;
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
            // What another build made is not what an equal action asks for; the cache does not keep it either.
            var ran = report.Outcome.Result?.Engine;
            var reusable = entry.Spec.IsCacheable && (report.Outcome.Failure?.IsDeterministic ?? true) && (ran is null || ran == entry.Spec.Engine);
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

            if (_passedJobs.TryGetValue(key.JobId, out var last) && last == key)
            {
                _passedJobs.Remove(key.JobId);
            }

            // The sweep holds an end of this attempt, under whatever fence: the attempt is over.
            if (_entries.TryGetValue(key.JobId, out var entry) && entry.Job.Attempt <= key.Attempt)
            {
                Remove(entry, "its result came from elsewhere", now);
            }
        }
    }
}
