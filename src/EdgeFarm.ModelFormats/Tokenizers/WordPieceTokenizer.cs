using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>Tokens of one text.</summary>
/// <param name="Ids">Token ids, special tokens included.</param>
/// <param name="TypeIds">Segment of each token.</param>
public sealed record TokenizedText(IReadOnlyList<long> Ids, IReadOnlyList<long> TypeIds);

/// <summary>
/// WordPiece as tokenizer.json describes it for BERT and its kin: each word is taken apart into the longest pieces of the vocabulary from
/// left to right; a word that cannot be is the unknown token (Wu et al. 2016, Devlin et al. 2019). Ids are those of Hugging Face's
/// <c>tokenizers</c>.
/// </summary>
public sealed class WordPieceTokenizer
{
    /// <summary>Tokens of a text where tokenizer.json gives no limit.</summary>
    public const int DefaultMaxLength = 128;

    private const long MaxFile = 1 << 28;
    private const int MaxId = (1 << 24) - 1;

    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _starts;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _continuations;
    private readonly List<(string Text, int Id)> _added;
    private readonly List<(long? Id, long TypeId)> _template;
    private readonly BertText _text;
    private readonly int _unknown;
    private readonly int _longestWord;
    private readonly int _longestPiece;

    private WordPieceTokenizer(JsonNode root)
    {
        var model = root.Require("model");
        if (model.Optional("type")?.Text() is var type && type != "WordPiece")
        {
            throw new FailureException(Failure.Unsupported($"{root.Require("model").Error("is").Failure.Message} a {type ?? "nameless"} tokenizer; text samples need WordPiece"));
        }

        var prefix = model.Optional("continuing_subword_prefix")?.Text() ?? "##";
        var (starts, continuations) = (new Dictionary<string, int>(StringComparer.Ordinal), new Dictionary<string, int>(StringComparer.Ordinal));
        foreach (var (piece, node) in model.Require("vocab").Entries())
        {
            var id = (int)node.Integer(0, MaxId);
            starts[piece] = id;
            if (piece.Length > prefix.Length && piece.StartsWith(prefix, StringComparison.Ordinal))
            {
                continuations[piece[prefix.Length..]] = id;
            }

            _longestPiece = Math.Max(_longestPiece, piece.Length);
        }

        (_starts, _continuations) = (starts.GetAlternateLookup<ReadOnlySpan<char>>(), continuations.GetAlternateLookup<ReadOnlySpan<char>>());
        var unknown = model.Optional("unk_token")?.Text() ?? "[UNK]";
        _unknown = starts.TryGetValue(unknown, out var unknownId) ? unknownId : throw model.Error($"has no token \"{unknown}\" for unknown words");
        _longestWord = (int)(model.Optional("max_input_chars_per_word")?.Integer(1, 1 << 20) ?? 100);
        _added = [.. (root.Optional("added_tokens")?.Items() ?? [])
            .Select(t => (t.Require("content").Text(), (int)t.Require("id").Integer(0, MaxId)))
            .Where(t => t.Item1.Length > 0).OrderByDescending(t => t.Item1.Length)];
        _text = ReadText(root);
        _template = root.Optional("post_processor") is { } processor ? ReadTemplate(processor, starts) : [(null, 0)];
        MaxLength = root.Optional("truncation") is { } truncation ? (int)truncation.Require("max_length").Integer(1, 1 << 20) : DefaultMaxLength;
        PadId = root.Optional("padding")?.Optional("pad_id")?.Integer(0, MaxId) ?? (starts.TryGetValue("[PAD]", out var pad) ? pad : 0);
    }

    /// <summary>Most tokens of a text, special tokens included, as the file says.</summary>
    public int MaxLength { get; }

    /// <summary>Token that fills up a text.</summary>
    public long PadId { get; }

    /// <summary>Reads tokenizer.json; Unsupported where it is no WordPiece tokenizer of BERT's kind.</summary>
    public static Outcome<WordPieceTokenizer> Load(string path)
    {
        try
        {
            return new WordPieceTokenizer(JsonNode.Load(path, MaxFile));
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    /// <summary>The tokens of a text with the special tokens of a single text around them.</summary>
    /// <param name="text">The text.</param>
    /// <param name="maxLength">Most tokens; at least as many as there are special ones. What is beyond is cut off at the right.</param>
    public TokenizedText Encode(string text, int maxLength)
    {
        var room = maxLength - _template.Count(t => t.Id is not null);
        ArgumentOutOfRangeException.ThrowIfNegative(room, nameof(maxLength));
        var pieces = new List<long>();
        foreach (var (part, id) in Parts(text))
        {
            if (pieces.Count >= room)
            {
                break;
            }

            if (id is { } added)
            {
                pieces.Add(added);
                continue;
            }

            foreach (var word in _text.Words(part))
            {
                AddWord(word, pieces);
            }
        }

        if (pieces.Count > room)
        {
            pieces.RemoveRange(room, pieces.Count - room);
        }

        var (ids, types) = (new List<long>(), new List<long>());
        foreach (var (id, type) in _template)
        {
            ids.AddRange(id is { } special ? [special] : pieces);
            types.AddRange(Enumerable.Repeat(type, ids.Count - types.Count));
        }

        return new TokenizedText(ids, types);
    }

    // Added tokens are found in the text as it came, the longest of those that begin at one place.
    private IEnumerable<(string Part, int? Id)> Parts(string text)
    {
        var start = 0;
        for (var at = 0; at < text.Length && _added.Count > 0;)
        {
            var (found, id) = _added.FirstOrDefault(a => string.CompareOrdinal(text, at, a.Text, 0, a.Text.Length) == 0);
            if (found is null)
            {
                at++;
                continue;
            }

            if (at > start)
            {
                yield return (text[start..at], null);
            }

            yield return (found, id);
            start = at += found.Length;
        }

        if (start < text.Length)
        {
            yield return (text[start..], null);
        }
    }

    private void AddWord(string word, List<long> pieces)
    {
        if (word.EnumerateRunes().Count() > _longestWord)
        {
            pieces.Add(_unknown);
            return;
        }

        var before = pieces.Count;
        for (var start = 0; start < word.Length;)
        {
            var lookup = start == 0 ? _starts : _continuations;
            var end = Math.Min(word.Length, start + _longestPiece);
            int id;
            while (!lookup.TryGetValue(word.AsSpan(start, end - start), out id))
            {
                if (--end == start)
                {
                    pieces.RemoveRange(before, pieces.Count - before);
                    pieces.Add(_unknown);
                    return;
                }
            }

            pieces.Add(id);
            start = end;
        }
    }

    private static BertText ReadText(JsonNode root)
    {
        if (root.Optional("pre_tokenizer") is not { } pre || pre.Require("type").Text() != "BertPreTokenizer")
        {
            throw new FailureException(Failure.Unsupported("text samples need a tokenizer.json whose pre_tokenizer is BertPreTokenizer"));
        }

        if (root.Optional("normalizer") is not { } normalizer)
        {
            return new BertText(false, false, false, false);
        }

        if (normalizer.Require("type").Text() is var type && type != "BertNormalizer")
        {
            throw new FailureException(Failure.Unsupported($"text samples need a tokenizer.json whose normalizer is BertNormalizer, not {type}"));
        }

        var lowercase = Flag("lowercase", true);
        return new BertText(Flag("clean_text", true), Flag("handle_chinese_chars", true), Flag("strip_accents", lowercase), lowercase);

        bool Flag(string key, bool fallback) => normalizer.Optional(key)?.Flag() ?? fallback;
    }

    // An entry without an id stands for the text.
    private static List<(long? Id, long TypeId)> ReadTemplate(JsonNode processor, Dictionary<string, int> vocabulary)
    {
        switch (processor.Require("type").Text())
        {
            case "TemplateProcessing":
                var template = new List<(long? Id, long TypeId)>();
                var special = processor.Require("special_tokens");
                foreach (var entry in processor.Require("single").Items())
                {
                    if (entry.Optional("Sequence") is { } sequence)
                    {
                        template.Add((null, sequence.Require("type_id").Integer(0, 255)));
                        continue;
                    }

                    var token = entry.Require("SpecialToken");
                    var type = token.Require("type_id").Integer(0, 255);
                    template.AddRange(special.Require(token.Require("id").Text()).Require("ids").Items().Select(id => ((long?)id.Integer(0, MaxId), type)));
                }

                return template.Count(t => t.Id is null) == 1 ? template : throw processor.Error("has a template for a single text that does not hold the text once");
            case "BertProcessing":
                return [(Pair("cls"), 0), (null, 0), (Pair("sep"), 0)];
            case var type:
                throw new FailureException(Failure.Unsupported($"text samples need a post_processor of TemplateProcessing or BertProcessing, not {type}"));
        }

        long Pair(string key)
        {
            var parts = processor.Require(key).Items().ToList();
            return parts.Count == 2 ? parts[1].Integer(0, MaxId) : vocabulary.TryGetValue($"[{key.ToUpperInvariant()}]", out var id) ? id : throw processor.Error($"has no token for {key}");
        }
    }
}
