using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Simulation;

/// <summary>
/// Breaks a decider on purpose, from outside, to show that the simulator notices. The base class breaks nothing.
/// </summary>
internal class Mutation
{
    public static readonly Mutation None = new();

    /// <summary>Every mutation that must be caught.</summary>
    public static readonly ImmutableArray<Mutation> All =
    [
        new AcknowledgesBeforeDurable(),
        new ForgetsMachines(),
        new IgnoresLeasesInFlight(),
        new IgnoresFences(),
        new LosesKeptResults(),
        new ForgetsReadyJobs(),
        new DoublesLeases(),
        new DropsReports(),
    ];

    public string Name => GetType().Name;

    /// <summary>Effects of a decision that are run before its events are durable.</summary>
    public virtual ImmutableArray<SweepEffect> BeforeDurable(SweepCommand command) => [];

    public virtual ImmutableArray<SweepEffect> Recovered(ImmutableArray<SweepEffect> effects) => effects;

    public virtual DispatchInput Input(DispatchState dispatcher, DispatchInput input) => input;

    public virtual IEnumerable<DispatchEffect> Effects(DispatchState dispatcher, IReadOnlyList<DispatchEffect> effects) => effects;

    public virtual ImmutableArray<PendingResult> Kept(ImmutableArray<PendingResult> kept) => kept;

    /// <summary>The sweep tells the dispatcher to acknowledge what it has only just received.</summary>
    private sealed class AcknowledgesBeforeDurable : Mutation
    {
        public override ImmutableArray<SweepEffect> BeforeDurable(SweepCommand command) => command is SweepCommand.Report report
            ? [new SweepEffect.Acknowledge([.. report.Reports.Where(r => r.Fence != 0).Select(r => new AttemptKey(r.JobId, r.Attempt, r.Fence))])]
            : [];
    }

    /// <summary>The dispatcher takes every worker for a machine of its own.</summary>
    private sealed class ForgetsMachines : Mutation
    {
        public override DispatchInput Input(DispatchState dispatcher, DispatchInput input) => input is DispatchInput.WorkerLinked linked
            ? linked with { Capability = linked.Capability with { HostId = linked.Capability.Worker } }
            : input;
    }

    /// <summary>The dispatcher takes each credit for one that knows of all leases sent so far.</summary>
    private sealed class IgnoresLeasesInFlight : Mutation
    {
        public override DispatchInput Input(DispatchState dispatcher, DispatchInput input) => input is DispatchInput.CreditAnnounced announced
            ? announced with { Credit = announced.Credit with { Sequence = long.MaxValue } }
            : input;
    }

    /// <summary>A result counts for whatever lease the job has now.</summary>
    private sealed class IgnoresFences : Mutation
    {
        public override DispatchInput Input(DispatchState dispatcher, DispatchInput input) =>
            input is DispatchInput.ResultReported reported && dispatcher.FindLease(reported.Key.JobId) is { } current
                ? reported with { Key = current }
                : input;
    }

    /// <summary>A worker that restarts does not look at its disk.</summary>
    private sealed class LosesKeptResults : Mutation
    {
        public override ImmutableArray<PendingResult> Kept(ImmutableArray<PendingResult> kept) => [];
    }

    /// <summary>A sweep that recovers does not queue its ready jobs again.</summary>
    private sealed class ForgetsReadyJobs : Mutation
    {
        public override ImmutableArray<SweepEffect> Recovered(ImmutableArray<SweepEffect> effects) => [];
    }

    /// <summary>The dispatcher sends each lease under two fences.</summary>
    private sealed class DoublesLeases : Mutation
    {
        public override IEnumerable<DispatchEffect> Effects(DispatchState dispatcher, IReadOnlyList<DispatchEffect> effects) =>
            effects.SelectMany(e => e is DispatchEffect.SendLease send
                ? [e, send with { Lease = send.Lease with { Fence = send.Lease.Fence + 500_000 } }]
                : new[] { e });
    }

    /// <summary>The dispatcher does not tell sweeps of lost workers.</summary>
    private sealed class DropsReports : Mutation
    {
        public override IEnumerable<DispatchEffect> Effects(DispatchState dispatcher, IReadOnlyList<DispatchEffect> effects) =>
            effects.Where(e => e is not DispatchEffect.Report { JobReport.Outcome.Failure.Type: Core.Jobs.FailureType.WorkerLost or Core.Jobs.FailureType.HandedBack });
    }
}
