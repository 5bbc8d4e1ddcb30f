using System.Diagnostics;
using System.Globalization;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>Memory of this process, bytes.</summary>
internal static class ProcessMemory
{
    /// <summary>Resident now.</summary>
    public static long Resident() => Status("VmRSS:") ?? Read(p => p.WorkingSet64);

    /// <summary>Most that was ever resident.</summary>
    public static long Peak() => Status("VmHWM:") ?? Read(p => p.PeakWorkingSet64);

    private static long? Status(string key)
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        var line = File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith(key, StringComparison.Ordinal));
        return line is not null && long.TryParse(line.AsSpan(key.Length).TrimEnd("kB ").Trim(), CultureInfo.InvariantCulture, out var kib) ? kib * 1024 : null;
    }

    private static long Read(Func<Process, long> read)
    {
        using var process = Process.GetCurrentProcess();
        return read(process);
    }
}
