using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;

namespace EdgeFarm.Cli.Client;

/// <summary>Follows a sweep to its end; a connection that breaks is taken up again where it was.</summary>
internal sealed class SweepWatcher(EdgeFarmClient farm, TextWriter notes)
{
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    /// <summary>The jobs as far as they are known, by id.</summary>
    public IReadOnlyDictionary<string, Job> Jobs => _jobs;

    private readonly Dictionary<string, Job> _jobs = new(StringComparer.Ordinal);

    /// <summary>Watches until the sweep has ended; gives the sweep as it ended.</summary>
    /// <param name="id">The sweep.</param>
    /// <param name="changed">Told the sweep and the jobs that changed.</param>
    /// <param name="cancellationToken">Ends it early.</param>
    public async Task<Sweep> RunAsync(string id, Action<Sweep, IReadOnlyList<Job>> changed, CancellationToken cancellationToken)
    {
        long? after = null;
        var brokenSince = (DateTimeOffset?)null;
        while (true)
        {
            try
            {
                var request = new WatchRequest { Id = id };
                if (after is { } last)
                {
                    request.After = last;
                }

                Sweep? sweep = null;
                await foreach (var change in farm.ReadAsync(farm.Sweeps.Watch(request, cancellationToken: cancellationToken), cancellationToken))
                {
                    brokenSince = null;
                    var replaces = change.Snapshot && change.Sequence != after;
                    if (replaces)
                    {
                        _jobs.Clear();
                    }

                    foreach (var job in change.Jobs)
                    {
                        _jobs[job.Id] = job;
                    }

                    (after, sweep) = (change.Sequence, change.Sweep);
                    changed(change.Sweep, change.Jobs);
                }

                if (sweep is { Status: not SweepStatus.Running } ended)
                {
                    return ended;
                }

                // The stream ended though the sweep has not: the farm stops. Or there was nothing new after an end.
                var now = await farm.AwaitAsync(
                    farm.Sweeps.GetSweepAsync(new GetSweepRequest { Id = id }, cancellationToken: cancellationToken));
                if (now.Status is not SweepStatus.Running)
                {
                    return now;
                }
            }
            catch (FarmCallException e) when (e.Kind is FarmErrorKind.Unreachable or FarmErrorKind.Unavailable && after is not null && !cancellationToken.IsCancellationRequested)
            {
                if (brokenSince is null)
                {
                    notes.WriteLine($"the farm at {farm.Address.Authority} is gone; the sweep goes on when it is back. Waiting up to {Figures.Duration(Patience)}...");
                }

                brokenSince ??= DateTimeOffset.UtcNow;
                if (DateTimeOffset.UtcNow - brokenSince > Patience)
                {
                    throw;
                }
            }

            await Task.Delay(RetryInterval, cancellationToken);
        }
    }
}
