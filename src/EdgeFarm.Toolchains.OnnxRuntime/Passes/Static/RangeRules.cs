using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>What is known about ranges without samples.</summary>
internal static class RangeRules
{
    /// <summary>
    /// Softmax gives 0 to 1; what Relu or Clip alone reads need not reach beyond their range; masks before Softmax are cut (<see cref="MaskRules"/>).
    /// </summary>
    public static Dictionary<string, TensorRange> Adjust(OnnxGraph graph, IEnumerable<NodeProto> nodes, IReadOnlyDictionary<string, TensorRange> ranges)
    {
        var adjusted = ranges.ToDictionary(StringComparer.Ordinal);
        var masks = new MaskRules(graph, ranges, adjusted);
        foreach (var node in nodes)
        {
            if (node.OpType is "Relu" or "Clip" && graph.Readers(node.Input[0]).Count == 1 && !graph.IsOutput(node.Input[0])
                && adjusted.ContainsKey(node.Input[0]) && adjusted.TryGetValue(node.Output[0], out var range))
            {
                adjusted[node.Input[0]] = range;
            }
            else if (node.OpType == "Softmax" && adjusted.ContainsKey(node.Output[0]))
            {
                adjusted[node.Output[0]] = new TensorRange(0, 1);
                masks.Cut(node);
            }
        }

        return adjusted;
    }
}
