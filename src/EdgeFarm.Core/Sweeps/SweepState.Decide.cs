using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Sweeps;

public sealed partial class SweepState
{
    private static readonly SweepDecision Nothing = new([], [], null);

    /// <summary>
    /// What a command leads to. Changes nothing: the caller persists the events in one write, applies each, and runs the decision's
    /// effects and those that applying returned. A refused command has no events.
    /// </summary>
    public SweepDecision Decide(SweepCommand command, DateTimeOffset now) => command switch
    {
        SweepCommand.Submit submit => DecideSubmit(submit.Submission, now),
        SweepCommand.Report report => DecideReports(report.Reports, [], now),
        SweepCommand.CacheAnswered answer => DecideAnswer(answer, now),
        _ when !Exists => Refuse($"there is no sweep {Id}"),
        SweepCommand.Cancel cancel => DecideCancel(cancel.Reason, now),
        SweepCommand.Retry retry => DecideRetry(retry.Type, now),
        SweepCommand.DeviceLost lost => DecideDeviceLost(lost.Group, lost.Device, now),
        _ => throw new ArgumentOutOfRangeException(nameof(command), command.GetType().Name, "unknown sweep command"),
    };

    private SweepDecision DecideAnswer(SweepCommand.CacheAnswered answer, DateTimeOffset now)
    {
        if (Submission is not { LibraryVariants: { IsEmpty: false } known })
        {
            return DecideReports(answer.Hits, answer.Misses, now);
        }

        var hits = answer.Hits.ToLookup(h => IsOfForeignVariant(h, known));
        return DecideReports([.. hits[false]], [.. answer.Misses, .. hits[true].Select(h => h.JobId)], now);
    }

    private bool IsOfForeignVariant(JobReport hit, ImmutableArray<string> known) =>
        Find(hit.JobId) is { Spec.IsReference: true }
        && hit.Outcome.Result is { LibraryVariant: { Length: > 0 } variant }
        && !known.Contains(variant);

    private static SweepDecision Refuse(string message) => new([], [], Failure.InvalidInput(message));

    private SweepDecision DecideSubmit(SweepSubmission submission, DateTimeOffset now)
    {
        if (Submission is { } known)
        {
            return known.RequestId == submission.RequestId && known.ContentDigest == submission.ContentDigest
                ? Nothing
                : Refuse($"sweep {Id} was submitted before with another content; choose another id, or submit the same file again");
        }

        var problem = submission.Id == Id ? Validate(submission.Plan) : $"the submission names sweep {submission.Id}, not {Id}";
        if (problem.Length > 0)
        {
            return Refuse(problem);
        }

        var events = ImmutableArray.CreateBuilder<SweepEvent>();
        var plan = submission.Plan;
        events.Add(new SweepEvent.Submitted(now, submission with { Plan = plan with { Jobs = [], Entries = [] } }));
        events.AddRange(Grow(plan.Jobs, plan.Entries, now));
        return new SweepDecision(events.ToImmutable(), [], null);
    }

    /// <summary>Splits a plan into events; an entry stands in the event of its last job.</summary>
    private static IEnumerable<SweepEvent.PlanGrown> Grow(ImmutableArray<JobSpec> jobs, ImmutableArray<PlannedEntry> entries, DateTimeOffset now)
    {
        var position = new Dictionary<string, int>(jobs.Length, StringComparer.Ordinal);
        for (var i = 0; i < jobs.Length; i++)
        {
            position[jobs[i].Id] = i;
        }

        var byBatch = entries.ToLookup(e => new[] { e.BenchmarkJob, e.ArtifactJob }.Concat(e.EvaluationJobs).Max(j => position.GetValueOrDefault(j)) / MaxBatch);
        for (var start = 0; start < jobs.Length; start += MaxBatch)
        {
            yield return new SweepEvent.PlanGrown(
                now, jobs.Slice(start, Math.Min(MaxBatch, jobs.Length - start)), [.. byBatch[start / MaxBatch]]);
        }
    }

    /// <summary>Why a plan cannot be taken; empty when it can.</summary>
    private string Validate(SweepPlan plan)
    {
        if (plan.Jobs.IsEmpty)
        {
            return "the plan has no jobs";
        }

        var known = new HashSet<string>(plan.Jobs.Length, StringComparer.Ordinal);
        foreach (var job in plan.Jobs)
        {
            if (!TryNumber(job.Id, out _))
            {
                return $"job id {job.Id} is not one of sweep {Id}";
            }

            if (job.Inputs.FirstOrDefault(i => i.Source.Artifact is null && (i.Source.Output is null || !known.Contains(i.Source.Job ?? ""))) is { } input)
            {
                return $"input {input.Name} of job {job.Id} comes from {input.Source.Job}, which is not planned before it";
            }

            if (!known.Add(job.Id))
            {
                return $"job {job.Id} is planned twice";
            }
        }

        return plan.Entries.FirstOrDefault(e => !known.Contains(e.BenchmarkJob) || !known.Contains(e.ArtifactJob) || !e.EvaluationJobs.All(known.Contains)) is { } entry
            ? $"entry {entry.Id} names a job that is not planned"
            : "";
    }

    private SweepDecision DecideCancel(string reason, DateTimeOffset now)
    {
        if (Status == SweepStatus.Cancelled)
        {
            return Nothing;
        }

        return IsEnded
            ? Refuse($"sweep {Id} has ended ({Status}); nothing is left to cancel")
            : new SweepDecision([new SweepEvent.CancelRequested(now, reason), new SweepEvent.Ended(now, SweepStatus.Cancelled)], [], null);
    }

    private SweepDecision DecideRetry(FailureType? type, DateTimeOffset now)
    {
        if (Status == SweepStatus.Cancelled)
        {
            return Refuse($"sweep {Id} was cancelled; submit it again instead");
        }

        var again = new HashSet<SweepJob>();
        foreach (var job in _order)
        {
            // Plan order: producers are seen before the jobs that were skipped because of them.
            var revived = job.Status switch
            {
                JobStatus.Failed => type is null || job.Past[^1].Failure?.Type == type,
                JobStatus.Skipped => Producers(job).All(p => p.Status == JobStatus.Succeeded || !p.IsFinished || again.Contains(p)),
                _ => false,
            };
            if (revived)
            {
                again.Add(job);
            }
        }

        var events = _order.Where(again.Contains).Select(j => j.Spec.Id).Chunk(MaxBatch).Select(ids => new SweepEvent.JobsRetried(now, [.. ids]));
        return new SweepDecision([.. events], [], null);
    }

    private SweepDecision DecideDeviceLost(string group, DeviceAddress device, DateTimeOffset now)
    {
        if (IsEnded || !_groups.TryGetValue(group, out var members))
        {
            return Nothing;
        }

        var left = members.Where(j => !j.IsFinished).ToList();
        if (left.Count == 0)
        {
            return Nothing;
        }

        if (BindingOf(group) != device)
        {
            // Nothing was measured there (or the group moved on), so nothing needs measuring again: the jobs may go anywhere.
            return new SweepDecision([], QueueAll(left.Where(j => j.Status == JobStatus.Waiting)), null);
        }

        var name = DeviceGroup.Parse(group);
        var fresh = name.Name(DeviceGroup.Parse(_lastGroups[name.Stem][name.Number]).Round + 1);
        var events = ImmutableArray.CreateBuilder<SweepEvent>();
        var (jobs, entries) = MeasureBaselinesAgain(left, fresh);
        events.AddRange(Grow(jobs, entries, now));
        events.Add(new SweepEvent.GroupRebound(now, group, fresh, [.. left.Select(j => j.Spec.Id)]));
        return new SweepDecision(events.ToImmutable(), [], null);
    }

    /// <summary>New benchmarks of the baselines that were measured on a lost device, and entries that are compared with them.</summary>
    private (ImmutableArray<JobSpec> Jobs, ImmutableArray<PlannedEntry> Entries) MeasureBaselinesAgain(List<SweepJob> left, string group)
    {
        var jobs = ImmutableArray.CreateBuilder<JobSpec>();
        var entries = ImmutableArray.CreateBuilder<PlannedEntry>();
        var replaced = new Dictionary<string, string>(StringComparer.Ordinal);
        var number = _nextNumber;
        // A pass that chooses by times and the benchmark of its form serve one entry.
        foreach (var entry in left.SelectMany(j => j.Spec.Entries).Distinct(StringComparer.Ordinal).Select(FindEntry).OfType<PlannedEntry>())
        {
            if (entry.IsBaseline || FindEntry(entry.BaselineId) is not { } baseline || Find(baseline.BenchmarkJob) is not { Status: JobStatus.Succeeded } measured)
            {
                continue;
            }

            if (!replaced.TryGetValue(baseline.Id, out var id))
            {
                id = $"{Id}/e{number}";
                var job = measured.Spec with { Id = JobSpec.MakeId(Id, number), DeviceGroup = group, Entries = [id] };
                number++;
                jobs.Add(job);
                entries.Add(baseline with { Id = id, BaselineId = id, BenchmarkJob = job.Id });
                replaced.Add(baseline.Id, id);
            }

            entries.Add(entry with { BaselineId = id });
        }

        return (jobs.ToImmutable(), entries.ToImmutable());
    }

    private PlannedEntry? FindEntry(string id) => _entryIndex.TryGetValue(id, out var index) ? _entries[index] : null;
}
