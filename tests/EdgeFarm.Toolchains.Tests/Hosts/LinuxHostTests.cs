using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.Hosts.Linux;

namespace EdgeFarm.Toolchains.Tests.Hosts;

public sealed class LinuxHostTests : IDisposable
{
    private const string MemInfo = "MemTotal:       32617544 kB\nMemFree:          812340 kB\nMemAvailable:   20971520 kB\nBuffers:          512000 kB\n";

    private readonly RecordedHost _host = new();

    public void Dispose() => _host.Dispose();

    [Fact]
    public async Task A_desktop_with_hyper_threading()
    {
        Desktop();
        var report = await _host.ProbeAsync();

        Assert.Equal("linux", report.Text(HostPropertyNames.Os));
        Assert.Equal("x64", report.Text(HostPropertyNames.Arch));
        Assert.Equal("Ubuntu 24.04.2 LTS", report.Text(HostPropertyNames.OsVersion));
        Assert.Equal("Intel(R) Core(TM) Ultra 7 155H", report.Text(HostPropertyNames.CpuModel));
        Assert.Equal("intel", report.Text(HostPropertyNames.CpuVendor));
        Assert.Equal(2, report.Number(HostPropertyNames.PhysicalCores));
        Assert.Equal(4, report.Number(HostPropertyNames.LogicalCores));
        Assert.Equal(2, report.AutoThreads);
        Assert.Equal(2, report.Number(HostPropertyNames.AutoThreads));
        Assert.Equal(["avx", "avx2", "avx_vnni", "bmi2", "f16c", "fma", "sse3", "sse4_1", "sse4_2", "ssse3"], report.Features());
        Assert.Equal(32617544d * 1024, report.Number(HostPropertyNames.MemoryTotal));
        Assert.Equal(32617544d * 1024, report.Number(HostPropertyNames.MemoryLimit));
        Assert.Equal(20971520d * 1024, report.Number(HostPropertyNames.MemoryAvailable));
        Assert.Null(report.Number(HostPropertyNames.CpuQuota));
        Assert.Equal("none", report.Text(HostPropertyNames.Container));
        Assert.Equal("false", report.Text(HostPropertyNames.Virtual));
        Assert.Equal("balanced", report.Text(HostPropertyNames.PowerProfile));
        Assert.Equal("mains", report.Text(HostPropertyNames.PowerSource));
        Assert.False(report.IsVirtual);

        var cpu = Assert.Single(report.Devices);
        Assert.Equal(("cpu", "cpu", 32617544L * 1024), (cpu.Id, cpu.Kind, cpu.MemoryBytes));
        Assert.Equal("Intel(R) Core(TM) Ultra 7 155H; 2 cores; 4 threads; on 0-3; Ubuntu 24.04.2 LTS; 6.11.0-21-generic; balanced", cpu.Fingerprint);
    }

    [Theory]
    [InlineData("0-3", 2)]
    [InlineData("0,2", 1)]
    [InlineData("0-1", 2)]
    [InlineData("3", 1)]
    public async Task Auto_threads_count_the_cores_that_the_affinity_reaches(string affinity, int threads)
    {
        Desktop(affinity);
        Assert.Equal(threads, (await _host.ProbeAsync()).AutoThreads);
    }

    [Theory]
    [InlineData("max 100000", null, 2)]
    [InlineData("150000 100000", 1.5, 1)]
    [InlineData("50000 100000", 0.5, 1)]
    [InlineData("400000 100000", 4.0, 2)]
    [InlineData("broken", null, 2)]
    [InlineData("100000 0", null, 2)]
    public async Task Auto_threads_stay_below_the_quota(string cpuMax, double? quota, int threads)
    {
        Desktop();
        _host.File("/proc/self/cgroup", "0::/user.slice/farm.scope\n")
            .File("/proc/self/mountinfo", "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n")
            .File("/sys/fs/cgroup/user.slice/farm.scope/cpu.max", cpuMax)
            .File("/sys/fs/cgroup/user.slice/farm.scope/memory.max", "max\n")
            .File("/sys/fs/cgroup/user.slice/memory.max", "8589934592\n");
        var report = await _host.ProbeAsync();

        Assert.Equal(quota, report.Number(HostPropertyNames.CpuQuota));
        Assert.Equal(threads, report.AutoThreads);
        Assert.Equal(8589934592, report.Number(HostPropertyNames.MemoryLimit));
        Assert.Equal(8589934592, report.Devices[0].MemoryBytes);
    }

    [Fact]
    public void The_tightest_limit_on_the_way_to_the_root_counts()
    {
        _host.File("/proc/self/cgroup", "0::/a/b\n")
            .File("/proc/self/mountinfo", "25 30 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
            .File("/sys/fs/cgroup/a/b/cpu.max", "800000 100000").File("/sys/fs/cgroup/a/cpu.max", "200000 100000").File("/sys/fs/cgroup/a/b/memory.max", "4096000")
            .File("/sys/fs/cgroup/a/memory.max", "8192000").File("/sys/fs/cgroup/a/b/cpu.stat", "usage_usec 1\nnr_periods 10\nnr_throttled 7\nthrottled_usec 9");
        Assert.Equal(new CgroupLimits(2, 4096000, 7), CgroupLimits.Read(_host.Source));
    }

    [Fact]
    public void Version_1_in_a_docker_container_shows_its_own_directory_as_root()
    {
        const string Id = "/docker/4f1c2d";
        _host.File("/proc/self/cgroup", $"9:memory:{Id}\n4:cpu,cpuacct:{Id}\n1:name=systemd:{Id}\n0::/system.slice/containerd.service\n")
            .File("/proc/self/mountinfo",
                $"701 700 0:30 {Id} /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n702 700 0:31 {Id} /sys/fs/cgroup/memory ro master:12 - cgroup cgroup rw,memory\n")
            .File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n").File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
            .File("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
        Assert.Equal(new CgroupLimits(2.5, 2147483648, null), CgroupLimits.Read(_host.Source));
    }

    [Fact]
    public void Version_1_without_limits()
    {
        _host.File("/proc/self/cgroup", "4:memory:/\n1:cpu:/\n").File("/proc/self/mountinfo",
                "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n")
            .File("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n").File("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
            .File("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        Assert.Equal(new CgroupLimits(null, null, null), CgroupLimits.Read(_host.Source));
    }

    [Theory]
    [InlineData("0::/../../x\n", "25 30 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")]
    [InlineData("0::/elsewhere\n", "25 30 0:23 /a/b /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")]
    public void A_group_outside_of_what_is_mounted_is_read_at_the_mount(string group, string mount)
    {
        _host.File("/proc/self/cgroup", group).File("/proc/self/mountinfo", mount).File("/sys/fs/cgroup/cpu.max", "300000 100000");
        Assert.Equal(3, CgroupLimits.Read(_host.Source).CpuQuota);
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("garbage", "garbage - garbage")]
    [InlineData("1:2", "1 2 3 - cgroup2")]
    [InlineData(":::", "a b c d e - cgroup2 x y\n - - - ")]
    public void Broken_descriptions_of_control_groups_mean_no_limit(string group, string mounts)
    {
        _host.File("/proc/self/cgroup", group).File("/proc/self/mountinfo", mounts);
        Assert.Equal(new CgroupLimits(null, null, null), CgroupLimits.Read(_host.Source));
    }

    [Fact]
    public async Task An_empty_machine_still_gives_a_report()
    {
        var report = await _host.ProbeAsync();

        Assert.Equal(1, report.AutoThreads);
        Assert.Equal("cpu", Assert.Single(report.Devices).Id);
        Assert.Equal("stored", report.Text(HostPropertyNames.MachineIdSource));
        Assert.Equal(report.HostId, (await _host.ProbeAsync()).HostId);
        Assert.Contains(report.Notes, n => n.Contains("no id of its own", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_machine_id_is_hashed_and_the_same_for_all_workers()
    {
        _host.File("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        var report = await _host.ProbeAsync();

        Assert.Equal("machine-id", report.Text(HostPropertyNames.MachineIdSource));
        Assert.Equal(MachineIdentity.Hash("0123456789abcdef0123456789abcdef"), report.HostId);
        Assert.Equal(32, report.HostId.Length);
        Assert.DoesNotContain("0123456789abcdef", report.HostId, StringComparison.Ordinal);
        Assert.Equal(MachineIdentity.Hash("node-7"), (await _host.ProbeAsync("node-7")).HostId);
    }

    [Fact]
    public async Task In_a_container_the_id_comes_from_what_all_containers_of_the_machine_see()
    {
        _host.File("/etc/machine-id", "0123456789abcdef0123456789abcdef").File("/.dockerenv", "")
            .File("/proc/sys/kernel/random/boot_id", "3e8bb4f8-0d83-44a7-8b04-f3b3a7fbfd0c\n");
        var report = await _host.ProbeAsync();
        Assert.Equal(("docker", "boot-id"), (report.Text(HostPropertyNames.Container), report.Text(HostPropertyNames.MachineIdSource)));
        Assert.Contains(report.Notes, n => n.Contains("changes with each boot", StringComparison.Ordinal));

        _host.File("/sys/class/dmi/id/product_uuid", "00000000-0000-0000-0000-000000000000\n");
        Assert.Equal("boot-id", (await _host.ProbeAsync()).Text(HostPropertyNames.MachineIdSource));
        _host.File("/sys/class/dmi/id/product_uuid", "ec2a1b2c-1111-2222-3333-444455556666\n");
        Assert.Equal("product-uuid", (await _host.ProbeAsync()).Text(HostPropertyNames.MachineIdSource));
    }

    [Fact]
    public async Task Containers_are_told_apart()
    {
        _host.File("/proc/1/cgroup", "0::/\n");
        Assert.Equal("none", (await _host.ProbeAsync()).Text(HostPropertyNames.Container));
        _host.File("/proc/1/cgroup", "11:cpu:/kubepods/burstable/pod1/abc\n");
        Assert.Equal("kubernetes", (await _host.ProbeAsync()).Text(HostPropertyNames.Container));
        _host.File("/run/systemd/container", "systemd-nspawn\n");
        Assert.Equal("systemd-nspawn", (await _host.ProbeAsync()).Text(HostPropertyNames.Container));
        _host.File("/run/.containerenv", "");
        Assert.Equal("podman", (await _host.ProbeAsync()).Text(HostPropertyNames.Container));
        _host.Variable("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        Assert.Equal("kubernetes", (await _host.ProbeAsync()).Text(HostPropertyNames.Container));
    }

    [Theory]
    [InlineData("QEMU", "Standard PC (Q35 + ICH9, 2009)", "true")]
    [InlineData("Amazon EC2", "c7g.4xlarge", "true")]
    [InlineData("Amazon EC2", "c7g.metal", "false")]
    [InlineData("Microsoft Corporation", "Virtual Machine", "true")]
    [InlineData("Microsoft Corporation", "Surface Laptop 5", "false")]
    [InlineData("LENOVO", "21KDCTO1WW", "false")]
    public async Task Virtual_machines_are_known_by_their_product(string vendor, string product, string isVirtual)
    {
        _host.File("/sys/class/dmi/id/sys_vendor", vendor + "\n").File("/sys/class/dmi/id/product_name", product + "\n");
        Assert.Equal(isVirtual, (await _host.ProbeAsync()).Text(HostPropertyNames.Virtual));
    }

    [Fact]
    public async Task A_laptop_on_battery()
    {
        _host.File("/sys/class/power_supply/AC/type", "Mains\n").File("/sys/class/power_supply/AC/online", "0\n")
            .File("/sys/class/power_supply/BAT0/type", "Battery\n").File("/sys/class/power_supply/BAT0/status", "Discharging\n")
            .File("/sys/class/power_supply/hid-mouse/type", "Battery\n").File("/sys/class/power_supply/hid-mouse/scope", "Device\n");
        Assert.Equal("battery", (await _host.ProbeAsync()).Text(HostPropertyNames.PowerSource));
    }

    [Theory]
    [InlineData("0-3,8", new[] { 0, 1, 2, 3, 8 })]
    [InlineData("5\n", new[] { 5 })]
    [InlineData("0-1,1-2", new[] { 0, 1, 2 })]
    public void Reads_lists_of_processors(string text, int[] cpus) => Assert.Equal(cpus, CpuList.Parse(text)!);

    [Theory]
    [InlineData("")]
    [InlineData(null)]
    [InlineData("a")]
    [InlineData("3-1")]
    [InlineData("1-2-3")]
    [InlineData("0-4294967295")]
    [InlineData("0-999999999")]
    [InlineData("-1")]
    [InlineData("1,,2")]
    public void Refuses_what_is_no_list_of_processors(string? text) => Assert.Null(CpuList.Parse(text));

    private void Desktop(string affinity = "0-3")
    {
        var flags = "fpu pni ssse3 fma sse4_1 sse4_2 avx f16c bmi2 avx2 avx_vnni sha_ni";
        _host.File("/proc/cpuinfo", string.Concat(Enumerable.Range(0, 4).Select(i =>
                $"processor\t: {i}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) Ultra 7 155H\ncpu MHz\t\t: {1000 + (i * 100)}.500\nflags\t\t: {flags}\n\n")))
            .File("/proc/self/status", $"Name:\tdotnet\nCpus_allowed:\tf\nCpus_allowed_list:\t{affinity}\nMems_allowed_list:\t0\n")
            .File("/proc/meminfo", MemInfo)
            .File("/proc/sys/kernel/osrelease", "6.11.0-21-generic\n")
            .File("/etc/os-release", "NAME=\"Ubuntu\"\nPRETTY_NAME=\"Ubuntu 24.04.2 LTS\"\nVERSION_ID=\"24.04\"\n")
            .File("/sys/devices/system/cpu/online", "0-3\n")
            .File("/sys/firmware/acpi/platform_profile", "balanced\n")
            .File("/sys/class/power_supply/AC/type", "Mains\n").File("/sys/class/power_supply/AC/online", "1\n");
        for (var i = 0; i < 4; i++)
        {
            _host.File($"/sys/devices/system/cpu/cpu{i}/topology/physical_package_id", "0\n").File($"/sys/devices/system/cpu/cpu{i}/topology/core_id", $"{i % 2}\n");
        }
    }
}
