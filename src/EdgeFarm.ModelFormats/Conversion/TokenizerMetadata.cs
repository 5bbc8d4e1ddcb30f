using System.Collections.Frozen;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>Writes the <c>tokenizer.*</c> keys in the reference's order. Throws <see cref="FailureException"/>.</summary>
internal sealed class TokenizerMetadata(GgufMetadata metadata, CheckpointConfig config, CheckpointTokenizer tokenizer, List<ConversionWarning> warnings)
{
    private const string SpacePrefix = "tokenizer.ggml.add_space_prefix";

    // llama.cpp knows pre-tokenizers by name. The name follows from the regular expression of tokenizer.json, compared as a whole.
    private static readonly FrozenDictionary<string, (string Name, bool IgnoresMerges)> ByRegex = new Dictionary<string, (string, bool)>
    {
        [@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = ("llama-bpe", true),
        [@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = ("qwen2", false),
        [@"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = ("gpt-4o", false),
        [@"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = ("tekken", true),
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private static readonly FrozenDictionary<string, string> IdKeys = new Dictionary<string, string>
    {
        ["bos"] = "bos",
        ["eos"] = "eos",
        ["unk"] = "unknown",
        // The format spells it so.
        ["sep"] = "seperator",
        ["pad"] = "padding",
        ["mask"] = "mask",
        ["eot"] = "eot",
        ["eom"] = "eom",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private bool IsLlama => ArchitectureMetadata.Name(config.Family) == ModelFamily.Llama.Id;

    /// <summary>Writes all keys.</summary>
    public void Write()
    {
        var vocabulary = tokenizer.Vocabulary;
        if (IsLlama && tokenizer.AddPrefixSpace is { } prefix)
        {
            metadata.Set(SpacePrefix, GgufValue.Of(prefix));
        }

        var isBytes = vocabulary.Kind == VocabularyKind.ByteLevelBpe;
        metadata.Set("tokenizer.ggml.model", GgufValue.Of(isBytes ? "gpt2" : "llama"));
        metadata.Set("tokenizer.ggml.pre", GgufValue.Of(isBytes ? PreTokenizerName(vocabulary) : "default"));
        metadata.Set("tokenizer.ggml.tokens", GgufValue.OfArray(vocabulary.Tokens));
        if (!isBytes)
        {
            metadata.Set("tokenizer.ggml.scores", GgufValue.OfArray(vocabulary.Scores));
        }

        metadata.Set("tokenizer.ggml.token_type", GgufValue.OfArray(Array.ConvertAll(vocabulary.Kinds, kind => (int)kind)));
        if (isBytes && vocabulary.Merges.Length > 0)
        {
            metadata.Set("tokenizer.ggml.merges", GgufValue.OfArray(vocabulary.Merges));
        }

        WriteSpecial();
        WriteTemplates();
        WriteKnownVocabularies();
        if (vocabulary.AddsSpacePrefix == false && (metadata[SpacePrefix] is null || !IsLlama))
        {
            metadata.Set(SpacePrefix, GgufValue.Of(false));
        }

        Warn(vocabulary);
    }

    private void WriteSpecial()
    {
        foreach (var (kind, id) in tokenizer.Special.Ids)
        {
            if (IdKeys.TryGetValue(kind, out var key))
            {
                metadata.Set($"tokenizer.ggml.{key}_token_id", GgufValue.Of((uint)id));
            }
        }

        foreach (var (kind, adds) in tokenizer.Special.Adds.Where(entry => entry.Key is "bos" or "eos" or "sep"))
        {
            metadata.Set($"tokenizer.ggml.add_{kind}_token", GgufValue.Of(adds));
        }
    }

    private void WriteTemplates()
    {
        var templates = tokenizer.Templates;
        var names = new List<string>();
        foreach (var (name, template) in templates.Named)
        {
            var safe = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'));
            metadata.Set($"tokenizer.chat_template.{safe}", GgufValue.Of(template));
            if (!names.Contains(safe))
            {
                names.Add(safe);
            }
        }

        if (names.Count > 0)
        {
            metadata.Set("tokenizer.chat_templates", GgufValue.OfArray([.. names]));
        }

        if (templates.Default is { } main)
        {
            metadata.Set("tokenizer.chat_template", GgufValue.Of(main));
        }
    }

    // Two vocabularies that the reference tells by their size: CodeLlama's, and SmolLM2's and Granite's.
    private void WriteKnownVocabularies()
    {
        if (IsLlama && config.Vocabulary == 32016)
        {
            metadata.Set("tokenizer.ggml.eot_token_id", GgufValue.Of(32010u));
        }

        if (IsLlama && config.Vocabulary == 49152)
        {
            metadata.Set("tokenizer.ggml.add_bos_token", GgufValue.Of(false));
        }
    }

    private string PreTokenizerName(Vocabulary vocabulary)
    {
        var pre = vocabulary.PreTokenizer!;
        var (name, ignoresMerges) = pre switch
        {
            { Regex: null, SplitsDigits: true } => ("smollm", false),
            { Regex: null } => ("gpt-2", false),
            { Regex: { } regex } when ByRegex.TryGetValue(regex, out var known) => known,
            _ => throw new FailureException(Failure.Unsupported(
                $"tokenizer.json: llama.cpp has no pre-tokenizer for the regular expression {pre.Regex}; known are those of {string.Join(", ", ByRegex.Values.Select(known => known.Name).Order(StringComparer.Ordinal))}, gpt-2 and smollm")),
        };
        if (ignoresMerges != vocabulary.IgnoresMerges && vocabulary.IgnoresMerges)
        {
            Differs($"the tokenizer takes whole words without merging (ignore_merges), which llama.cpp does not do for {name}");
        }
        else if (ignoresMerges && !vocabulary.IgnoresMerges)
        {
            Differs($"llama.cpp takes whole words without merging for {name}, which the tokenizer does not do (ignore_merges)");
        }

        if (pre.AddsPrefixSpace)
        {
            Differs("the tokenizer puts a space before the text, which llama.cpp does not do for byte-level vocabularies");
        }

        return name;
    }

    private void Differs(string message) => warnings.Add(new ConversionWarning(ConversionWarningCode.TokenizationDiffers, message, true));

    private void Warn(Vocabulary vocabulary)
    {
        if (vocabulary.HasRecoveredScores)
        {
            warnings.Add(new ConversionWarning(ConversionWarningCode.ScoresRecovered,
                "tokenizer.model is missing; the scores of the vocabulary were derived from the merges of tokenizer.json, which gives the same token ids", false));
        }

        if (vocabulary.CutTokens > 0)
        {
            warnings.Add(new ConversionWarning(ConversionWarningCode.TokensCut,
                $"{vocabulary.CutTokens} tokens have no row in the embedding of {config.Vocabulary} and were left out", false));
        }

        if (vocabulary.FirstDisagreement is { } id)
        {
            Differs($"tokenizer.model and tokenizer.json have different pieces for token {id}; the file has those of tokenizer.model");
        }

        if (vocabulary.Normalizer is { } normalizer)
        {
            warnings.Add(normalizer == "NFC"
                ? new ConversionWarning(ConversionWarningCode.NormalizerIgnored, "the tokenizer normalizes text to NFC first, which llama.cpp does not do; composed text is not affected", false)
                : new ConversionWarning(ConversionWarningCode.TokenizationDiffers, $"the tokenizer applies the normalizer {normalizer}, which llama.cpp does not do", true));
        }
    }
}
