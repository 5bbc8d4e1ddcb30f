using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using EdgeFarm.Toolchains.Hosts.Accelerators;

namespace EdgeFarm.Toolchains.Hosts.MacOs;

/// <summary>Reads the properties of a Mac from the output of its own tools.</summary>
internal static partial class MacHost
{
    /// <summary>The keys that are asked for; sysctl prints what it knows of them.</summary>
    public static readonly IReadOnlyList<string> SysctlKeys = ["hw", "machdep.cpu", "kern.osproductversion", "kern.osversion", "kern.hv_vmm_present"];

    /// <summary>The lines <c>name: value</c> that sysctl prints.</summary>
    public static Dictionary<string, string> ParseSysctl(string text)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in text.Split('\n'))
        {
            if (line.Split(": ", 2) is [var name, var value] && name.Length > 0)
            {
                values[name.Trim()] = value.Trim();
            }
        }

        return values;
    }

    /// <summary>Adds what the machine tells to <paramref name="bag"/> and returns its physical cores. macOS binds no process to cores.</summary>
    public static int Describe(IReadOnlyDictionary<string, string> sysctl, string? vmStat, string? powerSettings, PropertyBag bag)
    {
        var model = sysctl.GetValueOrDefault("machdep.cpu.brand_string");
        var isApple = model?.StartsWith("Apple ", StringComparison.Ordinal) ?? false;
        var physical = Number(sysctl, "hw.physicalcpu");
        bag.Set(HostPropertyNames.OsVersion, sysctl.TryGetValue("kern.osproductversion", out var version) ? $"macOS {version}" : null)
            .Set(HostPropertyNames.Kernel, sysctl.GetValueOrDefault("kern.osversion"))
            .Set(HostPropertyNames.CpuModel, model)
            .Set(HostPropertyNames.CpuVendor, isApple ? "apple" : model is null ? null : "intel")
            .Set(HostPropertyNames.CpuFeatureSet, CpuFeatures.FromSysctl(sysctl))
            .Set(HostPropertyNames.PhysicalCores, physical)
            .Set(HostPropertyNames.LogicalCores, Number(sysctl, "hw.logicalcpu") ?? Number(sysctl, "hw.ncpu"))
            .Set(HostPropertyNames.PerformanceCores, sysctl.ContainsKey("hw.perflevel1.physicalcpu") ? Number(sysctl, "hw.perflevel0.physicalcpu") : null)
            .Set(HostPropertyNames.MemoryTotal, Number(sysctl, "hw.memsize"))
            .Set(HostPropertyNames.MemoryLimit, Number(sysctl, "hw.memsize"))
            .Set(HostPropertyNames.MemoryAvailable, Available(vmStat))
            .Set(HostPropertyNames.Container, "none")
            .Set(HostPropertyNames.Virtual, sysctl.GetValueOrDefault("kern.hv_vmm_present") == "1")
            .Set(HostPropertyNames.PowerProfile, powerSettings is null ? null : LowPowerMode().IsMatch(powerSettings) ? "low-power" : "balanced")
            .Set(HostPropertyNames.PowerSource, powerSettings is null ? null : powerSettings.Contains("'Battery Power'", StringComparison.Ordinal) ? "battery" : "mains");
        if (isApple)
        {
            bag.Set(HostPropertyNames.Soc, model!.ToLowerInvariant().Replace(' ', '-'));
        }

        return Math.Max(1, (int)(physical ?? 1));
    }

    /// <summary>The GPU of an Apple chip; null on a machine without one.</summary>
    /// <param name="bag">The host's properties.</param>
    /// <param name="displays">Output of <c>system_profiler SPDisplaysDataType -json</c>, or null.</param>
    public static DetectedDevice? Gpu(PropertyBag bag, string? displays)
    {
        if (bag.Text(HostPropertyNames.Soc) is not { } soc || bag.Text(HostPropertyNames.CpuModel) is not { } name)
        {
            return null;
        }

        var (cores, metal) = ParseDisplays(displays);
        var properties = new PropertyBag()
            .Set(HostPropertyNames.GpuVendor, "apple")
            .Set(HostPropertyNames.GpuName, name)
            .Set(HostPropertyNames.GpuIntegrated, true)
            .Set(HostPropertyNames.GpuCores, cores)
            .Set(HostPropertyNames.GpuMetal, metal)
            .Set(HostPropertyNames.Soc, soc);
        var title = cores is { } count ? string.Create(CultureInfo.InvariantCulture, $"{name} GPU, {count} cores") : $"{name} GPU";
        return new DetectedDevice("metal", "gpu", title, null, null, properties);
    }

    /// <summary>The platform's UUID in the output of <c>ioreg -rd1 -c IOPlatformExpertDevice</c>, or null.</summary>
    public static string? PlatformUuid(string? ioreg) => PlatformUuidLine().Match(ioreg ?? "") is { Success: true } match ? match.Groups[1].Value : null;

    private static (double? Cores, string? Metal) ParseDisplays(string? json)
    {
        try
        {
            using var document = JsonDocument.Parse(json ?? "");
            foreach (var gpu in document.RootElement.GetProperty("SPDisplaysDataType").EnumerateArray())
            {
                if (Text(gpu, "spdisplays_vendor") is { } vendor && !vendor.Contains("Apple", StringComparison.Ordinal))
                {
                    continue;
                }

                double? cores = double.TryParse(Text(gpu, "sppci_cores"), NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count > 0 ? count : null;
                return (cores, Text(gpu, "spdisplays_mtlgpufamilysupport")?.Replace("spdisplays_", "", StringComparison.Ordinal));
            }
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            // Older systems print another document; the GPU is known without it.
        }

        return (null, null);
    }

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static double? Available(string? vmStat)
    {
        if (vmStat is null || PageSize().Match(vmStat) is not { Success: true } size)
        {
            return null;
        }

        double pages = 0;
        foreach (Match match in FreePages().Matches(vmStat))
        {
            pages += double.Parse(match.Groups[1].Value, NumberStyles.None, CultureInfo.InvariantCulture);
        }

        return pages * double.Parse(size.Groups[1].Value, NumberStyles.None, CultureInfo.InvariantCulture);
    }

    private static double? Number(IReadOnlyDictionary<string, string> sysctl, string name) =>
        double.TryParse(sysctl.GetValueOrDefault(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0 ? value : null;

    [GeneratedRegex("\"IOPlatformUUID\" = \"([0-9A-Fa-f-]{36})\"")]
    private static partial Regex PlatformUuidLine();

    [GeneratedRegex(@"page size of (\d{1,9}) bytes")]
    private static partial Regex PageSize();

    [GeneratedRegex(@"^Pages (?:free|inactive|purgeable|speculative):\s+(\d{1,15})\.", RegexOptions.Multiline)]
    private static partial Regex FreePages();

    [GeneratedRegex(@"^\s*lowpowermode\s+1\s*$", RegexOptions.Multiline)]
    private static partial Regex LowPowerMode();
}
