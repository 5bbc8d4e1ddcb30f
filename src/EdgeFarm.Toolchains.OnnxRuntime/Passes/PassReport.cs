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

    /// <summary>Whether random input stood in for calibration samples.</summary>
    public bool Synthetic { get; init; }
}
