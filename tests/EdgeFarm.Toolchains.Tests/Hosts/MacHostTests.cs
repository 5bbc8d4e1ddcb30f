using EdgeFarm.Toolchains.Hosts;

namespace EdgeFarm.Toolchains.Tests.Hosts;

public sealed class MacHostTests : IDisposable
{
    private const string M3Pro = """
        hw.ncpu: 12
        hw.byteorder: 1234
        hw.memsize: 38654705664
        hw.activecpu: 12
        hw.perflevel0.physicalcpu: 6
        hw.perflevel0.logicalcpu: 6
        hw.perflevel0.name: Performance
        hw.perflevel1.physicalcpu: 6
        hw.perflevel1.name: Efficiency
        hw.optional.arm.FEAT_DotProd: 1
        hw.optional.arm.FEAT_I8MM: 1
        hw.optional.arm.FEAT_BF16: 1
        hw.optional.arm.FEAT_FP16: 1
        hw.optional.arm.FEAT_FHM: 1
        hw.optional.arm.FEAT_LSE: 1
        hw.optional.arm.FEAT_SME: 0
        hw.optional.AdvSIMD: 1
        hw.physicalcpu: 12
        hw.logicalcpu: 12
        machdep.cpu.brand_string: Apple M3 Pro
        machdep.cpu.core_count: 12
        kern.osproductversion: 15.4
        kern.osversion: 24E248
        kern.hv_vmm_present: 0
        """;

    private const string Displays = """
        {
          "SPDisplaysDataType" : [
            {
              "_name" : "Apple M3 Pro",
              "spdisplays_mtlgpufamilysupport" : "spdisplays_metal3",
              "spdisplays_vendor" : "sppci_vendor_Apple",
              "sppci_bus" : "spdisplays_builtin",
              "sppci_cores" : "18",
              "sppci_device_type" : "spdisplays_gpu",
              "sppci_model" : "Apple M3 Pro"
            }
          ]
        }
        """;

    private const string Ioreg = """
        +-o J516sAP  <class IOPlatformExpertDevice, id 0x10000025d, registered, matched, active, busy 0 (60130 ms), retain 39>
            {
              "IOPlatformSerialNumber" = "XXXXXXXXXX"
              "IOPlatformUUID" = "0A1B2C3D-1111-2222-3333-444455556666"
            }
        """;

    private const string VmStat = """
        Mach Virtual Memory Statistics: (page size of 16384 bytes)
        Pages free:                               100000.
        Pages active:                             500000.
        Pages inactive:                           200000.
        Pages speculative:                         10000.
        Pages throttled:                               0.
        Pages purgeable:                            5000.
        """;

    private readonly RecordedHost _host = new() { Os = "macos", Arch = "arm64" };

    public void Dispose() => _host.Dispose();

    [Fact]
    public async Task An_apple_silicon_laptop()
    {
        _host.Tool("sysctl", M3Pro, exitCode: 1).Tool("vm_stat", VmStat).Tool("ioreg", Ioreg).Tool("system_profiler", Displays)
            .Tool("pmset", "Now drawing from 'AC Power'\nCurrently in use:\n lowpowermode         0\n");
        var report = await _host.ProbeAsync();

        Assert.Equal(("macOS 15.4", "24E248"), (report.Text(HostPropertyNames.OsVersion), report.Text(HostPropertyNames.Kernel)));
        Assert.Equal(("Apple M3 Pro", "apple", "apple-m3-pro"), (report.Text(HostPropertyNames.CpuModel), report.Text(HostPropertyNames.CpuVendor), report.Text(HostPropertyNames.Soc)));
        Assert.Equal(["bf16", "dotprod", "fp16", "fp16fml", "i8mm", "lse", "neon"], report.Features());
        Assert.Equal((12, 12, 6), (report.Number(HostPropertyNames.PhysicalCores), report.Number(HostPropertyNames.LogicalCores), report.Number(HostPropertyNames.PerformanceCores)));
        Assert.Equal(12, report.AutoThreads);
        Assert.Equal(38654705664, report.Number(HostPropertyNames.MemoryTotal));
        Assert.Equal(315000d * 16384, report.Number(HostPropertyNames.MemoryAvailable));
        Assert.Equal(("balanced", "mains", "platform-uuid"), (report.Text(HostPropertyNames.PowerProfile), report.Text(HostPropertyNames.PowerSource), report.Text(HostPropertyNames.MachineIdSource)));
        Assert.Equal(["cpu", "metal:0"], report.Devices.Select(d => d.Id));
        var gpu = report.Devices[1];
        Assert.Equal(("apple", "metal3"), (gpu.Properties[HostPropertyNames.GpuVendor].Text, gpu.Properties[HostPropertyNames.GpuMetal].Text));
        Assert.Equal((18, 38654705664), (gpu.Properties[HostPropertyNames.GpuCores].Number, gpu.MemoryBytes));
        Assert.Equal("Apple M3 Pro GPU, 18 cores; Apple M3 Pro; macOS 15.4; 24E248; balanced", gpu.Fingerprint);
        Assert.DoesNotContain(_host.Ran, line => line.StartsWith("nvidia-smi", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_m1_under_an_old_system_in_a_virtual_machine_on_battery()
    {
        _host.Tool("sysctl", "hw.physicalcpu: 8\nhw.logicalcpu: 8\nhw.memsize: 17179869184\nhw.optional.neon: 1\nhw.optional.neon_fp16: 1\nhw.optional.armv8_1_atomics: 1\n"
                + "hw.optional.armv8_2_fhm: 1\nmachdep.cpu.brand_string: Apple M1\nkern.hv_vmm_present: 1\n")
            .Tool("pmset", "Now drawing from 'Battery Power'\n lowpowermode         1\n").Tool("system_profiler", "{\"SPDisplaysDataType\" : [");
        var report = await _host.ProbeAsync();

        Assert.Equal(["fp16", "fp16fml", "lse", "neon"], report.Features());
        Assert.True(report.IsVirtual);
        Assert.Equal(("battery", "low-power"), (report.Text(HostPropertyNames.PowerSource), report.Text(HostPropertyNames.PowerProfile)));
        Assert.Equal("Apple M1 GPU; Apple M1; low-power", report.Devices[1].Fingerprint);
    }

    [Theory]
    [InlineData("64", true)]
    [InlineData("0", false)]
    public void Streaming_vectors_count_where_the_kernel_grants_them(string length, bool granted)
    {
        var features = CpuFeatures.FromSysctl(new Dictionary<string, string> { ["hw.optional.arm.FEAT_SME"] = "1", ["hw.optional.arm.FEAT_SME2"] = "1", ["hw.optional.arm.sme_max_svl_b"] = length });
        Assert.Equal(granted ? ["sme", "sme2"] : [], features);
    }

    [Fact]
    public async Task An_intel_mac_has_no_metal_device()
    {
        using var host = new RecordedHost { Os = "macos" }.Tool("sysctl",
            "machdep.cpu.brand_string: Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz\nhw.physicalcpu: 6\nhw.logicalcpu: 12\nhw.optional.avx2_0: 1\nhw.optional.avx512f: 0\nhw.optional.fma: 1\n");
        var report = await host.ProbeAsync();
        Assert.Equal(("intel", 6), (report.Text(HostPropertyNames.CpuVendor), report.AutoThreads));
        Assert.Equal(["avx2", "fma"], report.Features());
        Assert.Single(report.Devices);
    }

    [Theory]
    [InlineData("")]
    [InlineData("garbage")]
    [InlineData(": \n: :\nhw.physicalcpu: -3\nhw.memsize: 1e400\n")]
    public async Task Broken_output_tells_nothing(string sysctl)
    {
        _host.Tool("sysctl", sysctl).Tool("vm_stat", sysctl).Tool("ioreg", sysctl).Tool("system_profiler", "[]");
        var report = await _host.ProbeAsync();
        Assert.Equal((1, 1), (report.AutoThreads, report.Devices.Length));
        Assert.Null(report.Number(HostPropertyNames.MemoryTotal));
    }
}
