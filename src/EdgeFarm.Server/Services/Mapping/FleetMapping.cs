using EdgeFarm.Core.Fleet;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services.Mapping;

/// <summary>Workers and the queue as the public API says them.</summary>
internal static class FleetMapping
{
    public static Wire.Worker ToWire(this WorkerView view)
    {
        var capability = view.Capability;
        var wire = new Wire.Worker
        {
            Name = capability.Worker,
            Host = capability.HostId,
            Slots = capability.Slots,
            FreeSlots = view.SharedFree,
            Draining = view.Draining,
            LinkedAt = view.LinkedAt.ToTimestamp(),
        };
        capability.Properties.CopyTo(wire.Properties);
        wire.Labels.Add(capability.Labels);
        wire.Devices.Add(capability.Devices.Select(d => d.ToWire(view.DeviceClasses.GetValueOrDefault(d.Id, ""))));
        wire.Runtimes.Add(capability.Runtimes.Select(ToWire));
        wire.Toolchains.Add(capability.Toolchains.Select(ToWire));
        wire.Held.Add(view.Held.Select(h => new Wire.HeldLease
        {
            Job = h.Key.JobId,
            Attempt = h.Key.Attempt,
            Device = h.DeviceId,
            Exclusive = h.Exclusive,
        }));
        return wire;
    }

    public static Wire.Queue ToWireQueue(this FleetView fleet)
    {
        var wire = new Wire.Queue { OldestLease = fleet.OldestLease > TimeSpan.Zero ? fleet.OldestLease.ToDuration() : null };
        wire.Waiting.Add(fleet.QueueDepth.Select(c => new Wire.ClassCount { DeviceClass = c.Key, Count = c.Value }));
        wire.Leased.Add(fleet.Leased.Select(c => new Wire.ClassCount { DeviceClass = c.Key, Count = c.Value }));
        return wire;
    }

    public static void CopyTo(this IEnumerable<KeyValuePair<string, PropertyValue>> properties, MapField<string, Wire.PropertyValue> wire)
    {
        foreach (var (name, value) in properties)
        {
            wire[name] = value.ToWire();
        }
    }

    private static Wire.PropertyValue ToWire(this PropertyValue value)
    {
        if (value.Number is { } number)
        {
            return new Wire.PropertyValue { Number = number };
        }

        return value.Items is { } items
            ? new Wire.PropertyValue { Items = new Wire.PropertySet { Items = { items } } }
            : new Wire.PropertyValue { Text = value.Text ?? "" };
    }

    private static Wire.Device ToWire(this Device device, string deviceClass)
    {
        var wire = new Wire.Device
        {
            Id = device.Id,
            Kind = device.Kind,
            MemoryBytes = device.MemoryBytes,
            Fingerprint = device.Fingerprint,
            DeviceClass = deviceClass,
        };
        device.Properties.CopyTo(wire.Properties);
        return wire;
    }

    private static Wire.Runtime ToWire(this RuntimeInfo runtime)
    {
        var wire = new Wire.Runtime
        {
            Id = runtime.Identity.Id,
            Version = runtime.Identity.Release,
            SourceCommit = runtime.Identity.SourceCommit,
            LibraryVariant = runtime.LibraryVariant,
            LibraryDigest = runtime.LibraryDigest,
        };
        wire.Formats.Add(runtime.Formats);
        wire.Devices.Add(runtime.Devices);
        return wire;
    }

    private static Wire.Toolchain ToWire(this ToolchainInfo toolchain)
    {
        var wire = new Wire.Toolchain { Id = toolchain.Identity.Id, Version = toolchain.Identity.Release, SourceCommit = toolchain.Identity.SourceCommit };
        wire.Passes.Add(toolchain.Passes);
        return wire;
    }
}
