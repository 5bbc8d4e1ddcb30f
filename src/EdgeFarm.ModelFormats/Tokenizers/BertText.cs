using System.Globalization;
using System.Text;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>
/// Cleans and splits text as BERT's tokenizers do (the normalizer <c>BertNormalizer</c> and the pre-tokenizer <c>BertPreTokenizer</c> of
/// tokenizer.json): control characters go, words end at white space, every punctuation mark and CJK ideograph is a word.
/// </summary>
/// <param name="CleansText">Control characters are dropped, all white space is a space.</param>
/// <param name="SplitsIdeographs">CJK ideographs are words of their own.</param>
/// <param name="StripsAccents">Text is decomposed and loses its combining marks.</param>
/// <param name="Lowercases">Text is lower-cased.</param>
internal sealed record BertText(bool CleansText, bool SplitsIdeographs, bool StripsAccents, bool Lowercases)
{
    /// <summary>The words of a text, in order.</summary>
    public List<string> Words(string text)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        foreach (var rune in Normalize(text).EnumerateRunes())
        {
            if (Rune.IsWhiteSpace(rune))
            {
                End();
            }
            else if (IsPunctuation(rune))
            {
                End();
                words.Add(rune.ToString());
            }
            else
            {
                word.Append(rune.ToString());
            }
        }

        End();
        return words;

        void End()
        {
            if (word.Length > 0)
            {
                words.Add(word.ToString());
                word.Clear();
            }
        }
    }

    private string Normalize(string text)
    {
        var cleaned = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            if (CleansText && IsDropped(rune))
            {
                continue;
            }

            var isSpace = CleansText && Rune.IsWhiteSpace(rune);
            var isWord = SplitsIdeographs && IsIdeograph(rune.Value);
            cleaned.Append(isSpace ? " " : isWord ? $" {rune} " : rune.ToString());
        }

        var result = StripsAccents ? Accents.Strip(cleaned.ToString()) : cleaned.ToString();
        return Lowercases ? result.ToLowerInvariant() : result;
    }

    private static bool IsDropped(Rune rune) => rune.Value is not ('\t' or '\n' or '\r')
        && (rune.Value == 0xFFFD || Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse
            or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate);

    // ASCII symbols such as $ and ^ count, as in BERT's own code.
    private static bool IsPunctuation(Rune rune) => rune.IsAscii
        ? rune.Value is (>= 33 and <= 47) or (>= 58 and <= 64) or (>= 91 and <= 96) or (>= 123 and <= 126)
        : Rune.GetUnicodeCategory(rune) is UnicodeCategory.ConnectorPunctuation or UnicodeCategory.DashPunctuation or UnicodeCategory.OpenPunctuation
            or UnicodeCategory.ClosePunctuation or UnicodeCategory.InitialQuotePunctuation or UnicodeCategory.FinalQuotePunctuation or UnicodeCategory.OtherPunctuation;

    private static bool IsIdeograph(int code) => code is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B73F)
        or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B820 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);
}
