using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Sweeps;

/// <summary>
/// Tells which jobs look different after an event, so that watchers and rows get those alone: a sweep of a million jobs costs per
/// event what one of ten costs.
/// </summary>
internal sealed class SweepImpact
{
    private readonly Dictionary<string, List<string>> _dependents = new(StringComparer.Ordinal);

    /// <summary>Learns jobs that a sweep holds already, e.g. from a snapshot.</summary>
    public void Learn(IEnumerable<JobSpec> jobs)
    {
        foreach (var job in jobs)
        {
            foreach (var input in job.Inputs)
            {
                if (input.Source.Job is { } producer)
                {
                    if (!_dependents.TryGetValue(producer, out var dependents))
                    {
                        _dependents.Add(producer, dependents = []);
                    }

                    dependents.Add(job.Id);
                }
            }
        }
    }

    /// <summary>Whether another job takes what a job makes.</summary>
    public bool HasDependents(string job) => _dependents.ContainsKey(job);

    /// <summary>Adds the jobs that an applied event may have changed.</summary>
    public void Collect(SweepEvent happened, SweepState state, HashSet<string> changed)
    {
        switch (happened)
        {
            case SweepEvent.PlanGrown grown:
                Learn(grown.Jobs);
                changed.UnionWith(grown.Jobs.Select(j => j.Id));
                break;
            case SweepEvent.AttemptsEnded ended:
                foreach (var end in ended.Attempts)
                {
                    Collect(end, changed);
                }

                break;
            case SweepEvent.GroupRebound rebound:
                changed.UnionWith(rebound.Jobs);
                break;
            case SweepEvent.JobsRetried retried:
                changed.UnionWith(retried.Jobs);
                break;
            case SweepEvent.CancelRequested:
                changed.UnionWith(state.JobIds);
                break;
        }
    }

    private void Collect(AttemptEnd end, HashSet<string> changed)
    {
        changed.Add(end.Report.JobId);
        if (!end.Final || !HasDependents(end.Report.JobId))
        {
            return;
        }

        // A success changes those that wait for it; a failure also all that wait for those. Iterative: a chain may be long.
        var open = new Stack<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        open.Push(end.Report.JobId);
        while (open.TryPop(out var job))
        {
            if (!_dependents.TryGetValue(job, out var dependents))
            {
                continue;
            }

            foreach (var dependent in dependents)
            {
                changed.Add(dependent);
                if (!end.Report.Outcome.IsSuccess && seen.Add(dependent))
                {
                    open.Push(dependent);
                }
            }
        }
    }
}
