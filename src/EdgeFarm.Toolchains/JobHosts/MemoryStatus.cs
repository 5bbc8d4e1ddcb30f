using System.Diagnostics;
using System.Globalization;

namespace EdgeFarm.Toolchains.JobHosts;

/// <summary>Memory of a process, in bytes; zeros where the system does not tell.</summary>
/// <param name="PeakBytes">Most that was resident at any time.</param>
/// <param name="OwnBytes">Resident now, without mapped files, whose pages the kernel can drop.</param>
/// <param name="DataBytes">Private writable memory, touched or not; Linux only.</param>
internal readonly record struct MemoryStatus(long PeakBytes, long OwnBytes, long DataBytes)
{
    /// <summary>Of this process.</summary>
    public static MemoryStatus OfSelf()
    {
        if (OperatingSystem.IsLinux())
        {
            return Of(Environment.ProcessId);
        }

        using var self = Process.GetCurrentProcess();
        return new MemoryStatus(self.PeakWorkingSet64, self.WorkingSet64, 0);
    }

    /// <summary>Of another process on Linux; zeros when it is gone.</summary>
    public static MemoryStatus Of(int pid)
    {
        if (!OperatingSystem.IsLinux())
        {
            return default;
        }

        try
        {
            long peak = 0, anonymous = 0, shared = 0, data = 0;
            foreach (var line in File.ReadLines($"/proc/{pid}/status"))
            {
                peak = Value(line, "VmHWM:") ?? peak;
                anonymous = Value(line, "RssAnon:") ?? anonymous;
                shared = Value(line, "RssShmem:") ?? shared;
                data = Value(line, "VmData:") ?? data;
            }

            return new MemoryStatus(peak, anonymous + shared, data);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return default;
        }
    }

    /// <summary>How many processes the kernel has killed for lack of memory since it started, in any cgroup; 0 where it does not tell.</summary>
    public static long OutOfMemoryKills()
    {
        try
        {
            return File.ReadLines("/proc/vmstat").Select(line => Number(line, "oom_kill ")).FirstOrDefault(n => n is not null) ?? 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    private static long? Value(string line, string name) =>
        line.EndsWith(" kB", StringComparison.Ordinal) ? Number(line[..^3], name) * 1024 : null;

    private static long? Number(string line, string name) =>
        line.StartsWith(name, StringComparison.Ordinal) && long.TryParse(line.AsSpan(name.Length).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var n)
            ? n : null;
}
