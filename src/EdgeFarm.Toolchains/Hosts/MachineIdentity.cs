using System.Security.Cryptography;
using System.Text;

namespace EdgeFarm.Toolchains.Hosts;

/// <summary>Gives the machine an id that all workers on it share.</summary>
internal static class MachineIdentity
{
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
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                if (File.Exists(path) && File.ReadAllText(path).Trim() is { Length: 32 } stored)
                {
                    return stored;
                }

                // Whole under another name first, so that a worker starting beside this one never reads half of it.
                var own = $"{path}.{Guid.NewGuid():N}";
                File.WriteAllText(own, Guid.NewGuid().ToString("N") + "\n");
                File.Move(own, path, overwrite: attempt > 0);
            }
            catch (IOException) when (attempt == 0)
            {
                // Another worker was first, or the file is broken: read theirs, else replace it.
            }
        }
    }
}
