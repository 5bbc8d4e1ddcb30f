using System.Globalization;
using EdgeFarm.Core.Fleet;

namespace EdgeFarm.Toolchains.Hosts.Accelerators;

/// <summary>An accelerator as a detector found it, before it gets its place among the devices of the host.</summary>
/// <param name="Family">Family that its id begins with: <c>cuda</c>, <c>intel-gpu</c>, <c>intel-npu</c>, <c>amd-gpu</c>, <c>amd-npu</c>, <c>metal</c>, <c>adreno</c>, <c>hexagon</c>.</param>
/// <param name="Kind"><c>gpu</c> or <c>npu</c>.</param>
/// <param name="Name">What its maker calls it.</param>
/// <param name="MemoryBytes">Memory of its own in bytes; null when it shares the host's, 0 when unknown.</param>
/// <param name="Driver">Driver and version, or null.</param>
/// <param name="Properties">Its properties.</param>
internal sealed record DetectedDevice(string Family, string Kind, string Name, long? MemoryBytes, string? Driver, PropertyBag Properties)
{
    /// <summary>Index within the family where the driver gives one (CUDA's order is nvidia-smi's); else the order of detection decides.</summary>
    public int? Index { get; init; }

    public Device ToDevice(int index, PropertyBag host)
    {
        var memory = MemoryBytes ?? (long)(host.Number(HostPropertyNames.MemoryLimit) ?? 0);
        var power = Properties.Number(HostPropertyNames.GpuPowerLimit);
        string?[] parts =
        [
            Name,
            MemoryBytes > 0 ? string.Create(CultureInfo.InvariantCulture, $"{MemoryBytes / (1024 * 1024)} MiB") : null,
            Driver is null ? null : $"driver {Driver}",
            power is null ? null : string.Create(CultureInfo.InvariantCulture, $"{power} W"),
            host.Text(HostPropertyNames.CpuModel),
            host.Text(HostPropertyNames.OsVersion),
            host.Text(HostPropertyNames.Kernel),
            host.Text(HostPropertyNames.PowerProfile),
        ];
        return new Device(
            $"{Family}:{index}", Kind, Properties.Set(HostPropertyNames.Driver, Driver).ToImmutable(), memory, Fingerprint.Of(parts));
    }
}

/// <summary>One line that tells machines apart whose figures are not comparable.</summary>
internal static class Fingerprint
{
    public static string Of(IEnumerable<string?> parts) => string.Join("; ", parts.Where(p => !string.IsNullOrWhiteSpace(p)).Select(p => p!.Trim()));
}
