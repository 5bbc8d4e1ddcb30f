namespace EdgeFarm.Toolchains.Hosts;

/// <summary>
/// Names of the properties that detection gives to hosts and devices. Bytes are plain bytes, sets hold lower-case names; a property
/// that could not be found out is absent, never guessed.
/// </summary>
public static class HostPropertyNames
{
    /// <summary><c>linux</c>, <c>macos</c> or <c>windows</c>.</summary>
    public const string Os = "os";

    /// <summary>Name and version of the operating system, e.g. <c>Debian GNU/Linux 12 (bookworm)</c>.</summary>
    public const string OsVersion = "os_version";

    /// <summary>Release of the kernel, or build of the operating system.</summary>
    public const string Kernel = "kernel";

    /// <summary><c>x64</c> or <c>arm64</c>.</summary>
    public const string Arch = "arch";

    /// <summary>Stable id of the machine: 32 hexadecimal characters that do not reveal the system's own id.</summary>
    public const string MachineId = "machine.id";

    /// <summary>Where the machine id comes from: <c>configured</c>, <c>machine-id</c>, <c>product-uuid</c>, <c>platform-uuid</c>, <c>machine-guid</c>, <c>serial-number</c>, <c>boot-id</c>, <c>stored</c>.</summary>
    public const string MachineIdSource = "machine.id_source";

    /// <summary><c>true</c> on a virtual machine, else <c>false</c>.</summary>
    public const string Virtual = "virtual";

    /// <summary><c>docker</c>, <c>kubernetes</c>, <c>podman</c>, <c>lxc</c>, another name that the system gives, or <c>none</c>.</summary>
    public const string Container = "container";

    /// <summary>Processor name; on Arm under Linux the names of the core types.</summary>
    public const string CpuModel = "cpu.model";

    /// <summary><c>intel</c>, <c>amd</c>, <c>arm</c>, <c>apple</c>, <c>qualcomm</c>, <c>ampere</c>, <c>nvidia</c> or the system's own name.</summary>
    public const string CpuVendor = "cpu.vendor";

    /// <summary>Set of instruction sets that every core has; see <see cref="CpuFeatures"/>.</summary>
    public const string CpuFeatureSet = "cpu.features";

    /// <summary>Physical cores of the machine.</summary>
    public const string PhysicalCores = "cpu.cores.physical";

    /// <summary>Logical processors of the machine.</summary>
    public const string LogicalCores = "cpu.cores.logical";

    /// <summary>Physical performance cores, where the system tells kinds of cores apart.</summary>
    public const string PerformanceCores = "cpu.cores.performance";

    /// <summary>Processors' worth of time that the cgroup grants, e.g. 1.5; absent without a limit.</summary>
    public const string CpuQuota = "cpu.quota";

    /// <summary>Logical processors that this process may run on, as a list of ranges: <c>0-3,8</c>.</summary>
    public const string CpuAffinity = "cpu.affinity";

    /// <summary>What <c>threads: auto</c> means here: physical cores that this process may use, capped by the quota rounded down, at least 1.</summary>
    public const string AutoThreads = "threads.auto";

    /// <summary>Memory of the machine in bytes.</summary>
    public const string MemoryTotal = "memory.total";

    /// <summary>Memory in bytes that this process's cgroup allows; the machine's memory without a limit.</summary>
    public const string MemoryLimit = "memory.limit";

    /// <summary>Memory in bytes that was available without swapping at the time.</summary>
    public const string MemoryAvailable = "memory.available";

    /// <summary>Power profile of the platform: <c>performance</c>, <c>balanced</c>, <c>low-power</c>, or the system's own name.</summary>
    public const string PowerProfile = "power.profile";

    /// <summary><c>mains</c> or <c>battery</c>.</summary>
    public const string PowerSource = "power.source";

    /// <summary>System on chip, e.g. <c>apple-m3-pro</c>, <c>snapdragon-x-elite</c>.</summary>
    public const string Soc = "soc";

    /// <summary>Part of the system on chip as its maker names it, e.g. <c>X1E80100</c>.</summary>
    public const string SocPart = "soc.part";

    /// <summary>Number of the system on chip in Qualcomm's QNN (its option <c>soc_model</c>).</summary>
    public const string QnnSocModel = "qnn.soc_model";

    /// <summary>Version of the Hexagon tensor processor as a number, e.g. 73.</summary>
    public const string QnnHtpArch = "qnn.htp_arch";

    /// <summary>Of a GPU: <c>nvidia</c>, <c>intel</c>, <c>amd</c>, <c>apple</c>, <c>qualcomm</c>.</summary>
    public const string GpuVendor = "gpu.vendor";

    /// <summary>Name of a GPU.</summary>
    public const string GpuName = "gpu.name";

    /// <summary><c>true</c> when a GPU shares the machine's memory.</summary>
    public const string GpuIntegrated = "gpu.integrated";

    /// <summary>CUDA compute capability, e.g. 8.9.</summary>
    public const string GpuComputeCapability = "gpu.compute_capability";

    /// <summary>Power limit of a GPU in watts.</summary>
    public const string GpuPowerLimit = "gpu.power_limit";

    /// <summary>UUID of a GPU, as its driver gives it.</summary>
    public const string GpuUuid = "gpu.uuid";

    /// <summary>Cores of a GPU, as its maker counts them.</summary>
    public const string GpuCores = "gpu.cores";

    /// <summary>Metal family of an Apple GPU, e.g. <c>metal3</c>.</summary>
    public const string GpuMetal = "gpu.metal";

    /// <summary>Of an NPU: <c>intel</c>, <c>amd</c>, <c>qualcomm</c>.</summary>
    public const string NpuVendor = "npu.vendor";

    /// <summary>Name of an NPU.</summary>
    public const string NpuName = "npu.name";

    /// <summary>Architecture of an Intel NPU as OpenVINO names it, e.g. <c>3720</c>.</summary>
    public const string NpuArch = "npu.arch";

    /// <summary>Driver of a device with its version where that is known.</summary>
    public const string Driver = "driver";

    /// <summary>PCI address of a device, e.g. <c>0000:00:02.0</c>.</summary>
    public const string PciAddress = "pci.address";

    /// <summary>PCI vendor and device id of a device, e.g. <c>8086:7d55</c>.</summary>
    public const string PciId = "pci.id";

    /// <summary>Scaling governor of the processor (Linux).</summary>
    public const string Governor = "cpu.governor";

    /// <summary>Mean current frequency of the processors in hertz.</summary>
    public const string Frequency = "cpu.frequency";

    /// <summary>Load average over one minute: runnable tasks.</summary>
    public const string Load = "load";

    /// <summary>Hottest processor or package sensor in degrees Celsius.</summary>
    public const string Temperature = "temperature";

    /// <summary>When a snapshot was taken, ISO 8601 in UTC.</summary>
    public const string Time = "time";
}
