using System.Globalization;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Hosting;

/// <summary>A farm's or worker's directory, held by one process at a time.</summary>
public sealed class DataDirectory : IDisposable
{
    private const string LockFile = "farm.lock";
    private const string OwnerFile = "farm.owner";

    private readonly FileStream _lock;

    private DataDirectory(string root, FileStream held) => (Root, _lock) = (root, held);

    /// <summary>Its absolute path.</summary>
    public string Root { get; }

    /// <summary>The SQLite file with journal, rows and cache.</summary>
    public string Database => Path.Combine(Root, "farm.db");

    /// <summary>The artifact store.</summary>
    public string Artifacts => Path.Combine(Root, "artifacts");

    /// <summary>What belongs to one worker: its scratch space, results not yet acknowledged, id.</summary>
    public string Worker(string name) => Path.Combine(Root, "workers", Uri.EscapeDataString(name));

    /// <summary>
    /// Makes the directory where it is absent and takes it. <see cref="FailureType.InvalidInput"/> when another process has it or it cannot be written.
    /// </summary>
    public static Outcome<DataDirectory> Open(string path)
    {
        var root = Path.GetFullPath(path);
        try
        {
            Directory.CreateDirectory(root);

            // The kernel gives the lock back when the process dies, however it dies.
            var held = new FileStream(Path.Combine(root, LockFile), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            File.WriteAllText(Path.Combine(root, OwnerFile), Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
            return new DataDirectory(root, held);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return File.Exists(Path.Combine(root, LockFile)) && e is IOException
                ? Failure.InvalidInput($"the data directory '{root}' is in use by another EdgeFarm process{Owner(root)}; stop it, or choose another directory with --data")
                : Failure.InvalidInput($"the data directory '{root}' cannot be used: {e.Message}");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    private static string Owner(string root)
    {
        try
        {
            return $" (process {File.ReadAllText(Path.Combine(root, OwnerFile))})";
        }
        catch (IOException)
        {
            return "";
        }
    }
}
