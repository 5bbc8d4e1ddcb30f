using System.Globalization;

namespace EdgeFarm.Toolchains.Hosts.Linux;

/// <summary>What the control groups of this process grant it, versions 1 and 2, the tightest limit on the way to the root.</summary>
/// <param name="CpuQuota">Processors' worth of time; null without a limit.</param>
/// <param name="MemoryBytes">Memory in bytes; null without a limit.</param>
/// <param name="ThrottledPeriods">How often the group has been stopped for having used its quota; null when that is not counted.</param>
internal sealed record CgroupLimits(double? CpuQuota, long? MemoryBytes, long? ThrottledPeriods)
{
    // Version 1 says "no limit" by the greatest multiple of a page that fits 63 bits.
    private const long NoLimit = long.MaxValue / 2;

    public static CgroupLimits Read(HostSource source)
    {
        var mounts = Mounts(source.Read("/proc/self/mountinfo") ?? "");
        var groups = Groups(source.Read("/proc/self/cgroup") ?? "");
        double? quota = null;
        long? memory = null, throttled = null;
        foreach (var (controller, read) in new (string, Action<string>)[] { ("cpu", ReadCpu), ("memory", ReadMemory) })
        {
            foreach (var directory in Directories(source, mounts, groups, controller))
            {
                read(directory);
            }
        }

        return new CgroupLimits(quota, memory, throttled);

        void ReadCpu(string directory)
        {
            var v2 = source.Read($"{directory}/cpu.max")?.Split(' ');
            var (grant, period) = v2 is [var a, var b] ? (a, b) : (source.Read($"{directory}/cpu.cfs_quota_us"), source.Read($"{directory}/cpu.cfs_period_us"));
            if (Positive(grant) is { } microseconds && Positive(period) is { } per)
            {
                var cores = (double)microseconds / per;
                quota = quota < cores ? quota : cores;
            }

            var line = source.Read($"{directory}/cpu.stat")?.Split('\n').FirstOrDefault(l => l.StartsWith("nr_throttled ", StringComparison.Ordinal));
            throttled ??= line is not null && long.TryParse(line.AsSpan(13), NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count : null;
        }

        void ReadMemory(string directory)
        {
            if (Positive(source.Read($"{directory}/memory.max") ?? source.Read($"{directory}/memory.limit_in_bytes")) is { } bytes and < NoLimit)
            {
                memory = memory < bytes ? memory : bytes;
            }
        }
    }

    /// <summary>The directories of this process's group for a controller, from its own up to the mount point.</summary>
    private static IEnumerable<string> Directories(
        HostSource source, List<(string Root, string Point, HashSet<string> Controllers)> mounts, List<(HashSet<string> Controllers, string Path)> groups, string controller)
    {
        foreach (var (controllers, path) in groups)
        {
            // An empty list of controllers is the one hierarchy of version 2.
            var unified = controllers.Count == 0;
            if (!unified && !controllers.Contains(controller))
            {
                continue;
            }

            foreach (var (root, point, mounted) in mounts)
            {
                if (unified ? mounted.Count > 0 : !mounted.Contains(controller))
                {
                    continue;
                }

                // In a container the mount shows the group's own directory as its root, or the path lies outside of what is mounted.
                var below = path == root ? "" : root == "/" ? path : path.StartsWith(root + "/", StringComparison.Ordinal) ? path[root.Length..] : "";
                if (below.Contains("..", StringComparison.Ordinal) || !source.Exists(point + below))
                {
                    below = "";
                }

                for (below = below.TrimEnd('/'); below.Length > 0; below = below[..below.LastIndexOf('/')])
                {
                    yield return point + below;
                }

                yield return point;
            }
        }
    }

    private static List<(HashSet<string> Controllers, string Path)> Groups(string text)
    {
        var groups = new List<(HashSet<string>, string)>();
        foreach (var line in text.Split('\n'))
        {
            if (line.Split(':', 3) is [_, var controllers, var path] && path.StartsWith('/'))
            {
                groups.Add(([.. controllers.Split(',', StringSplitOptions.RemoveEmptyEntries)], path));
            }
        }

        return groups;
    }

    private static List<(string Root, string Point, HashSet<string> Controllers)> Mounts(string text)
    {
        var mounts = new List<(string, string, HashSet<string>)>();
        foreach (var line in text.Split('\n'))
        {
            if (line.Split(" - ", 2) is not [var left, var right] || left.Split(' ') is not { Length: >= 5 } fields || right.Split(' ') is not { Length: >= 3 } kind)
            {
                continue;
            }

            if (kind[0] is "cgroup2" or "cgroup")
            {
                mounts.Add((fields[3], fields[4], kind[0] == "cgroup2" ? [] : [.. kind[^1].Split(',')]));
            }
        }

        return mounts;
    }

    private static long? Positive(string? text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0 ? value : null;
}
