using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Toolchains.Hosts.Linux;

namespace EdgeFarm.Toolchains.Hosts;

/// <summary>
/// What a machine was like at one moment. Two of them, around a measurement, tell whether the figures can be trusted. The changing part
/// (governor, frequency, load, temperature, who used the processors) is read on Linux; elsewhere it is absent.
/// </summary>
public sealed class EnvironmentSnapshot
{
    /// <summary>Processors' worth of time that others may use during a measurement before it counts as <c>contended</c>.</summary>
    public const double ContendedProcessors = 0.25;

    /// <summary>Share of the machine's time that a hypervisor may withhold before a measurement counts as <c>contended</c>.</summary>
    public const double ContendedSteal = 0.02;

    // The unit of /proc/stat (USER_HZ) is part of the kernel's interface and 100 on every architecture here.
    private const double TicksPerSecond = 100;

    private static readonly string[] ProcessorSensors = ["coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal"];

    private readonly CpuTimes? _times;
    private readonly long? _throttled;

    private EnvironmentSnapshot(ImmutableSortedDictionary<string, PropertyValue> properties, CpuTimes? times, long? throttled)
    {
        Properties = properties;
        _times = times;
        _throttled = throttled;
    }

    /// <summary>Everything by the names in <see cref="HostPropertyNames"/>.</summary>
    public ImmutableSortedDictionary<string, PropertyValue> Properties { get; }

    /// <summary>Takes a snapshot of this machine; milliseconds, no child process.</summary>
    /// <param name="time">Gives the time stamp.</param>
    /// <param name="host">Properties of the host from its report, whose lasting part is copied; null to read that part too (Linux).</param>
    public static EnvironmentSnapshot Capture(TimeProvider time, ImmutableSortedDictionary<string, PropertyValue>? host = null) =>
        Capture(new HostSource(), time, host);

    internal static EnvironmentSnapshot Capture(HostSource source, TimeProvider time, ImmutableSortedDictionary<string, PropertyValue>? host = null)
    {
        var bag = new PropertyBag().Set(HostPropertyNames.Os, source.Os).Set(HostPropertyNames.Arch, source.Arch);
        CpuTimes? times = null;
        long? throttled = null;
        if (source.Os == "linux")
        {
            if (host is null)
            {
                bag.Set(HostPropertyNames.AutoThreads, ThreadCount.Auto(LinuxHost.Describe(source, bag), bag.Number(HostPropertyNames.CpuQuota)));
            }

            bag.Set(HostPropertyNames.Governor, source.Read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
                .Set(HostPropertyNames.Frequency, Frequency(source))
                .Set(HostPropertyNames.Load, Number(source.Read("/proc/loadavg")?.Split(' ')[0]))
                .Set(HostPropertyNames.Temperature, Temperature(source))
                .Set(HostPropertyNames.MemoryAvailable, LinuxHost.Kibibytes(source.Read("/proc/meminfo"), "MemAvailable"));
            times = CpuTimes.Parse(source.Read("/proc/stat"));
            throttled = Throttled(source);
        }

        bag.Set(HostPropertyNames.Time, time.GetUtcNow().ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
        var own = bag.ToImmutable();
        return new EnvironmentSnapshot(host is null ? own : host.SetItems(own), times, throttled);
    }

    /// <summary>
    /// The environment of a measurement: the properties before it, and what had changed after it as <c>load.after</c>, <c>temperature.after</c>,
    /// <c>cpu.frequency.after</c>; <c>cpu.others</c> (processors' worth of time that others used) and <c>cpu.steal</c> (share of time that a hypervisor withheld).
    /// </summary>
    /// <param name="before">Taken before the measurement.</param>
    /// <param name="after">Taken after it.</param>
    /// <param name="ownTime">Processor time that the measurement itself used in between.</param>
    public static ImmutableSortedDictionary<string, PropertyValue> Describe(EnvironmentSnapshot before, EnvironmentSnapshot after, TimeSpan ownTime)
    {
        var described = before.Properties.ToBuilder();
        foreach (var name in new[] { HostPropertyNames.Load, HostPropertyNames.Temperature, HostPropertyNames.Frequency, HostPropertyNames.Time })
        {
            if (after.Properties.TryGetValue(name, out var value))
            {
                described[$"{name}.after"] = value;
            }
        }

        if (Usage(before, after, ownTime) is var (others, steal))
        {
            described["cpu.others"] = PropertyValue.Of(Math.Round(others, 3));
            described["cpu.steal"] = PropertyValue.Of(Math.Round(steal, 4));
        }

        return described.ToImmutable();
    }

    /// <summary>
    /// Marks on the figures of a measurement: <c>contended</c> when others used the processors (<see cref="ContendedProcessors"/>, <see cref="ContendedSteal"/>), <c>throttled</c> when
    /// the processor or the cgroup was held back, <c>virtual</c> on a virtual machine.
    /// </summary>
    /// <param name="before">Taken before the measurement.</param>
    /// <param name="after">Taken after it.</param>
    /// <param name="ownTime">Processor time that the measurement itself used in between.</param>
    public static ImmutableSortedSet<string> Flags(EnvironmentSnapshot before, EnvironmentSnapshot after, TimeSpan ownTime)
    {
        var flags = ImmutableSortedSet.CreateBuilder<string>(StringComparer.Ordinal);
        if (Usage(before, after, ownTime) is var (others, steal) && (others > ContendedProcessors || steal > ContendedSteal))
        {
            flags.Add("contended");
        }

        if (after._throttled > before._throttled)
        {
            flags.Add("throttled");
        }

        if (before.Properties.GetValueOrDefault(HostPropertyNames.Virtual)?.Text == "true")
        {
            flags.Add("virtual");
        }

        return flags.ToImmutable();
    }

    private static (double Others, double Steal)? Usage(EnvironmentSnapshot before, EnvironmentSnapshot after, TimeSpan ownTime)
    {
        if (before._times is not { } first || after._times is not { } last || last.Total <= first.Total)
        {
            return null;
        }

        var ticks = last.Total - first.Total;
        var elapsed = ticks / TicksPerSecond / first.Processors;
        var others = ((last.Busy - first.Busy) / TicksPerSecond) - ownTime.TotalSeconds;
        return (Math.Max(0, others / elapsed), Math.Max(0, (double)(last.Steal - first.Steal) / ticks));
    }

    private static double? Frequency(HostSource source)
    {
        var hertz = source.Entries("/sys/devices/system/cpu")
            .Where(e => e.StartsWith("cpu", StringComparison.Ordinal) && e.Length > 3 && char.IsAsciiDigit(e[3]))
            .Select(e => Number(source.Read($"/sys/devices/system/cpu/{e}/cpufreq/scaling_cur_freq")) * 1e3)
            .OfType<double>()
            .ToList();
        if (hertz.Count == 0)
        {
            hertz = [.. (source.Read("/proc/cpuinfo") ?? "").Split('\n')
                .Where(l => l.StartsWith("cpu MHz", StringComparison.Ordinal))
                .Select(l => Number(l[(l.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim()) * 1e6)
                .OfType<double>()];
        }

        return hertz.Count > 0 ? hertz.Average() : null;
    }

    private static double? Temperature(HostSource source)
    {
        var sensors = source.Entries("/sys/class/hwmon").Select(e => $"/sys/class/hwmon/{e}")
            .Where(d => ProcessorSensors.Contains(source.Read($"{d}/name")))
            .SelectMany(d => source.Entries(d).Where(f => f.StartsWith("temp", StringComparison.Ordinal) && f.EndsWith("_input", StringComparison.Ordinal)).Select(f => $"{d}/{f}"));
        var zones = source.Entries("/sys/class/thermal").Select(e => $"/sys/class/thermal/{e}")
            .Where(d => source.Read($"{d}/type") is { } type && (type is "x86_pkg_temp" or "acpitz" || type.StartsWith("cpu", StringComparison.Ordinal) || type.StartsWith("soc", StringComparison.Ordinal)))
            .Select(d => $"{d}/temp");
        return Hottest(sensors) ?? Hottest(zones);

        // A sensor that is not connected reads 0, or far below or above what a processor survives.
        double? Hottest(IEnumerable<string> files) => files.Select(f => Number(source.Read(f)) / 1e3).Where(t => t is > 0 and < 150).Max();
    }

    private static long? Throttled(HostSource source)
    {
        long? count = CgroupLimits.Read(source).ThrottledPeriods;
        foreach (var cpu in source.Entries("/sys/devices/system/cpu").Where(e => e.StartsWith("cpu", StringComparison.Ordinal)))
        {
            if (Number(source.Read($"/sys/devices/system/cpu/{cpu}/thermal_throttle/core_throttle_count")) is { } throttles)
            {
                count = (count ?? 0) + (long)throttles;
            }
        }

        return count;
    }

    private static double? Number(string? text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value)
            ? value
            : null;

    /// <summary>The first line of /proc/stat, in ticks over all processors, and how many those are.</summary>
    private sealed record CpuTimes(long Busy, long Steal, long Total, int Processors)
    {
        public static CpuTimes? Parse(string? stat)
        {
            var lines = (stat ?? "").Split('\n');
            var processors = lines.Count(l => l.StartsWith("cpu", StringComparison.Ordinal) && l.Length > 3 && char.IsAsciiDigit(l[3]));
            if (lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries) is not ["cpu", .. var columns] || columns.Length < 8 || processors == 0)
            {
                return null;
            }

            // user nice system idle iowait irq softirq steal; guests' time, which follows, is in user already.
            var ticks = new long[8];
            for (var i = 0; i < ticks.Length; i++)
            {
                if (!long.TryParse(columns[i], NumberStyles.None, CultureInfo.InvariantCulture, out ticks[i]))
                {
                    return null;
                }
            }

            return new CpuTimes(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6], ticks[7], ticks.Sum(), processors);
        }
    }
}
