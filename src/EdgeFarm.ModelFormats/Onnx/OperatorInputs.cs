using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>
/// How many inputs and outputs an operator of the standard set has at least, in whatever version: whoever rewrites a node takes them by
/// position (CVE-2026-44512 is a converter that did so unchecked).
/// </summary>
internal static class OperatorInputs
{
    private static readonly HashSet<string> None = new(StringComparer.Ordinal)
    {
        "Constant", "RandomNormal", "RandomUniform", "SequenceEmpty", "Optional", "Loop", "Scan", "SequenceConstruct",
    };

    private static readonly Dictionary<string, int> Least = Table(
        (2, "Add Sub Mul Div Pow MatMul Gemm Conv ConvTranspose ConvInteger MatMulInteger Gather GatherElements GatherND Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor PRelu "
            + "DequantizeLinear QuantizeLinear LayerNormalization Compress Expand Tile BitShift Mod GridSample SequenceAt SequenceInsert ReverseSequence CastLike RoiAlign MaxUnpool"),
        (3, "Where ScatterElements ScatterND Scatter InstanceNormalization GroupNormalization LSTM GRU RNN OneHot Range"),
        (5, "BatchNormalization"),
        (8, "QLinearConv QLinearMatMul"));

    /// <summary>What the node lacks, for a message; null where it has enough.</summary>
    public static string? Missing(NodeProto node)
    {
        var least = Least.GetValueOrDefault(node.OpType, None.Contains(node.OpType) ? 0 : 1);
        return node.Input.Count < least ? $"with {node.Input.Count} inputs, which needs {least}"
            : node.Output.Count == 0 ? "without an output"
            : null;
    }

    private static Dictionary<string, int> Table(params (int Least, string Operators)[] rows) =>
        rows.SelectMany(r => r.Operators.Split(' ').Select(op => (op, r.Least))).ToDictionary(r => r.op, r => r.Least, StringComparer.Ordinal);
}
