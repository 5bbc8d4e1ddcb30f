using System.Globalization;

namespace EdgeFarm.Toolchains.Hosts.Windows;

/// <summary>
/// What <c>reg query</c> prints: a line with a key's path, then its values, indented, as <c>NAME    TYPE    DATA</c>. The heading of the
/// default value is translated on other systems than English ones; names and types are not.
/// </summary>
internal sealed class RegistryText
{
    private readonly List<(string Key, Dictionary<string, string> Values)> _keys = [];

    private RegistryText()
    {
    }

    /// <summary>The keys in the order printed, each with its values.</summary>
    public IReadOnlyList<(string Key, Dictionary<string, string> Values)> Keys => _keys;

    public static RegistryText Parse(string text)
    {
        var registry = new RegistryText();
        foreach (var line in text.Split('\n').Select(l => l.TrimEnd('\r')))
        {
            if (line.StartsWith("HKEY_", StringComparison.Ordinal))
            {
                registry._keys.Add((line.TrimEnd(), new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase)));
            }
            else if (registry._keys.Count > 0 && line.Trim().Split("    ", 3) is [var name, var type, var data] && type.StartsWith("REG_", StringComparison.Ordinal))
            {
                registry._keys[^1].Values[name.Trim()] = data.Trim();
            }
        }

        return registry;
    }

    /// <summary>The first value of a name in any key, or null.</summary>
    public string? Text(string name) => _keys.Select(k => k.Values.GetValueOrDefault(name)).FirstOrDefault(v => v is not null);

    /// <summary>A number (printed as hexadecimal), or null.</summary>
    public ulong? Number(string name) => ParseNumber(Text(name));

    public static ulong? ParseNumber(string? text) =>
        text is not null && text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
        && ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value) ? value : null;
}
