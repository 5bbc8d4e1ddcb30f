using System.Security.Cryptography;
using System.Text;

namespace EdgeFarm.Toolchains.Hosts;

/// <summary>Gives the machine an id that all workers on it share.</summary>
internal static class MachineIdentity
{
    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(30);

    /// <summary>
    /// The id as 32 hexadecimal characters. It is a hash, because the system's own id is meant to be kept private
    /// (machine-id(5)) and this one is shown to every client of the farm.
    /// </summary>
    public static string Hash(string id) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"edgefarm-machine:{id}")).AsSpan(0, 16));

    /// <summary>A random id that is made once and kept in a directory.</summary>
    public static string Stored(string directory)
    {
        var path = Path.Combine(directory, "machine-id");
        Directory.CreateDirectory(directory);
        if (Read(path) is { } known)
        {
            return known;
        }

        // One at a time: a move that shall not overwrite looks first and moves then, so that of two workers each could keep its own.
        using var alone = LockFile(path + ".lock");
        if (Read(path) is { } stored)
        {
            return stored;
        }

        // Whole under another name first, so that a worker starting beside this one never reads half of it.
        var id = Guid.NewGuid().ToString("N");
        var own = $"{path}.{id}";
        File.WriteAllText(own, id + "\n");
        File.Move(own, path, overwrite: true);
        return id;
    }

    private static string? Read(string path) => File.Exists(path) && File.ReadAllText(path).Trim() is { Length: 32 } stored ? stored : null;

    private static FileStream LockFile(string path)
    {
        for (var deadline = Environment.TickCount64 + (long)LockPatience.TotalMilliseconds; ;)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
            }
            catch (IOException) when (Environment.TickCount64 < deadline)
            {
                // Another worker makes it, which takes no longer than two writes.
                Thread.Sleep(10);
            }
        }
    }
}
