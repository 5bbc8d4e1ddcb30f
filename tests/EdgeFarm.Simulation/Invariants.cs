using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Simulation;

/// <summary>What must hold after every step, and at the end. It sees everything at once, which no process can.</summary>
internal sealed class Invariants(World world)
{
    private readonly Dictionary<string, AttemptKey> _runs = [];
    private readonly Dictionary<string, long> _newestFence = [];
    private readonly HashSet<AttemptKey> _revoked = [];
    private readonly HashSet<(string Job, int Attempt)> _givenUp = [];
    private readonly Dictionary<string, long> _requeued = [];
    private readonly HashSet<AttemptKey> _started = [];

    public int Starts { get; private set; }

    /// <summary>A child is about to make a result; the returned mark tells it from every other.</summary>
    public string Run(Lease lease)
    {
        var mark = $"run {_runs.Count + 1}";
        _runs.Add(mark, lease.Key);
        return mark;
    }

    /// <summary>A lease is given.</summary>
    public void Given(Lease lease) =>
        _newestFence[lease.Job.Spec.Id] = Math.Max(lease.Fence, _newestFence.GetValueOrDefault(lease.Job.Spec.Id));

    public void Revoked(AttemptKey key) => _revoked.Add(key);

    /// <summary>What was leased of a job so far is no longer valid.</summary>
    public void Requeued(string job) => _requeued[job] = _newestFence.GetValueOrDefault(job);

    /// <summary>A sweep is told how an attempt ended.</summary>
    public void Reported(JobReport report)
    {
        if (report.Outcome.Failure?.Type is FailureType.WorkerLost or FailureType.HandedBack)
        {
            _givenUp.Add((report.JobId, report.Attempt));
        }
    }

    /// <summary>A child starts.</summary>
    public void Starting(WorkerProcess worker, Lease lease)
    {
        Starts++;
        Check(_started.Add(lease.Key), $"attempt {Describe.Key(lease.Key)} was started twice");
        var running = worker.Children.Append(new Child(lease, world.Scheduler.Now)).ToList();
        Check(running.Count <= worker.Plan.Capability.Slots, $"worker {worker.Name} runs {running.Count} jobs on {worker.Plan.Capability.Slots} slots");
        Check(running.Count == 1 || running.TrueForAll(c => !c.Lease.Job.Spec.IsExclusive), $"worker {worker.Name} runs a benchmark beside another job");
        CheckMachine(worker.Plan.Capability.HostId, lease);
    }

    /// <summary>A worker handled an input.</summary>
    public void AfterWorker(WorkerProcess worker, WorkerState state, WorkerInput input, IReadOnlyList<WorkerEffect> effects) => Check(
        input is not WorkerInput.LeaseOffered offer || state.IsDraining || !effects.OfType<WorkerEffect.SendReturn>().Any(),
        $"worker {worker.Name} was given a lease beyond its credit: {(input as WorkerInput.LeaseOffered)?.Lease.Key}");

    /// <summary>A worker forgets a result because the farm acknowledged it.</summary>
    public void Forgotten(PendingResult result)
    {
        var key = result.Lease.Key;
        var spec = result.Lease.Job.Spec;
        var sweep = world.Journal.Find(result.Lease.Sweep);
        Check(sweep is not null, $"{Describe.Key(key)} was acknowledged, but its sweep is not durable");
        var finished = sweep!.StatusOf(key.JobId) is JobStatus.Succeeded or JobStatus.Failed or JobStatus.Skipped or JobStatus.Cancelled;
        var known = sweep.AttemptsOf(key.JobId).Any(a => a.Number == key.Attempt && a.Fence == key.Fence);
        var superseded = sweep.AttemptsOf(key.JobId).Any(a => a.Number >= key.Attempt);
        var stale = _revoked.Contains(key)
            || _givenUp.Contains((key.JobId, key.Attempt))
            || _requeued.GetValueOrDefault(key.JobId) >= key.Fence
            || _newestFence.GetValueOrDefault(key.JobId) > key.Fence;
        Check(
            finished || (result.Outcome.IsSuccess && !spec.IsExclusive ? false : known || superseded || (spec.IsExclusive && stale)),
            $"{Describe.Key(key)} was acknowledged, but it is not durable");
    }

    public void BeforeStored(SweepState sweep, SweepEvent happened)
    {
        if (happened is not SweepEvent.AttemptsEnded ended)
        {
            return;
        }

        var finals = new HashSet<string>();
        foreach (var end in ended.Attempts)
        {
            var report = end.Report;
            Check(
                sweep.StatusOf(report.JobId) == JobStatus.Waiting && (!end.Final || finals.Add(report.JobId)),
                $"job {report.JobId} gets a second result");
            if (report.Outcome.Result is not { } result)
            {
                continue;
            }

            var made = report.Cached || _runs[result.Report] == new AttemptKey(report.JobId, report.Attempt, report.Fence);
            Check(made, $"{result.Report} of {_runs[result.Report]} was recorded for {report.JobId}#{report.Attempt}~{report.Fence}");
            foreach (var (name, artifact) in result.Outputs)
            {
                Check(artifact.Digest == Digest.OfText($"{report.Action} {name}"), $"job {report.JobId} got the output of another action");
            }
        }
    }

    public void AfterStored(SweepState sweep, SweepEvent happened)
    {
        if (happened is SweepEvent.Ended)
        {
            Check(
                sweep.JobIds.All(j => sweep.StatusOf(j) is JobStatus.Succeeded or JobStatus.Failed or JobStatus.Skipped or JobStatus.Cancelled),
                $"sweep {sweep.Id} ended with jobs that wait");
        }
        else if (happened is SweepEvent.AttemptsEnded ended)
        {
            foreach (var report in ended.Attempts.Select(a => a.Report).Where(r => r.Outcome.IsSuccess))
            {
                var group = sweep.Job(report.JobId)!.DeviceGroup;
                Check(group is null || sweep.BindingOf(group) == report.Device, $"group {group} was measured on two devices: {report.JobId}");
            }
        }
    }

    /// <summary>The dispatcher handled an input.</summary>
    public void AfterDispatch(DispatcherHost dispatcher)
    {
        foreach (var host in world.Workload.Workers.Select(w => w.Capability.HostId).Distinct())
        {
            CheckMachine(host, null);
        }

        if (Idle.Find(dispatcher.State) is { } idle)
        {
            throw new ViolationException(idle);
        }
    }

    public bool AllDone() => Unfinished().Length == 0;

    /// <summary>What is not at its end yet.</summary>
    public string Unfinished()
    {
        foreach (var submission in world.Workload.Sweeps)
        {
            if (world.Journal.Find(submission.Id) is not { IsEnded: true } sweep)
            {
                return $"sweep {submission.Id}: {(world.Journal.Find(submission.Id) is { } started ? string.Join(", ", started.Counts) : "not submitted")}";
            }
        }

        foreach (var worker in world.Workers.Where(w => !w.HasLeft))
        {
            if (worker.Disk.FirstOrDefault() is { } kept)
            {
                return $"worker {worker.Name} still keeps {Describe.Key(kept.Lease.Key)}";
            }

            if (worker.Children.Count > 0)
            {
                return $"worker {worker.Name} still runs {worker.Children.Count} jobs";
            }
        }

        return world.Dispatcher is { IsAlive: true } dispatcher && dispatcher.State is { Waiting: 0, LeaseCount: 0 }
            ? ""
            : "the dispatcher has jobs or leases left";
    }

    /// <summary>Everything ended: the sweeps in memory are what their events tell.</summary>
    public void AtEnd()
    {
        foreach (var host in world.LivingSweeps().Where(h => h.State.IsEnded))
        {
            var durable = world.Journal.Durable[host.State.Id];
            Check(durable.Counts.SequenceEqual(host.State.Counts), $"sweep {durable.Id} differs from its events");
        }
    }

    /// <summary>No benchmark shares its machine with another job, as far as their leases are valid.</summary>
    private void CheckMachine(string machine, Lease? starting)
    {
        if (world.Dispatcher is not { IsAlive: true, State: { } state })
        {
            return;
        }

        var running = world.Workers.Where(w => w.Plan.Capability.HostId == machine).SelectMany(w => w.Children).Select(c => c.Lease).ToList();
        if (starting is not null)
        {
            running.Add(starting);
        }

        running.RemoveAll(l => !state.IsValid(l.Key));
        Check(
            running.Count < 2 || running.TrueForAll(l => !l.Job.Spec.IsExclusive),
            $"machine {machine} runs a benchmark beside another job: {string.Join(", ", running.Select(l => Describe.Key(l.Key)))}");
    }

    private static void Check(bool holds, string violation)
    {
        if (!holds)
        {
            throw new ViolationException(violation);
        }
    }
}
