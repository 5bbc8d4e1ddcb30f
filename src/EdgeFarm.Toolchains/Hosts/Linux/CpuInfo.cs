using System.Globalization;

namespace EdgeFarm.Toolchains.Hosts.Linux;

/// <summary>What /proc/cpuinfo tells.</summary>
/// <param name="Model">Processor name, or null.</param>
/// <param name="Vendor">Vendor in EdgeFarm's words, or null.</param>
/// <param name="Features">Instruction sets that every processor has.</param>
/// <param name="Cores">Processor number to the physical core that it belongs to.</param>
/// <param name="IsVirtual">Whether the processor says that it runs under a hypervisor (x86 only).</param>
internal sealed record CpuInfo(
    string? Model, string? Vendor, IReadOnlyCollection<string> Features, IReadOnlyDictionary<int, (int Package, int Core)> Cores, bool IsVirtual)
{
    private static readonly Dictionary<(int Implementer, int Part), string> ArmParts = new()
    {
        [(0x41, 0xd03)] = "Cortex-A53",
        [(0x41, 0xd05)] = "Cortex-A55",
        [(0x41, 0xd07)] = "Cortex-A57",
        [(0x41, 0xd08)] = "Cortex-A72",
        [(0x41, 0xd09)] = "Cortex-A73",
        [(0x41, 0xd0a)] = "Cortex-A75",
        [(0x41, 0xd0b)] = "Cortex-A76",
        [(0x41, 0xd0c)] = "Neoverse-N1",
        [(0x41, 0xd0d)] = "Cortex-A77",
        [(0x41, 0xd40)] = "Neoverse-V1",
        [(0x41, 0xd41)] = "Cortex-A78",
        [(0x41, 0xd42)] = "Cortex-A78AE",
        [(0x41, 0xd44)] = "Cortex-X1",
        [(0x41, 0xd46)] = "Cortex-A510",
        [(0x41, 0xd47)] = "Cortex-A710",
        [(0x41, 0xd48)] = "Cortex-X2",
        [(0x41, 0xd49)] = "Neoverse-N2",
        [(0x41, 0xd4b)] = "Cortex-A78C",
        [(0x41, 0xd4c)] = "Cortex-X1C",
        [(0x41, 0xd4d)] = "Cortex-A715",
        [(0x41, 0xd4e)] = "Cortex-X3",
        [(0x41, 0xd4f)] = "Neoverse-V2",
        [(0x41, 0xd80)] = "Cortex-A520",
        [(0x41, 0xd81)] = "Cortex-A720",
        [(0x41, 0xd82)] = "Cortex-X4",
        [(0x41, 0xd83)] = "Neoverse-V3AE",
        [(0x41, 0xd84)] = "Neoverse-V3",
        [(0x41, 0xd85)] = "Cortex-X925",
        [(0x41, 0xd87)] = "Cortex-A725",
        [(0x41, 0xd8e)] = "Neoverse-N3",
        [(0x51, 0x001)] = "Oryon",
        [(0x51, 0x002)] = "Oryon",
        [(0xc0, 0xac3)] = "Ampere-1",
        [(0xc0, 0xac4)] = "Ampere-1a",
    };

    /// <summary>Reads the text; what it does not tell stays empty.</summary>
    public static CpuInfo Parse(string text)
    {
        var cores = new Dictionary<int, (int, int)>();
        var armCores = new List<string>();
        SortedSet<string>? features = null;
        string? model = null, vendor = null;
        var isVirtual = false;
        foreach (var block in Blocks(text))
        {
            model ??= block.GetValueOrDefault("model name");
            vendor ??= VendorOf(block);
            var words = (block.GetValueOrDefault("flags") ?? block.GetValueOrDefault("Features") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
            isVirtual |= words.Contains("hypervisor");
            if (Number(block, "processor") is not { } processor)
            {
                continue;
            }

            cores[processor] = Number(block, "core id") is { } core ? (Number(block, "physical id") ?? 0, core) : (-1, processor);
            if (words.Length > 0)
            {
                var own = CpuFeatures.FromLinux(words);
                features ??= own;
                features.IntersectWith(own);
            }

            if (Hex(block, "CPU implementer") is { } implementer && Hex(block, "CPU part") is { } part)
            {
                armCores.Add(ArmParts.GetValueOrDefault((implementer, part)) ?? $"0x{implementer:x2}:0x{part:x3}");
            }
        }

        var arm = armCores.GroupBy(c => c).OrderByDescending(g => g.Count()).ThenBy(g => g.Key, StringComparer.Ordinal).Select(g => g.Key);
        return new CpuInfo(model ?? (armCores.Count > 0 ? string.Join(" + ", arm) : null), vendor, features ?? [], cores, isVirtual);
    }

    private static IEnumerable<Dictionary<string, string>> Blocks(string text)
    {
        var block = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in text.Split('\n'))
        {
            if (line.IndexOf(':', StringComparison.Ordinal) is var colon and > 0)
            {
                var key = line[..colon].Trim();
                if (key == "processor" && block.ContainsKey(key))
                {
                    yield return block;
                    block = new Dictionary<string, string>(StringComparer.Ordinal);
                }

                block[key] = line[(colon + 1)..].Trim();
            }
        }

        yield return block;
    }

    private static string? VendorOf(Dictionary<string, string> block) => block.GetValueOrDefault("vendor_id") switch
    {
        "GenuineIntel" => "intel",
        "AuthenticAMD" => "amd",
        { } other => other,
        null => Hex(block, "CPU implementer") switch
        {
            0x41 => "arm",
            0x46 => "fujitsu",
            0x48 => "hisilicon",
            0x4e => "nvidia",
            0x51 => "qualcomm",
            0x61 => "apple",
            0xc0 => "ampere",
            { } other => $"0x{other:x2}",
            null => null,
        },
    };

    private static int? Number(Dictionary<string, string> block, string key) =>
        int.TryParse(block.GetValueOrDefault(key), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;

    private static int? Hex(Dictionary<string, string> block, string key) =>
        block.GetValueOrDefault(key) is { } text && text.StartsWith("0x", StringComparison.Ordinal)
        && int.TryParse(text[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value) ? value : null;
}
