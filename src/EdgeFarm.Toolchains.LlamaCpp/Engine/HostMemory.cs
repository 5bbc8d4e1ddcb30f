using System.Diagnostics;
using System.Globalization;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>Memory of this process.</summary>
internal static class HostMemory
{
    /// <summary>The most bytes that were ever resident (Linux: VmHWM).</summary>
    public static long Peak => Status("VmHWM:") ?? Process.GetCurrentProcess().PeakWorkingSet64;

    /// <summary>Bytes that are resident now (Linux: VmRSS).</summary>
    public static long Resident => Status("VmRSS:") ?? Environment.WorkingSet;

    /// <summary>Bytes that this process may use: the machine's memory or its control group's limit.</summary>
    public static long Available => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    private static long? Status(string field)
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        var line = File.ReadLines("/proc/self/status").FirstOrDefault(line => line.StartsWith(field, StringComparison.Ordinal));
        return line?.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is [_, var kibibytes, ..]
            ? long.Parse(kibibytes, CultureInfo.InvariantCulture) * 1024
            : null;
    }
}
