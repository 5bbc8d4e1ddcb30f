using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.ModelFormats.Onnx.Graphs;

/// <summary>
/// Element types of the values of a graph, followed from inputs and initializers through the operators. Values of operators whose
/// result type is not known are absent, unless the model notes it.
/// </summary>
public static class ElementTypes
{
    private static readonly HashSet<string> Int64Results = new(StringComparer.Ordinal) { "Shape", "Size", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression" };

    private static readonly HashSet<string> BoolResults = new(StringComparer.Ordinal)
    {
        "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf",
    };

    // Operators with a type of their own, or with subgraphs: only the model's notes tell.
    private static readonly HashSet<string> Unknown = new(StringComparer.Ordinal)
    {
        "If", "Loop", "Scan", "SequenceConstruct", "SequenceAt", "SplitToSequence", "ConcatFromSequence", "StringNormalizer", "TfIdfVectorizer", "Bernoulli",
        "ImageDecoder", "Optional", "OptionalGetElement", "SequenceMap",
    };

    /// <summary>Element type by value name, main graph only.</summary>
    public static IReadOnlyDictionary<string, DataType> Infer(OnnxModel model)
    {
        var graph = model.Graph;
        var types = new Dictionary<string, DataType>(StringComparer.Ordinal);
        foreach (var info in graph.ValueInfo.Concat(graph.Output).Concat(graph.Input).Where(i => i.Type?.TensorType is { ElemType: not 0 }))
        {
            types[info.Name] = (DataType)info.Type.TensorType.ElemType;
        }

        foreach (var tensor in graph.Initializer)
        {
            types[tensor.Name] = (DataType)tensor.DataType;
        }

        foreach (var node in GraphOrder.Sort(graph.Node) ?? [])
        {
            for (var i = 0; i < node.Output.Count; i++)
            {
                if (node.Output[i].Length > 0 && Result(node, i, types) is { } type)
                {
                    types.TryAdd(node.Output[i], type);
                }
            }
        }

        return types;
    }

    private static DataType? Result(NodeProto node, int output, Dictionary<string, DataType> types)
    {
        var op = node.OpType;
        if (Unknown.Contains(op))
        {
            return null;
        }

        if (Int64Results.Contains(op) || (output == 1 && op is "TopK" or "MaxPool") || (output > 0 && op == "Unique"))
        {
            return output == 1 || Int64Results.Contains(op) || op == "Unique" ? DataType.Int64 : Of(0);
        }

        if (BoolResults.Contains(op) || (output == 1 && op == "Dropout"))
        {
            return DataType.Bool;
        }

        return op switch
        {
            "Cast" => (DataType)node.Int("to", 0),
            "Constant" => GraphCleanup.Value(node) is { } value ? (DataType)value.DataType : null,
            "ConstantOfShape" => node.Find("value")?.T is { } fill ? (DataType)fill.DataType : DataType.Float,
            "Where" or "CastLike" => Of(1),
            "OneHot" => Of(2),
            "EyeLike" or "RandomNormalLike" or "RandomUniformLike" => node.Find("dtype") is { } like ? (DataType)like.I : Of(0),
            "RandomNormal" or "RandomUniform" or "HannWindow" or "HammingWindow" or "BlackmanWindow" => (DataType)node.Int("dtype", node.Int("output_datatype", 1)),
            "QuantizeLinear" => Of(2) ?? DataType.Uint8,
            "DequantizeLinear" => Of(1),
            "DynamicQuantizeLinear" => output == 1 ? DataType.Float : DataType.Uint8,
            "MatMulInteger" or "ConvInteger" => DataType.Int32,
            "QLinearConv" or "QLinearMatMul" => Of(7),
            "GatherBlockQuantized" => Of(2),
            "BitCast" => null,
            _ => Of(0),
        };

        DataType? Of(int input) => node.Input.Count > input && types.TryGetValue(node.Input[input], out var type) ? type : null;
    }
}
