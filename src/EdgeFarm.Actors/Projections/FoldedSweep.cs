using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Projections;

/// <summary>
/// A sweep as its events up to a number tell it, and what the rows lack of it. The same <see cref="SweepState"/> as the sweep's own
/// actor folds them, so that rows and actor never disagree about where a job stands.
/// </summary>
internal sealed class FoldedSweep(string id)
{
    private readonly SweepImpact _impact = new();
    private readonly Dictionary<string, int> _ordinals = new(StringComparer.Ordinal);
    private readonly Dictionary<string, JobReport> _ends = new(StringComparer.Ordinal);
    private readonly HashSet<string> _changed = new(StringComparer.Ordinal);

    public string Id { get; } = id;

    public SweepState State { get; } = new(id);

    public long SequenceNr { get; private set; }

    /// <summary>Jobs whose rows are behind.</summary>
    public IReadOnlyCollection<string> Changed => _changed;

    /// <summary>Whether the sweep has no rows yet.</summary>
    public bool IsNew { get; private set; }

    /// <summary>Place of a job in plan order, from 0.</summary>
    public int Ordinal(string job) => _ordinals[job];

    /// <summary>The attempt that ended a job, or null.</summary>
    public JobReport? EndOf(string job) => _ends.GetValueOrDefault(job);

    public void Apply(SweepEvent happened, long sequenceNr)
    {
        State.Apply(happened);
        _impact.Collect(happened, State, _changed);
        SequenceNr = sequenceNr;
        switch (happened)
        {
            case SweepEvent.Submitted:
                IsNew = true;
                break;
            case SweepEvent.PlanGrown grown:
                foreach (var job in grown.Jobs)
                {
                    _ordinals.Add(job.Id, _ordinals.Count);
                }

                break;
            case SweepEvent.AttemptsEnded ended:
                foreach (var end in ended.Attempts.Where(e => e.Final))
                {
                    _ends[end.Report.JobId] = end.Report;
                }

                break;
            case SweepEvent.JobsRetried retried:
                foreach (var job in retried.Jobs)
                {
                    _ends.Remove(job);
                }

                break;
        }
    }

    /// <summary>The rows are up to date.</summary>
    public void Written()
    {
        _changed.Clear();
        IsNew = false;
    }
}
