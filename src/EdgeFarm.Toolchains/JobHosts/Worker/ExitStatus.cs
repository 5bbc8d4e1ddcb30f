using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.JobHosts.Worker;

/// <summary>What is known of a child's memory when it ended.</summary>
/// <param name="Last">As last seen while it ran.</param>
/// <param name="LimitBytes">Limit on its private memory, or 0.</param>
/// <param name="KernelKills">Processes that the kernel killed for lack of memory meanwhile.</param>
internal readonly record struct ExitMemory(MemoryStatus Last, long LimitBytes, long KernelKills)
{
    /// <summary>Whether it stood close to its limit.</summary>
    public bool NearLimit => LimitBytes > 0 && Math.Max(Last.OwnBytes, Last.DataBytes) >= LimitBytes / 10 * 9;
}

/// <summary>Reads a failure from the way in which a child ended without a result and without being killed by its worker.</summary>
internal static class ExitStatus
{
    private const int SignalBase = 128;
    private const int Abort = 6;
    private const int Kill = 9;

    private static readonly Dictionary<int, string> Signals = new()
    {
        [4] = "SIGILL: an instruction that this CPU does not have",
        [Abort] = "SIGABRT: a failed assertion or an unhandled exception in native code",
        [OperatingSystem.IsMacOS() ? 10 : 7] = "SIGBUS: a mapped file became shorter, or was written while it was read",
        [8] = "SIGFPE: a division by zero in native code",
        [Kill] = "SIGKILL: somebody or the kernel killed it",
        [11] = "SIGSEGV: an access to memory that is not there",
        [15] = "SIGTERM: somebody ended it",
        [OperatingSystem.IsMacOS() ? 12 : 31] = "SIGSYS: a system call that a sandbox forbids",
    };

    // Last words of the C++ runtime and of .NET when memory is refused; engines' own messages are read by engines only.
    private static readonly string[] OutOfMemoryWords = ["std::bad_alloc", "Out of memory.", "Insufficient memory"];

    /// <summary>The failure.</summary>
    /// <param name="exitCode">As .NET gives it: 128 and the signal's number for a child that a signal ended.</param>
    /// <param name="broken">What was wrong on the channel, or null.</param>
    /// <param name="lastLines">End of its log.</param>
    /// <param name="memory">What is known of its memory.</param>
    public static Failure ToFailure(int exitCode, string? broken, string lastLines, ExitMemory memory)
    {
        int? signal = !OperatingSystem.IsWindows() && exitCode is > SignalBase and <= SignalBase + 64 ? exitCode - SignalBase : null;
        var outOfMemory =
            (signal == Kill && (memory.KernelKills > 0 || memory.NearLimit))
            || (signal == Abort && (memory.NearLimit || OutOfMemoryWords.Any(w => lastLines.Contains(w, StringComparison.Ordinal))));
        var how = signal is { } number ? $"by signal {number} ({Signals.GetValueOrDefault(number, "see signal(7)")})"
            : OperatingSystem.IsWindows() && exitCode < 0 ? $"with status 0x{exitCode:X8}"
            : $"with exit code {exitCode}";
        return outOfMemory
            ? new Failure(
                FailureType.OutOfMemory,
                $"the job host ran out of memory and ended {how}; give the job a worker with more memory, or a smaller context or batch",
                ExitCode: exitCode, Signal: signal)
            : new Failure(
                FailureType.Crashed,
                $"the job host ended without a result, {how}{(broken is null ? "" : $" ({broken})")}; the log's last lines tell what it did",
                ExitCode: exitCode, Signal: signal);
    }
}
