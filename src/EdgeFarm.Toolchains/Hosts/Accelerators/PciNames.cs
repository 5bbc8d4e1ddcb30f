using System.Collections.Frozen;

namespace EdgeFarm.Toolchains.Hosts.Accelerators;

/// <summary>Names of PCI devices that matter here. An unknown device is still found, and named by its number.</summary>
internal static class PciNames
{
    public const int Intel = 0x8086;
    public const int Amd = 0x1002;
    public const int AmdProcessor = 0x1022;
    public const int Nvidia = 0x10de;

    private static readonly FrozenDictionary<int, string> IntelGpus = new (string Name, int[] Ids)[]
    {
        ("Intel Iris Xe Graphics (Tiger Lake)", [0x9a40, 0x9a49, 0x9a78]),
        ("Intel UHD Graphics (Alder Lake-S)", [0x4680, 0x4682, 0x4690, 0x4692]),
        ("Intel Iris Xe Graphics (Alder Lake-P)", [0x46a6, 0x46a8, 0x46aa, 0x46b3]),
        ("Intel UHD Graphics (Raptor Lake-S)", [0xa780, 0xa781, 0xa782, 0xa788, 0xa789, 0xa78a, 0xa78b]),
        ("Intel Iris Xe Graphics (Raptor Lake-P)", [0xa7a0, 0xa7a1, 0xa720, 0xa721]),
        ("Intel Arc A770", [0x56a0]),
        ("Intel Arc A750", [0x56a1]),
        ("Intel Arc A380", [0x56a5]),
        ("Intel Arc A310", [0x56a6]),
        ("Intel Arc A770M", [0x5690]),
        ("Intel Arc A730M", [0x5691]),
        ("Intel Arc A370M", [0x5693]),
        ("Intel Arc A350M", [0x5694]),
        ("Intel Data Center GPU Flex 170", [0x56c0]),
        ("Intel Data Center GPU Flex 140", [0x56c1]),
        ("Intel Arc B580", [0xe20b]),
        ("Intel Arc B570", [0xe20c]),
        ("Intel Graphics (Meteor Lake)", [0x7d40, 0x7d45, 0x7d55, 0x7dd5]),
        ("Intel Graphics (Arrow Lake)", [0x7d41, 0x7d51, 0x7d67, 0x7dd1]),
        ("Intel Arc Graphics (Lunar Lake)", [0x6420, 0x64a0, 0x64b0]),
        ("Intel Graphics (Panther Lake)", [0xb080, 0xb081, 0xb082, 0xb083, 0xb08f, 0xb090, 0xb0a0, 0xb0b0]),
    }.SelectMany(g => g.Ids.Select(id => (id, g.Name))).ToFrozenDictionary(g => g.id, g => g.Name);

    private static readonly FrozenDictionary<int, (string Name, string Arch)> IntelNpus = new Dictionary<int, (string, string)>
    {
        [0x7d1d] = ("Intel NPU (Meteor Lake)", "3720"),
        [0xad1d] = ("Intel NPU (Arrow Lake)", "3720"),
        [0x643e] = ("Intel NPU (Lunar Lake)", "4000"),
        [0xb03e] = ("Intel NPU (Panther Lake)", "5010"),
    }.ToFrozenDictionary();

    public static string Gpu(int vendor, int device) => vendor == Intel && IntelGpus.TryGetValue(device, out var name) ? name : $"{VendorName(vendor)} GPU {device:x4}";

    /// <summary>Name and architecture of an NPU; the architecture is null when it is not known.</summary>
    public static (string Name, string? Arch) Npu(int vendor, int device) =>
        vendor == Intel && IntelNpus.TryGetValue(device, out var npu) ? npu : ($"{VendorName(vendor)} NPU {device:x4}", null);

    public static string VendorWord(int vendor) => vendor switch
    {
        Intel => "intel",
        Amd or AmdProcessor => "amd",
        Nvidia => "nvidia",
        0x17cb or 0x5143 => "qualcomm",
        _ => $"{vendor:x4}",
    };

    private static string VendorName(int vendor) => VendorWord(vendor) switch
    {
        "intel" => "Intel",
        "amd" => "AMD",
        "nvidia" => "NVIDIA",
        "qualcomm" => "Qualcomm",
        var word => word,
    };
}
