using EdgeFarm.Core.Dispatch;

namespace EdgeFarm.Simulation;

/// <summary>Finds work that waits although a worker that could take it is free.</summary>
internal static class Idle
{
    /// <summary>What waits in vain, or null.</summary>
    public static string? Find(DispatchState dispatcher)
    {
        if (!dispatcher.IsOpen)
        {
            return null;
        }

        foreach (var host in dispatcher.Hosts)
        {
            var valid = host.Workers.Values.SelectMany(w => w.Leases.Values).Where(l => l is { Ended: false, Revoking: false }).ToList();
            if (valid.Count > 1 && valid.Exists(l => l.Exclusive))
            {
                return $"host {host.Id} has {valid.Count} leases, one of them exclusive";
            }

            if (host.Exclusives > 0)
            {
                continue;
            }

            foreach (var worker in host.Workers.Values)
            {
                var exclusive = dispatcher.Queues.SelectMany(q => q.Exclusive).FirstOrDefault(b => dispatcher.DeviceFor(b, worker) is not null);
                if (exclusive is not null && worker.ExclusiveFree && host.Active == 0)
                {
                    return $"benchmark {exclusive.Queue.First!.Value.Id} waits, but worker {worker.Name} is free and its host is empty";
                }

                var shared = dispatcher.Queues.SelectMany(q => q.Shared).FirstOrDefault(b => b.Signature.Devices(worker).Any());
                var isKept = host.Reservation is { Queue.Count: > 0 } kept && host.Workers.Values.Any(w => dispatcher.DeviceFor(kept, w) is not null);
                if (shared is not null && worker.SharedFree > 0 && !isKept)
                {
                    return $"job {shared.Queue.First!.Value.Id} waits, but worker {worker.Name} has {worker.SharedFree} free slots";
                }
            }
        }

        return null;
    }
}
