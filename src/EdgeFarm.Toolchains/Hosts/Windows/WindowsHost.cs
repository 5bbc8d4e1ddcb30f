using System.Globalization;
using System.Text.RegularExpressions;
using EdgeFarm.Toolchains.Hosts.Accelerators;

namespace EdgeFarm.Toolchains.Hosts.Windows;

/// <summary>Reads the properties of a Windows machine from its registry and from PowerShell's description of processor and memory.</summary>
internal static partial class WindowsHost
{
    public const string ProcessorKey = @"HKLM\HARDWARE\DESCRIPTION\System\CentralProcessor\0";
    public const string SystemKey = @"HKLM\HARDWARE\DESCRIPTION\System\BIOS";
    public const string VersionKey = @"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    public const string CryptographyKey = @"HKLM\SOFTWARE\Microsoft\Cryptography";
    public const string PowerKey = @"HKLM\SYSTEM\CurrentControlSet\Control\Power\User\PowerSchemes";
    public const string GpuClassKey = @"HKLM\SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}";
    public const string NpuClassKey = @"HKLM\SYSTEM\CurrentControlSet\Control\Class\{f01a9d53-3ff6-48d2-9f97-c8a7004be10c}";

    /// <summary>Prints cores and memory as <c>Name : Value</c>; memory is in KiB there.</summary>
    public const string CountsScript =
        "Get-CimInstance Win32_Processor | Format-List NumberOfCores,NumberOfLogicalProcessors; "
        + "Get-CimInstance Win32_OperatingSystem | Format-List TotalVisibleMemorySize,FreePhysicalMemory";

    private static readonly Dictionary<string, string> PowerSchemes = new(StringComparer.OrdinalIgnoreCase)
    {
        ["381b4222-f694-41f0-9685-ff5bb260df2e"] = "balanced",
        ["8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c"] = "performance",
        ["a1841308-3541-4fab-bc81-f71556f20b4a"] = "low-power",
        ["e9a42b02-d5df-448d-aa00-03f14749eb61"] = "ultimate-performance",
    };

    private static readonly string[] VirtualProducts = ["virtual machine", "vmware", "virtualbox", "qemu", "kvm", "google compute engine", "amazon ec2", "parallels"];

    /// <summary>Adds what the machine tells to <paramref name="bag"/> and returns its physical cores.</summary>
    public static int Describe(RegistryText registry, string? counts, SortedSet<string> ownFeatures, PropertyBag bag)
    {
        var processor = registry.Text("ProcessorNameString");
        var vendor = registry.Text("VendorIdentifier");
        var product = $"{registry.Text("SystemManufacturer")} {registry.Text("SystemProductName")}";
        var physical = Count(counts, "NumberOfCores");
        var total = Count(counts, "TotalVisibleMemorySize") * 1024;
        bag.Set(HostPropertyNames.OsVersion, OsVersion(registry))
            .Set(HostPropertyNames.Kernel, registry.Text("CurrentBuildNumber") is { } build ? $"{build}.{registry.Number("UBR") ?? 0}" : null)
            .Set(HostPropertyNames.CpuModel, processor)
            .Set(HostPropertyNames.CpuVendor, Vendor(vendor))
            .Set(HostPropertyNames.CpuFeatureSet, ArmFeatures(registry) ?? ownFeatures)
            .Set(HostPropertyNames.PhysicalCores, physical)
            .Set(HostPropertyNames.LogicalCores, Count(counts, "NumberOfLogicalProcessors"))
            .Set(HostPropertyNames.MemoryTotal, total)
            .Set(HostPropertyNames.MemoryLimit, total)
            .Set(HostPropertyNames.MemoryAvailable, Count(counts, "FreePhysicalMemory") * 1024)
            .Set(HostPropertyNames.Container, "none")
            .Set(HostPropertyNames.Virtual, VirtualProducts.Any(p => product.Contains(p, StringComparison.OrdinalIgnoreCase)))
            .Set(HostPropertyNames.PowerProfile, registry.Text("ActivePowerScheme") is { } scheme ? PowerSchemes.GetValueOrDefault(scheme, scheme) : null);
        Soc(registry)?.Describe(bag);
        return Math.Max(1, (int)(physical ?? 1));
    }

    /// <summary>The accelerators that have a driver.</summary>
    public static IReadOnlyList<DetectedDevice> Devices(RegistryText registry)
    {
        var devices = new List<DetectedDevice>();
        var soc = Soc(registry);
        string? npuDriver = null, gpuDriver = null;
        foreach (var (key, values) in registry.Keys)
        {
            if (!values.TryGetValue("DriverDesc", out var name))
            {
                continue;
            }

            var isNpu = key.Contains("{f01a9d53", StringComparison.OrdinalIgnoreCase);
            var version = values.GetValueOrDefault("DriverVersion");
            if (name.Contains("Qualcomm", StringComparison.OrdinalIgnoreCase) || name.Contains("Snapdragon", StringComparison.OrdinalIgnoreCase))
            {
                (npuDriver, gpuDriver) = isNpu ? (version, gpuDriver) : (npuDriver, version);
            }
            else if (PciId().Match(values.GetValueOrDefault("MatchingDeviceId") ?? "") is { Success: true } id)
            {
                var vendor = int.Parse(id.Groups[1].ValueSpan, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
                var device = int.Parse(id.Groups[2].ValueSpan, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

                // NVIDIA's own tool tells more of its cards.
                if (vendor is PciNames.Intel or PciNames.Amd or PciNames.AmdProcessor)
                {
                    devices.Add(Pci(isNpu, vendor, device, name, version, values));
                }
            }
        }

        return soc is null ? devices : [.. devices, .. soc.Devices(npuDriver, gpuDriver)];
    }

    private static DetectedDevice Pci(bool isNpu, int vendor, int device, string name, string? version, Dictionary<string, string> values)
    {
        var word = PciNames.VendorWord(vendor);
        var bag = new PropertyBag().Set(HostPropertyNames.PciId, $"{vendor:x4}:{device:x4}");
        if (isNpu)
        {
            bag.Set(HostPropertyNames.NpuVendor, word).Set(HostPropertyNames.NpuName, name).Set(HostPropertyNames.NpuArch, PciNames.Npu(vendor, device).Arch);
            return new DetectedDevice($"{word}-npu", "npu", name, null, version, bag);
        }

        // Windows gives the memory of a card only; what an integrated GPU has set aside is below 1 GiB.
        var memory = (long)Math.Min(RegistryText.ParseNumber(values.GetValueOrDefault("HardwareInformation.qwMemorySize")) ?? 0, long.MaxValue);
        var isIntegrated = memory < 1L << 30;
        bag.Set(HostPropertyNames.GpuVendor, word).Set(HostPropertyNames.GpuName, name).Set(HostPropertyNames.GpuIntegrated, isIntegrated);
        return new DetectedDevice($"{word}-gpu", "gpu", name, isIntegrated ? null : memory, version, bag);
    }

    private static SnapdragonSoc? Soc(RegistryText registry) => SnapdragonSoc.FromNames([registry.Text("ProcessorNameString")]);

    private static SortedSet<string>? ArmFeatures(RegistryText registry) =>
        registry.Number("CP 4030") is { } isar0 && registry.Number("CP 4031") is { } isar1
            ? CpuFeatures.FromArmRegisters(registry.Number("CP 4020") ?? 0, isar0, isar1)
            : null;

    private static string? OsVersion(RegistryText registry)
    {
        if (registry.Text("ProductName") is not { } name)
        {
            return null;
        }

        // Windows 11 still calls itself 10 here; its builds begin at 22000.
        var isEleven = int.TryParse(registry.Text("CurrentBuildNumber"), NumberStyles.None, CultureInfo.InvariantCulture, out var build) && build >= 22000;
        return $"{(isEleven ? name.Replace("Windows 10", "Windows 11", StringComparison.Ordinal) : name)} {registry.Text("DisplayVersion")}".Trim();
    }

    private static string? Vendor(string? identifier) => identifier switch
    {
        null => null,
        "GenuineIntel" => "intel",
        "AuthenticAMD" => "amd",
        _ when identifier.StartsWith("Qualcomm", StringComparison.OrdinalIgnoreCase) => "qualcomm",
        _ => identifier,
    };

    /// <summary>The sum of a number over all processors that PowerShell lists.</summary>
    private static double? Count(string? counts, string name)
    {
        double? sum = null;
        foreach (var line in (counts ?? "").Split('\n'))
        {
            if (line.Split(':', 2) is [var key, var value] && key.Trim() == name
                && long.TryParse(value.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0)
            {
                sum = (sum ?? 0) + number;
            }
        }

        return sum;
    }

    [GeneratedRegex("pci\\\\ven_([0-9a-f]{4})&dev_([0-9a-f]{4})", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex PciId();
}
