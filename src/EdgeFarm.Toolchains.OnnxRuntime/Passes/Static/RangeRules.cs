using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>What is known about ranges without samples.</summary>
internal static class RangeRules
{
    // exp(-16) is below half a code of 16 bits: a score so far below another weighs nothing after Softmax.
    private const float Nothing = 16;

    /// <summary>
    /// Softmax gives 0 to 1; what Relu or Clip alone reads need not reach beyond their range; and a mask that is added to scores before
    /// Softmax need not be lower than what makes a score vanish: -10000 in the range would leave no codes for the scores themselves.
    /// </summary>
    public static Dictionary<string, TensorRange> Adjust(OnnxGraph graph, IEnumerable<NodeProto> nodes, IReadOnlyDictionary<string, TensorRange> ranges)
    {
        var adjusted = ranges.ToDictionary(StringComparer.Ordinal);
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
                CutMask(graph, node, adjusted);
            }
        }

        return adjusted;
    }

    private static void CutMask(OnnxGraph graph, NodeProto softmax, Dictionary<string, TensorRange> ranges)
    {
        var sum = softmax.Input[0];
        if (graph.Producer(sum) is not { OpType: "Add", Input.Count: 2 } add || !add.Input.All(ranges.ContainsKey) || !ranges.TryGetValue(sum, out var total)
            || graph.Readers(sum).Any(r => r.OpType != "Softmax"))
        {
            return;
        }

        var (scores, mask) = ranges[add.Input[0]].Min >= ranges[add.Input[1]].Min ? (ranges[add.Input[0]], add.Input[1]) : (ranges[add.Input[1]], add.Input[0]);
        var lowest = -(scores.Max - scores.Min) - Nothing;
        if (ranges[mask].Max > 0 || ranges[mask].Min >= lowest)
        {
            return;
        }

        // Only where all its readers add it to scores: elsewhere its true value may matter.
        if (graph.Readers(mask).All(r => r.OpType == "Add" && graph.Readers(r.Output[0]).All(s => s.OpType == "Softmax")))
        {
            CutBack(graph, mask, lowest, ranges);
        }

        ranges[sum] = new TensorRange(Math.Max(total.Min, scores.Min - Nothing), Math.Max(total.Max, 0));
    }

    // The mask is shared by all layers, and each needs at most its own depth: the deepest counts.
    private static void CutBack(OnnxGraph graph, string mask, float lowest, Dictionary<string, TensorRange> ranges)
    {
        var depth = lowest;
        foreach (var add in graph.Readers(mask))
        {
            var other = add.Input[0] == mask ? add.Input[1] : add.Input[0];
            if (ranges.TryGetValue(other, out var scores))
            {
                depth = Math.Min(depth, -(scores.Max - scores.Min) - Nothing);
            }
        }

        ranges[mask] = new TensorRange(Math.Max(ranges[mask].Min, depth), ranges[mask].Max);
    }
}
