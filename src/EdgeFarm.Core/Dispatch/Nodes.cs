using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Dispatch;

/// <summary>A machine: what a benchmark owns, whatever number of workers it runs.</summary>
internal sealed class HostNode(string id)
{
    public string Id { get; } = id;

    /// <summary>Its workers by name, linked or in their reconnection grace.</summary>
    public SortedDictionary<string, WorkerNode> Workers { get; } = new(StringComparer.Ordinal);

    /// <summary>Leases whose child may run on it, revoked ones included until their end is confirmed.</summary>
    public int Active { get; set; }

    /// <summary>How many of those are exclusive; more than one only where a worker came back with one that was given up.</summary>
    public int Exclusives { get; set; }

    /// <summary>Waiting benchmarks that keep new shared leases away.</summary>
    public Bucket? Reservation { get; set; }

    /// <summary>Benchmarks leased in a row while no shared lease was given.</summary>
    public int Streak { get; set; }

    /// <summary>Shared leases that may still be given before waiting benchmarks have their turn again.</summary>
    public int SharedTurn { get; set; }

    /// <summary>The state of all waiting benchmarks in which none was found that wants this host.</summary>
    public long CheckedVersion { get; set; } = -1;
}

/// <summary>A worker that is linked, or was and may come back.</summary>
internal sealed class WorkerNode(string name, HostNode host)
{
    public string Name { get; } = name;

    public HostNode Host { get; set; } = host;

    public WorkerCapability Capability { get; set; } = null!;

    /// <summary>Device id to device class.</summary>
    public ImmutableSortedDictionary<string, string> DeviceClasses { get; set; } = ImmutableSortedDictionary<string, string>.Empty;

    public string? Link { get; set; }

    public string Session { get; set; } = "";

    public DateTimeOffset LinkedAt { get; set; }

    public DateTimeOffset LostAt { get; set; }

    public bool Draining { get; set; }

    public WorkerCredit? Credit { get; set; }

    /// <summary>Number of the last lease message on this link.</summary>
    public long Sent { get; set; }

    /// <summary>Leases sent on this link that the last credit did not know of.</summary>
    public Queue<(long Sequence, bool Exclusive)> InFlight { get; } = [];

    public SortedDictionary<long, LeaseNode> Leases { get; } = [];

    /// <summary>Signatures that some device of it serves, while it is linked and not draining.</summary>
    public List<Signature> Signatures { get; } = [];

    public bool IsOpen => Link is not null && !Draining;

    public int SharedFree => !IsOpen || Credit is not { } credit || HasExclusiveInFlight ? 0 : Math.Max(0, credit.Shared - InFlight.Count);

    private bool HasExclusiveInFlight
    {
        get
        {
            foreach (var (_, exclusive) in InFlight)
            {
                if (exclusive)
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>Whether it could finish such a job if it were asked to stop right after the start.</summary>
    public bool HasTimeFor(int seconds) => Capability.DrainTime is not { } drain || drain.TotalSeconds >= seconds;

    public bool ExclusiveFree => IsOpen && Credit is { Exclusive: true } && InFlight.Count == 0;

    public Device? FindDevice(string id) => Capability.Devices.FirstOrDefault(d => d.Id == id);
}

/// <summary>A lease that is out.</summary>
internal sealed class LeaseNode(AttemptKey key, string sweep, string deviceId, bool exclusive, WorkerNode worker)
{
    public AttemptKey Key { get; } = key;

    public string Sweep { get; } = sweep;

    public string DeviceId { get; } = deviceId;

    public bool Exclusive { get; } = exclusive;

    public WorkerNode Worker { get; } = worker;

    public DateTimeOffset Since { get; init; }

    public DateTimeOffset Deadline { get; init; }

    /// <summary>The job that it runs; null when a worker brought it and the sweep has not queued that job yet, or no longer wants it.</summary>
    public QueueEntry? Entry { get; set; }

    /// <summary>The worker was told to kill it and has not confirmed.</summary>
    public bool Revoking { get; set; }

    public DateTimeOffset RevokedAt { get; set; }

    /// <summary>Its child has ended; only the result is on its way.</summary>
    public bool Ended { get; init; }
}

/// <summary>Where a job stands with the dispatcher.</summary>
internal enum EntryState
{
    Queued,
    Following,
    Leased,
    Reporting,
}

/// <summary>A job that a sweep handed over.</summary>
internal sealed class QueueEntry(QueuedJob job, long order)
{
    public QueuedJob Job { get; } = job;

    /// <summary>Place in the order in which jobs were queued.</summary>
    public long Order { get; } = order;

    public EntryState State { get; set; }

    /// <summary>Since when it waits for a worker.</summary>
    public DateTimeOffset QueuedAt { get; set; }

    public LeaseNode? Lease { get; set; }

    public GroupNode? Group { get; set; }

    public Bucket? Bucket { get; set; }

    public LinkedListNode<QueueEntry>? Place { get; set; }

    /// <summary>The job with an equal action digest whose result it waits for.</summary>
    public QueueEntry? Leader { get; set; }

    public List<QueueEntry>? Followers { get; set; }

    public JobReport? Report { get; set; }

    public DateTimeOffset ReportedAt { get; set; }

    public string Id => Job.Job.Spec.Id;

    public JobSpec Spec => Job.Job.Spec;
}

/// <summary>A worker's result on its way to the sweep.</summary>
internal sealed class PassedOn(string worker, string sweep, JobReport report, DateTimeOffset at)
{
    /// <summary>Who waits for the acknowledgement.</summary>
    public string Worker { get; } = worker;

    public string Sweep { get; } = sweep;

    public JobReport Report { get; } = report;

    public DateTimeOffset At { get; set; } = at;
}

/// <summary>Benchmarks that must run on one device.</summary>
internal sealed class GroupNode(string sweep, string name)
{
    public string Sweep { get; } = sweep;

    public string Name { get; } = name;

    public DeviceGroup Parts { get; } = DeviceGroup.Parse(name);

    public DeviceAddress? Binding { get; set; }

    /// <summary>Devices that the sweep says measure other numbers of the target.</summary>
    public ImmutableArray<DeviceAddress> NotOn { get; set; } = [];

    /// <summary>Since when no worker offers the bound device, while benchmarks wait for it.</summary>
    public DateTimeOffset? AwaySince { get; set; }

    /// <summary>The bound device is gone, the sweep was told, and nothing runs until it queues the jobs anew.</summary>
    public bool Suspended { get; set; }

    public DateTimeOffset ToldAt { get; set; }

    public int Entries { get; set; }

    public DateTimeOffset IdleSince { get; set; }
}

/// <summary>Waiting jobs of one sweep that any of the same workers can take, in order.</summary>
internal sealed class Bucket(SweepQueue sweep, Signature signature, GroupNode? group, int priority)
{
    public SweepQueue Sweep { get; } = sweep;

    public Signature Signature { get; } = signature;

    public GroupNode? Group { get; } = group;

    /// <summary>Lower goes first: imports and passes unlock other jobs.</summary>
    public int Priority { get; } = priority;

    public LinkedList<QueueEntry> Queue { get; } = new();

    public HostNode? ReservedHost { get; set; }
}

/// <summary>The waiting jobs of one sweep.</summary>
internal sealed class SweepQueue(string id)
{
    public string Id { get; } = id;

    public Dictionary<(Signature, GroupNode?, int), Bucket> Buckets { get; } = [];

    /// <summary>Shared buckets by priority, then age.</summary>
    public List<Bucket> Shared { get; } = [];

    public List<Bucket> Exclusive { get; } = [];

    public LinkedListNode<SweepQueue>? Place { get; set; }
}

/// <summary>Equal demands on a worker, and the devices that meet them.</summary>
internal sealed class Signature(JobDemand demand)
{
    private int? _bestScore;

    public JobRequirements Requirements => demand.Requirements;

    /// <summary>Longest run of a job with these demands.</summary>
    public int TimeoutSeconds => demand.TimeoutSeconds;

    /// <summary>Open workers with the devices that meet the requirements.</summary>
    public Dictionary<WorkerNode, ImmutableArray<Device>> Eligible { get; } = [];

    public int SharedWaiting { get; set; }

    public int Buckets { get; set; }

    public void Update(WorkerNode worker)
    {
        var devices = worker.IsOpen && worker.HasTimeFor(TimeoutSeconds) ? RequirementMatcher.Candidates(worker.Capability, Requirements) : [];
        if (devices.IsEmpty)
        {
            if (Eligible.Remove(worker))
            {
                worker.Signatures.Remove(this);
            }
        }
        else
        {
            if (!Eligible.ContainsKey(worker))
            {
                worker.Signatures.Add(this);
            }

            Eligible[worker] = devices;
        }

        _bestScore = null;
    }

    /// <summary>
    /// Devices of a worker to use. The library's variant, more memory and hosts to avoid are wishes: they exclude a device only while another
    /// one that meets the requirements fulfils them better, so that a job never waits for a worker that may not exist.
    /// </summary>
    public IEnumerable<Device> Devices(WorkerNode worker)
    {
        if (!Eligible.TryGetValue(worker, out var devices))
        {
            return [];
        }

        if (!HasWishes)
        {
            return devices;
        }

        var best = _bestScore ??= Eligible.Max(e => e.Value.Max(d => Score(e.Key, d)));
        return devices.Where(d => Score(worker, d) == best);
    }

    /// <summary>The first device of a worker to use, or null when the worker is not to be used.</summary>
    public Device? FirstDevice(WorkerNode worker)
    {
        if (HasWishes)
        {
            return Devices(worker).FirstOrDefault();
        }

        return Eligible.TryGetValue(worker, out var devices) && devices.Length > 0 ? devices[0] : null;
    }

    /// <summary>Devices of a worker to use, among those that may be used.</summary>
    public IEnumerable<Device> Devices(WorkerNode worker, Func<WorkerNode, Device, bool> mayUse)
    {
        if (!Eligible.TryGetValue(worker, out var devices))
        {
            return [];
        }

        var usable = devices.Where(d => mayUse(worker, d));
        if (!HasWishes)
        {
            return usable;
        }

        var best = Eligible.SelectMany(e => e.Value.Where(d => mayUse(e.Key, d)).Select(d => Score(e.Key, d))).DefaultIfEmpty().Max();
        return usable.Where(d => Score(worker, d) == best);
    }

    private bool HasWishes => demand.MinimumMemory > 0 || !demand.Avoid.IsEmpty || demand.LibraryVariant.Length > 0;

    // A figure of another variant is still a figure, an attempt that runs out of memory or crashes is none.
    private int Score(WorkerNode worker, Device device) =>
        (device.MemoryBytes >= demand.MinimumMemory ? 4 : 0) + (demand.Avoid.Contains(worker.Host.Id) ? 0 : 2) + (HasVariant(worker, device) ? 1 : 0);

    private bool HasVariant(WorkerNode worker, Device device) =>
        demand.LibraryVariant.Length == 0
        || worker.Capability.Runtimes.Any(r =>
            r.Identity.Id == Requirements.Runtime && RuntimeInfo.VariantOn(device.Id, r.LibraryVariant) == demand.LibraryVariant);
}

/// <summary>What a job asks of a worker, and what it wishes for.</summary>
/// <param name="Requirements">What must be met.</param>
/// <param name="MinimumMemory">Bytes of device memory wished for; 0 for none.</param>
/// <param name="Avoid">Hosts that others are preferred to.</param>
/// <param name="LibraryVariant">Variant of the runtime's library that is preferred; empty for none.</param>
/// <param name="TimeoutSeconds">Longest run.</param>
internal sealed record JobDemand(
    JobRequirements Requirements, long MinimumMemory, ImmutableSortedSet<string> Avoid, string LibraryVariant, int TimeoutSeconds)
{
    public static JobDemand Of(QueuedJob job) =>
        new(job.Job.Spec.Requirements, job.MinimumMemory, job.Avoid, job.LibraryVariant, job.Job.Spec.TimeoutSeconds);

    /// <summary>By value, so that jobs planned one by one share a signature.</summary>
    public bool Equals(JobDemand? other)
    {
        if (other is null)
        {
            return false;
        }

        var (a, b) = (Requirements, other.Requirements);
        return MinimumMemory == other.MinimumMemory
            && TimeoutSeconds == other.TimeoutSeconds
            && LibraryVariant == other.LibraryVariant
            && (ReferenceEquals(Avoid, other.Avoid) || Avoid.SetEquals(other.Avoid))
            && (ReferenceEquals(a, b)
                || (a.Toolchain == b.Toolchain && a.Pass == b.Pass && a.Runtime == b.Runtime && a.Format == b.Format
                    && a.MemoryBytes == b.MemoryBytes && a.Properties.SequenceEqual(b.Properties)));
    }

    public override int GetHashCode()
    {
        var hash = new HashCode();
        hash.Add(MinimumMemory);
        hash.Add(TimeoutSeconds);
        hash.Add(LibraryVariant);
        hash.Add(Avoid.Count);
        hash.Add(Requirements.Toolchain);
        hash.Add(Requirements.Pass);
        hash.Add(Requirements.Runtime);
        hash.Add(Requirements.Format);
        hash.Add(Requirements.MemoryBytes);
        foreach (var property in Requirements.Properties)
        {
            hash.Add(property);
        }

        return hash.ToHashCode();
    }
}
