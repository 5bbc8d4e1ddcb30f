using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Sweeps;

/// <summary>
/// One sweep, decided: its plan, what became of each job, and what must be done next. Pure and deterministic: no clock, no I/O.
/// <see cref="Decide"/> tells the events of a command and changes nothing; <see cref="Apply"/> changes the state by an event that is
/// durable and returns what to do now. The events of one decision are persisted together or not at all, and applied before the
/// next command is decided. Not thread-safe.
/// </summary>
public sealed partial class SweepState
{
    /// <summary>Most jobs of one <see cref="SweepEvent.PlanGrown"/>, and of one effect.</summary>
    public const int MaxBatch = 1000;

    /// <summary>After so many lost workers a job is given up, since it may be the job that loses them.</summary>
    public const int MaxLosses = 10;

    private readonly List<SweepJob> _order = [];

    /// <summary>Jobs whose number is not their place in plan order, which planners make it: a table of all would be rebuilt again and again while a large plan is read.</summary>
    private readonly Dictionary<int, SweepJob> _numbered = [];
    private readonly Dictionary<string, int> _entryIndex = new(StringComparer.Ordinal);
    private readonly List<PlannedEntry> _entries = [];
    private readonly Dictionary<string, DeviceAddress> _bindings = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<SweepJob>> _groups = new(StringComparer.Ordinal);

    /// <summary>Stem of a group's name to the last group of each of its numbers.</summary>
    private readonly Dictionary<string, SortedDictionary<string, string>> _lastGroups = new(StringComparer.Ordinal);
    private readonly int[] _counts = new int[Enum.GetValues<JobStatus>().Length];
    private bool _isReplaying;
    private int _running;
    private int _cacheHits;
    private int _nextNumber;
    private DateTimeOffset _createdAt;
    private DateTimeOffset? _endedAt;

    /// <summary>A sweep of which nothing has happened yet.</summary>
    public SweepState(string id) => Id = id;

    /// <summary>The sweep's id.</summary>
    public string Id { get; }

    /// <summary>Where it stands; Unspecified until it was submitted.</summary>
    public SweepStatus Status { get; private set; }

    /// <summary>What was submitted, without its jobs and entries; null until then.</summary>
    public SweepSubmission? Submission { get; private set; }

    /// <summary>Whether it was submitted.</summary>
    public bool Exists => Submission is not null;

    /// <summary>Whether nothing waits or runs any more.</summary>
    public bool IsEnded => Status is SweepStatus.Completed or SweepStatus.Partial or SweepStatus.Failed or SweepStatus.Cancelled;

    /// <summary>Jobs planned so far.</summary>
    public int JobCount => _order.Count;

    /// <summary>Ids of the jobs in plan order.</summary>
    public IEnumerable<string> JobIds => _order.Select(j => j.Spec.Id);

    /// <summary>Leaderboard entries in plan order.</summary>
    public IReadOnlyList<PlannedEntry> Entries => _entries;

    /// <summary>The plan as it stands, grown.</summary>
    public SweepPlan Plan => new([.. _order.Select(j => j.Spec)], [.. _entries], Submission?.Plan.LeftOut ?? []);

    /// <summary>How many jobs stand where, running ones as the dispatcher last told.</summary>
    public ImmutableSortedDictionary<JobStatus, int> Counts
    {
        get
        {
            var counts = ImmutableSortedDictionary.CreateBuilder<JobStatus, int>();
            for (var status = JobStatus.Blocked; status <= JobStatus.Cancelled; status++)
            {
                var count = status switch
                {
                    JobStatus.Waiting => _counts[(int)status] - _running,
                    JobStatus.Running => _running,
                    _ => _counts[(int)status],
                };
                if (count > 0)
                {
                    counts.Add(status, count);
                }
            }

            return counts.ToImmutable();
        }
    }

    /// <summary>The sweep as clients see it. Throws <see cref="InvalidOperationException"/> before it was submitted.</summary>
    public SweepView View()
    {
        var submission = Submission ?? throw new InvalidOperationException($"sweep {Id} was not submitted");
        return new SweepView(
            Id, submission.Spec.Name, submission.Owner, submission.Spec.Labels, Status, Counts, _cacheHits, _createdAt, _endedAt);
    }

    /// <summary>The job of an id as planned, or null. After a lost device it names its new group.</summary>
    public JobSpec? Job(string jobId) => Find(jobId)?.Spec;

    /// <summary>Where a job stands; Unspecified for an unknown one.</summary>
    public JobStatus StatusOf(string jobId) => Find(jobId) is { } job ? Shown(job) : JobStatus.Unspecified;

    /// <summary>Artifacts that a job made, by output name; empty while it has none.</summary>
    public ImmutableSortedDictionary<string, ArtifactRef> OutputsOf(string jobId) =>
        Find(jobId)?.Outputs ?? ImmutableSortedDictionary<string, ArtifactRef>.Empty;

    /// <summary>Attempts of a job that ended, oldest first; empty for an unknown job.</summary>
    public IReadOnlyList<PastAttempt> AttemptsOf(string jobId) => Find(jobId)?.Past ?? [];

    /// <summary>The device that a group of benchmarks is bound to: that of its first success; null while there is none.</summary>
    public DeviceAddress? BindingOf(string group) => _bindings.GetValueOrDefault(group);

    /// <summary>A job as clients see it, or null when it is unknown.</summary>
    public JobView? View(string jobId)
    {
        if (Find(jobId) is not { } job)
        {
            return null;
        }

        var attempts = ImmutableArray.CreateBuilder<AttemptView>(job.Past.Count + 1);
        foreach (var past in job.Past)
        {
            attempts.Add(new AttemptView(
                past.Number,
                past.Worker,
                past.Device?.HostId ?? "",
                past.Device?.DeviceId ?? "",
                past.StartedAt,
                past.FinishedAt,
                past.Failure,
                past.Log));
        }

        if (job.Running is { } running)
        {
            attempts.Add(new AttemptView(
                running.Key.Attempt, running.Worker, running.Device.HostId, running.Device.DeviceId, running.Since, null, null, default));
        }

        var spec = job.Spec;
        return new JobView(
            spec.Id,
            Id,
            spec.Kind,
            spec.Operation,
            spec.Engine.Id,
            spec.Model,
            spec.Form ?? "",
            spec.Target ?? "",
            Shown(job),
            attempts.ToImmutable(),
            job.Cached,
            job.Running?.Progress ?? 0,
            job.Running?.Text ?? "",
            job.Missing == 0 ? ActionOf(job) : default,
            job.Outputs)
        {
            MemoryBytes = spec.Requirements.MemoryBytes,
        };
    }

    /// <summary>
    /// Ids of the jobs whose outputs a job needs and that have none: those still to run, or for a skipped job those that failed or
    /// were skipped. Empty when it has its inputs.
    /// </summary>
    public ImmutableArray<string> BlockedBy(string jobId)
    {
        if (Find(jobId) is not { } job)
        {
            return [];
        }

        return [.. Producers(job).Where(p => p.Status != JobStatus.Succeeded).Select(p => p.Spec.Id).Distinct()];
    }

    /// <summary>A job with its inputs, or null when it is unknown or an input is not made yet.</summary>
    public ReadyJob? ReadyJob(string jobId) => Find(jobId) is { Missing: 0 } job ? Ready(job) : null;

    /// <summary>Name and text of the components of a job's action digest; empty while inputs are missing.</summary>
    public ImmutableArray<KeyValuePair<string, string>> DigestComponents(string jobId) =>
        ReadyJob(jobId) is { } ready
            ? ActionDigest.Components(ready.Spec.Kind, ready.Spec.Operation, ready.Spec.Engine, ready.Spec.Parameters, ready.Inputs)
            : [];

    /// <summary>
    /// Notes that the dispatcher leased an attempt or found it held by a worker; not journaled. Returns a withdrawal when the sweep
    /// does not want that attempt (cancelled, finished, superseded), so that a lost withdrawal costs at most a start.
    /// </summary>
    public ImmutableArray<SweepEffect> Started(AttemptKey key, string worker, DeviceAddress device, DateTimeOffset now)
    {
        if (Find(key.JobId) is { Status: JobStatus.Waiting } job && key.Attempt == job.NextAttempt)
        {
            SetRunning(job, new RunningAttempt(key, worker, device, now));
            return [];
        }

        return [new SweepEffect.Withdraw([key.JobId])];
    }

    /// <summary>Notes that the job waits again; not journaled.</summary>
    public void Requeued(string jobId)
    {
        if (Find(jobId) is { } job)
        {
            SetRunning(job, null);
        }
    }

    /// <summary>Notes the progress of a running attempt, 0 to 1; not journaled. False when that attempt does not run.</summary>
    public bool Progress(AttemptKey key, double fraction, string text)
    {
        if (Find(key.JobId) is not { Running: { } running } job || running.Key != key)
        {
            return false;
        }

        job.Running = running with { Progress = double.IsFinite(fraction) ? Math.Clamp(fraction, 0, 1) : 0, Text = text };
        return true;
    }

    private static JobStatus Shown(SweepJob job) => job.Running is not null ? JobStatus.Running : job.Status;

    private SweepJob? Find(string jobId)
    {
        if (!TryNumber(jobId, out var number))
        {
            return null;
        }

        return number < _order.Count && _order[number].Number == number ? _order[number] : _numbered.GetValueOrDefault(number);
    }

    private bool TryNumber(string jobId, out int number)
    {
        number = 0;
        return jobId.Length > Id.Length + 1
            && jobId[Id.Length] == '/'
            && jobId.StartsWith(Id, StringComparison.Ordinal)
            && jobId[Id.Length + 1] is >= '0' and <= '9'
            && int.TryParse(jobId.AsSpan(Id.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out number)
            && number < JobSpec.MaxJobsPerSweep
            && (number == 0 ? jobId.Length == Id.Length + 2 : jobId[Id.Length + 1] != '0');
    }

    private IEnumerable<SweepJob> Producers(SweepJob job)
    {
        foreach (var input in job.Spec.Inputs)
        {
            if (input.Source.Job is { } producer && Find(producer) is { } found)
            {
                yield return found;
            }
        }
    }

    private Digest ActionOf(SweepJob job) => job.Action.IsEmpty ? Ready(job).Action : job.Action;

    private ReadyJob Ready(SweepJob job)
    {
        if (job.Ready is { } known && ReferenceEquals(known.Spec, job.Spec))
        {
            return known;
        }

        var inputs = ImmutableSortedDictionary.CreateBuilder<string, ArtifactRef>(StringComparer.Ordinal);
        foreach (var input in job.Spec.Inputs)
        {
            inputs[input.Name] = input.Source.Artifact ?? Find(input.Source.Job!)!.Outputs[input.Source.Output!];
        }

        var artifacts = inputs.ToImmutable();
        if (job.Action.IsEmpty)
        {
            // Inputs do not change once they are known, and what else a job may get anew (its device group) is no part of the digest.
            job.Action = ActionDigest.Of(job.Spec, artifacts);
        }

        var ready = new ReadyJob(job.Spec, artifacts, job.Action);
        job.Ready = job.IsFinished ? null : ready;
        return ready;
    }

    private QueuedJob Queued(SweepJob job) => new(
        Ready(job),
        Id,
        job.NextAttempt,
        job.Spec.DeviceGroup is { } group ? _bindings.GetValueOrDefault(group) : null,
        job.MinimumMemory,
        job.Avoid,
        Submission!.Fresh)
    {
        NotOn = job.Spec.DeviceGroup is { } own ? [.. Siblings(own).Select(g => _bindings.GetValueOrDefault(g)).OfType<DeviceAddress>()] : [],
        LibraryVariant = job.Spec.Kind == JobKind.Evaluate ? Producers(job).FirstOrDefault(p => p.LibraryVariant.Length > 0)?.LibraryVariant ?? "" : "",
        TraceParent = Submission.TraceParent,
    };

    /// <summary>The groups that measure other numbers of the same model, runtime and target.</summary>
    private IEnumerable<string> Siblings(string group)
    {
        var name = DeviceGroup.Parse(group);
        return _lastGroups[name.Stem].Where(g => g.Key != name.Number).Select(g => g.Value);
    }

    private void SetStatus(SweepJob job, JobStatus status)
    {
        SetRunning(job, null);
        _counts[(int)job.Status]--;
        _counts[(int)status]++;
        job.Status = status;
        if (job.IsFinished)
        {
            job.Ready = null;
        }
    }

    private void SetRunning(SweepJob job, RunningAttempt? running)
    {
        _running += (running is null ? 0 : 1) - (job.Running is null ? 0 : 1);
        job.Running = running;
    }
}
