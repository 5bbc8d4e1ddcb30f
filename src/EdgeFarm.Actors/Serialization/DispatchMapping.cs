using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Sweeps;
using Google.Protobuf.WellKnownTypes;

namespace EdgeFarm.Actors.Serialization;

/// <summary>Queued jobs, leases and workers as records.proto and back.</summary>
internal static class DispatchMapping
{
    public static Wire.QueuedJob Wire(this QueuedJob q)
    {
        var wire = new Wire.QueuedJob
        {
            Job = q.Job.Wire(),
            Sweep = q.Sweep,
            Attempt = q.Attempt,
            BoundTo = q.BoundTo?.Wire(),
            MinimumMemory = q.MinimumMemory,
            Fresh = q.Fresh,
            Traceparent = q.TraceParent,
            LibraryVariant = q.LibraryVariant,
        };
        wire.Avoid.Add(q.Avoid);
        wire.NotOn.Add(q.NotOn.Select(d => d.Wire()));
        return wire;
    }

    public static QueuedJob ToCore(this Wire.QueuedJob q) => new(
        q.Job.ToCore(), q.Sweep, q.Attempt, q.BoundTo?.ToCore(), q.MinimumMemory, q.Avoid.ToImmutableSortedSet(StringComparer.Ordinal), q.Fresh)
    {
        NotOn = [.. q.NotOn.Select(d => d.ToCore())],
        TraceParent = q.Traceparent,
        LibraryVariant = q.LibraryVariant,
    };

    public static Wire.Lease Wire(this Lease l) => new()
    {
        Job = l.Job.Wire(),
        Sweep = l.Sweep,
        Attempt = l.Attempt,
        Fence = l.Fence,
        DeviceId = l.DeviceId,
        TransferTimeout = Duration.FromTimeSpan(l.TransferTimeout),
        ExecutionTimeout = Duration.FromTimeSpan(l.ExecutionTimeout),
        Traceparent = l.TraceParent,
    };

    public static Lease ToCore(this Wire.Lease l) => new(
        l.Job.ToCore(), l.Sweep, l.Attempt, l.Fence, l.DeviceId, l.TransferTimeout.ToTimeSpan(), l.ExecutionTimeout.ToTimeSpan())
    {
        TraceParent = l.Traceparent,
    };

    public static Wire.HeldLease Wire(this HeldLease h) => new()
    {
        Key = h.Key.Wire(),
        Sweep = h.Sweep,
        DeviceId = h.DeviceId,
        Exclusive = h.Exclusive,
        Ended = h.Ended,
    };

    public static HeldLease ToCore(this Wire.HeldLease h) => new(h.Key.ToCore(), h.Sweep, h.DeviceId, h.Exclusive) { Ended = h.Ended };

    public static Wire.Capability Wire(this WorkerCapability c)
    {
        var wire = new Wire.Capability
        {
            HostId = c.HostId,
            Worker = c.Worker,
            Slots = c.Slots,
            DrainTime = c.DrainTime is { } drain ? Duration.FromTimeSpan(drain) : null,
        };
        wire.Properties.Put(c.Properties, RecordMapping.Wire);
        wire.Labels.Put(c.Labels);
        wire.Devices.Put(c.Devices, Wire);
        wire.Runtimes.Put(c.Runtimes, Wire);
        wire.Toolchains.Put(c.Toolchains, Wire);
        return wire;
    }

    public static WorkerCapability ToCore(this Wire.Capability c) => new(
        c.HostId,
        c.Worker,
        c.Properties.Sorted(RecordMapping.ToCore),
        c.Labels.Sorted(),
        c.Devices.Array(d => new Device(d.Id, d.Kind, d.Properties.Sorted(RecordMapping.ToCore), d.MemoryBytes, d.Fingerprint)),
        c.Runtimes.Array(r => new RuntimeInfo(r.Engine.ToCore(), r.LibraryVariant, r.LibraryDigest, [.. r.Formats], [.. r.Devices])),
        c.Toolchains.Array(t => new ToolchainInfo(t.Engine.ToCore(), [.. t.Passes])),
        c.Slots)
    {
        DrainTime = c.DrainTime?.ToTimeSpan(),
    };

    private static Wire.Device Wire(Device d)
    {
        var wire = new Wire.Device { Id = d.Id, Kind = d.Kind, MemoryBytes = d.MemoryBytes, Fingerprint = d.Fingerprint };
        wire.Properties.Put(d.Properties, RecordMapping.Wire);
        return wire;
    }

    private static Wire.Runtime Wire(RuntimeInfo r)
    {
        var wire = new Wire.Runtime { Engine = r.Identity.Wire(), LibraryVariant = r.LibraryVariant, LibraryDigest = r.LibraryDigest };
        wire.Formats.Put(r.Formats, f => f);
        wire.Devices.Put(r.Devices, d => d);
        return wire;
    }

    private static Wire.Toolchain Wire(ToolchainInfo t)
    {
        var wire = new Wire.Toolchain { Engine = t.Identity.Wire() };
        wire.Passes.Put(t.Passes, p => p);
        return wire;
    }
}
