using System.Diagnostics.Metrics;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Actors;

/// <summary>The farm's figures as instruments of the meter <c>EdgeFarm</c>; the server exports them.</summary>
public sealed class FarmMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "EdgeFarm";

    private readonly Meter _meter = new(MeterName);
    private readonly TimeProvider _time;
    private readonly Counter<long> _ended;
    private readonly Histogram<double> _duration;
    private FleetView? _fleet;
    private AnsweredDemand? _demand;

    private sealed record AnsweredDemand(FleetDemand Demand, DateTimeOffset At);

    /// <summary>How long figures for a scaler show after it asked; older ones would pass for current ones.</summary>
    public static readonly TimeSpan DemandShownFor = TimeSpan.FromMinutes(2);

    /// <summary>Makes the instruments.</summary>
    /// <param name="time">The clock.</param>
    public FarmMetrics(TimeProvider time)
    {
        _time = time;
        _meter.CreateObservableGauge(
            "edgefarm.scaler.jobs", ObserveDemand, "{job}", "Jobs that count for a device class as the scaler was last answered, by state (waiting, leased)");
        _ended = _meter.CreateCounter<long>("edgefarm.jobs.ended", "{attempt}", "Attempts that ended, by kind and result");
        _duration = _meter.CreateHistogram<double>("edgefarm.job.duration", "s", "Run time of attempts, by kind and result");
        _meter.CreateObservableGauge("edgefarm.jobs", ObserveJobs, "{job}", "Jobs in the dispatcher, by state (waiting, running)");
        _meter.CreateObservableGauge("edgefarm.queue.depth", () => ByClass(f => f.QueueDepth), "{job}", "Waiting jobs, by device class");
        _meter.CreateObservableGauge("edgefarm.leases", () => ByClass(f => f.Leased), "{lease}", "Leased jobs, by device class");
        _meter.CreateObservableGauge("edgefarm.lease.age", () => _fleet?.OldestLease.TotalSeconds ?? 0, "s", "Age of the oldest lease");
        _meter.CreateObservableGauge("edgefarm.workers", ObserveWorkers, "{worker}", "Linked workers, by os, arch, device class and whether they drain");
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    /// <summary>Told what a scaler was answered, so that the same figures show here. They show for <see cref="DemandShownFor"/>.</summary>
    public void Observe(FleetDemand demand, DateTimeOffset now) => Volatile.Write(ref _demand, new AnsweredDemand(demand, now));

    internal void Observe(FleetView fleet) => Volatile.Write(ref _fleet, fleet);

    internal void Ended(JobKind kind, JobOutcome outcome)
    {
        var result = outcome.Failure?.Type.ToString() ?? "Success";
        KeyValuePair<string, object?>[] tags = [new("kind", kind.ToString()), new("result", result)];
        _ended.Add(1, tags);
        _duration.Record(Math.Max(0, (outcome.FinishedAt - outcome.StartedAt).TotalSeconds), tags);
    }

    private IEnumerable<Measurement<long>> ObserveJobs()
    {
        if (Volatile.Read(ref _fleet) is { } fleet)
        {
            yield return new Measurement<long>(fleet.QueueDepth.Values.Sum(), new KeyValuePair<string, object?>("state", "waiting"));
            yield return new Measurement<long>(fleet.Leased.Values.Sum(), new KeyValuePair<string, object?>("state", "running"));
        }
    }

    private IEnumerable<Measurement<long>> ObserveDemand() =>
        Volatile.Read(ref _demand) is { } answered && _time.GetUtcNow() - answered.At < DemandShownFor
            ? answered.Demand.Classes.SelectMany(c => new[] { (State: "waiting", Jobs: c.Waiting), (State: "leased", Jobs: c.Leased) }.Select(
                f => new Measurement<long>(
                    f.Jobs,
                    new KeyValuePair<string, object?>("device_class", c.DeviceClass),
                    new KeyValuePair<string, object?>("state", f.State))))
            : [];

    private IEnumerable<Measurement<long>> ByClass(Func<FleetView, IEnumerable<KeyValuePair<string, int>>> figures) =>
        Volatile.Read(ref _fleet) is { } fleet
            ? figures(fleet).Select(f => new Measurement<long>(f.Value, new KeyValuePair<string, object?>("device_class", f.Key)))
            : [];

    private IEnumerable<Measurement<long>> ObserveWorkers() =>
        Volatile.Read(ref _fleet) is { } fleet
            ? fleet.Workers
                .GroupBy(w => (Os: Property(w, "os"), Arch: Property(w, "arch"), Class: string.Join(',', w.DeviceClasses.Values.Distinct()), w.Draining))
                .Select(g => new Measurement<long>(
                    g.Count(),
                    new KeyValuePair<string, object?>("os", g.Key.Os),
                    new KeyValuePair<string, object?>("arch", g.Key.Arch),
                    new KeyValuePair<string, object?>("device_class", g.Key.Class),
                    new KeyValuePair<string, object?>("draining", g.Key.Draining)))
            : [];

    private static string Property(WorkerView worker, string name) => worker.Capability.Properties.GetValueOrDefault(name)?.ToString() ?? "";
}
