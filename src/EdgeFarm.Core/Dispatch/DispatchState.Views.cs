using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

public sealed partial class DispatchState
{
    private const int MaxNearest = 5;
    private const string NoClass = "none";

    /// <summary>Jobs that wait for a worker or for equal work.</summary>
    public int Waiting => _entries.Count - _leases.Values.Count(l => l.Entry is not null) - _reporting.Count;

    /// <summary>Leases that are out, revoked ones that are not confirmed included.</summary>
    public int LeaseCount => _leases.Count;

    /// <summary>How many jobs of each sweep it knows: those that wait, run, or ended without the sweep having stored that yet.</summary>
    public IReadOnlyDictionary<string, int> JobsBySweep => _jobsBySweep;

    /// <summary>For the simulator: whether leases are given, and not only adopted.</summary>
    internal bool IsOpen => _open;

    /// <summary>For the simulator: the machines.</summary>
    internal IEnumerable<HostNode> Hosts => _hosts.Values;

    /// <summary>For the simulator: waiting jobs by sweep.</summary>
    internal IEnumerable<SweepQueue> Queues => _ring;

    /// <summary>For the simulator: the attempt under which a job is leased, or null.</summary>
    internal AttemptKey? FindLease(string jobId) => _entries.GetValueOrDefault(jobId)?.Lease?.Key;

    /// <summary>For the simulator: whether a lease is out and not revoked.</summary>
    internal bool IsValid(AttemptKey key) => _leases.TryGetValue(key.Fence, out var lease) && lease.Key == key && !lease.Revoking;

    /// <summary>The fleet and the queue now.</summary>
    public FleetView View(DateTimeOffset now)
    {
        var workers = _workers.Values.Where(w => w.Link is not null).OrderBy(w => w.Name, StringComparer.Ordinal).Select(w => new WorkerView(
            w.Capability,
            w.Session,
            w.LinkedAt,
            w.Draining,
            [.. w.Leases.Values.Select(l => new HeldLease(l.Key, l.Sweep, l.DeviceId, l.Exclusive) { Ended = l.Ended })],
            w.SharedFree,
            w.DeviceClasses));
        var waiting = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (var bucket in _queues.Values.SelectMany(q => q.Buckets.Values))
        {
            Add(waiting, ClassOf(bucket.Signature), bucket.Queue.Count);
        }

        var leased = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var oldest = now;
        foreach (var lease in _leases.Values.Where(l => !l.Ended))
        {
            Add(leased, ClassOf(lease.Worker, lease.DeviceId) is { Length: > 0 } name ? name : NoClass, 1);
            oldest = lease.Since < oldest ? lease.Since : oldest;
        }

        return new FleetView(
            [.. workers],
            waiting.ToImmutableSortedDictionary(StringComparer.Ordinal),
            leased.ToImmutableSortedDictionary(StringComparer.Ordinal),
            now - oldest);
    }

    /// <summary>Why a job waits. Takes time in proportion to the queue.</summary>
    public WaitExplanation Explain(string jobId, DateTimeOffset now)
    {
        if (!_entries.TryGetValue(jobId, out var entry))
        {
            return new WaitExplanation(jobId, 0, "it is not in the queue", []);
        }

        switch (entry.State)
        {
            case EntryState.Following:
                return new WaitExplanation(jobId, Position(entry), $"job {entry.Leader!.Id} does the same; its result will be taken", []);
            case EntryState.Reporting:
                return new WaitExplanation(jobId, 0, "its attempt ended, and its sweep is storing that", []);
            case EntryState.Leased when entry.Lease is { } lease:
                var where = lease.Worker.Link is null ? $"worker {lease.Worker.Name} runs it, but its link is down" : $"worker {lease.Worker.Name} runs it";
                return new WaitExplanation(jobId, 0, where, []);
            default:
                var bucket = entry.Bucket!;
                return new WaitExplanation(jobId, Position(entry), Reason(bucket, now), Nearest(bucket.Signature.Requirements, bucket));
        }
    }

    /// <summary>Where jobs with these requirements could run now, one answer for each, in order.</summary>
    public ImmutableArray<Placement> ExplainRequirements(IEnumerable<JobRequirements> requirements) =>
    [
        .. requirements.Select(r =>
        {
            var signature = new Signature(new JobDemand(r, 0, [], "", 0));
            var devices = _workers.Values.Where(w => w.IsOpen).OrderBy(w => w.Name, StringComparer.Ordinal)
                .SelectMany(w => RequirementMatcher.Candidates(w.Capability, r).Select(d => (Worker: w, Device: d))).ToList();
            var deviceClass = devices.Count > 0 ? ClassOf(devices[0].Worker, devices[0].Device.Id) : "";
            return new Placement(
                r,
                [.. devices.Select(d => new DeviceAddress(d.Worker.Host.Id, d.Device.Id)).Distinct()],
                deviceClass.Length > 0 ? deviceClass : ClassOf(signature),
                Nearest(r, null));
        }),
    ];

    private static void Add(SortedDictionary<string, int> counts, string key, int count) => counts[key] = counts.GetValueOrDefault(key) + count;

    /// <summary>The class that waiting jobs count for: that of the device they would get, else the first whose conditions they ask for.</summary>
    private string ClassOf(Signature signature)
    {
        foreach (var (worker, devices) in signature.Eligible.OrderBy(e => e.Key.Name, StringComparer.Ordinal))
        {
            if (ClassOf(worker, devices[0].Id) is { Length: > 0 } name)
            {
                return name;
            }
        }

        return _classes.FirstOrDefault(c => c.Require.All(signature.Requirements.Properties.Contains))?.Name ?? NoClass;
    }

    private int Position(QueueEntry entry) =>
        1 + _entries.Values.Count(e => e.State is EntryState.Queued or EntryState.Following && e.Order < entry.Order);

    private string Reason(Bucket bucket, DateTimeOffset now)
    {
        if (!_open)
        {
            return $"the dispatcher has just started and lets workers come back for {(_start + _limits.AdoptOnly - now)?.TotalSeconds:0} s more";
        }

        if (_links.Count == 0)
        {
            return "no worker is linked";
        }

        if (bucket.Signature.Eligible.Count == 0)
        {
            if (_workers.Values.FirstOrDefault(w => w.IsOpen && !w.HasTimeFor(bucket.Signature.TimeoutSeconds)) is { } hasty)
            {
                return $"it may take {bucket.Signature.TimeoutSeconds} s, and no worker that meets its requirements has so long to finish when it is asked to stop; the drain time of {hasty.Name} is {hasty.Capability.DrainTime?.TotalSeconds:0} s";
            }

            return Nearest(bucket.Signature.Requirements, bucket) is [{ Lacks: [var lack, ..] } nearest, ..]
                ? $"no worker meets its requirements; the nearest, {nearest.Worker}, {lack}"
                : "no worker that meets its requirements takes new jobs";
        }

        if (bucket.Group is not { } group)
        {
            var hosts = bucket.Signature.Eligible.Keys.Select(w => w.Host).ToList();
            return hosts.All(h => h.Exclusives > 0 || h.Reservation is not null)
                ? $"host {hosts[0].Id} is kept for benchmarks"
                : "every slot that could take it is in use";
        }

        if (group.Binding is { } bound)
        {
            var host = _hosts.GetValueOrDefault(bound.HostId);
            return group.Suspended || !Serves(bucket, host)
                ? $"its comparison is bound to device {bound.DeviceId} of host {bound.HostId}, which is away"
                : $"host {bound.HostId}, to which its comparison is bound, {Busy(host!)}";
        }

        return bucket.Signature.Eligible.Keys.FirstOrDefault(w => DeviceFor(bucket, w) is not null) is { } worker
            ? $"host {(bucket.ReservedHost ?? worker.Host).Id} {Busy(bucket.ReservedHost ?? worker.Host)}"
            : "every device that could take it measures another repetition of the same target";
    }

    private static string Busy(HostNode host) => host switch
    {
        { Exclusives: > 0 } => "is busy with a benchmark",
        { Active: > 0 } => $"is busy with {host.Active} jobs and takes no new ones until the benchmark has run",
        _ => "has no free slot",
    };

    private ImmutableArray<NearWorker> Nearest(JobRequirements requirements, Bucket? bucket) =>
    [
        .. _workers.Values.Where(w => w.Link is not null)
            .Select(w => (Worker: w, Lacks: RequirementMatcher.Nearest(w.Capability, requirements)))
            .OrderBy(n => n.Lacks.Length).ThenBy(n => n.Worker.Name, StringComparer.Ordinal)
            .Take(MaxNearest)
            .Select(n => new NearWorker(n.Worker.Name, n.Lacks, n.Lacks.IsEmpty ? Occupation(n.Worker, bucket) : "")),
    ];

    private static string Occupation(WorkerNode worker, Bucket? bucket)
    {
        if (worker.Draining)
        {
            return "it is draining";
        }

        if (bucket is not null && !worker.HasTimeFor(bucket.Signature.TimeoutSeconds))
        {
            return $"its drain time of {worker.Capability.DrainTime?.TotalSeconds:0} s is shorter than the {bucket.Signature.TimeoutSeconds} s that the job may take";
        }

        if (worker.Host.Exclusives > 0 || (bucket?.Group is not null && worker.Host.Active > 0))
        {
            return $"host {worker.Host.Id} {Busy(worker.Host)}";
        }

        return worker.SharedFree == 0 ? "all its slots are in use" : "";
    }
}
