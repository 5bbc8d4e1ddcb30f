using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Leaderboard;
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

    /// <summary>Jobs that entries name.</summary>
    private readonly HashSet<string> _shown = new(StringComparer.Ordinal);
    private readonly HashSet<string> _changed = new(StringComparer.Ordinal);
    private readonly HashSet<string> _changedModels = new(StringComparer.Ordinal);
    private readonly List<CacheFill> _fills = [];

    public string Id { get; } = id;

    public SweepState State { get; } = new(id);

    public long SequenceNr { get; private set; }

    /// <summary>Jobs whose rows are behind.</summary>
    public IReadOnlyCollection<string> Changed => _changed;

    /// <summary>Models whose entries are behind.</summary>
    public IReadOnlyCollection<string> ChangedModels => _changedModels;

    /// <summary>Results that the cache lacks.</summary>
    public IReadOnlyCollection<CacheFill> Fills => _fills;

    /// <summary>Documents of the entries as they were last written, so that equal ones are not written again.</summary>
    public Dictionary<string, string> Entries { get; } = new(StringComparer.Ordinal);

    /// <summary>Whether the sweep has no rows yet.</summary>
    public bool IsNew { get; private set; }

    /// <summary>Place of a job in plan order, from 0.</summary>
    public int Ordinal(string job) => _ordinals[job];

    /// <summary>How a job that an entry shows ended, or null while it has not.</summary>
    public FinishedJob? EndOf(string job) => _ends.TryGetValue(job, out var end) ? new FinishedJob(end, State.AttemptsOf(job).Count) : null;

    public void Apply(SweepEvent happened, long sequenceNr)
    {
        foreach (var fill in State.Apply(happened).OfType<SweepEffect.FillCache>())
        {
            _fills.AddRange(fill.Reports.Select(r => State.ReadyJob(r.JobId) is { } job ? new CacheFill(job, r.Outcome) : null).OfType<CacheFill>());
        }

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

                foreach (var entry in grown.Entries)
                {
                    _changedModels.Add(entry.Model);
                    _shown.Add(entry.ArtifactJob);
                    _shown.Add(entry.BenchmarkJob);
                    _shown.UnionWith(entry.EvaluationJobs);
                }

                break;
            case SweepEvent.AttemptsEnded ended:
                foreach (var end in ended.Attempts.Where(e => e.Final && IsShown(e.Report.JobId)))
                {
                    _ends[end.Report.JobId] = end.Report;
                }

                AddModels(ended.Attempts.Select(a => a.Report.JobId));

                break;
            case SweepEvent.JobsRetried retried:
                foreach (var job in retried.Jobs)
                {
                    _ends.Remove(job);
                }

                AddModels(retried.Jobs);

                break;
        }
    }

    /// <summary>The rows are up to date.</summary>
    public void Written()
    {
        _changed.Clear();
        _changedModels.Clear();
        _fills.Clear();
        IsNew = false;
    }

    /// <summary>Whether an entry may ask how a job ended: it names it, or its artifact may come from it. The ends of others would only take memory.</summary>
    private bool IsShown(string job) => _shown.Contains(job) || _impact.HasDependents(job);

    private void AddModels(IEnumerable<string> jobs) => _changedModels.UnionWith(jobs.Select(j => State.Job(j)?.Model).OfType<string>());
}
