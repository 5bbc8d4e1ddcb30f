using System.Diagnostics.Metrics;
using EdgeFarm.Actors;
using EdgeFarm.Core.Fleet;
using Microsoft.Extensions.Logging;

namespace EdgeFarm.Server.Hosting;

/// <summary>
/// Gauges of the fleet and the queue. A scrape reads the last view, which is at most a few seconds old, so that scraping never waits
/// for an actor.
/// </summary>
internal sealed class FleetMetrics : BackgroundService
{
    private static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(2);

    private readonly IFarm _farm;
    private readonly TimeProvider _time;
    private readonly ILogger<FleetMetrics> _logger;
    private readonly Meter _meter;
    private volatile FleetView? _view;

    public FleetMetrics(IFarm farm, IMeterFactory meters, TimeProvider time, ILogger<FleetMetrics> logger)
    {
        (_farm, _time, _logger) = (farm, time, logger);
        _meter = meters.Create(GrpcEdge.MeterName);
        _meter.CreateObservableGauge("edgefarm.queue.depth", () => Classes(v => v.QueueDepth), "{job}", "Waiting jobs by device class; none: no linked worker could take them.");
        _meter.CreateObservableGauge("edgefarm.queue.leased", () => Classes(v => v.Leased), "{job}", "Leased jobs by device class.");
        _meter.CreateObservableGauge("edgefarm.queue.oldest_lease_age", () => _view?.OldestLease.TotalSeconds ?? 0, "s", "Age of the oldest lease.");
        _meter.CreateObservableGauge("edgefarm.workers", Workers, "{worker}", "Linked workers by os, arch and state.");
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(RefreshInterval, _time);
        do
        {
            try
            {
                _view = await _farm.FleetAsync(stoppingToken);
            }
            catch (FarmUnavailableException e)
            {
                // Stale gauges would lie about a farm that does not answer.
                _view = null;
                _logger.LogWarning("the fleet's state for metrics did not come: {Reason}", e.Message);
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    private IEnumerable<Measurement<int>> Classes(Func<FleetView, IEnumerable<KeyValuePair<string, int>>> counts) =>
        _view is { } view ? counts(view).Select(c => new Measurement<int>(c.Value, new KeyValuePair<string, object?>("device_class", c.Key))) : [];

    private IEnumerable<Measurement<int>> Workers() =>
        (_view?.Workers ?? []).GroupBy(w => (
                Os: w.Capability.Properties.GetValueOrDefault("os")?.ToString() ?? "",
                Arch: w.Capability.Properties.GetValueOrDefault("arch")?.ToString() ?? "",
                State: w.Draining ? "draining" : w.Held.IsEmpty ? "idle" : "busy"))
            .Select(g => new Measurement<int>(g.Count(), new("os", g.Key.Os), new("arch", g.Key.Arch), new KeyValuePair<string, object?>("state", g.Key.State)));
}
