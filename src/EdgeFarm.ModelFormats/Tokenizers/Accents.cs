using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>
/// Canonical decomposition (Unicode's NFD) without nonspacing marks. The platform's own normalization does nothing under invariant
/// globalization, so the table is part of the assembly.
/// </summary>
internal static class Accents
{
    // Hangul syllables are decomposed by arithmetic (The Unicode Standard, 3.12).
    private const int FirstSyllable = 0xAC00, Syllables = 11172, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7, Vowels = 21, Tails = 28;

    private static readonly Lazy<FrozenDictionary<int, string>> Table = new(Read);

    /// <summary>The text decomposed, without its nonspacing marks.</summary>
    public static string Strip(string text)
    {
        if (Ascii.IsValid(text))
        {
            return text;
        }

        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            var syllable = rune.Value - FirstSyllable;
            if (Table.Value.TryGetValue(rune.Value, out var bare))
            {
                result.Append(bare);
            }
            else if (syllable is >= 0 and < Syllables)
            {
                result.Append((char)(LeadBase + (syllable / (Vowels * Tails)))).Append((char)(VowelBase + (syllable % (Vowels * Tails) / Tails)));
                if (syllable % Tails is > 0 and var tail)
                {
                    result.Append((char)(TailBase + tail));
                }
            }
            else if (Rune.GetUnicodeCategory(rune) != UnicodeCategory.NonSpacingMark)
            {
                result.Append(rune.ToString());
            }
        }

        return result.ToString();
    }

    private static FrozenDictionary<int, string> Read()
    {
        using var reader = new StreamReader(typeof(Accents).Assembly.GetManifestResourceStream("accent-free.txt")!);
        var table = new Dictionary<int, string>();
        while (reader.ReadLine() is { } line)
        {
            if (line.StartsWith('#'))
            {
                continue;
            }

            var codes = line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(c => int.Parse(c, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToList();
            table[codes[0]] = string.Concat(codes.Skip(1).Select(char.ConvertFromUtf32));
        }

        return table.ToFrozenDictionary();
    }
}
