using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.JobHosts;

/// <summary>
/// One lock for the whole machine, whichever worker, farm or user runs on it: shared jobs hold it shared, a benchmark exclusively. The
/// kernel holds it (file locks), so that it is free again when a worker dies. A waiting benchmark closes a gate that everybody passes
/// first, so that shared jobs that keep coming cannot starve it.
/// </summary>
public sealed class MachineLock
{
    /// <summary>Environment variable with the directory of the lock's files, e.g. one that containers on a machine share.</summary>
    public const string DirectoryVariable = "EDGEFARM_MACHINE_LOCK";

    private static readonly TimeSpan FirstWait = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(250);

    // errno EWOULDBLOCK, which the BCL hands on as the HResult; a sharing violation of Windows.
    private const int WouldBlockLinux = 11;
    private const int WouldBlockMac = 35;
    private const int SharingViolation = unchecked((int)0x80070020);

    private readonly string _directory;
    private readonly TimeProvider _time;

    /// <summary>The lock whose files are in a directory, which is made when it is absent.</summary>
    public MachineLock(string directory, TimeProvider time) => (_directory, _time) = (directory, time);

    /// <summary>The machine's lock: in <c>EDGEFARM_MACHINE_LOCK</c>, else below the system's directory of temporary files, open to every user.</summary>
    public static MachineLock OfThisMachine(TimeProvider time) =>
        new(
            Environment.GetEnvironmentVariable(DirectoryVariable) is { Length: > 0 } given ? given
            : OperatingSystem.IsWindows() ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.CommonApplicationData), "EdgeFarm")

            // Not TMPDIR, which may be a user's own.
            : "/tmp/edgefarm-machine",
            time);

    /// <summary>
    /// Takes the lock; disposing what is returned gives it back. Internal when the files cannot be used.
    /// </summary>
    /// <param name="exclusive">Alone, or together with all others that are not exclusive.</param>
    /// <param name="waiting">Told once, with the reason, when the lock is not free at once.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<Outcome<IDisposable>> AcquireAsync(bool exclusive, Action<string> waiting, CancellationToken cancellationToken)
    {
        try
        {
            var told = false;
            void Tell()
            {
                if (!told)
                {
                    told = true;
                    waiting(exclusive ? "waiting for the machine: a benchmark needs it alone, other jobs run on it" : "waiting for the machine: a benchmark has it alone");
                }
            }

            using var gate = await OpenAsync("gate", exclusive: true, Tell, cancellationToken);
            return await OpenAsync("lock", exclusive, Tell, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new Failure(
                FailureType.Internal,
                $"the machine's lock in '{_directory}' cannot be used: {e.Message}; make the directory and its files readable for every user, or name another in {DirectoryVariable}");
        }
    }

    private async Task<FileStream> OpenAsync(string name, bool exclusive, Action waiting, CancellationToken cancellationToken)
    {
        var path = EnsureFile(name);
        for (var wait = FirstWait; ; wait = wait * 2 < LongestWait ? wait * 2 : LongestWait)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                // The BCL locks the file by its sharing mode: None is exclusive, Read with Read is shared (flock; sharing modes on Windows).
                return new FileStream(path, FileMode.Open, FileAccess.Read, exclusive ? FileShare.None : FileShare.Read, 1);
            }
            catch (IOException e) when (e.HResult is WouldBlockLinux or WouldBlockMac or SharingViolation)
            {
                waiting();
            }

            await Task.Delay(wait, _time, cancellationToken);
        }
    }

    private string EnsureFile(string name)
    {
        var path = Path.Combine(_directory, name);
        if (File.Exists(path))
        {
            return path;
        }

        const UnixFileMode All = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        const UnixFileMode Search = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
        var made = !Directory.Exists(_directory);
        Directory.CreateDirectory(_directory);
        if (made && !OperatingSystem.IsWindows())
        {
            // As /tmp itself: everybody may add files, nobody removes another's. Set here because the umask narrows what a creation asks for.
            File.SetUnixFileMode(_directory, All | Search | UnixFileMode.StickyBit);
        }

        try
        {
            using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.ReadWrite });
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(file.SafeFileHandle, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
            }
        }
        catch (IOException) when (File.Exists(path))
        {
            // Another worker made it meanwhile.
        }

        return path;
    }
}
