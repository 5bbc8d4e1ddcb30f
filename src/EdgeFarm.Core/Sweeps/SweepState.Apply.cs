using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Sweeps;

public sealed partial class SweepState
{
    /// <summary>
    /// Changes the state by an event that is durable, and returns what must be done now. Never throws on an event that <see cref="Decide"/> gave for this state.
    /// </summary>
    public ImmutableArray<SweepEffect> Apply(SweepEvent happened) => happened switch
    {
        SweepEvent.Submitted submitted => ApplySubmitted(submitted),
        SweepEvent.PlanGrown grown => ApplyGrown(grown),
        SweepEvent.AttemptsEnded ended => ApplyEnds(ended.Attempts),
        SweepEvent.GroupRebound rebound => ApplyRebound(rebound),
        SweepEvent.JobsRetried retried => ApplyRetried(retried.Jobs),
        SweepEvent.CancelRequested => ApplyCancel(),
        SweepEvent.Ended ended => ApplyEnded(ended),
        _ => throw new ArgumentOutOfRangeException(nameof(happened), happened.GetType().Name, "unknown sweep event"),
    };

    /// <summary>
    /// <see cref="Apply"/> of an event of the past: what is ready is not gathered, which for a large plan takes longer than all else, since each
    /// job's digest is computed for it. <see cref="Recover()"/> tells it at the end.
    /// </summary>
    public void Replay(SweepEvent happened)
    {
        _isReplaying = true;
        Apply(happened);
        _isReplaying = false;
    }

    /// <summary>
    /// What must be asked or queued after a replay, a new dispatcher or a silence of it: every job that is ready and not finished.
    /// Repeating it is harmless.
    /// </summary>
    public ImmutableArray<SweepEffect> Recover() => IsEnded || !Exists ? [] : MakeReady(_order.Where(j => j.Status == JobStatus.Waiting));

    /// <summary>
    /// A part of <see cref="Recover()"/>, so that a sweep of a million jobs does other things in between: at most <see cref="MaxBatch"/> jobs
    /// from a place in plan order on, and the place where to go on, or null at the end.
    /// </summary>
    public (ImmutableArray<SweepEffect> Effects, int? Next) Recover(int from)
    {
        if (IsEnded || !Exists)
        {
            return ([], null);
        }

        var part = new List<SweepJob>();
        var next = from;
        while (next < _order.Count && part.Count < MaxBatch)
        {
            if (_order[next].Status == JobStatus.Waiting)
            {
                part.Add(_order[next]);
            }

            next++;
        }

        return (MakeReady(part), next < _order.Count ? next : null);
    }

    /// <summary>Jobs that are ready and have not ended: what a dispatcher should know of the sweep.</summary>
    public int Outstanding => _counts[(int)JobStatus.Waiting];

    private ImmutableArray<SweepEffect> ApplySubmitted(SweepEvent.Submitted submitted)
    {
        Submission = submitted.Submission;
        Status = SweepStatus.Running;
        _createdAt = submitted.At;
        return [];
    }

    private ImmutableArray<SweepEffect> ApplyGrown(SweepEvent.PlanGrown grown)
    {
        var ready = new List<SweepJob>();
        foreach (var spec in grown.Jobs)
        {
            var job = AddJob(spec);
            if (job.Missing == 0)
            {
                SetStatus(job, JobStatus.Waiting);
                ready.Add(job);
            }
        }

        foreach (var entry in grown.Entries)
        {
            AddEntry(entry);
        }

        return MakeReady(ready);
    }

    private SweepJob AddJob(JobSpec spec)
    {
        TryNumber(spec.Id, out var number);
        var job = new SweepJob(spec, number);
        if (number != _order.Count)
        {
            _numbered.Add(number, job);
        }

        _order.Add(job);
        _nextNumber = Math.Max(_nextNumber, number + 1);
        _counts[(int)JobStatus.Blocked]++;
        foreach (var producer in Producers(job))
        {
            producer.AddDependent(job);
            job.Missing += producer.Status == JobStatus.Succeeded ? 0 : 1;
        }

        if (spec.DeviceGroup is { } group)
        {
            AddToGroup(group, job);
        }

        return job;
    }

    private void AddToGroup(string group, SweepJob job)
    {
        if (!_groups.TryGetValue(group, out var members))
        {
            _groups.Add(group, members = []);
            var name = DeviceGroup.Parse(group);
            if (!_lastGroups.TryGetValue(name.Stem, out var numbers))
            {
                _lastGroups.Add(name.Stem, numbers = new SortedDictionary<string, string>(StringComparer.Ordinal));
            }

            if (!numbers.TryGetValue(name.Number, out var last) || DeviceGroup.Parse(last).Round < name.Round)
            {
                numbers[name.Number] = group;
            }
        }

        members.Add(job);
    }

    private void AddEntry(PlannedEntry entry)
    {
        if (_entryIndex.TryAdd(entry.Id, _entries.Count))
        {
            _entries.Add(entry);
        }
        else
        {
            _entries[_entryIndex[entry.Id]] = entry;
        }
    }

    /// <summary>The cache's key names the build that was planned; what another build made must not be found under it.</summary>
    private static bool IsOfPlannedBuild(SweepJob job, JobReport report) =>
        report.Outcome.Result?.Engine is not { } ran || ran == job.Spec.Engine;

    private ImmutableArray<SweepEffect> ApplyEnds(ImmutableArray<AttemptEnd> ends)
    {
        var acknowledged = ImmutableArray.CreateBuilder<AttemptKey>(ends.Length);
        var cached = ImmutableArray.CreateBuilder<JobReport>();
        var withdrawn = ImmutableArray.CreateBuilder<string>();
        var ready = new List<SweepJob>();
        foreach (var end in ends)
        {
            var report = end.Report;
            var job = Find(report.JobId)!;
            if (report.Fence != 0)
            {
                acknowledged.Add(new AttemptKey(report.JobId, report.Attempt, report.Fence));
            }

            if (end.Final && IsSuperseding(job, report))
            {
                withdrawn.Add(report.JobId);
            }

            ApplyEnd(job, end, ready);
            if (job.Spec.IsCacheable && !report.Cached && (report.Outcome.Failure?.IsDeterministic ?? true) && IsOfPlannedBuild(job, report))
            {
                cached.Add(report);
            }
        }

        var effects = ImmutableArray.CreateBuilder<SweepEffect>();
        AddIfAny(effects, acknowledged, a => new SweepEffect.Acknowledge(a));
        AddIfAny(effects, cached, r => new SweepEffect.FillCache(r));
        AddIfAny(effects, withdrawn, w => new SweepEffect.Withdraw(w));

        // A job may have become ready and failed again within one batch's cascade, so only those that still wait are handed on.
        effects.AddRange(MakeReady(ready.Where(j => j.Status == JobStatus.Waiting)));
        return effects.ToImmutable();
    }

    /// <summary>Whether an end comes from elsewhere than the attempt that the dispatcher has now.</summary>
    private static bool IsSuperseding(SweepJob job, JobReport report) =>
        report.Attempt != job.NextAttempt || (job.Running is { } running && (running.Key.Attempt, running.Key.Fence) != (report.Attempt, report.Fence));

    private void ApplyEnd(SweepJob job, AttemptEnd end, List<SweepJob> ready)
    {
        var report = end.Report;
        var outcome = report.Outcome;
        job.AddPast(new PastAttempt(
            report.Attempt, report.Fence, report.Worker, report.Device, outcome.StartedAt, outcome.FinishedAt, outcome.Failure, outcome.Log));
        job.NextAttempt = Math.Max(job.NextAttempt, report.Attempt + 1);
        SetRunning(job, null);
        if (outcome.Failure is not { } failure)
        {
            Succeed(job, report, ready);
            return;
        }

        Learn(job, report, failure.Type);
        if (!end.Final)
        {
            ready.Add(job);
            return;
        }

        SetStatus(job, JobStatus.Failed);
        Count(job, report);
        var skipped = new HashSet<SweepJob>();
        CollectDependents(job, skipped);
        foreach (var dependent in skipped)
        {
            SetStatus(dependent, JobStatus.Skipped);
        }
    }

    private void Succeed(SweepJob job, JobReport report, List<SweepJob> ready)
    {
        SetStatus(job, JobStatus.Succeeded);
        Count(job, report);
        job.Outputs = report.Outcome.Result!.Outputs;
        job.LibraryVariant = job.Spec.IsReference ? report.Outcome.Result.LibraryVariant : "";
        if (job.Spec.DeviceGroup is { } group && report.Device is { } device)
        {
            _bindings.TryAdd(group, device);
        }

        foreach (var dependent in job.Dependents)
        {
            // A job that takes two outputs of one producer stands twice in its list, and its count was raised twice.
            if (--dependent.Missing == 0 && dependent.Status == JobStatus.Blocked)
            {
                SetStatus(dependent, JobStatus.Waiting);
                ready.Add(dependent);
            }
        }
    }

    private void Count(SweepJob job, JobReport report)
    {
        job.Cached = report.Cached;
        _cacheHits += report.Cached ? 1 : 0;
    }

    /// <summary>Where the next attempt should go, from how this one failed.</summary>
    private static void Learn(SweepJob job, JobReport report, FailureType type)
    {
        job.Failures += IsFailure(type) ? 1 : 0;
        job.Losses += IsLoss(type) ? 1 : 0;
        if (type == FailureType.OutOfMemory)
        {
            var known = Math.Max(job.MinimumMemory, job.Spec.Requirements.MemoryBytes);
            job.MinimumMemory = Math.Max(known, report.DeviceMemory > 0 ? report.DeviceMemory + 1 : known * 2);
        }
        else if (type is FailureType.Crashed or FailureType.TimedOut && report.Device is { } device)
        {
            job.Avoid = job.Avoid.Add(device.HostId);
        }
    }

    /// <summary>Adds the unfinished jobs that can never run because one failed. Iterative: a chain may be long.</summary>
    private void CollectDependents(SweepJob failed, HashSet<SweepJob> found)
    {
        var open = new Stack<SweepJob>();
        open.Push(failed);
        while (open.TryPop(out var job))
        {
            foreach (var dependent in job.Dependents)
            {
                if (!dependent.IsFinished && found.Add(dependent))
                {
                    open.Push(dependent);
                }
            }
        }
    }

    private ImmutableArray<SweepEffect> ApplyRebound(SweepEvent.GroupRebound rebound)
    {
        var moved = new List<SweepJob>();
        foreach (var job in rebound.Jobs.Select(Find).OfType<SweepJob>())
        {
            job.Spec = job.Spec with { DeviceGroup = rebound.NewGroup };
            AddToGroup(rebound.NewGroup, job);
            if (job.Status == JobStatus.Waiting)
            {
                SetRunning(job, null);
                moved.Add(job);
            }
        }

        if (_groups.TryGetValue(rebound.OldGroup, out var old))
        {
            old.RemoveAll(j => j.Spec.DeviceGroup != rebound.OldGroup);
        }

        return MakeReady(moved);
    }

    private ImmutableArray<SweepEffect> ApplyRetried(ImmutableArray<string> ids)
    {
        Status = SweepStatus.Running;
        _endedAt = null;
        var ready = new List<SweepJob>();
        foreach (var job in ids.Select(Find).OfType<SweepJob>())
        {
            (job.Failures, job.Losses) = (0, 0);
            SetStatus(job, job.Missing == 0 ? JobStatus.Waiting : JobStatus.Blocked);
            if (job.Missing == 0)
            {
                ready.Add(job);
            }
        }

        return MakeReady(ready);
    }

    private ImmutableArray<SweepEffect> ApplyCancel()
    {
        var waiting = ImmutableArray.CreateBuilder<string>();
        foreach (var job in _order.Where(j => !j.IsFinished))
        {
            if (job.Status == JobStatus.Waiting)
            {
                waiting.Add(job.Spec.Id);
            }

            SetStatus(job, JobStatus.Cancelled);
        }

        return waiting.Count == 0 ? [] : [new SweepEffect.Withdraw(waiting.ToImmutable())];
    }

    private ImmutableArray<SweepEffect> ApplyEnded(SweepEvent.Ended ended)
    {
        Status = ended.Status;
        _endedAt = ended.At;
        return [];
    }

    /// <summary>Hands jobs that have their inputs to the cache or to the queue. A repeated attempt is never taken from the cache.</summary>
    private ImmutableArray<SweepEffect> MakeReady(IEnumerable<SweepJob> jobs)
    {
        if (_isReplaying)
        {
            return [];
        }

        var fresh = Submission!.Fresh;
        var effects = ImmutableArray.CreateBuilder<SweepEffect>();
        foreach (var chunk in jobs.Chunk(MaxBatch))
        {
            var asked = chunk.Where(j => j.Spec.IsCacheable && !fresh && j.NextAttempt == 1).Select(Queued).ToImmutableArray();
            var queued = chunk.Where(j => !j.Spec.IsCacheable || fresh || j.NextAttempt > 1).Select(Queued).ToImmutableArray();
            if (!asked.IsEmpty)
            {
                effects.Add(new SweepEffect.AskCache(asked));
            }

            if (!queued.IsEmpty)
            {
                effects.Add(new SweepEffect.Queue(queued));
            }
        }

        return effects.ToImmutable();
    }

    private static void AddIfAny<T>(
        ImmutableArray<SweepEffect>.Builder effects, ImmutableArray<T>.Builder items, Func<ImmutableArray<T>, SweepEffect> make)
    {
        if (items.Count > 0)
        {
            effects.Add(make(items.ToImmutable()));
        }
    }
}
