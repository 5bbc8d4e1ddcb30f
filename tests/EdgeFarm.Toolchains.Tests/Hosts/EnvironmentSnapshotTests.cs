using EdgeFarm.Core.Fleet;
using EdgeFarm.Toolchains.Hosts;

namespace EdgeFarm.Toolchains.Tests.Hosts;

public sealed class EnvironmentSnapshotTests : IDisposable
{
    private readonly RecordedHost _host = new();
    private readonly FixedTime _time = new();

    public void Dispose() => _host.Dispose();

    [Fact]
    public void Reads_governor_frequency_load_and_temperature()
    {
        _host.File("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
            .File("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3200000\n").File("/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1200000\n")
            .File("/sys/devices/system/cpu/cpufreq/boost", "1\n")
            .File("/proc/loadavg", "1.25 0.90 0.50 2/812 4711\n")
            .File("/sys/class/hwmon/hwmon0/name", "nvme\n").File("/sys/class/hwmon/hwmon0/temp1_input", "90000\n")
            .File("/sys/class/hwmon/hwmon3/name", "coretemp\n").File("/sys/class/hwmon/hwmon3/temp1_input", "61000\n").File("/sys/class/hwmon/hwmon3/temp2_input", "64500\n")
            .File("/sys/class/hwmon/hwmon3/temp1_max", "100000\n").File("/sys/class/hwmon/hwmon3/temp3_input", "-128000\n")
            .File("/proc/meminfo", "MemAvailable: 1024 kB\n");
        var properties = EnvironmentSnapshot.Capture(_host.Source, _time).Properties;

        Assert.Equal("powersave", properties[HostPropertyNames.Governor].Text);
        Assert.Equal(2.2e9, properties[HostPropertyNames.Frequency].Number);
        Assert.Equal(1.25, properties[HostPropertyNames.Load].Number);
        Assert.Equal(64.5, properties[HostPropertyNames.Temperature].Number);
        Assert.Equal(1024 * 1024, properties[HostPropertyNames.MemoryAvailable].Number);
        Assert.Equal("2026-01-02T03:04:05.678Z", properties[HostPropertyNames.Time].Text);
    }

    [Fact]
    public void Falls_back_to_cpuinfo_and_thermal_zones()
    {
        _host.File("/proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2596.130\n\nprocessor\t: 1\ncpu MHz\t\t: 2403.870\n")
            .File("/sys/class/thermal/thermal_zone0/type", "acpitz\n").File("/sys/class/thermal/thermal_zone0/temp", "27800\n")
            .File("/sys/class/thermal/thermal_zone1/type", "cpu-0-0-usr\n").File("/sys/class/thermal/thermal_zone1/temp", "51200\n")
            .File("/sys/class/thermal/thermal_zone2/type", "battery\n").File("/sys/class/thermal/thermal_zone2/temp", "60000\n")
            .File("/sys/class/thermal/cooling_device0/type", "Processor\n");
        var properties = EnvironmentSnapshot.Capture(_host.Source, _time).Properties;
        Assert.Equal(2.5e9, properties[HostPropertyNames.Frequency].Number!.Value, 1);
        Assert.Equal(51.2, properties[HostPropertyNames.Temperature].Number);
    }

    [Fact]
    public void The_lasting_part_is_copied_from_the_report()
    {
        var host = new PropertyBag().Set(HostPropertyNames.CpuModel, "A").Set(HostPropertyNames.MemoryAvailable, 5).ToImmutable();
        _host.File("/proc/meminfo", "MemAvailable: 2 kB\n").File("/proc/cpuinfo", "processor : 0\nmodel name : B\n");

        var properties = EnvironmentSnapshot.Capture(_host.Source, _time, host).Properties;
        Assert.Equal(("A", 2048), (properties[HostPropertyNames.CpuModel].Text, properties[HostPropertyNames.MemoryAvailable].Number));
        Assert.Equal("B", EnvironmentSnapshot.Capture(_host.Source, _time).Properties[HostPropertyNames.CpuModel].Text);
    }

    // 4 processors, 10 s: 4000 ticks in all. 1000 busy ticks are one processor's worth.
    [Theory]
    [InlineData(1000, 0, 10.0, new string[0], 0.0)]
    [InlineData(1000, 0, 9.0, new string[0], 0.1)]
    [InlineData(1300, 0, 10.0, new[] { "contended" }, 0.3)]
    [InlineData(1000, 200, 10.0, new[] { "contended" }, 0.0)]
    [InlineData(1000, 40, 10.0, new string[0], 0.0)]
    [InlineData(500, 0, 10.0, new string[0], 0.0)]
    public void Others_on_the_processors_mark_a_measurement(int busy, int steal, double own, string[] flags, double others)
    {
        var before = Stat(busy: 0, steal: 0, total: 0);
        var after = Stat(busy, steal, total: 4000);
        Assert.Equal(flags, EnvironmentSnapshot.Flags(before, after, TimeSpan.FromSeconds(own)));

        var described = EnvironmentSnapshot.Describe(before, after, TimeSpan.FromSeconds(own));
        Assert.Equal(others, described["cpu.others"].Number!.Value, 3);
        Assert.Equal(steal / 4000.0, described["cpu.steal"].Number!.Value, 4);
        Assert.Equal(PropertyValue.Of("2026-01-02T03:04:05.678Z"), described["time.after"]);
    }

    [Fact]
    public void A_throttled_processor_or_group_and_a_virtual_machine_mark_a_measurement()
    {
        _host.File("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n").File("/sys/class/dmi/id/sys_vendor", "QEMU\n");
        var before = EnvironmentSnapshot.Capture(_host.Source, _time);
        Assert.Equal(["virtual"], EnvironmentSnapshot.Flags(before, EnvironmentSnapshot.Capture(_host.Source, _time), TimeSpan.Zero));
        _host.File("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "5\n");
        Assert.Equal(["throttled", "virtual"], EnvironmentSnapshot.Flags(before, EnvironmentSnapshot.Capture(_host.Source, _time), TimeSpan.Zero));
    }

    [Theory]
    [InlineData("")]
    [InlineData("cpu 1 2 3\n")]
    [InlineData("cpu a b c d e f g h\ncpu0 1\n")]
    [InlineData("cpu 99999999999999999999 2 3 4 5 6 7 8\ncpu0\n")]
    public void Without_a_readable_count_of_ticks_nothing_is_claimed(string stat)
    {
        _host.File("/proc/stat", stat).File("/proc/loadavg", stat);
        var snapshot = EnvironmentSnapshot.Capture(_host.Source, _time);
        Assert.Empty(EnvironmentSnapshot.Flags(snapshot, snapshot, TimeSpan.Zero));
        Assert.False(EnvironmentSnapshot.Describe(snapshot, snapshot, TimeSpan.Zero).ContainsKey("cpu.others"));
    }

    private EnvironmentSnapshot Stat(int busy, int steal, int total)
    {
        _host.File("/proc/stat", $"cpu  {busy} 0 0 {total - busy - steal} 0 0 0 {steal} 0 0\n{string.Concat(Enumerable.Range(0, 4).Select(i => $"cpu{i} 0 0 0 0 0 0 0 0 0 0\n"))}intr 0\n");
        return EnvironmentSnapshot.Capture(_host.Source, _time);
    }

    private sealed class FixedTime : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new(2026, 1, 2, 3, 4, 5, 678, TimeSpan.Zero);
    }
}
