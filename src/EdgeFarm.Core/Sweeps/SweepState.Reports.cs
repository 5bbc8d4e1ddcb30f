using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Core.Sweeps;

public sealed partial class SweepState
{
    private const int MaxCrashes = 2;
    private const int MaxOutOfMemory = 3;
    private const int MaxInternal = 3;

    /// <summary>
    /// Decides a batch of ends, from workers or from the cache. The first success of a job wins, whichever attempt it is of; what
    /// comes later, or is known already, is acknowledged and changes nothing.
    /// </summary>
    private SweepDecision DecideReports(ImmutableArray<JobReport> reports, ImmutableArray<string> misses, DateTimeOffset now)
    {
        var batch = new ReportBatch(this);
        var known = ImmutableArray.CreateBuilder<AttemptKey>();
        foreach (var report in reports)
        {
            if (!batch.Take(report) && report.Fence != 0)
            {
                known.Add(new AttemptKey(report.JobId, report.Attempt, report.Fence));
            }
        }

        var effects = ImmutableArray.CreateBuilder<SweepEffect>();
        if (known.Count > 0)
        {
            effects.Add(new SweepEffect.Acknowledge(known.ToImmutable()));
        }

        effects.AddRange(QueueAll(misses.Select(Find).OfType<SweepJob>().Where(j => j.Status == JobStatus.Waiting && !batch.Ended(j))));
        return new SweepDecision(batch.Events(now), effects.ToImmutable(), null);
    }

    private ImmutableArray<SweepEffect> QueueAll(IEnumerable<SweepJob> jobs) =>
        [.. jobs.Select(Queued).Chunk(MaxBatch).Select(chunk => new SweepEffect.Queue([.. chunk]))];

    /// <summary>Whether a failure ends the job, after so many that were counted before it.</summary>
    private static bool IsFinal(FailureType type, int failures, int losses) => type switch
    {
        FailureType.InvalidInput or FailureType.Unsupported => true,
        FailureType.HandedBack => false,
        FailureType.WorkerLost or FailureType.Cancelled => losses >= MaxLosses,
        FailureType.OutOfMemory => failures + 1 >= MaxOutOfMemory,
        FailureType.Crashed or FailureType.TimedOut => failures + 1 >= MaxCrashes,
        _ => failures + 1 >= MaxInternal,
    };

    private static bool IsLoss(FailureType type) => type is FailureType.WorkerLost or FailureType.Cancelled;

    /// <summary>Whether it speaks against the job: neither a lost worker nor one that was asked to stop does.</summary>
    private static bool IsFailure(FailureType type) => !IsLoss(type) && type is not FailureType.HandedBack;

    /// <summary>What the reports of one batch add to the state, which does not change until their event is applied.</summary>
    private sealed class ReportBatch(SweepState sweep)
    {
        private readonly ImmutableArray<AttemptEnd>.Builder _ends = ImmutableArray.CreateBuilder<AttemptEnd>();
        private readonly Dictionary<SweepJob, Change> _changes = [];
        private readonly Dictionary<string, DeviceAddress> _bindings = new(StringComparer.Ordinal);
        private readonly HashSet<SweepJob> _skipped = [];
        private int _finished;
        private bool _failed;

        public bool Ended(SweepJob job) => _changes.TryGetValue(job, out var change) && change.Final;

        /// <summary>Takes a report into the batch; false when it changes nothing.</summary>
        public bool Take(JobReport report)
        {
            if (sweep.IsEnded || sweep.Find(report.JobId) is not { Status: JobStatus.Waiting } job)
            {
                return false;
            }

            var change = _changes.GetValueOrDefault(job) ?? new Change(job);
            var isStale = report.Attempt < change.NextAttempt;
            if (change.Final || _skipped.Contains(job) || (isStale && (!report.Outcome.IsSuccess || job.Spec.IsExclusive)))
            {
                return false;
            }

            if (change.Knows(report) && !report.Outcome.IsSuccess)
            {
                return false;
            }

            var end = Judge(job, report, change);
            _changes[job] = change;
            change.Add(end);
            _ends.Add(end);
            if (end.Final)
            {
                _finished++;
                if (end.Report.Outcome.IsSuccess)
                {
                    if (job.Spec.DeviceGroup is { } group && end.Report.Device is { } device)
                    {
                        _bindings.TryAdd(group, device);
                    }
                }
                else
                {
                    _failed = true;
                    sweep.CollectDependents(job, _skipped);
                }
            }

            return true;
        }

        public ImmutableArray<SweepEvent> Events(DateTimeOffset now)
        {
            if (_ends.Count == 0)
            {
                return [];
            }

            var ended = new SweepEvent.AttemptsEnded(now, _ends.ToImmutable());
            var left = sweep._counts[(int)JobStatus.Blocked] + sweep._counts[(int)JobStatus.Waiting] - _finished - _skipped.Count;
            return left > 0 ? [ended] : [ended, new SweepEvent.Ended(now, FinalStatus())];
        }

        private SweepStatus FinalStatus()
        {
            if (!_failed && sweep._counts[(int)JobStatus.Failed] + sweep._counts[(int)JobStatus.Skipped] == 0)
            {
                return SweepStatus.Completed;
            }

            return sweep._entries.Any(e => sweep.Find(e.BenchmarkJob) is { } job && Succeeded(job)) ? SweepStatus.Partial : SweepStatus.Failed;
        }

        private bool Succeeded(SweepJob job) =>
            job.Status == JobStatus.Succeeded || (_changes.TryGetValue(job, out var change) && change.Success);

        private AttemptEnd Judge(SweepJob job, JobReport report, Change change)
        {
            var outcome = report.Outcome;
            if (outcome is { IsSuccess: true, Result: { } result })
            {
                if (Missing(job.Spec, result) is { } output)
                {
                    report = Fail(report, FailureType.Internal, $"{job.Spec.Operation} reported success but no output '{output}'; report this as a bug of its toolchain");
                }
                else if (MisplacedBy(job.Spec, report.Device) is { } reason)
                {
                    report = Fail(report, FailureType.WorkerLost, $"measured on {report.Device!.HostId}/{report.Device.DeviceId}, but {reason}; it is measured again");
                }
            }
            else if (outcome.IsSuccess)
            {
                report = Fail(report, FailureType.Internal, $"{job.Spec.Operation} ended with neither a result nor a failure");
            }

            return new AttemptEnd(report, report.Outcome.Failure is not { } failure || IsFinal(failure.Type, change.Failures, change.Losses));
        }

        private static string? Missing(JobSpec spec, JobResult result)
        {
            foreach (var output in spec.Outputs)
            {
                if (!result.Outputs.ContainsKey(output))
                {
                    return output;
                }
            }

            return null;
        }

        /// <summary>Why a benchmark should not have run where it did; two dispatchers in turn may not know of each other's choice.</summary>
        private string? MisplacedBy(JobSpec spec, DeviceAddress? device)
        {
            if (spec.DeviceGroup is not { } group || device is null)
            {
                return null;
            }

            if (Binding(group) is { } bound)
            {
                return bound == device ? null : $"what it is compared with was measured on {bound.HostId}/{bound.DeviceId}";
            }

            return sweep.Siblings(group).Any(g => Binding(g) == device) ? "that device counts for another number of the target" : null;
        }

        private DeviceAddress? Binding(string group) => _bindings.GetValueOrDefault(group) ?? sweep.BindingOf(group);

        private static JobReport Fail(JobReport report, FailureType type, string message) =>
            report with { Outcome = report.Outcome with { Result = null, Failure = new Failure(type, message) } };
    }

    /// <summary>A job as it will be once the batch is durable.</summary>
    private sealed class Change(SweepJob job)
    {
        private readonly List<JobReport> _reports = new(1);

        public bool Final { get; private set; }

        public bool Success { get; private set; }

        public int Failures { get; private set; } = job.Failures;

        public int Losses { get; private set; } = job.Losses;

        public int NextAttempt { get; private set; } = job.NextAttempt;

        public bool Knows(JobReport report) =>
            job.Knows(report.Attempt, report.Fence) || _reports.Any(r => r.Attempt == report.Attempt && r.Fence == report.Fence);

        public void Add(AttemptEnd end)
        {
            _reports.Add(end.Report);
            Final = end.Final;
            Success = end.Report.Outcome.IsSuccess;
            NextAttempt = Math.Max(NextAttempt, end.Report.Attempt + 1);
            if (end.Report.Outcome.Failure is { } failure)
            {
                Failures += IsFailure(failure.Type) ? 1 : 0;
                Losses += IsLoss(failure.Type) ? 1 : 0;
            }
        }
    }
}
