using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>
/// Builds the vocabulary of a checkpoint directory from tokenizer.json, tokenizer.model, added_tokens.json, tokenizer_config.json and
/// merges.txt. tokenizer.json decides the kind; tokenizer.model adds the scores. Throws <see cref="FailureException"/>.
/// </summary>
internal sealed class VocabularyReader
{
    private const float AddedScore = -1000;
    private const long MaxSmallFile = 1 << 26;

    private readonly string _directory;
    private readonly int _size;
    private readonly bool _looksDecide;
    private readonly TokenizerJson? _json;
    private readonly JsonNode? _config;
    private readonly string[] _tokens;
    private readonly float[] _scores;
    private readonly TokenKind[] _kinds;
    private readonly HashSet<int> _cut = [];

    /// <param name="directory">The checkpoint.</param>
    /// <param name="size">Rows of the embedding.</param>
    /// <param name="looksDecide">
    /// Whether added tokens of a SentencePiece vocabulary that look special (&lt;|x|&gt;) are control tokens though the files do not say so,
    /// and others have plain spaces.
    /// </param>
    /// <param name="json">tokenizer.json.</param>
    /// <param name="config">tokenizer_config.json.</param>
    public VocabularyReader(string directory, int size, bool looksDecide, TokenizerJson? json, JsonNode? config)
    {
        (_directory, _size, _looksDecide, _json, _config) = (directory, size, looksDecide, json, config);
        _tokens = new string[size];
        _scores = new float[size];
        _kinds = new TokenKind[size];
        for (var id = 0; id < size; id++)
        {
            (_tokens[id], _scores[id], _kinds[id]) = ($"[PAD{id.ToString(CultureInfo.InvariantCulture)}]", -10000, TokenKind.Unused);
        }
    }

    public Vocabulary Read()
    {
        var modelPath = Path.Combine(_directory, "tokenizer.model");
        var hasModel = File.Exists(modelPath);
        if (_json is null)
        {
            return hasModel ? FromSentencePiece(modelPath) : throw new FailureException(Failure.InvalidInput(
                $"{_directory}: has neither tokenizer.json nor tokenizer.model; save the checkpoint with a fast tokenizer"));
        }

        if (_json.PreTokenizers.Any(node => TokenizerJson.TypeOf(node) == "ByteLevel"))
        {
            return FromByteLevel();
        }

        if (!_json.FallsBackToBytes)
        {
            throw new FailureException(Failure.Unsupported($"{_json.Path}: a BPE tokenizer that is neither byte-level nor falls back to bytes is not supported"));
        }

        return hasModel ? FromSentencePiece(modelPath) : FromMerges();
    }

    private Vocabulary FromSentencePiece(string path)
    {
        var outcome = SentencePieceModel.Read(path);
        var model = outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);
        foreach (var (id, piece) in model.Pieces.Index())
        {
            // SentencePiece's user-defined pieces merge like others here; what is found in text first stands in the added tokens.
            Put(id, piece.Text, piece.Score, piece.Kind == TokenKind.UserDefined ? TokenKind.Normal : piece.Kind);
        }

        if (JsonNode.LoadIfExists(Path.Combine(_directory, "added_tokens.json"), MaxSmallFile) is { } addedTokens)
        {
            foreach (var (text, id) in addedTokens.Entries())
            {
                Put((int)id.Integer(0, int.MaxValue), text, AddedScore, TokenKind.UserDefined);
            }
        }

        if (_config?.Optional("added_tokens_decoder") is { } decoder)
        {
            foreach (var (key, node) in decoder.Entries())
            {
                if (!int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out var id))
                {
                    throw node.Error("has a key that is not a token id");
                }

                PutAdded(id, node.Require("content").Text(), node.Optional("special")?.Flag() ?? false, _looksDecide);
            }
        }

        // Phi-3's converter reads both lists; elsewhere this one counts when transformers 5 left the other out.
        if (!_looksDecide || _config?.Optional("added_tokens_decoder") is null)
        {
            foreach (var added in _json?.Added ?? [])
            {
                PutAdded(added.Id, added.Content, added.IsSpecial, _looksDecide);
            }
        }

        return SentencePieceVocabulary(model.AddsSpacePrefix) with { FirstDisagreement = Disagreement(model) };
    }

    private int? Disagreement(SentencePieceModel model)
    {
        if (_json is null)
        {
            return null;
        }

        var added = _json.Added.Select(token => token.Id).ToHashSet();
        return _json.Vocabulary
            .Where(token => token.Id < model.Pieces.Count && !added.Contains(token.Id) && model.Pieces[token.Id].Text != token.Content)
            .Select(token => (int?)token.Id).FirstOrDefault();
    }

    private Vocabulary FromMerges()
    {
        // SentencePiece merges by score and tokenizers by rank, so a piece's score is minus the rank of the first merge that yields
        // it; pieces that no merge yields must lose against all others.
        var rank = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (i, (left, right)) in _json!.Merges.Index())
        {
            rank.TryAdd(left + right, i);
        }

        foreach (var token in _json.Vocabulary)
        {
            if (IsByte(token.Content))
            {
                Put(token.Id, token.Content, 0, TokenKind.Byte);
            }
            else
            {
                var score = -(rank.TryGetValue(token.Content, out var r) ? r : _json.Merges.Count + 1);
                Put(token.Id, token.Content, score, token.Content == _json.UnknownToken ? TokenKind.Unknown : TokenKind.Normal);
            }
        }

        foreach (var added in _json.Added)
        {
            PutAdded(added.Id, added.Content, added.IsSpecial, _looksDecide);
        }

        return SentencePieceVocabulary(JsonAddsSpacePrefix()) with { HasRecoveredScores = true };
    }

    private bool JsonAddsSpacePrefix() =>
        _json!.Normalizers.Any(node => TokenizerJson.TypeOf(node) == "Prepend")
        || _json.PreTokenizers.Any(node => TokenizerJson.TypeOf(node) == "Metaspace"
            && (node.Optional("prepend_scheme")?.Text() ?? (node.Optional("add_prefix_space")?.Flag() == false ? "never" : "always")) != "never");

    private Vocabulary SentencePieceVocabulary(bool addsSpacePrefix) => new()
    {
        Kind = VocabularyKind.SentencePieceBpe,
        Tokens = _tokens,
        Kinds = _kinds,
        Scores = _scores,
        AddsSpacePrefix = addsSpacePrefix,
        CutTokens = _cut.Count,
    };

    private Vocabulary FromByteLevel()
    {
        var json = _json!;
        foreach (var token in json.Vocabulary)
        {
            RequireRow(token);
            Put(token.Id, token.Content, 0, TokenKind.Normal);
        }

        foreach (var added in json.Added)
        {
            RequireRow(added);
            PutAdded(added.Id, added.Content, added.IsSpecial, looksDecide: true);
        }

        return new Vocabulary
        {
            Kind = VocabularyKind.ByteLevelBpe,
            Tokens = _tokens,
            Kinds = _kinds,
            Merges = json.Merges.Count > 0 ? [.. json.Merges.Select(merge => $"{Spaceless(merge.Left)} {Spaceless(merge.Right)}")] : MergesOfText(),
            PreTokenizer = ReadPreTokenizer(json),
            IgnoresMerges = json.IgnoresMerges,
            Normalizer = json.Normalizers is [var first, ..] ? TokenizerJson.TypeOf(first) : null,
        };
    }

    private void RequireRow(AddedToken token)
    {
        if (token.Id >= _size)
        {
            throw new FailureException(Failure.InvalidInput(
                $"{_json!.Path}: token {token.Id} has no row in the embedding, whose vocab_size is {_size} in config.json"));
        }
    }

    // A merge's two pieces are separated by a space, so a space within one is written as GPT-2 writes the byte 32.
    private static string Spaceless(string piece) => piece.Replace(' ', '\u0120');

    private string[] MergesOfText()
    {
        var path = Path.Combine(_directory, "merges.txt");
        if (!File.Exists(path))
        {
            throw new FailureException(Failure.InvalidInput($"{_json!.Path}: has no merges, and there is no merges.txt"));
        }

        var lines = SmallFile.ReadText(path, MaxSmallFile).Split('\n').Select(line => line.Trim());
        return [.. lines.Where((line, i) => line.Length > 0 && !(i == 0 && line[0] == '#'))];
    }

    private static PreTokenizer ReadPreTokenizer(TokenizerJson json)
    {
        var nodes = json.PreTokenizers;
        var byteLevel = nodes[^1];
        if (TokenizerJson.TypeOf(byteLevel) != "ByteLevel" || nodes.Count > 2)
        {
            throw Unknown();
        }

        var usesRegex = byteLevel.Optional("use_regex")?.Flag() ?? true;
        var addsSpace = byteLevel.Optional("add_prefix_space")?.Flag() ?? true;
        switch (nodes.Count == 2 ? TokenizerJson.TypeOf(nodes[0]) : null)
        {
            case null when usesRegex:
                return new PreTokenizer(false, null, addsSpace);
            case "Digits" when usesRegex && nodes[0].Optional("individual_digits")?.Flag() == true:
                return new PreTokenizer(true, null, addsSpace);
            case "Split" when !usesRegex && nodes[0].Require("pattern").Optional("Regex")?.Text() is { } regex
                && nodes[0].Require("behavior").Text() == "Isolated" && nodes[0].Optional("invert")?.Flag() != true:
                return new PreTokenizer(false, regex, addsSpace);
            default:
                throw Unknown();
        }

        FailureException Unknown() => new(Failure.Unsupported(
            $"{json.Path}: the pre-tokenizer {string.Join(" + ", nodes.Select(TokenizerJson.TypeOf))} is not one of ByteLevel, Digits + ByteLevel, Split (regular expression) + ByteLevel"));
    }

    private void PutAdded(int id, string text, bool isSpecial, bool looksDecide)
    {
        var isControl = isSpecial || (looksDecide && LooksSpecial(text));
        Put(id, isControl || !looksDecide ? text : text.Replace('\u2581', ' '), AddedScore, isControl ? TokenKind.Control : TokenKind.UserDefined);
    }

    private void Put(int id, string text, float score, TokenKind kind)
    {
        if (id >= _size)
        {
            _cut.Add(id);
            return;
        }

        (_tokens[id], _scores[id], _kinds[id]) = (text, score, kind);
    }

    private static bool IsByte(string text) =>
        text.Length == 6 && text.StartsWith("<0x", StringComparison.Ordinal) && text[5] == '>' && char.IsAsciiHexDigit(text[3]) && char.IsAsciiHexDigit(text[4]);

    private static bool LooksSpecial(string text) =>
        text is "<pad>" or "<mask>" or "<2mass>" or "[@BOS@]"
        || (text.StartsWith("<|", StringComparison.Ordinal) && text.EndsWith("|>", StringComparison.Ordinal))
        || (text.StartsWith("<\uFF5C", StringComparison.Ordinal) && text.EndsWith("\uFF5C>", StringComparison.Ordinal))
        || (text.StartsWith("<unused", StringComparison.Ordinal) && text.EndsWith('>'));
}
