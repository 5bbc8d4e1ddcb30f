using System.Collections.Immutable;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using Google.Protobuf.WellKnownTypes;

namespace EdgeFarm.Actors.Serialization;

/// <summary>Views and explanations as messages.proto and back.</summary>
internal static class ViewMapping
{
    public static Wire.SweepView Wire(this SweepView v)
    {
        var wire = new Wire.SweepView
        {
            Id = v.Id,
            Name = v.Name,
            Owner = v.Owner,
            SweepStatus = (int)v.Status,
            CacheHits = v.CacheHits,
            CreatedAt = v.CreatedAt.Wire(),
            EndedAt = v.EndedAt.Wire(),
        };
        wire.Labels.Put(v.Labels);
        wire.Counts.AddRange(v.Counts.Select(c => new Wire.Counts { JobStatus = (int)c.Key, Count = c.Value }));
        return wire;
    }

    public static SweepView ToCore(this Wire.SweepView v) => new(
        v.Id,
        v.Name,
        v.Owner,
        v.Labels.Sorted(),
        (SweepStatus)v.SweepStatus,
        v.Counts.ToImmutableSortedDictionary(c => (JobStatus)c.JobStatus, c => c.Count),
        v.CacheHits,
        v.CreatedAt.ToTime(),
        v.EndedAt?.ToTime());

    public static Wire.JobView Wire(this JobView v)
    {
        var wire = new Wire.JobView
        {
            Id = v.Id,
            Sweep = v.Sweep,
            JobKind = (int)v.Kind,
            Operation = v.Operation,
            Engine = v.Engine,
            Model = v.Model,
            Form = v.Form,
            Target = v.Target,
            JobStatus = (int)v.Status,
            Cached = v.Cached,
            Progress = v.Progress,
            ProgressText = v.ProgressText,
            Action = v.Action.Wire(),
            MemoryBytes = v.MemoryBytes,
        };
        wire.Attempts.Put(v.Attempts, Wire);
        wire.Outputs.Put(v.Outputs, RecordMapping.Wire);
        return wire;
    }

    public static JobView ToCore(this Wire.JobView v) => new(
        v.Id,
        v.Sweep,
        (JobKind)v.JobKind,
        v.Operation,
        v.Engine,
        v.Model,
        v.Form,
        v.Target,
        (JobStatus)v.JobStatus,
        v.Attempts.Array(a => new AttemptView(
            a.Number, a.Worker, a.Host, a.Device, a.StartedAt?.ToTime(), a.FinishedAt?.ToTime(), a.Failure?.ToCore(), a.Log.ToDigest())),
        v.Cached,
        v.Progress,
        v.ProgressText,
        v.Action.ToDigest(),
        v.Outputs.Sorted(RecordMapping.ToCore))
    {
        MemoryBytes = v.MemoryBytes,
    };

    public static Wire.SweepChange Wire(this SweepChange c)
    {
        var wire = new Wire.SweepChange { Sequence = c.Sequence, Sweep = c.Sweep.Wire(), Snapshot = c.IsSnapshot };
        wire.Jobs.Put(c.Jobs, Wire);
        return wire;
    }

    public static SweepChange ToCore(this Wire.SweepChange c) => new(c.Sequence, c.Sweep.ToCore(), c.Jobs.Array(ToCore), c.Snapshot);

    public static Wire.WaitExplanation Wire(this WaitExplanation e)
    {
        var wire = new Wire.WaitExplanation { Job = e.JobId, Position = e.Position, Reason = e.Reason };
        wire.Nearest.Put(e.Nearest, n =>
        {
            var near = new Wire.NearWorker { Worker = n.Worker, Busy = n.Busy };
            near.Lacks.Put(n.Lacks, l => new Wire.Lack { What = l.What, Has = l.Has });
            return near;
        });
        return wire;
    }

    public static WaitExplanation ToCore(this Wire.WaitExplanation e) => new(
        e.Job, e.Position, e.Reason, e.Nearest.Array(n => new NearWorker(n.Worker, n.Lacks.Array(l => new Lack(l.What, l.Has)), n.Busy)));

    public static Wire.FleetView Wire(this FleetView f)
    {
        var wire = new Wire.FleetView { OldestLease = Duration.FromTimeSpan(f.OldestLease) };
        wire.Workers.Put(f.Workers, Wire);
        wire.QueueDepth.Put(f.QueueDepth, n => n);
        wire.Leased.Put(f.Leased, n => n);
        return wire;
    }

    public static FleetView ToCore(this Wire.FleetView f) => new(
        f.Workers.Array(w => new WorkerView(
            w.Capability.ToCore(), w.Session, w.LinkedAt.ToTime(), w.Draining, w.Held.Array(DispatchMapping.ToCore), w.SharedFree, w.DeviceClasses.Sorted())),
        f.QueueDepth.Sorted(n => n),
        f.Leased.Sorted(n => n),
        f.OldestLease.ToTimeSpan());

    public static Wire.GetDemand Wire(this DispatchMessages.GetDemand m)
    {
        var wire = new Wire.GetDemand();
        wire.Templates.Put(m.Templates, t => new Wire.WorkerTemplate { DeviceClass = t.DeviceClass, Worker = t.Worker.Wire() });
        return wire;
    }

    public static Wire.DemandReply Wire(this DemandReply m)
    {
        var wire = new Wire.DemandReply();
        if (m.Demand is { } demand)
        {
            wire.Demand = new Wire.FleetDemand { Unserved = demand.Unserved };
            wire.Demand.Classes.Put(demand.Classes, c => new Wire.ClassDemand { DeviceClass = c.DeviceClass, Waiting = c.Waiting, Leased = c.Leased });
        }

        return wire;
    }

    public static DemandReply ToCore(this Wire.DemandReply m) => new(m.Demand is null
        ? null
        : new FleetDemand(m.Demand.Classes.Array(c => new ClassDemand(c.DeviceClass, c.Waiting, c.Leased)), m.Demand.Unserved));

    private static Wire.AttemptView Wire(AttemptView a) => new()
    {
        Number = a.Number,
        Worker = a.Worker,
        Host = a.Host,
        Device = a.Device,
        StartedAt = a.StartedAt.Wire(),
        FinishedAt = a.FinishedAt.Wire(),
        Failure = a.Failure?.Wire(),
        Log = a.Log.Wire(),
    };

    private static Wire.WorkerView Wire(WorkerView w)
    {
        var wire = new Wire.WorkerView
        {
            Capability = w.Capability.Wire(),
            Session = w.Session,
            LinkedAt = w.LinkedAt.Wire(),
            Draining = w.Draining,
            SharedFree = w.SharedFree,
        };
        wire.Held.Put(w.Held, DispatchMapping.Wire);
        wire.DeviceClasses.Put(w.DeviceClasses);
        return wire;
    }
}
