using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.HalfPrecision;

/// <summary>Which nodes cannot be in half precision, whatever is asked for: by the operator's definition, or because they compute in integers.</summary>
/// <param name="model">The model.</param>
/// <param name="half">The type.</param>
internal sealed class HalfOperators(OnnxModel model, DataType half)
{
    private const string Integers = "it is part of arithmetic in integers";

    // First version of the operator set (ONNX's operator schemas) in which the operator takes float16; 0 stands for none.
    private static readonly Dictionary<string, int> Float16Since = new(StringComparer.Ordinal)
    {
        ["Celu"] = 0,
        ["CumSum"] = 14,
        ["DynamicQuantizeLinear"] = 0,
        ["IsInf"] = 20,
        ["NonMaxSuppression"] = 0,
        ["Range"] = 0,
        // Of com.microsoft:
        ["DynamicQuantizeLSTM"] = 0,
        ["DynamicQuantizeMatMul"] = 0,
        ["QGemm"] = 0,
    };

    // Operators whose schema takes all tensors or all numbers of ONNX's first version, to which bfloat16 does not belong.
    private static readonly HashSet<string> NotBfloat16 = new(StringComparer.Ordinal) { "CenterCropPad", "Compress", "Einsum", "ReverseSequence", "Shrink", "Unique" };

    private readonly OnnxGraph _graph = new(model);
    private readonly long _version = model.Opset;

    /// <summary>Why a node stays float32; null where it need not.</summary>
    public string? Refusal(NodeProto node)
    {
        if (IsStandard(node) || node.Domain == "com.microsoft")
        {
            if ((Float16Since.TryGetValue(node.OpType, out var since) && (since == 0 || _version < since)) || (half == DataType.Bfloat16 && NotBfloat16.Contains(node.OpType)))
            {
                return $"{node.OpType} takes no {OnnxTensors.TypeName((int)half)}";
            }
        }

        // Between DequantizeLinear and QuantizeLinear ONNX Runtime computes in integers: a Cast there would keep it from that.
        return IsIntegers(node) || (node.OpType == "DequantizeLinear" && IsWeight(node) && _graph.Readers(node.Output[0]).All(IsIntegers)) ? Integers : null;
    }

    private bool IsIntegers(NodeProto node) =>
        node.OpType == "QuantizeLinear"
        || node.OpType.StartsWith("QLinear", StringComparison.Ordinal)
        || (node.OpType == "DequantizeLinear" && !(IsWeight(node) && IsStandard(node) && _version >= 19))
        || node.Input.Any(i => _graph.Producer(i) is { OpType: "DequantizeLinear" } source && !IsWeight(source))
        || (node.Output.Any(IsRead) && node.Output.Where(IsRead).All(o => !_graph.IsOutput(o) && _graph.Readers(o).All(r => r.OpType == "QuantizeLinear")));

    private bool IsRead(string value) => value.Length > 0 && (_graph.IsOutput(value) || _graph.Readers(value).Any());

    private bool IsWeight(NodeProto dequantize) => _graph.Constant(dequantize.Input[0]) is not null;

    private static bool IsStandard(NodeProto node) => node.Domain is "" or "ai.onnx";
}
