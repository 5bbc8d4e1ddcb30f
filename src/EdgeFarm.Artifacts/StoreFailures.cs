using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts;

/// <summary>Turns what the operating system throws into typed failures.</summary>
internal static class StoreFailures
{
    // errno of Linux and macOS, HRESULT of Windows; the BCL hands errno on as the HResult of an IOException.
    private const int Enospc = 28;
    private const int EdquotLinux = 122;
    private const int EdquotMac = 69;
    private const int WindowsHandleDiskFull = unchecked((int)0x80070027);
    private const int WindowsDiskFull = unchecked((int)0x80070070);

    /// <summary>Runs an operation; a carried failure and an error of the file system become its outcome.</summary>
    /// <param name="what">What was being done, for the message: "store sha256:..", "import 'x'".</param>
    /// <param name="operation">The operation.</param>
    public static async Task<Outcome<T>> CatchAsync<T>(string what, Func<Task<T>> operation)
    {
        try
        {
            return await operation();
        }
        catch (Exception e) when (From(e, what) is not null)
        {
            return From(e, what)!;
        }
    }

    /// <summary>The failure that an exception stands for, or null when it is no expected one.</summary>
    public static Failure? From(Exception e, string what) => e switch
    {
        FailureException f => f.Failure,
        IOException io when IsDiskFull(io) => DiskFull(what),
        IOException or UnauthorizedAccessException => new Failure(FailureType.Internal, $"cannot {what}: {e.Message}"),
        _ => null,
    };

    public static Failure DiskFull(string what, string detail = "") =>
        new(FailureType.Internal, $"cannot {what}: the disk is full{detail}; free space there or move the data directory");

    public static FailureException InvalidInput(string message) => new(Failure.InvalidInput(message));

    public static FailureException Internal(string message) => new(new Failure(FailureType.Internal, message));

    private static bool IsDiskFull(IOException e) =>
        OperatingSystem.IsWindows() ? e.HResult is WindowsDiskFull or WindowsHandleDiskFull
        : e.HResult == Enospc || e.HResult == (OperatingSystem.IsMacOS() ? EdquotMac : EdquotLinux);
}
