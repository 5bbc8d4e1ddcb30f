using System.Globalization;
using EdgeFarm.Toolchains.Hosts.Accelerators;

namespace EdgeFarm.Toolchains.Hosts.Linux;

/// <summary>Reads the properties of a Linux machine from /proc, /sys and /etc.</summary>
internal static class LinuxHost
{
    private const string Cpus = "/sys/devices/system/cpu";
    private const string Dmi = "/sys/class/dmi/id";

    private static readonly string[] VirtualProducts =
        ["kvm", "qemu", "vmware", "virtualbox", "virtual machine", "bochs", "xen", "google compute engine", "amazon ec2", "openstack", "droplet", "parallels"];

    /// <summary>Adds what the machine tells to <paramref name="bag"/> and returns the physical cores that this process may use.</summary>
    public static int Describe(HostSource source, PropertyBag bag)
    {
        var cpu = CpuInfo.Parse(source.Read("/proc/cpuinfo") ?? "");
        var cores = Topology(source, cpu);
        var affinity = CpuList.Parse(Field(source.Read("/proc/self/status"), "Cpus_allowed_list"));
        var limits = CgroupLimits.Read(source);
        var memory = source.Read("/proc/meminfo");
        var total = Kibibytes(memory, "MemTotal");
        bag.Set(HostPropertyNames.OsVersion, OsRelease(source.Read("/etc/os-release") ?? source.Read("/usr/lib/os-release")))
            .Set(HostPropertyNames.Kernel, source.Read("/proc/sys/kernel/osrelease"))
            .Set(HostPropertyNames.CpuModel, cpu.Model ?? source.Read("/proc/device-tree/model"))
            .Set(HostPropertyNames.CpuVendor, cpu.Vendor)
            .Set(HostPropertyNames.CpuFeatureSet, cpu.Features)
            .Set(HostPropertyNames.PhysicalCores, Positive(cores.Values.Distinct().Count()))
            .Set(HostPropertyNames.LogicalCores, Positive(cores.Count))
            .Set(HostPropertyNames.CpuQuota, limits.CpuQuota)
            .Set(HostPropertyNames.CpuAffinity, Field(source.Read("/proc/self/status"), "Cpus_allowed_list"))
            .Set(HostPropertyNames.MemoryTotal, total)
            .Set(HostPropertyNames.MemoryLimit, limits.MemoryBytes < total ? limits.MemoryBytes : total)
            .Set(HostPropertyNames.MemoryAvailable, Kibibytes(memory, "MemAvailable"))
            .Set(HostPropertyNames.Container, Container(source))
            .Set(HostPropertyNames.Virtual, cpu.IsVirtual || IsVirtualProduct(source))
            .Set(HostPropertyNames.PowerProfile, source.Read("/sys/firmware/acpi/platform_profile") ?? source.Read($"{Cpus}/cpu0/cpufreq/scaling_governor"))
            .Set(HostPropertyNames.PowerSource, PowerSource(source));
        if (SnapdragonSoc.FromLinux(source) is { } soc)
        {
            soc.Describe(bag);
        }

        return Math.Max(1, cores.Where(c => affinity?.Contains(c.Key) ?? true).Select(c => c.Value).Distinct().Count());
    }

    /// <summary>The machine's own id with its source, or null when it has none that containers of the machine agree on.</summary>
    public static (string Id, string Source)? MachineId(HostSource source)
    {
        // A container's /etc/machine-id comes from its image, or is missing; what the kernel tells is the same in all of them.
        if (Container(source) == "none" && source.Read("/etc/machine-id") is { Length: 32 } id)
        {
            return (id, "machine-id");
        }

        if (source.Read($"{Dmi}/product_uuid") is { Length: 36 } uuid && uuid.Any(c => c is not ('0' or 'f' or 'F' or '-')))
        {
            return (uuid.ToUpperInvariant(), "product-uuid");
        }

        if (source.Read("/proc/device-tree/serial-number") is { Length: > 3 } serial)
        {
            return (serial, "serial-number");
        }

        return source.Read("/proc/sys/kernel/random/boot_id") is { Length: 36 } boot ? (boot, "boot-id") : null;
    }

    /// <summary>A number of KiB in /proc/meminfo, in bytes.</summary>
    public static double? Kibibytes(string? meminfo, string name) =>
        Field(meminfo, name) is { } text && text.Split(' ') is [var number, "kB"]
        && long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value is > 0 and < long.MaxValue / 1024
            ? value * 1024.0
            : null;

    /// <summary>The value of a line <c>name: value</c>.</summary>
    public static string? Field(string? text, string name) =>
        text?.Split('\n').FirstOrDefault(l => l.StartsWith(name + ":", StringComparison.Ordinal))?[(name.Length + 1)..].Trim();

    private static Dictionary<int, (int Package, int Core)> Topology(HostSource source, CpuInfo cpu)
    {
        var cores = new Dictionary<int, (int, int)>();
        foreach (var number in CpuList.Parse(source.Read($"{Cpus}/online")) ?? [.. cpu.Cores.Keys])
        {
            var package = Number(source.Read($"{Cpus}/cpu{number}/topology/physical_package_id"));
            var core = Number(source.Read($"{Cpus}/cpu{number}/topology/core_id"));
            cores[number] = core is { } id ? (package ?? 0, id) : cpu.Cores.TryGetValue(number, out var told) ? told : (-1, number);
        }

        return cores;
    }

    private static string? OsRelease(string? text)
    {
        var line = text?.Split('\n').FirstOrDefault(l => l.StartsWith("PRETTY_NAME=", StringComparison.Ordinal));
        return line?[12..].Trim().Trim('"', '\'');
    }

    private static string Container(HostSource source)
    {
        if (source.Variable("KUBERNETES_SERVICE_HOST") is not null || source.Exists("/var/run/secrets/kubernetes.io/serviceaccount"))
        {
            return "kubernetes";
        }

        if (source.Exists("/.dockerenv"))
        {
            return "docker";
        }

        if (source.Exists("/run/.containerenv"))
        {
            return "podman";
        }

        var named = source.Read("/run/systemd/container") ?? source.Variable("container");
        if (!string.IsNullOrEmpty(named))
        {
            return named;
        }

        var group = source.Read("/proc/1/cgroup") ?? "";
        return group.Contains("kubepods", StringComparison.Ordinal) ? "kubernetes"
            : group.Contains("docker", StringComparison.Ordinal) || group.Contains("containerd", StringComparison.Ordinal) ? "docker"
            : group.Contains("libpod", StringComparison.Ordinal) ? "podman"
            : group.Contains("/lxc", StringComparison.Ordinal) ? "lxc"
            : "none";
    }

    private static bool IsVirtualProduct(HostSource source)
    {
        var product = $"{source.Read($"{Dmi}/sys_vendor")} {source.Read($"{Dmi}/product_name")} {source.Read("/proc/device-tree/compatible")}";

        // Amazon sells whole machines under the same vendor name as its virtual ones.
        return !product.Contains(".metal", StringComparison.OrdinalIgnoreCase)
            && (VirtualProducts.Any(p => product.Contains(p, StringComparison.OrdinalIgnoreCase))
                || product.Contains("dummy-virt", StringComparison.Ordinal)
                || source.Exists("/sys/hypervisor/type"));
    }

    private static string? PowerSource(HostSource source)
    {
        string? found = null;
        foreach (var supply in source.Entries("/sys/class/power_supply"))
        {
            var directory = $"/sys/class/power_supply/{supply}";
            switch (source.Read($"{directory}/type"))
            {
                case "Mains" when source.Read($"{directory}/online") == "1":
                    return "mains";
                case "Battery" when source.Read($"{directory}/scope") != "Device":
                    found = source.Read($"{directory}/status") == "Discharging" ? "battery" : found ?? "mains";
                    break;
                default:
                    break;
            }
        }

        return found;
    }

    private static double? Positive(int number) => number > 0 ? number : null;

    private static int? Number(string? text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;
}
