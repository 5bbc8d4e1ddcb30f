using System.Globalization;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>How many threads to compute with where a request leaves it open.</summary>
public static class HostThreads
{
    /// <summary>
    /// Physical cores that this process may use (hyper-threads of one core hinder each other in matrix products), within its affinity and
    /// its control group's limit; at least 1.
    /// </summary>
    public static int Auto { get; } = Math.Max(1, Math.Min(PhysicalCores() ?? Environment.ProcessorCount, Environment.ProcessorCount));

    private static int? PhysicalCores()
    {
        const string root = "/sys/devices/system/cpu";
        if (!Directory.Exists(root))
        {
            return null;
        }

        var cores = new HashSet<string>(StringComparer.Ordinal);
        foreach (var cpu in Directory.EnumerateDirectories(root, "cpu*"))
        {
            var siblings = Path.Combine(cpu, "topology", "thread_siblings_list");
            if (int.TryParse(Path.GetFileName(cpu).AsSpan(3), NumberStyles.None, CultureInfo.InvariantCulture, out _) && File.Exists(siblings))
            {
                cores.Add(File.ReadAllText(siblings).Trim());
            }
        }

        return cores.Count > 0 ? cores.Count : null;
    }
}
