using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;

namespace EdgeFarm.Core.Fleet;

/// <summary>A worker as clients see it.</summary>
/// <param name="Capability">What it advertised.</param>
/// <param name="Session">The link's session.</param>
/// <param name="LinkedAt">When it linked.</param>
/// <param name="Draining">Takes no new lease.</param>
/// <param name="Held">Attempts that it runs.</param>
/// <param name="SharedFree">Free shared slots.</param>
/// <param name="DeviceClasses">Device id to its device class.</param>
public sealed record WorkerView(
    WorkerCapability Capability,
    string Session,
    DateTimeOffset LinkedAt,
    bool Draining,
    ImmutableArray<HeldLease> Held,
    int SharedFree,
    ImmutableSortedDictionary<string, string> DeviceClasses);

/// <summary>The fleet and the queue at one moment.</summary>
/// <param name="Workers">Linked workers by name.</param>
/// <param name="QueueDepth">Device class (or <c>none</c>) to waiting jobs.</param>
/// <param name="Leased">Device class to leased jobs.</param>
/// <param name="OldestLease">Age of the oldest lease; zero when there is none.</param>
public sealed record FleetView(
    ImmutableArray<WorkerView> Workers,
    ImmutableSortedDictionary<string, int> QueueDepth,
    ImmutableSortedDictionary<string, int> Leased,
    TimeSpan OldestLease);
