using System.Collections.Immutable;
using System.Globalization;
using System.Runtime.Intrinsics.X86;
using System.Text;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Toolchains.Hosts.Accelerators;
using EdgeFarm.Toolchains.Hosts.Linux;
using EdgeFarm.Toolchains.Hosts.MacOs;
using EdgeFarm.Toolchains.Hosts.Windows;

namespace EdgeFarm.Toolchains.Hosts;

/// <summary>How a host is probed.</summary>
/// <param name="StateDirectory">Directory of this worker's own, where an id is kept for a machine that has none.</param>
/// <param name="MachineId">Machine id from the configuration (on Kubernetes the node's name), or null to find one.</param>
public sealed record HostProbeOptions(string StateDirectory, string? MachineId = null);

/// <summary>Finds out what the machine is: processor, limits, memory, accelerators.</summary>
public static class HostProber
{
    /// <summary>
    /// Probes this machine: reads files, and runs the system's own tools with a time limit each. What cannot be found out is absent from
    /// the report. Throws only <see cref="OperationCanceledException"/>, and <see cref="IOException"/> when an id must be stored and cannot.
    /// </summary>
    public static Task<HostReport> ProbeAsync(HostProbeOptions options, CancellationToken cancellationToken) =>
        ProbeAsync(new HostSource(), options, cancellationToken);

    internal static async Task<HostReport> ProbeAsync(HostSource source, HostProbeOptions options, CancellationToken cancellationToken)
    {
        var bag = new PropertyBag().Set(HostPropertyNames.Os, source.Os).Set(HostPropertyNames.Arch, source.Arch);
        var notes = new List<string>();
        var found = source.Os switch
        {
            "macos" => await MacAsync(source, bag, cancellationToken),
            "windows" => await WindowsAsync(source, bag, cancellationToken),
            _ => Linux(source, bag, notes),
        };
        var (nvidia, nvidiaNote) = source.Os == "macos" ? ([], null) : await NvidiaSmi.DetectAsync(source, cancellationToken);
        if (nvidiaNote is not null)
        {
            notes.Add(nvidiaNote);
        }

        var hostId = Identify(options, found.MachineId, bag, notes);
        var threads = ThreadCount.Auto(found.UsableCores, bag.Number(HostPropertyNames.CpuQuota));
        bag.Set(HostPropertyNames.AutoThreads, threads);
        return new HostReport(hostId, bag.ToImmutable(), [Cpu(bag), .. Number([.. nvidia, .. found.Devices], bag)], threads, [.. notes]);
    }

    /// <summary>Instruction sets of the processor that this code runs on, from CPUID; empty on Arm.</summary>
    internal static SortedSet<string> OwnFeatures()
    {
        if (!X86Base.IsSupported)
        {
            return [];
        }

        var leaves = X86Base.CpuId(0, 0).Eax;
        var leaf1 = X86Base.CpuId(1, 0);
        var leaf7 = leaves >= 7 ? X86Base.CpuId(7, 0) : default;
        var leaf71 = leaf7.Eax >= 1 ? X86Base.CpuId(7, 1) : default;
        return CpuFeatures.FromCpuid(leaf1.Ecx, (leaf7.Ebx, leaf7.Ecx, leaf7.Edx), (leaf71.Eax, leaf71.Edx), Avx.IsSupported, Avx512F.IsSupported);
    }

    private static Findings Linux(HostSource source, PropertyBag bag, List<string> notes)
    {
        var usable = LinuxHost.Describe(source, bag);
        var (devices, missing) = SysfsDevices.Detect(source);
        notes.AddRange(missing);
        var soc = SnapdragonSoc.FromLinux(source);
        if (soc is not null && !source.Exists("/dev/fastrpc-cdsp"))
        {
            notes.Add($"{soc.Title} has a Hexagon processor, but there is no /dev/fastrpc-cdsp to reach it; load the fastrpc driver and its firmware");
        }

        return new Findings(usable, LinuxHost.MachineId(source), [.. devices, .. soc?.Devices(null, null) ?? []]);
    }

    private static async Task<Findings> MacAsync(HostSource source, PropertyBag bag, CancellationToken cancellationToken)
    {
        async Task<string?> Output(string tool, params string[] arguments) =>
            await source.RunAsync(tool, arguments, cancellationToken) is { Output: { Length: > 0 } output } ? output : null;

        // sysctl exits with 1 when it does not know one of the keys, and prints the others.
        var sysctl = MacHost.ParseSysctl(await Output("sysctl", [.. MacHost.SysctlKeys]) ?? "");
        var usable = MacHost.Describe(sysctl, await Output("vm_stat"), await Output("pmset", "-g"), bag);
        var uuid = MacHost.PlatformUuid(await Output("ioreg", "-rd1", "-c", "IOPlatformExpertDevice"));
        var gpu = MacHost.Gpu(bag, await Output("system_profiler", "SPDisplaysDataType", "-json"));
        return new Findings(usable, uuid is null ? null : (uuid, "platform-uuid"), gpu is null ? [] : [gpu]);
    }

    private static async Task<Findings> WindowsAsync(HostSource source, PropertyBag bag, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        foreach (var key in new[] { WindowsHost.ProcessorKey, WindowsHost.SystemKey, WindowsHost.VersionKey, WindowsHost.CryptographyKey, WindowsHost.PowerKey })
        {
            text.AppendLine((await source.RunAsync("reg", ["query", key], cancellationToken)).Output);
        }

        foreach (var key in new[] { WindowsHost.GpuClassKey, WindowsHost.NpuClassKey })
        {
            text.AppendLine((await source.RunAsync("reg", ["query", key, "/s"], cancellationToken)).Output);
        }

        var counts = await source.RunAsync("powershell", ["-NoProfile", "-NonInteractive", "-Command", WindowsHost.CountsScript], cancellationToken);
        var registry = RegistryText.Parse(text.ToString());
        var usable = WindowsHost.Describe(registry, counts.Output, OwnFeatures(), bag);
        return new Findings(usable, registry.Text("MachineGuid") is { } guid ? (guid, "machine-guid") : null, WindowsHost.Devices(registry));
    }

    private static string Identify(HostProbeOptions options, (string Id, string Source)? found, PropertyBag bag, List<string> notes)
    {
        var (id, origin) = options.MachineId is { Length: > 0 } configured ? (configured, "configured")
            : found ?? (MachineIdentity.Stored(options.StateDirectory), "stored");
        if (origin == "boot-id")
        {
            notes.Add("the machine id changes with each boot, because the system gives none that containers share; set one in the configuration (on Kubernetes the node's name)");
        }
        else if (origin == "stored")
        {
            notes.Add("the machine has no id of its own; workers with other data directories on it would not know that they share it, so set one in the configuration");
        }

        var hash = MachineIdentity.Hash(id);
        bag.Set(HostPropertyNames.MachineId, hash).Set(HostPropertyNames.MachineIdSource, origin);
        return hash;
    }

    private static Device Cpu(PropertyBag bag)
    {
        string? Number(string name, string unit) =>
            bag.Number(name) is { } value ? string.Create(CultureInfo.InvariantCulture, $"{value:0.##} {unit}") : null;

        string?[] parts =
        [
            bag.Text(HostPropertyNames.CpuModel),
            Number(HostPropertyNames.PhysicalCores, "cores"),
            Number(HostPropertyNames.LogicalCores, "threads"),
            Number(HostPropertyNames.CpuQuota, "processors granted"),
            bag.Text(HostPropertyNames.CpuAffinity) is { } affinity ? $"on {affinity}" : null,
            bag.Text(HostPropertyNames.Virtual) == "true" ? "virtual" : null,
            bag.Text(HostPropertyNames.OsVersion),
            bag.Text(HostPropertyNames.Kernel),
            bag.Text(HostPropertyNames.PowerProfile),
        ];
        var none = ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal);
        return new Device("cpu", "cpu", none, (long)(bag.Number(HostPropertyNames.MemoryLimit) ?? 0), Fingerprint.Of(parts));
    }

    private static IEnumerable<Device> Number(IReadOnlyList<DetectedDevice> devices, PropertyBag bag) =>
        devices.GroupBy(d => d.Family).SelectMany(family => family.Select((device, order) => device.ToDevice(device.Index ?? order, bag)));

    private sealed record Findings(int UsableCores, (string Id, string Source)? MachineId, IReadOnlyList<DetectedDevice> Devices);
}
