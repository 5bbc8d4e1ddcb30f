using System.Collections.Immutable;

namespace EdgeFarm.Core.Fleet;

/// <summary>Jobs that count for one device class.</summary>
/// <param name="DeviceClass">Its name.</param>
/// <param name="Waiting">Jobs in the queue that a worker of the class could run, and no worker of a class before it.</param>
/// <param name="Leased">Attempts that workers of the class hold, those included whose result is not durable yet.</param>
public sealed record ClassDemand(string DeviceClass, int Waiting, int Leased)
{
    /// <summary>What a scaler goes by: a worker in the middle of its last job still counts.</summary>
    public int Jobs => Waiting + Leased;
}

/// <summary>The demand for workers of each class at one moment. A job counts once.</summary>
/// <param name="Classes">In the order of the templates.</param>
/// <param name="Unserved">Waiting jobs that no template could run.</param>
public sealed record FleetDemand(ImmutableArray<ClassDemand> Classes, int Unserved)
{
    /// <summary>The demand of a class, or null when it was not asked about.</summary>
    public ClassDemand? Find(string deviceClass) => Classes.FirstOrDefault(c => c.DeviceClass == deviceClass);
}
