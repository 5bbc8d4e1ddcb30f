using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>Everything that a checkpoint's directory says about its tokenizer.</summary>
public sealed record CheckpointTokenizer
{
    private const long MaxConfig = 1 << 26;

    /// <summary>The tokens.</summary>
    public required Vocabulary Vocabulary { get; init; }

    /// <summary>The special tokens.</summary>
    public required SpecialTokens Special { get; init; }

    /// <summary>The chat templates.</summary>
    public required ChatTemplates Templates { get; init; }

    /// <summary><c>add_prefix_space</c> of tokenizer_config.json; null when it is not there.</summary>
    public bool? AddPrefixSpace { get; init; }

    /// <summary>Reads it. Throws <see cref="Core.Jobs.FailureException"/>.</summary>
    /// <param name="directory">The checkpoint.</param>
    /// <param name="vocabularySize">Rows of the embedding.</param>
    /// <param name="looksDecide">See <see cref="VocabularyReader"/>.</param>
    /// <param name="configIds">Ids that config.json states.</param>
    internal static CheckpointTokenizer Read(string directory, int vocabularySize, bool looksDecide, IReadOnlyDictionary<string, int> configIds)
    {
        var json = TokenizerJson.LoadIfExists(Path.Combine(directory, "tokenizer.json"));
        var config = JsonNode.LoadIfExists(Path.Combine(directory, "tokenizer_config.json"), MaxConfig);
        var vocabulary = new VocabularyReader(directory, vocabularySize, looksDecide, json, config).Read();
        return new CheckpointTokenizer
        {
            Vocabulary = vocabulary,
            Special = SpecialTokens.Read(
                json, config ?? JsonNode.LoadIfExists(Path.Combine(directory, "special_tokens_map.json"), MaxConfig), configIds, vocabularySize),
            Templates = ChatTemplates.Read(directory, config),
            AddPrefixSpace = config?.Optional("add_prefix_space")?.Flag(),
        };
    }
}
