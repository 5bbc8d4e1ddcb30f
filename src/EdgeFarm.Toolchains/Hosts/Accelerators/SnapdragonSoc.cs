using System.Text.RegularExpressions;

namespace EdgeFarm.Toolchains.Hosts.Accelerators;

/// <summary>A Qualcomm system on chip whose Hexagon tensor processor QNN can use.</summary>
/// <param name="Name">EdgeFarm's name: <c>snapdragon-x-elite</c>.</param>
/// <param name="Title">The maker's name.</param>
/// <param name="QnnModel">Number for QNN's option <c>soc_model</c>; null where it is not known for sure.</param>
/// <param name="HtpArch">Version of the tensor processor.</param>
internal sealed partial record SnapdragonSoc(string Name, string Title, int? QnnModel, int HtpArch)
{
    // Numbers and architectures as compiled and observed with QAIRT 2.51; kept to chips whose numbers were checked.
    private static readonly Dictionary<string, SnapdragonSoc> Parts = new(StringComparer.OrdinalIgnoreCase)
    {
        ["sm8350"] = new("snapdragon-888", "Snapdragon 888", 30, 68),
        ["sc8280xp"] = new("snapdragon-8cx-gen3", "Snapdragon 8cx Gen 3", 37, 68),
        ["sm8450"] = new("snapdragon-8-gen1", "Snapdragon 8 Gen 1", 36, 69),
        ["sm8550"] = new("snapdragon-8-gen2", "Snapdragon 8 Gen 2", 43, 73),
        ["qcs8550"] = new("qcs8550", "QCS8550", 66, 73),
        ["sm8650"] = new("snapdragon-8-gen3", "Snapdragon 8 Gen 3", 57, 75),
        ["sm8750"] = new("snapdragon-8-elite", "Snapdragon 8 Elite", 69, 79),
        ["sm8850"] = new("snapdragon-8-elite-gen5", "Snapdragon 8 Elite Gen 5", 87, 81),
    };

    /// <summary>The part as its maker names it, e.g. <c>X1E80100</c>; empty when it is not told.</summary>
    public string Part { get; init; } = "";

    /// <summary>From the names that a system gives: a device tree's, a processor's, a part's. Null when none of them is a known chip.</summary>
    public static SnapdragonSoc? FromNames(IEnumerable<string?> names)
    {
        foreach (var name in names)
        {
            foreach (Match match in PartName().Matches(name ?? ""))
            {
                var part = match.Value.Replace("-", "", StringComparison.Ordinal).ToUpperInvariant();
                if (Parts.TryGetValue(part, out var known))
                {
                    return known with { Part = part };
                }

                // X1E and X1P-6 are bins of one chip; X1P-4 and X1 are a smaller one, whose number in QNN nobody has checked.
                var family = part switch
                {
                    ['X', '1', 'E', ..] => new SnapdragonSoc("snapdragon-x-elite", "Snapdragon X Elite", 60, 73),
                    ['X', '1', 'P', '6', ..] => new SnapdragonSoc("snapdragon-x-plus", "Snapdragon X Plus", 60, 73),
                    ['X', '1', 'P', ..] => new SnapdragonSoc("snapdragon-x-plus", "Snapdragon X Plus", null, 73),
                    ['X', '1', ..] => new SnapdragonSoc("snapdragon-x", "Snapdragon X", null, 73),
                    ['X', '2', 'E', ..] => new SnapdragonSoc("snapdragon-x2-elite", "Snapdragon X2 Elite", 88, 81),
                    _ => null,
                };
                if (family is not null)
                {
                    return family with { Part = part };
                }
            }
        }

        return null;
    }

    /// <summary>From the device tree, else from the kernel's description of the chip.</summary>
    public static SnapdragonSoc? FromLinux(HostSource source)
    {
        var tree = (source.Read("/proc/device-tree/compatible") ?? "").Split('\0').Where(c => c.StartsWith("qcom,", StringComparison.Ordinal));
        return FromNames([.. tree, source.Read("/sys/devices/soc0/machine"), source.Read("/sys/devices/soc0/soc_id")]);
    }

    public void Describe(PropertyBag bag) => bag
        .Set(HostPropertyNames.Soc, Name)
        .Set(HostPropertyNames.SocPart, Part)
        .Set(HostPropertyNames.QnnSocModel, QnnModel)
        .Set(HostPropertyNames.QnnHtpArch, HtpArch);

    /// <summary>The chip's tensor processor and GPU.</summary>
    /// <param name="npuDriver">Driver of the tensor processor with its version, or null.</param>
    /// <param name="gpuDriver">Driver of the GPU with its version, or null.</param>
    public IReadOnlyList<DetectedDevice> Devices(string? npuDriver, string? gpuDriver)
    {
        var npu = new PropertyBag().Set(HostPropertyNames.NpuVendor, "qualcomm").Set(HostPropertyNames.NpuName, $"Hexagon v{HtpArch}");
        Describe(npu);
        var gpu = new PropertyBag().Set(HostPropertyNames.GpuVendor, "qualcomm").Set(HostPropertyNames.GpuName, "Adreno").Set(HostPropertyNames.GpuIntegrated, true);
        Describe(gpu);
        return
        [
            new DetectedDevice("hexagon", "npu", $"Hexagon v{HtpArch} ({Title} {Part})", null, npuDriver, npu),
            new DetectedDevice("adreno", "gpu", $"Adreno ({Title} {Part})", null, gpuDriver, gpu),
        ];
    }

    [GeneratedRegex(@"\b(?:x[12][a-z]?-?\d{2}-?\d{3}|(?:sm|sc|qcs)\d{4}[a-z]*)\b", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex PartName();
}
