using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>What a planner needs to know of a model.</summary>
internal sealed record GraphTraits
{
    private static readonly Dictionary<string, int[]> WeightInputs = new(StringComparer.Ordinal)
    {
        ["MatMul"] = [0, 1],
        ["Gemm"] = [0, 1],
        ["Conv"] = [1],
        ["ConvTranspose"] = [1],
        ["Gather"] = [0],
        ["LSTM"] = [1, 2],
        ["GRU"] = [1, 2],
        ["RNN"] = [1, 2],
        ["Attention"] = [1],
    };

    private static readonly HashSet<string> Integer = new(StringComparer.Ordinal)
    {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "MatMulNBits", "GatherBlockQuantized",
        "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "QGemm",
    };

    /// <summary>Bytes of constant float weights by the operator that reads them.</summary>
    public IReadOnlyDictionary<string, long> WeightBytes { get; init; } = new Dictionary<string, long>();

    /// <summary>Bytes of all float constants.</summary>
    public long FloatBytes { get; init; }

    /// <summary>Whether it normalizes activations where a multiplication follows, as transformers do.</summary>
    public bool Normalizes { get; init; }

    /// <summary>Whether it holds quantized operators.</summary>
    public bool IsQuantized { get; init; }

    /// <summary>Whether it has nodes that only read constants.</summary>
    public bool HasFoldable { get; init; }

    /// <summary>Share of the time of one run by operator, as the runtime runs it; empty where that was not to be had.</summary>
    public IReadOnlyDictionary<string, double> TimeShares { get; init; } = new Dictionary<string, double>();

    /// <summary>Bytes of weights that these operators read.</summary>
    public long Bytes(params ReadOnlySpan<string> operators)
    {
        var sum = 0L;
        foreach (var op in operators)
        {
            sum += WeightBytes.GetValueOrDefault(op);
        }

        return sum;
    }

    /// <summary>Share of the time that these operators take, whatever the runtime fused into them; null where it is not known.</summary>
    public double? Time(params IReadOnlyList<string> operators) => TimeShares.Count == 0 ? null
        : TimeShares.Where(t => operators.Any(op => t.Key == op || t.Key == "Fused" + op || t.Key == $"{op}BiasFusion")).Sum(t => t.Value);

    /// <summary>Reads a model; it is not changed.</summary>
    public static GraphTraits Of(OnnxModel model, OperatorProfile? profile)
    {
        using var copy = model.CopySharingWeights();
        GraphCleanup.ConstantsToInitializers(copy);
        var graph = new OnnxGraph(copy);
        var bytes = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var node in copy.Graph.Node.Where(n => WeightInputs.ContainsKey(n.OpType)))
        {
            foreach (var input in WeightInputs[node.OpType].Where(i => i < node.Input.Count))
            {
                if (graph.Constant(node.Input[input]) is { DataType: (int)DataType.Float, Dims.Count: >= 2 } weight)
                {
                    bytes[node.OpType] = bytes.GetValueOrDefault(node.OpType) + Size(weight);
                }
            }
        }

        var types = copy.Graph.Node.Select(n => n.OpType).ToHashSet(StringComparer.Ordinal);
        return new GraphTraits
        {
            WeightBytes = bytes,
            FloatBytes = copy.Graph.Initializer.Where(t => t.DataType == (int)DataType.Float).Sum(Size),
            Normalizes = types.Contains("LayerNormalization") || types.Contains("SkipLayerNormalization") || (types.Contains("ReduceMean") && types.Contains("Sqrt") && types.Contains("Div")),
            IsQuantized = types.Overlaps(Integer),
            HasFoldable = copy.Graph.Node.Any(n => n.Input.Any(i => i.Length > 0) && n.Input.All(i => i.Length == 0 || graph.Constant(i) is not null) && !GraphOrder.Subgraphs(n).Any()),
            TimeShares = profile?.Operators.GroupBy(o => o.OpType).ToDictionary(g => g.Key, g => g.Sum(o => o.Share), StringComparer.Ordinal) ?? [],
        };
    }

    private static long Size(TensorProto tensor) => tensor.Dims.Aggregate(1L, (a, d) => a * d) * sizeof(float);
}
