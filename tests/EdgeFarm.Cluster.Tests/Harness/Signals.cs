using System.Runtime.InteropServices;

namespace EdgeFarm.Cluster.Tests.Harness;

/// <summary>Signals that .NET's Process cannot send. Numbers of Linux on x64 and arm64.</summary>
internal static partial class Signals
{
    public const int Stop = 19;
    public const int Continue = 18;
    public const int Interrupt = 2;
    public const int Terminate = 15;

    /// <summary>Sends at once: a program started for it would be too late.</summary>
    public static void Send(int process, int signal)
    {
        if (Kill(process, signal) != 0)
        {
            throw new InvalidOperationException($"signal {signal} to process {process}: error {Marshal.GetLastPInvokeError()}");
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int process, int signal);
}
