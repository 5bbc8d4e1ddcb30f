using System.Globalization;

namespace EdgeFarm.Toolchains.Hosts.Accelerators;

/// <summary>GPUs and NPUs that the Linux kernel has a driver for, from /sys/class/drm and /sys/class/accel.</summary>
internal static class SysfsDevices
{
    public static (IReadOnlyList<DetectedDevice> Devices, IReadOnlyList<string> Notes) Detect(HostSource source)
    {
        var devices = new List<DetectedDevice>();
        var notes = new List<string>();
        foreach (var (directory, node) in Cards(source, "/sys/class/drm", "card"))
        {
            var vendor = Hex(source.Read($"{directory}/device/vendor"));
            var device = Hex(source.Read($"{directory}/device/device")) ?? 0;
            if (vendor is PciNames.Intel or PciNames.Amd)
            {
                devices.Add(Gpu(source, directory, vendor.Value, device));
            }
            else if (vendor == PciNames.Nvidia && !source.Exists("/proc/driver/nvidia/version"))
            {
                notes.Add($"{node} is an NVIDIA GPU ({device:x4}) without NVIDIA's driver; install it to use CUDA");
            }
        }

        foreach (var (directory, node) in Cards(source, "/sys/class/accel", "accel"))
        {
            // Other makers' accelerator cards need engines that the farm does not drive.
            if (Hex(source.Read($"{directory}/device/vendor")) is { } vendor and (PciNames.Intel or PciNames.AmdProcessor))
            {
                devices.Add(Npu(source, directory, vendor, Hex(source.Read($"{directory}/device/device")) ?? 0));
                if (!source.Exists($"/dev/accel/{node}"))
                {
                    notes.Add($"the NPU {node} has no device file /dev/accel/{node}; give this process access to it (in a container: map the device)");
                }
            }
        }

        return (devices, notes);
    }

    private static DetectedDevice Gpu(HostSource source, string directory, int vendor, int device)
    {
        var uevent = Uevent(source, directory);
        var address = uevent.GetValueOrDefault("PCI_SLOT_NAME");
        var memory = Bytes(source.Read($"{directory}/device/mem_info_vram_total"))
            ?? Bytes(source.Read($"{directory}/lmem_total_bytes"))
            ?? Bytes(source.Read($"{directory}/device/tile0/physical_vram_size_bytes"));

        // Intel's integrated GPU is always device 2 of the first bus.
        var isIntegrated = vendor == PciNames.Intel && (address?.EndsWith(":00:02.0", StringComparison.Ordinal) ?? memory is null);
        var name = PciNames.Gpu(vendor, device);
        var bag = Pci(vendor, device, address)
            .Set(HostPropertyNames.GpuVendor, PciNames.VendorWord(vendor))
            .Set(HostPropertyNames.GpuName, name)
            .Set(HostPropertyNames.GpuIntegrated, isIntegrated);
        return new DetectedDevice($"{PciNames.VendorWord(vendor)}-gpu", "gpu", name, isIntegrated ? null : memory ?? 0, uevent.GetValueOrDefault("DRIVER"), bag);
    }

    private static DetectedDevice Npu(HostSource source, string directory, int vendor, int device)
    {
        var uevent = Uevent(source, directory);
        var (name, arch) = PciNames.Npu(vendor, device);
        var firmware = source.Read($"{directory}/device/fw_version") ?? source.Read($"{directory}/fw_version");
        var bag = Pci(vendor, device, uevent.GetValueOrDefault("PCI_SLOT_NAME"))
            .Set(HostPropertyNames.NpuVendor, PciNames.VendorWord(vendor))
            .Set(HostPropertyNames.NpuName, name)
            .Set(HostPropertyNames.NpuArch, arch);
        var driver = uevent.GetValueOrDefault("DRIVER");
        return new DetectedDevice($"{PciNames.VendorWord(vendor)}-npu", "npu", name, null, firmware is null ? driver : $"{driver} {firmware}", bag);
    }

    private static PropertyBag Pci(int vendor, int device, string? address) => new PropertyBag()
        .Set(HostPropertyNames.PciId, $"{vendor:x4}:{device:x4}")
        .Set(HostPropertyNames.PciAddress, address);

    /// <summary>The nodes <c>card0</c>, <c>card1</c>, ... without connectors such as <c>card0-eDP-1</c>, by number.</summary>
    private static IEnumerable<(string Directory, string Node)> Cards(HostSource source, string parent, string prefix) => source.Entries(parent)
        .Select(e => (Name: e, Number: e.StartsWith(prefix, StringComparison.Ordinal)
            && int.TryParse(e.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : -1))
        .Where(e => e.Number >= 0)
        .OrderBy(e => e.Number)
        .Select(e => ($"{parent}/{e.Name}", e.Name));

    private static Dictionary<string, string> Uevent(HostSource source, string directory)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in (source.Read($"{directory}/device/uevent") ?? "").Split('\n'))
        {
            if (line.Split('=', 2) is [var key, var value])
            {
                values[key] = value.Trim();
            }
        }

        return values;
    }

    private static int? Hex(string? text) =>
        text is not null && text.StartsWith("0x", StringComparison.Ordinal)
        && int.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value) ? value : null;

    private static long? Bytes(string? text)
    {
        if (text is null)
        {
            return null;
        }

        var isHex = text.StartsWith("0x", StringComparison.Ordinal);
        return long.TryParse(isHex ? text.AsSpan(2) : text, isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            && value > 0 ? value : null;
    }
}
