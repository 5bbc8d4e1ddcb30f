namespace EdgeFarm.ModelFormats.Checkpoints;

/// <summary>How positions beyond the trained context are scaled.</summary>
public enum RopeScalingType
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>All positions divided by a factor.</summary>
    Linear,

    /// <summary>Base raised with the length of the sequence.</summary>
    Dynamic,

    /// <summary>YaRN.</summary>
    Yarn,

    /// <summary>Per-frequency factors, one set below the original context and one beyond (Phi-3).</summary>
    LongRope,

    /// <summary>Llama 3.1's smoothed factors.</summary>
    Llama3,
}

/// <summary>Rotary position embedding.</summary>
public sealed record RopeParameters
{
    /// <summary>Base of the frequencies.</summary>
    public required double Theta { get; init; }

    /// <summary>Base of the layers with a sliding window (Gemma 3); null when they share <see cref="Theta"/>.</summary>
    public double? LocalTheta { get; init; }

    /// <summary>The scaling.</summary>
    public RopeScalingType Scaling { get; init; }

    /// <summary>Factor of the scaling; null when none is given.</summary>
    public double? Factor { get; init; }

    /// <summary>Llama 3's low_freq_factor.</summary>
    public double LowFrequencyFactor { get; init; } = 1;

    /// <summary>Llama 3's high_freq_factor.</summary>
    public double HighFrequencyFactor { get; init; } = 4;

    /// <summary>Context before scaling, tokens; null when not given.</summary>
    public int? OriginalContext { get; init; }

    /// <summary>LongRoPE's factors beyond the original context, one per rotated pair.</summary>
    public IReadOnlyList<double> LongFactors { get; init; } = [];

    /// <summary>LongRoPE's factors within the original context, one per rotated pair.</summary>
    public IReadOnlyList<double> ShortFactors { get; init; } = [];

    /// <summary>Share of a head's dimensions that is rotated, (0, 1].</summary>
    public double PartialRotaryFactor { get; init; } = 1;

    /// <summary>Scale of the attention's logits that YaRN or LongRoPE configs may state; null when not given.</summary>
    public double? AttentionFactor { get; init; }

    /// <summary>YaRN's extrapolation factor; null when not given.</summary>
    public double? ExtrapolationFactor { get; init; }

    /// <summary>YaRN's beta_fast; null when not given.</summary>
    public double? BetaFast { get; init; }

    /// <summary>YaRN's beta_slow; null when not given.</summary>
    public double? BetaSlow { get; init; }
}

/// <summary>
/// config.json in one spelling: that of transformers 5 and the older one read the same, and keys that are left out have the values
/// that transformers' config class gives them.
/// </summary>
public sealed record CheckpointConfig
{
    /// <summary>The architecture.</summary>
    public required ModelFamily Family { get; init; }

    /// <summary>Class name as in the file.</summary>
    public required string ClassName { get; init; }

    /// <summary>Rows of the token embedding.</summary>
    public required int Vocabulary { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int Hidden { get; init; }

    /// <summary>Width of the feed-forward network.</summary>
    public required int FeedForward { get; init; }

    /// <summary>Number of layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Number of key and value heads; divides <see cref="Heads"/>.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Dimensions of a head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Whether config.json or its class states the head size, so that formats write it even where it is hidden / heads.</summary>
    public required bool HeadSizeIsStated { get; init; }

    /// <summary>Longest sequence, tokens.</summary>
    public required int Context { get; init; }

    /// <summary>Epsilon of the RMS norms.</summary>
    public required double RmsEpsilon { get; init; }

    /// <summary>Rotary position embedding.</summary>
    public required RopeParameters Rope { get; init; }

    /// <summary>Width of the sliding window as stated, tokens; null when there is none.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>For every layer, whether it attends only to the window.</summary>
    public required IReadOnlyList<bool> LayerIsWindowed { get; init; }

    /// <summary>Soft cap of the attention's logits; null when there is none.</summary>
    public double? AttentionSoftCap { get; init; }

    /// <summary>Soft cap of the output logits; null when there is none.</summary>
    public double? OutputSoftCap { get; init; }

    /// <summary>The number under the root that attention scores are divided by; null: the head size.</summary>
    public double? AttentionScalar { get; init; }

    /// <summary>Whether the config says that embedding and output share their weights.</summary>
    public required bool TiesEmbeddings { get; init; }

    /// <summary>Name of the activation function.</summary>
    public required string Activation { get; init; }

    /// <summary>Whether tokens attend in both directions (embedding models).</summary>
    public bool IsBidirectional { get; init; }

    /// <summary>Token ids that config.json itself states: bos, eos, unk, sep, pad, cls, mask; only single integers.</summary>
    public required IReadOnlyDictionary<string, int> TokenIds { get; init; }

    /// <summary><c>_name_or_path</c>, when it is there.</summary>
    public string? NameOrPath { get; init; }
}
