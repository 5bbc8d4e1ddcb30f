namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>A node that a pass changed.</summary>
/// <param name="Node">Its name, or that of its first output where it has none.</param>
/// <param name="OpType">Its operator before the pass.</param>
/// <param name="Became">What computes it now.</param>
public sealed record ChangedOp(string Node, string OpType, string Became);

/// <summary>A node that a pass could have changed and did not.</summary>
/// <param name="Node">Its name, or that of its first output where it has none.</param>
/// <param name="OpType">Its operator.</param>
/// <param name="Reason">Why, in words for the user.</param>
public sealed record SkippedOp(string Node, string OpType, string Reason);

/// <summary>How well one weight tensor survived, measured on the file that was written.</summary>
/// <param name="Name">The tensor in the source model.</param>
/// <param name="Format">What it is stored as: <c>int8 per-channel</c>.</param>
/// <param name="SqnrDb">Signal to quantization noise, dB; null where it was stored without any loss.</param>
public sealed record WeightError(string Name, string Format, double? SqnrDb);

/// <summary>One model that a search built and ran.</summary>
/// <param name="What">What was integer in it, in words for the user.</param>
/// <param name="Cosine">Mean cosine of its outputs with the float model's on the judged samples.</param>
/// <param name="IntegerWeights">Operators with constant weights that were integer in it.</param>
/// <param name="Kept">Whether the search went on from it.</param>
public sealed record SearchStep(string What, double Cosine, int IntegerWeights, bool Kept);

/// <summary>One form that a search for the best one made, held against the source.</summary>
/// <param name="Form">Its name.</param>
/// <param name="Recipe">The passes that make it, with their parameters; empty for the source.</param>
/// <param name="Reason">Why it was tried.</param>
/// <param name="Verdict">What became of it, in words for the user.</param>
public sealed record FormTrial(string Form, string Recipe, string Reason, string Verdict)
{
    /// <summary>Its size; 0 where it could not be made.</summary>
    public long Bytes { get; init; }

    /// <summary>What its outputs lost in the goal's metric; null where that has no value.</summary>
    public double? Degradation { get; init; }

    /// <summary>Mean cosine of its outputs with the source's; null where values are not finite.</summary>
    public double? Cosine { get; init; }

    /// <summary>Its time against the source's, median of rounds in which both took turns; null where it was not measured.</summary>
    public double? LatencyRatio { get; init; }

    /// <summary>95 % interval of <see cref="LatencyRatio"/>.</summary>
    public (double Low, double High)? LatencyInterval { get; init; }

    /// <summary>Seconds that making and judging it took.</summary>
    public double Seconds { get; init; }
}

/// <summary>A form that a search for the best one did not try.</summary>
/// <param name="Form">Its name.</param>
/// <param name="Reason">Why not.</param>
public sealed record ExcludedForm(string Form, string Reason);

/// <summary>What one pass did.</summary>
/// <param name="Pass">Its type.</param>
/// <param name="Parameters">All parameters as used.</param>
/// <param name="Changed">Nodes that it changed.</param>
/// <param name="Skipped">Nodes that it left, with reasons.</param>
/// <param name="Notes">What else the user should know.</param>
public sealed record PassReport(
    string Pass,
    IReadOnlyDictionary<string, string> Parameters,
    IReadOnlyList<ChangedOp> Changed,
    IReadOnlyList<SkippedOp> Skipped,
    IReadOnlyList<string> Notes)
{
    /// <summary>What works, but the user should know before he relies on it.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>What was counted or measured, by name: <c>cosine</c> and <c>sqnr_db</c> of the outputs on <c>judged_samples</c>, coverage.</summary>
    public IReadOnlyDictionary<string, double> Figures { get; init; } = new Dictionary<string, double>();

    /// <summary>The models that a search built, in order.</summary>
    public IReadOnlyList<SearchStep> Search { get; init; } = [];

    /// <summary>The form that the pass chose among several; null where it had no choice.</summary>
    public string? Chosen { get; init; }

    /// <summary>Precision class of the chosen form; empty where nothing was chosen.</summary>
    public string PrecisionClass { get; init; } = "";

    /// <summary>The forms that it chose among, in the order in which they were made.</summary>
    public IReadOnlyList<FormTrial> Trials { get; init; } = [];

    /// <summary>Forms that it left out beforehand.</summary>
    public IReadOnlyList<ExcludedForm> Excluded { get; init; } = [];

    /// <summary>How the choice came about, a sentence a line, for whoever reads nothing else.</summary>
    public IReadOnlyList<string> Explanation { get; init; } = [];

    /// <summary>Whether random input stood in for calibration samples.</summary>
    public bool Synthetic { get; init; }
}
