using System.Runtime.InteropServices;

namespace EdgeFarm.Toolchains.JobHosts.Child;

/// <summary>The system calls by which a job host becomes a process that can be limited and killed as a group.</summary>
internal static partial class ProcessControl
{
    private const int SigKill = 9;
    private const int RlimitDataLinux = 2;
    private const int RlimitCore = 4;

    /// <summary>
    /// Leaves the worker's session, so that a terminal's Ctrl-C does not reach the job, and becomes the leader of a process group,
    /// which the worker kills as one.
    /// </summary>
    public static void LeadGroup()
    {
        if (!OperatingSystem.IsWindows())
        {
            _ = SetSid();
        }
    }

    /// <summary>No core dumps (a crash is an expected outcome here), and on Linux the first to go when the machine is out of memory, before any worker.</summary>
    public static void BeExpendable()
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        var none = default(ResourceLimit);
        _ = SetResourceLimit(RlimitCore, in none);
        if (OperatingSystem.IsLinux())
        {
            try
            {
                File.WriteAllText("/proc/self/oom_score_adj", "1000");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A sandbox may forbid it; then the kernel chooses by size, and the child is usually the largest.
            }
        }
    }

    /// <summary>
    /// Lets private memory grow by so many bytes and no further: then allocations fail, and the failure can be reported, where the
    /// kernel would kill some process. Address space that is only reserved, and mapped model files, do not count. Linux only.
    /// </summary>
    public static void LimitMemory(long bytes)
    {
        if (bytes <= 0 || !OperatingSystem.IsLinux())
        {
            return;
        }

        var limit = (nuint)checked(MemoryStatus.OfSelf().DataBytes + bytes);
        var both = new ResourceLimit { Current = limit, Maximum = limit };
        if (SetResourceLimit(RlimitDataLinux, in both) != 0)
        {
            throw new InvalidOperationException($"the memory limit of {bytes} bytes could not be set: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    /// <summary>Writes what C libraries still hold of standard output and error.</summary>
    public static void FlushStandardStreams()
    {
        Console.Out.Flush();
        Console.Error.Flush();
        if (!OperatingSystem.IsWindows())
        {
            _ = FFlush(0);
        }
    }

    /// <summary>Ends the process at once, without exit handlers and destructors of engines, which crash or hang now and then.</summary>
    public static void ExitNow(int code)
    {
        if (OperatingSystem.IsWindows())
        {
            Environment.Exit(code);
        }

        UnderscoreExit(code);
    }

    /// <summary>Kills this process and all of its group, whatever their threads are stuck in.</summary>
    public static void KillOwnGroup()
    {
        if (!OperatingSystem.IsWindows() && GetPgrp() == Environment.ProcessId)
        {
            _ = Kill(0, SigKill);
        }

        System.Diagnostics.Process.GetCurrentProcess().Kill();
    }

    /// <summary>Kills the group that a child leads; nothing happens when there is none (any more).</summary>
    public static void KillGroup(int leader)
    {
        if (!OperatingSystem.IsWindows() && leader > 1)
        {
            _ = Kill(-leader, SigKill);
        }
    }

    // rlim_t is as wide as a pointer on the 64-bit systems that EdgeFarm runs on.
    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceLimit
    {
        public nuint Current;
        public nuint Maximum;
    }

    [LibraryImport("libc", EntryPoint = "setsid", SetLastError = true)]
    private static partial int SetSid();

    [LibraryImport("libc", EntryPoint = "getpgrp")]
    private static partial int GetPgrp();

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "setrlimit", SetLastError = true)]
    private static partial int SetResourceLimit(int resource, in ResourceLimit limit);

    [LibraryImport("libc", EntryPoint = "fflush")]
    private static partial int FFlush(nint stream);

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void UnderscoreExit(int code);
}
