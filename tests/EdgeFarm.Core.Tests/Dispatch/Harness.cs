using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Core.Tests.Dispatch;

/// <summary>A dispatcher, a clock, and workers whose links and credits are kept by hand.</summary>
internal sealed class Harness
{
    private readonly Dictionary<string, long> _sent = [];

    public static readonly DispatchLimits Limits = new(
        TimeSpan.FromSeconds(5), TimeSpan.Zero, TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(100), TimeSpan.FromSeconds(10));

    public Harness(DispatchLimits? limits = null, long firstFence = 1) => State = new DispatchState(limits ?? Limits, DeviceClass.Defaults, firstFence);

    public DispatchState State { get; }

    public DateTimeOffset Now { get; private set; } = TestFarm.Now;

    /// <summary>Leases sent so far, in order, with the link that they were sent to.</summary>
    public List<(string Link, Lease Lease)> Leases { get; } = [];

    public IReadOnlyList<DispatchEffect> Do(DispatchInput input)
    {
        var effects = State.Handle(input, Now);
        foreach (var lease in effects.OfType<DispatchEffect.SendLease>())
        {
            Leases.Add((lease.Link, lease.Lease));
            _sent[lease.Link] = lease.Sequence;
        }

        return effects;
    }

    public IReadOnlyList<DispatchEffect> Later(double seconds)
    {
        Now += TimeSpan.FromSeconds(seconds);
        return Do(new DispatchInput.Tick());
    }

    /// <summary>Links a worker under its name as the link's id (or another), and announces its whole credit.</summary>
    public IReadOnlyList<DispatchEffect> Link(
        WorkerCapability worker, string? link = null, string session = "1", ImmutableArray<HeldLease> held = default, bool credit = true)
    {
        var id = link ?? worker.Worker;
        _sent[id] = 0;
        var effects = Do(new DispatchInput.WorkerLinked(id, session, worker, held.IsDefault ? [] : held)).ToList();
        if (credit)
        {
            effects.AddRange(Credit(id, worker.Slots, held.IsDefaultOrEmpty));
        }

        return effects;
    }

    /// <summary>Announces free slots, having seen every lease sent so far.</summary>
    public IReadOnlyList<DispatchEffect> Credit(string link, int shared, bool exclusive) =>
        Do(new DispatchInput.CreditAnnounced(link, new WorkerCredit(shared, exclusive, _sent[link])));

    public IReadOnlyList<DispatchEffect> Queue(params JobSpec[] jobs) => Do(new DispatchInput.JobsQueued([.. jobs.Select(j => TestFarm.Queued(j))]));

    /// <summary>Reports a success, lets the sweep store it, and announces credit.</summary>
    public void Finish((string Link, Lease Lease) given, int shared, bool exclusive)
    {
        Report(given);
        Do(new DispatchInput.ResultsStored(given.Lease.Sweep, [given.Lease.Key]));
        Credit(given.Link, shared, exclusive);
    }

    public IReadOnlyList<DispatchEffect> Report((string Link, Lease Lease) given, JobOutcome? outcome = null) => Do(new DispatchInput.ResultReported(
        given.Link,
        given.Lease.Sweep,
        given.Lease.Key,
        outcome ?? TestFarm.Success(given.Lease.Job.Spec),
        given.Lease.DeviceId,
        given.Lease.Job.Action));

    public (string Link, Lease Lease) Lease(string job) => Leases.Last(l => l.Lease.Job.Spec.Id == job);

    public static HeldLease Held(Lease lease, bool ended = false) =>
        new(lease.Key, lease.Sweep, lease.DeviceId, lease.Job.Spec.IsExclusive) { Ended = ended };

    /// <summary>Ids of the jobs leased so far, in order.</summary>
    public IEnumerable<string> Leased => Leases.Select(l => l.Lease.Job.Spec.Id);
}
