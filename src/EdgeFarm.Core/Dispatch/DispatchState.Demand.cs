using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Core.Dispatch;

public sealed partial class DispatchState
{
    /// <summary>
    /// How many jobs count for each of some classes of workers, whether such workers are linked or not. A waiting job counts for the
    /// first class whose template could run it, or, when its comparison is bound to the device of a linked worker, for that worker's class. A
    /// lease counts for the class of the worker that holds it. A job that waits for equal work in flight needs no worker and does not count.
    /// </summary>
    /// <param name="templates">The classes, in the order in which a job looks for its own.</param>
    public FleetDemand Demand(ImmutableArray<WorkerTemplate> templates)
    {
        var waiting = new int[templates.Length];
        var leased = new int[templates.Length];
        var unserved = 0;
        var known = new Dictionary<Signature, int>();
        foreach (var bucket in _queues.Values.SelectMany(q => q.Buckets.Values))
        {
            if (!known.TryGetValue(bucket.Signature, out var first))
            {
                known.Add(bucket.Signature, first = FirstThatServes(templates, bucket.Signature.Requirements));
            }

            Count(waiting, Holder(templates, bucket) ?? first, bucket.Queue.Count);
        }

        foreach (var lease in _leases.Values)
        {
            var at = IndexOf(templates, lease.Worker, lease.DeviceId);
            if (at < 0 && lease.Entry is { } entry)
            {
                at = FirstThatServes(templates, entry.Spec.Requirements);
            }

            Count(leased, at, 1);
        }

        // A result that no sweep has stored yet lies on its worker's disk: that worker must not be scaled away either.
        foreach (var (key, passed) in _passedOn)
        {
            if (!_leases.ContainsKey(key.Fence) && _workers.GetValueOrDefault(passed.Worker) is { } worker)
            {
                Count(leased, IndexOf(templates, worker, passed.Report.Device?.DeviceId ?? ""), 1);
            }
        }

        // A lost or handed back attempt: its sweep has been told and will queue the next.
        foreach (var entry in _reporting.Values.Where(e => e.Report!.Outcome.Failure is { Type: FailureType.WorkerLost or FailureType.HandedBack }))
        {
            Count(waiting, FirstThatServes(templates, entry.Spec.Requirements), 1);
        }

        return new FleetDemand([.. templates.Select((t, i) => new ClassDemand(t.DeviceClass, waiting[i], leased[i]))], unserved);

        void Count(int[] counts, int at, int jobs)
        {
            if (at >= 0)
            {
                counts[at] += jobs;
            }
            else if (counts == waiting)
            {
                unserved += jobs;
            }
        }
    }

    private static int FirstThatServes(ImmutableArray<WorkerTemplate> templates, JobRequirements requirements)
    {
        for (var i = 0; i < templates.Length; i++)
        {
            if (!RequirementMatcher.Candidates(templates[i].Worker, requirements).IsEmpty)
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>The class of the linked worker that has the device to which waiting benchmarks are bound, or null.</summary>
    private int? Holder(ImmutableArray<WorkerTemplate> templates, Bucket bucket)
    {
        if (bucket.Group?.Binding is not { } bound || _hosts.GetValueOrDefault(bound.HostId) is not { } host)
        {
            return null;
        }

        var worker = host.Workers.Values.FirstOrDefault(w => w.Link is not null && DeviceFor(bucket, w) is not null);
        return worker is null || IndexOf(templates, worker, bound.DeviceId) is not (>= 0 and var at) ? null : at;
    }

    /// <summary>The class that a worker says it was started for, else that of its device; -1 when none of them is asked about.</summary>
    private int IndexOf(ImmutableArray<WorkerTemplate> templates, WorkerNode worker, string deviceId)
    {
        var name = worker.Capability.Labels.GetValueOrDefault(WorkerTemplate.ClassLabel) ?? ClassOf(worker, deviceId);
        for (var i = 0; i < templates.Length; i++)
        {
            if (templates[i].DeviceClass == name)
            {
                return i;
            }
        }

        return -1;
    }
}
