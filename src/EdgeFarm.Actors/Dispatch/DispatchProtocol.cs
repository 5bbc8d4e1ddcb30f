using System.Collections.Immutable;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;

namespace EdgeFarm.Actors.Dispatch;

/// <summary>What the dispatcher is told and asked.</summary>
public static class DispatchMessages
{
    /// <summary>Handle an input. The sender of <see cref="DispatchInput.WorkerLinked"/> is the link that gets the effects.</summary>
    public sealed record Tell(DispatchInput Input) : IFarmMessage;

    /// <summary>Answered with <see cref="FleetReply"/>.</summary>
    public sealed record GetFleet : IFarmMessage
    {
        /// <summary>The only one.</summary>
        public static readonly GetFleet Instance = new();
    }

    /// <summary>Answered with <see cref="DemandReply"/>.</summary>
    public sealed record GetDemand(ImmutableArray<WorkerTemplate> Templates) : IFarmMessage;

    /// <summary>Answered with <see cref="WaitExplained"/>.</summary>
    public sealed record ExplainWait(string JobId) : IFarmMessage;
}

/// <summary>The fleet and the queue.</summary>
public sealed record FleetReply(FleetView Fleet) : IFarmMessage;

/// <summary>The demand for workers; null while the dispatcher has just started and sweeps and workers have not told it yet what there is.</summary>
public sealed record DemandReply(FleetDemand? Demand) : IFarmMessage;

/// <summary>Why a job waits; null when the dispatcher does not know it.</summary>
public sealed record WaitExplained(WaitExplanation? Wait) : IFarmMessage;

/// <summary>What the dispatcher wants of a link: to send a lease, a revocation or an acknowledgement, or to close.</summary>
public sealed record LinkTell(string Link, DispatchEffect Effect) : IFarmMessage;
