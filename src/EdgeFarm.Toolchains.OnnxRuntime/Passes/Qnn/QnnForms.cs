using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Qnn;

/// <summary>Reads from a QDQ model in which form each operator stands.</summary>
internal static class QnnForms
{
    private static readonly HashSet<string> Weighted = new(StringComparer.Ordinal) { "Conv", "ConvTranspose", "Gemm", "MatMul", "LayerNormalization", "InstanceNormalization" };

    /// <summary>Every operator that computes floats, QuantizeLinear and DequantizeLinear left out.</summary>
    public static IEnumerable<(NodeProto Node, QnnForm Form)> Of(OnnxModel model)
    {
        var graph = new OnnxGraph(model);
        var types = ElementTypes.Infer(model);
        foreach (var node in model.Graph.Node)
        {
            var floats = node.Input.Where(i => i.Length > 0 && types.GetValueOrDefault(i) == DataType.Float).ToList();
            if (node.OpType is "QuantizeLinear" or "DequantizeLinear" or "Cast" || floats.Count == 0 || types.GetValueOrDefault(node.Output[0]) != DataType.Float)
            {
                continue;
            }

            var form = new QnnForm(node.OpType, TypeOf(graph, floats[0]), Output(graph, node.Output[0]));
            // A Relu or Clip between a convolution and its QuantizeLinear is one operator with it on the NPU.
            if (form.Output is null && graph.Readers(node.Output[0]) is [{ OpType: "Relu" or "Clip" } clip] && !graph.IsOutput(node.Output[0]))
            {
                form = form with { Output = Output(graph, clip.Output[0]), ClippedSymmetric = HasMiddleZero(graph, clip.Output[0]) };
            }
            else if (node.OpType is "Relu" or "Clip" && form.Input is null && graph.Producer(node.Input[0]) is { } producer && Weighted.Contains(producer.OpType))
            {
                continue;
            }
            else if (node.OpType is "Clip" or "Relu")
            {
                form = form with { ClippedSymmetric = node.OpType == "Clip" && HasMiddleZero(graph, node.Output[0]) };
            }

            // The bounds of Clip and the value of Pad are no data.
            yield return (node, floats.Count < 2 || node.OpType is "Clip" or "Pad" ? form : WithSecond(graph, node, form, floats[1]));
        }
    }

    private static QnnForm WithSecond(OnnxGraph graph, NodeProto node, QnnForm form, string second)
    {
        var dequantize = graph.Producer(second) is { OpType: "DequantizeLinear" } d ? d : null;
        var constant = graph.Constant(second) is not null || (dequantize is not null && graph.Constant(dequantize.Input[0]) is not null);
        if (!Weighted.Contains(node.OpType) || !constant)
        {
            return form with { HasSecond = true, Second = TypeOf(graph, second) };
        }

        if (dequantize is null)
        {
            return form with { HasWeight = true };
        }

        var zeros = dequantize.Input.Count > 2 ? graph.Constant(dequantize.Input[2]) : null;
        var type = TypeOf(graph, second);
        var middle = type switch { DataType.Uint8 => 128f, DataType.Uint16 => 32768f, _ => 0f };
        return form with
        {
            HasWeight = true,
            Weight = type,
            PerChannel = graph.Constant(dequantize.Input[1])!.Dims.Count > 0,
            Symmetric = zeros is null || QuantCodes.Unpack(zeros).All(z => z == middle),
            Depthwise = node.Int("group", 1) is var group and > 1 && graph.Constant(dequantize.Input[0])!.Dims[1] == 1 && group == graph.Constant(dequantize.Input[0])!.Dims[0],
        };
    }

    private static DataType? TypeOf(OnnxGraph graph, string value) =>
        graph.Producer(value) is { OpType: "DequantizeLinear" } dequantize
            ? dequantize.Input.Count > 2 && graph.Constant(dequantize.Input[2]) is { } zero ? (DataType)zero.DataType
                : graph.Constant(dequantize.Input[0]) is { } codes ? (DataType)codes.DataType : DataType.Uint8
            : null;

    private static DataType? Output(OnnxGraph graph, string value) =>
        graph.Readers(value).FirstOrDefault(r => r.OpType == "QuantizeLinear") is { } quantize
            ? quantize.Input.Count > 2 && graph.Constant(quantize.Input[2]) is { } zero ? (DataType)zero.DataType : DataType.Uint8
            : null;

    private static bool HasMiddleZero(OnnxGraph graph, string value) =>
        graph.Readers(value).FirstOrDefault(r => r.OpType == "QuantizeLinear") is { Input.Count: > 2 } quantize && graph.Constant(quantize.Input[2]) is { } zero
        && QuantCodes.Unpack(zero) is [var code] && code == ((DataType)zero.DataType switch { DataType.Uint8 => 128f, DataType.Uint16 => 32768f, _ => 0f });
}
