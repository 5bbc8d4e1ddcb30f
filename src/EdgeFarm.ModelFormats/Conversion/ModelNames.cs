using System.Globalization;
using System.Text.RegularExpressions;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>The parts of a model's name, as GGUF's metadata has them. Null for what the name does not say.</summary>
/// <param name="FullName">The name without its organization.</param>
/// <param name="Organization">What stands before the slash.</param>
/// <param name="BaseName">Name of the model it comes from.</param>
/// <param name="FineTune">What it was tuned for.</param>
/// <param name="Version">Its version.</param>
/// <param name="SizeLabel">Its size class, as 7B.</param>
internal sealed record ModelNameParts(string? FullName, string? Organization, string? BaseName, string? FineTune, string? Version, string? SizeLabel);

/// <summary>Derives names and labels from directory and model names by the rules of llama.cpp's converter.</summary>
internal static partial class ModelNames
{
    [Flags]
    private enum Part
    {
        None = 0,
        BaseName = 1,
        SizeLabel = 2,
        FineTune = 4,
        Version = 8,
        Type = 16,
    }

    /// <summary>Hyphens become spaces, and words in lower case are capitalized unless they are versions or start with a digit.</summary>
    public static string Title(string id) =>
        string.Join(' ', id.Replace('-', ' ').Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)
            .Select(word => IsLower(word) && !VersionOrNumber().IsMatch(word) ? Capitalized(word) : word));

    /// <summary>Takes a name apart.</summary>
    /// <param name="id">A directory's name, or organization/name.</param>
    /// <param name="parameters">Number of weights, which tells sizes from context lengths; 0 when not known.</param>
    public static ModelNameParts Split(string id, long parameters)
    {
        if (id.Contains(' '))
        {
            return new ModelNameParts(id, null, null, null, null, null);
        }

        var slash = id.IndexOf('/');
        var organization = slash > 0 && id[0] != '.' ? id[..slash] : null;
        var name = slash >= 0 ? id[(slash + 1)..] : id;
        var parts = name.Split('-', StringSplitOptions.RemoveEmptyEntries);
        var kinds = new Part[parts.Length];
        for (var i = 0; i < parts.Length; i++)
        {
            (parts[i], kinds[i]) = Classify(parts[i], i, parameters);
        }

        // A size in words means nothing beside one in numbers.
        if (parts.Zip(kinds).Any(p => p.Second == Part.SizeLabel && p.First.Any(char.IsDigit)))
        {
            for (var i = 0; i < parts.Length; i++)
            {
                kinds[i] = kinds[i] == Part.SizeLabel && parts[i].All(char.IsLetter) ? Part.None : kinds[i];
            }
        }

        MarkBaseName(parts, kinds);
        var baseName = Join(parts, kinds, Part.BaseName);
        var sizeLabel = Join([.. parts.Where((_, i) => kinds[i].HasFlag(Part.SizeLabel)).Distinct()], null, Part.SizeLabel);
        var fineTune = Join(parts, kinds, Part.FineTune);
        var version = Join([.. parts.Where((_, i) => kinds[i].HasFlag(Part.Version) && !kinds[i].HasFlag(Part.BaseName))], null, Part.Version);
        var isAmbiguous = sizeLabel is null && fineTune is null && version is null;
        return new ModelNameParts(name, organization, isAmbiguous ? null : baseName, fineTune, version, sizeLabel);
    }

    /// <summary>A number of weights in two digits or more: 135M, 1.1B.</summary>
    public static string SizeLabel(long parameters)
    {
        var (scaled, suffix) = parameters switch
        {
            > 1_000_000_000_000 => (parameters * 1e-12, "T"),
            > 1_000_000_000 => (parameters * 1e-9, "B"),
            > 1_000_000 => (parameters * 1e-6, "M"),
            _ => (parameters * 1e-3, "K"),
        };
        var whole = Math.Round(scaled).ToString(CultureInfo.InvariantCulture).TrimStart('0').Length;
        return Fixed(scaled, Math.Max(2 - whole, 0)) + suffix;
    }

    private static (string Text, Part Kind) Classify(string part, int index, long parameters)
    {
        if (Version().IsMatch(part))
        {
            return (part, Part.Version);
        }

        if (QuantizedType().IsMatch(part))
        {
            return (part.ToUpperInvariant(), Part.Type);
        }

        if (index > 0 && Size().IsMatch(part))
        {
            return ClassifySize(part, parameters);
        }

        return (part, index > 0 && FineTune().IsMatch(part) ? Part.FineTune : Part.None);
    }

    private static (string Text, Part Kind) ClassifySize(string part, long parameters)
    {
        part = part.Replace('_', '.');
        if (char.IsDigit(part[^1]))
        {
            // 7b1 is Bloom's way to write 7.1B.
            part = $"{part[..^2]}.{part[^1]}{part[^2]}";
        }

        if (part.Length > 1 && char.IsDigit(part[^2]) && "kmbt".Contains(part[^1]))
        {
            part = part[..^1] + char.ToUpperInvariant(part[^1]);
        }

        if (parameters > 0 && double.TryParse(part[..^1], NumberStyles.Float, CultureInfo.InvariantCulture, out var number))
        {
            var claimed = number * Math.Pow(1000, " KMBT".IndexOf(part[^1]));
            if (Math.Abs(claimed - parameters) > (double)(7 * (Int128)parameters / 8))
            {
                // Too far from the real size: a context length.
                return (part[..^1] + char.ToLowerInvariant(part[^1]), Part.FineTune);
            }
        }

        return (part, Part.SizeLabel);
    }

    private static void MarkBaseName(string[] parts, Part[] kinds)
    {
        var isAtStart = true;
        for (var i = 0; i < parts.Length; i++)
        {
            if (isAtStart && ((kinds[i] == Part.None && char.IsLetter(parts[i][0])) || kinds[i].HasFlag(Part.Version)))
            {
                kinds[i] |= Part.BaseName;
            }
            else
            {
                isAtStart = false;
                kinds[i] = kinds[i] == Part.None ? Part.FineTune : kinds[i];
            }
        }

        // A version at the very end of the name is the model's, not its base's.
        for (var i = parts.Length - 1; i >= 0 && kinds[i].HasFlag(Part.BaseName) && kinds[i] != Part.BaseName; i--)
        {
            kinds[i] &= ~Part.BaseName;
        }
    }

    private static string? Join(string[] parts, Part[]? kinds, Part kind)
    {
        var joined = string.Join('-', parts.Where((_, i) => kinds is null || kinds[i].HasFlag(kind)));
        return joined.Length == 0 ? null : joined;
    }

    private static bool IsLower(string word) => word.Any(char.IsLower) && !word.Any(char.IsUpper);

    // Every letter that follows something other than a letter is capitalized: phi4mini becomes Phi4Mini.
    private static string Capitalized(string word) =>
        string.Concat(word.Select((c, i) => i == 0 || !char.IsLetter(word[i - 1]) ? char.ToUpperInvariant(c) : c));

    // Rounds the exact binary value half to even; formatting with a precision would round decimal halves up.
    private static string Fixed(double value, int digits)
    {
        var exact = value.ToString("F60", CultureInfo.InvariantCulture);
        var dot = exact.IndexOf('.');
        var cut = dot + 1 + digits;
        var kept = decimal.Parse(exact[..cut], CultureInfo.InvariantCulture);
        var rest = exact[cut..];
        var half = "5" + new string('0', rest.Length - 1);
        var order = string.CompareOrdinal(rest, half);
        var unit = digits == 0 ? 1m : 0.1m / (digits == 1 ? 1 : 10);
        var isOdd = (exact[..cut].TrimEnd('.')[^1] - '0') % 2 == 1;
        return (order > 0 || (order == 0 && isOdd) ? kept + unit : kept).ToString("F" + digits, CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"^(v\d+(?:\.\d+)*|\d.*)$", RegexOptions.CultureInvariant)]
    private static partial Regex VersionOrNumber();

    [GeneratedRegex(@"^(v|iter)?\d+([.]\d+)*$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Version();

    [GeneratedRegex(@"^(i?q\d(_\w)*|b?fp?(16|32))$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex QuantizedType();

    [GeneratedRegex(@"^((A|\d+x)?\d+([._]\d+)?[KMBT]\d?|small|mini|medium|large|x?xl)$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Size();

    [GeneratedRegex(@"^(chat|instruct|vision|lora)$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex FineTune();
}
