using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.Hosts.Windows;

namespace EdgeFarm.Toolchains.Tests.Hosts;

public sealed class WindowsHostTests
{
    private const string Class = @"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class";
    private const string Gpus = Class + @"\{4d36e968-e325-11ce-bfc1-08002be10318}";
    private const string Npus = Class + @"\{f01a9d53-3ff6-48d2-9f97-c8a7004be10c}";

    private const string Version = """

        HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion
            SystemRoot    REG_SZ    C:\WINDOWS
            CurrentBuildNumber    REG_SZ    26100
            ProductName    REG_SZ    Windows 10 Pro
            DisplayVersion    REG_SZ    24H2
            UBR    REG_DWORD    0xf42
            DigitalProductId    REG_BINARY    A40000000300

        """;

    [Fact]
    public async Task A_snapdragon_x_elite_laptop()
    {
        using var host = new RecordedHost { Os = "windows", Arch = "arm64" }
            .Tool($"reg query {WindowsHost.ProcessorKey}", """

                HKEY_LOCAL_MACHINE\HARDWARE\DESCRIPTION\System\CentralProcessor\0
                    CP 4000    REG_QWORD    0x511f0011
                    CP 4020    REG_QWORD    0x1101000010111111
                    CP 4030    REG_QWORD    0x221100110212120
                    CP 4031    REG_QWORD    0x10101101211052
                    Identifier    REG_SZ    ARMv8 (64-bit) Family 8 Model 1 Revision 201
                    ProcessorNameString    REG_SZ    Snapdragon(R) X Elite - X1E80100 - Qualcomm(R) Oryon(TM) CPU
                    VendorIdentifier    REG_SZ    Qualcomm Technologies Inc
                    ~MHz    REG_DWORD    0xd4c

                """.ReplaceLineEndings("\r\n"))
            .Tool($"reg query {WindowsHost.SystemKey}", "\r\nHKEY_LOCAL_MACHINE\\HARDWARE\\DESCRIPTION\\System\\BIOS\r\n    SystemManufacturer    REG_SZ    LENOVO\r\n    SystemProductName    REG_SZ    21N1CTO1WW\r\n")
            .Tool($"reg query {WindowsHost.VersionKey}", Version)
            .Tool($"reg query {WindowsHost.CryptographyKey}", "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\r\n    MachineGuid    REG_SZ    b7f6a1de-0000-1111-2222-333344445555\r\n")
            .Tool($"reg query {WindowsHost.PowerKey}", "\r\nHKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Power\\User\\PowerSchemes\r\n    ActivePowerScheme    REG_SZ    381b4222-f694-41f0-9685-ff5bb260df2e\r\n")
            .Tool($"reg query {WindowsHost.NpuClassKey}", $"\r\n{Npus}\\0000\r\n    DriverDesc    REG_SZ    Snapdragon(R) X Elite - X1E80100 - Qualcomm(R) Hexagon(TM) NPU\r\n    DriverVersion    REG_SZ    30.0.143.1\r\n    MatchingDeviceId    REG_SZ    ACPI\\VEN_QCOM&DEV_0D0A\r\n")
            .Tool($"reg query {WindowsHost.GpuClassKey}", $"\r\n{Gpus}\\0000\r\n    DriverDesc    REG_SZ    Qualcomm(R) Adreno(TM) X1-85 GPU\r\n    DriverVersion    REG_SZ    31.0.96.0\r\n")
            .Tool("powershell", "\r\n\r\nNumberOfCores             : 12\r\nNumberOfLogicalProcessors : 12\r\n\r\nTotalVisibleMemorySize : 33079704\r\nFreePhysicalMemory     : 20000000\r\n\r\n");
        var report = await host.ProbeAsync();

        Assert.Equal(("windows", "Windows 11 Pro 24H2", "26100.3906"), (report.Text(HostPropertyNames.Os), report.Text(HostPropertyNames.OsVersion), report.Text(HostPropertyNames.Kernel)));
        Assert.Equal(("qualcomm", "snapdragon-x-elite", "X1E80100"), (report.Text(HostPropertyNames.CpuVendor), report.Text(HostPropertyNames.Soc), report.Text(HostPropertyNames.SocPart)));
        Assert.Equal(60, report.Number(HostPropertyNames.QnnSocModel));
        Assert.Equal(["bf16", "dotprod", "fp16", "fp16fml", "i8mm", "lse", "neon"], report.Features());
        Assert.Equal((12, 12), (report.Number(HostPropertyNames.PhysicalCores), report.AutoThreads));
        Assert.Equal(33079704d * 1024, report.Number(HostPropertyNames.MemoryTotal));
        Assert.Equal(("balanced", "machine-guid", "false"), (report.Text(HostPropertyNames.PowerProfile), report.Text(HostPropertyNames.MachineIdSource), report.Text(HostPropertyNames.Virtual)));
        Assert.Equal(["cpu", "hexagon:0", "adreno:0"], report.Devices.Select(d => d.Id));
        Assert.Equal("30.0.143.1", report.Devices[1].Properties[HostPropertyNames.Driver].Text);
        Assert.Equal("31.0.96.0", report.Devices[2].Properties[HostPropertyNames.Driver].Text);
        Assert.StartsWith("Hexagon v73 (Snapdragon X Elite X1E80100); driver 30.0.143.1;", report.Devices[1].Fingerprint, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_core_ultra_laptop_with_gpu_and_npu()
    {
        using var host = new RecordedHost { Os = "windows" }
            .Tool($"reg query {WindowsHost.ProcessorKey}", "HKEY_LOCAL_MACHINE\\HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0\n    ProcessorNameString    REG_SZ    Intel(R) Core(TM) Ultra 7 258V\n    VendorIdentifier    REG_SZ    GenuineIntel\n")
            .Tool($"reg query {WindowsHost.GpuClassKey}", $"{Gpus}\\0000\n    DriverDesc    REG_SZ    Intel(R) Arc(TM) 140V GPU (16GB)\n    DriverVersion    REG_SZ    32.0.101.6647\n    MatchingDeviceId    REG_SZ    PCI\\VEN_8086&DEV_64A0&SUBSYS_233017AA\n    HardwareInformation.qwMemorySize    REG_QWORD    0x8000000\n\n"
                + $"{Gpus}\\0001\n    DriverDesc    REG_SZ    AMD Radeon RX 7900 XTX\n    MatchingDeviceId    REG_SZ    PCI\\VEN_1002&DEV_744C\n    HardwareInformation.qwMemorySize    REG_QWORD    0x5ff000000\n\n"
                + $"{Gpus}\\0002\n    DriverDesc    REG_SZ    NVIDIA GeForce RTX 4060\n    MatchingDeviceId    REG_SZ    pci\\ven_10de&dev_2882\n\n{Gpus}\\0003\n    DriverDesc    REG_SZ    Microsoft Basic Display Adapter\n    MatchingDeviceId    REG_SZ    ROOT\\BasicDisplay\n\n{Gpus}\\Configuration\n")
            .Tool($"reg query {WindowsHost.NpuClassKey}", $"{Npus}\\0000\n    DriverDesc    REG_SZ    Intel(R) AI Boost\n    DriverVersion    REG_SZ    32.0.100.4023\n    MatchingDeviceId    REG_SZ    PCI\\VEN_8086&DEV_643E\n")
            .Tool("powershell", "NumberOfCores : 8\nNumberOfLogicalProcessors : 8\nNumberOfCores : 8\nNumberOfLogicalProcessors : 8\nTotalVisibleMemorySize : 33000000\n");
        var report = await host.ProbeAsync();

        Assert.Equal(["cpu", "intel-gpu:0", "amd-gpu:0", "intel-npu:0"], report.Devices.Select(d => d.Id));
        Assert.Equal(("true", 33000000L * 1024), (report.Devices[1].Properties[HostPropertyNames.GpuIntegrated].Text, report.Devices[1].MemoryBytes));
        Assert.Equal(("false", 0x5ff000000L), (report.Devices[2].Properties[HostPropertyNames.GpuIntegrated].Text, report.Devices[2].MemoryBytes));
        Assert.Equal(("4000", "Intel(R) AI Boost"), (report.Devices[3].Properties[HostPropertyNames.NpuArch].Text, report.Devices[3].Properties[HostPropertyNames.NpuName].Text));
        Assert.Equal(16, report.Number(HostPropertyNames.PhysicalCores));
    }

    [Theory]
    [InlineData("")]
    [InlineData("ERROR: The system was unable to find the specified registry key or value.\r\n")]
    [InlineData("HKEY_LOCAL_MACHINE\\X\n    ProcessorNameString    REG_SZ\n    UBR    REG_DWORD    0xzz\n  REG_SZ  \n    a    b    c\n")]
    public async Task Broken_output_tells_nothing(string output)
    {
        using var host = new RecordedHost { Os = "windows" }.Tool("reg", output).Tool("powershell", output);
        var report = await host.ProbeAsync();
        Assert.Equal((1, 1), (report.AutoThreads, report.Devices.Length));
        Assert.Null(report.Text(HostPropertyNames.CpuModel));
    }

    [Fact]
    public void Values_with_spaces_and_translated_default_names_are_read()
    {
        var registry = RegistryText.Parse("\r\nHKEY_LOCAL_MACHINE\\A B\r\n    (Standard)    REG_SZ    (Wert nicht gesetzt)\r\n    Name    REG_SZ    a    b\r\n\r\nHKEY_LOCAL_MACHINE\\C\r\n    N    REG_DWORD    0x10\r\n");
        Assert.Equal(("a    b", 16UL), (registry.Text("name"), registry.Number("N")));
        Assert.Equal([@"HKEY_LOCAL_MACHINE\A B", @"HKEY_LOCAL_MACHINE\C"], registry.Keys.Select(k => k.Key));
    }
}
