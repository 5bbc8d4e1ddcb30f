using System.Globalization;

namespace EdgeFarm.Toolchains.Hosts.Linux;

/// <summary>Linux's lists of processors: <c>0-3,8</c>.</summary>
internal static class CpuList
{
    private const int MaxCpu = 65_535;

    /// <summary>The numbers in a list, or null when it is no list.</summary>
    public static SortedSet<int>? Parse(string? text)
    {
        if (string.IsNullOrWhiteSpace(text))
        {
            return null;
        }

        var cpus = new SortedSet<int>();
        foreach (var part in text.Trim().Split(','))
        {
            var ends = part.Split('-');
            if (ends.Length > 2 || !TryParse(ends[0], out var first) || !TryParse(ends[^1], out var last) || last < first)
            {
                return null;
            }

            for (var cpu = first; cpu <= last; cpu++)
            {
                cpus.Add(cpu);
            }
        }

        return cpus;
    }

    private static bool TryParse(string text, out int cpu) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out cpu) && cpu <= MaxCpu;
}
