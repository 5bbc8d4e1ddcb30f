using EdgeFarm.Core.Fleet;
using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.Hosts.Accelerators;

namespace EdgeFarm.Toolchains.Tests.Hosts;

public sealed class AcceleratorTests : IDisposable
{
    private const string Smi = "nvidia-smi --query-gpu=";

    private readonly RecordedHost _host = new();

    public void Dispose() => _host.Dispose();

    [Fact]
    public async Task Two_nvidia_cards()
    {
        _host.Tool(Smi,
            "0, GPU-5c8a1f5e-9c0f-4d3e-8a51-0d3a2b1c4e5f, NVIDIA GeForce RTX 4090, 24564, 560.35.03, 450.00, 00000000:01:00.0, 8.9\n"
            + "1, GPU-6d9b2f6f-0d1f-5e4f-9b62-1e4b3c2d5f60, NVIDIA H100 80GB HBM3, 81559, 560.35.03, 700.00, 00000000:41:00.0, 9.0\n");
        var report = await _host.ProbeAsync();

        Assert.Equal(["cpu", "cuda:0", "cuda:1"], report.Devices.Select(d => d.Id));
        var card = report.Devices[1];
        Assert.Equal(("gpu", 24564L * 1024 * 1024), (card.Kind, card.MemoryBytes));
        Assert.Equal("nvidia", card.Properties[HostPropertyNames.GpuVendor].Text);
        Assert.Equal(8.9, card.Properties[HostPropertyNames.GpuComputeCapability].Number);
        Assert.Equal(450, card.Properties[HostPropertyNames.GpuPowerLimit].Number);
        Assert.Equal("560.35.03", card.Properties[HostPropertyNames.Driver].Text);
        Assert.Equal("NVIDIA GeForce RTX 4090; 24564 MiB; driver 560.35.03; 450 W", card.Fingerprint);
        Assert.Equal(9.0, report.Devices[2].Properties[HostPropertyNames.GpuComputeCapability].Number);
    }

    [Fact]
    public async Task A_chip_that_shares_the_memory_of_the_machine()
    {
        _host.File("/proc/meminfo", "MemTotal:       127600748 kB\nMemAvailable:   118566368 kB\n")
            .Tool(Smi, "0, GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5, NVIDIA GB10, [N/A], 580.142, [N/A], 0000000F:01:00.0, 12.1\n");
        var gpu = (await _host.ProbeAsync()).Devices[1];

        Assert.Equal(127600748L * 1024, gpu.MemoryBytes);
        Assert.Equal("true", gpu.Properties[HostPropertyNames.GpuIntegrated].Text);
        Assert.False(gpu.Properties.ContainsKey(HostPropertyNames.GpuPowerLimit));
        Assert.Equal(12.1, gpu.Properties[HostPropertyNames.GpuComputeCapability].Number);
    }

    [Fact]
    public async Task An_old_driver_that_does_not_know_compute_cap_is_asked_again()
    {
        const string Fields = "index,uuid,name,memory.total,driver_version,power.limit,pci.bus_id";
        _host.Tool($"{Smi}{Fields} ", "0, GPU-1, Tesla K80, 11441, 470.256.02, [Not Supported], 00000000:00:1E.0\n")
            .Tool($"{Smi}{Fields},compute_cap", "Field \"compute_cap\" is not a valid field to query.\n", exitCode: 2);
        var gpu = (await _host.ProbeAsync()).Devices[1];

        Assert.Equal("Tesla K80", gpu.Properties[HostPropertyNames.GpuName].Text);
        Assert.False(gpu.Properties.ContainsKey(HostPropertyNames.GpuComputeCapability));
        Assert.Equal(2, _host.Ran.Count);
    }

    [Theory]
    [InlineData("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n", 9, "couldn't communicate")]
    [InlineData("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n", 18, "version mismatch")]
    [InlineData("garbage\n", 0, "could not be read")]
    public async Task A_driver_that_does_not_answer_is_reported(string output, int exitCode, string note)
    {
        _host.Tool(Smi, output, exitCode);
        var report = await _host.ProbeAsync();

        Assert.Single(report.Devices);
        Assert.Contains(report.Notes, n => n.Contains(note, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("No devices were found\n", 6)]
    [InlineData("No devices were found\n", 0)]
    [InlineData("", 0)]
    public async Task A_driver_without_cards_is_no_problem(string output, int exitCode)
    {
        _host.Tool(Smi, output, exitCode);
        Assert.DoesNotContain((await _host.ProbeAsync()).Notes, n => n.Contains("nvidia", StringComparison.OrdinalIgnoreCase));
    }

    [Theory]
    [InlineData("0, GPU-1, [Unknown Error], 24564, 560, 450, 0, 8.9")]
    [InlineData("x, GPU-1, NVIDIA A, 24564, 560, 450, 0, 8.9")]
    [InlineData("0, GPU-1, NVIDIA A")]
    [InlineData("0, 1, 2, 3, 4, 5, 6, 7, 8, 9")]
    public void Lines_that_are_no_card_are_counted(string line)
    {
        var (devices, bad) = NvidiaSmi.Parse(line + "\n1, GPU-2, NVIDIA B, 1e999, 560, -3, [N/A], NaN\r\n");
        Assert.Equal(1, bad);
        var device = Assert.Single(devices);
        Assert.Equal(1, device.Index);
        Assert.Null(device.MemoryBytes);
        Assert.Null(device.Properties.Number(HostPropertyNames.GpuPowerLimit));
        Assert.Null(device.Properties.Number(HostPropertyNames.GpuComputeCapability));
    }

    [Fact]
    public async Task A_meteor_lake_laptop_with_an_arc_card()
    {
        _host.File("/proc/meminfo", "MemTotal: 32000000 kB\n");
        Card("card1", "0x8086", "0x7d55", "DRIVER=i915\nPCI_CLASS=30000\nPCI_ID=8086:7D55\nPCI_SLOT_NAME=0000:00:02.0\n");
        Card("card2", "0x8086", "0xe20b", "DRIVER=xe\nPCI_SLOT_NAME=0000:03:00.0\n");
        _host.File("/sys/class/drm/card2/device/tile0/physical_vram_size_bytes", "0x2fa000000\n")
            .File("/sys/class/drm/card1-eDP-1/status", "connected\n").File("/sys/class/drm/renderD128/device/vendor", "0x8086\n").File("/sys/class/drm/version", "drm 1.1.0\n")
            .File("/sys/class/accel/accel0/device/vendor", "0x8086\n").File("/sys/class/accel/accel0/device/device", "0x7d1d\n")
            .File("/sys/class/accel/accel0/device/uevent", "DRIVER=intel_vpu\nPCI_SLOT_NAME=0000:00:0b.0\n").File("/dev/accel/accel0", "");
        var report = await _host.ProbeAsync();

        Assert.Equal(["cpu", "intel-gpu:0", "intel-gpu:1", "intel-npu:0"], report.Devices.Select(d => d.Id));
        var (integrated, card, npu) = (report.Devices[1], report.Devices[2], report.Devices[3]);
        Assert.Equal("Intel Graphics (Meteor Lake)", integrated.Properties[HostPropertyNames.GpuName].Text);
        Assert.Equal("true", integrated.Properties[HostPropertyNames.GpuIntegrated].Text);
        Assert.Equal(32000000L * 1024, integrated.MemoryBytes);
        Assert.Equal("8086:7d55", integrated.Properties[HostPropertyNames.PciId].Text);
        Assert.Equal(("false", 0x2fa000000L), (card.Properties[HostPropertyNames.GpuIntegrated].Text, card.MemoryBytes));
        Assert.Equal("xe", card.Properties[HostPropertyNames.Driver].Text);
        Assert.Equal(("npu", "intel", "3720"), (npu.Kind, npu.Properties[HostPropertyNames.NpuVendor].Text, npu.Properties[HostPropertyNames.NpuArch].Text));
        Assert.Empty(report.Notes.Where(n => n.Contains("accel", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Unknown_numbers_are_found_and_missing_access_is_told()
    {
        Card("card0", "0x8086", "0xffff", "");
        Card("card1", "0x1002", "0x744c", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:0a:00.0\n");
        _host.File("/sys/class/drm/card1/device/mem_info_vram_total", "25753026560\n")
            .File("/sys/class/accel/accel0/device/vendor", "0x1022\n").File("/sys/class/accel/accel0/device/device", "0x17f0\n");
        Card("card2", "0x10de", "0x2684", "DRIVER=nouveau\n");
        var report = await _host.ProbeAsync();

        Assert.Equal(["cpu", "intel-gpu:0", "amd-gpu:0", "amd-npu:0"], report.Devices.Select(d => d.Id));
        Assert.Equal("Intel GPU ffff", report.Devices[1].Properties[HostPropertyNames.GpuName].Text);
        Assert.Equal(25753026560, report.Devices[2].MemoryBytes);
        Assert.Contains(report.Notes, n => n.Contains("/dev/accel/accel0", StringComparison.Ordinal));
        Assert.Contains(report.Notes, n => n.Contains("without NVIDIA's driver", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("8086", "0x7d55")]
    [InlineData("", "")]
    [InlineData("0xzz", "0x")]
    public async Task Broken_sysfs_files_are_passed_over(string vendor, string device)
    {
        Card("card0", vendor, device, "no equals sign\n=\n");
        Assert.Single((await _host.ProbeAsync()).Devices);
    }

    [Theory]
    [InlineData("lenovo,thinkpad-t14s\0qcom,x1e78100\0qcom,x1e80100\0", "snapdragon-x-elite", "X1E78100", 60, 73)]
    [InlineData("qcom,sm8650-qrd\0qcom,sm8650\0", "snapdragon-8-gen3", "SM8650", 57, 75)]
    [InlineData("microsoft,arcata\0qcom,sc8280xp\0", "snapdragon-8cx-gen3", "SC8280XP", 37, 68)]
    [InlineData("asus,zenbook-a14-ux3407qa\0qcom,x1p42100\0", "snapdragon-x-plus", "X1P42100", null, 73)]
    public async Task A_snapdragon_under_linux(string compatible, string soc, string part, int? qnn, int htp)
    {
        using var host = new RecordedHost { Arch = "arm64" }.File("/proc/device-tree/compatible", compatible);
        var report = await host.ProbeAsync();

        Assert.Equal((soc, part), (report.Text(HostPropertyNames.Soc), report.Text(HostPropertyNames.SocPart)));
        Assert.Equal(qnn, (int?)report.Number(HostPropertyNames.QnnSocModel));
        Assert.Equal(htp, report.Number(HostPropertyNames.QnnHtpArch));
        Assert.Equal(["cpu", "hexagon:0", "adreno:0"], report.Devices.Select(d => d.Id));
        Assert.Equal(PropertyValue.Of(htp), report.Devices[1].Properties[HostPropertyNames.QnnHtpArch]);
        Assert.Contains(report.Notes, n => n.Contains("/dev/fastrpc-cdsp", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("qcom,sdm845\0")]
    [InlineData("raspberrypi,5-model-b\0brcm,bcm2712\0")]
    [InlineData("")]
    public async Task Another_board_is_no_snapdragon(string compatible)
    {
        _host.File("/proc/device-tree/compatible", compatible);
        Assert.Null((await _host.ProbeAsync()).Text(HostPropertyNames.Soc));
    }

    [Theory]
    [InlineData("Snapdragon(R) X Elite - X1E80100 - Qualcomm(R) Oryon(TM) CPU", "X1E80100", 60)]
    [InlineData("Snapdragon X Elite X1E-84-100", "X1E84100", 60)]
    [InlineData("Snapdragon(R) X - X126100 - Qualcomm(R) Oryon(TM) CPU", "X126100", null)]
    [InlineData("Snapdragon (X1-26-100)", "X126100", null)]
    [InlineData("SM8750-AB", "SM8750", 69)]
    public void Names_of_parts_are_read_in_every_spelling(string name, string part, int? qnn)
    {
        var soc = SnapdragonSoc.FromNames([null, "", name])!;
        Assert.Equal((part, qnn), (soc.Part, soc.QnnModel));
    }

    private void Card(string name, string vendor, string device, string uevent) => _host
        .File($"/sys/class/drm/{name}/device/vendor", vendor + "\n")
        .File($"/sys/class/drm/{name}/device/device", device + "\n")
        .File($"/sys/class/drm/{name}/device/uevent", uevent);
}
