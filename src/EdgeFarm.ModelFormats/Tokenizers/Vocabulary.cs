namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>What a token is. The numbers are SentencePiece's and GGUF's.</summary>
public enum TokenKind
{
    /// <summary>A piece that merging yields.</summary>
    Normal = 1,

    /// <summary>Stands for text that has no token.</summary>
    Unknown = 2,

    /// <summary>Steers the model and never comes from text.</summary>
    Control = 3,

    /// <summary>An added piece that is found in text before anything is merged.</summary>
    UserDefined = 4,

    /// <summary>A hole in the vocabulary.</summary>
    Unused = 5,

    /// <summary>One byte, for text without a piece.</summary>
    Byte = 6,
}

/// <summary>How a vocabulary splits text.</summary>
public enum VocabularyKind
{
    /// <summary>SentencePiece BPE: the adjacent pair whose piece has the best score is merged; bytes as a fallback.</summary>
    SentencePieceBpe,

    /// <summary>Byte-level BPE as GPT-2's: a regular expression splits the text, then pairs are merged by rank.</summary>
    ByteLevelBpe,
}

/// <summary>How text is split before byte-level merging.</summary>
/// <param name="SplitsDigits">Every digit stands alone.</param>
/// <param name="Regex">Pattern whose matches stand alone; null for GPT-2's own pattern.</param>
/// <param name="AddsPrefixSpace">A space is put before the text.</param>
public sealed record PreTokenizer(bool SplitsDigits, string? Regex, bool AddsPrefixSpace);

/// <summary>The tokens of a checkpoint by id, as many as its embedding has rows.</summary>
public sealed record Vocabulary
{
    /// <summary>How it splits text.</summary>
    public required VocabularyKind Kind { get; init; }

    /// <summary>Texts; SentencePiece's spaces and GPT-2's byte letters are kept as they are.</summary>
    public required string[] Tokens { get; init; }

    /// <summary>Kinds.</summary>
    public required TokenKind[] Kinds { get; init; }

    /// <summary>Scores, for SentencePiece only; higher merges first.</summary>
    public float[] Scores { get; init; } = [];

    /// <summary>Merges in order of their rank, "left right", for byte-level BPE only.</summary>
    public string[] Merges { get; init; } = [];

    /// <summary>How text is split before merging, for byte-level BPE only.</summary>
    public PreTokenizer? PreTokenizer { get; init; }

    /// <summary>Whole words that are tokens are taken without merging, for byte-level BPE only.</summary>
    public bool IgnoresMerges { get; init; }

    /// <summary>Type of a normalizer that changes text before it is split (NFC, ...), for byte-level BPE; null for none.</summary>
    public string? Normalizer { get; init; }

    /// <summary>Whether SentencePiece puts a space before the text; null when the files do not say.</summary>
    public bool? AddsSpacePrefix { get; init; }

    /// <summary>Whether the scores were derived from the merges because tokenizer.model is missing.</summary>
    public bool HasRecoveredScores { get; init; }

    /// <summary>Tokens that the files have beyond the embedding's rows, and that were left out.</summary>
    public int CutTokens { get; init; }

    /// <summary>An id whose piece differs between tokenizer.model and tokenizer.json; null when they agree.</summary>
    public int? FirstDisagreement { get; init; }
}
