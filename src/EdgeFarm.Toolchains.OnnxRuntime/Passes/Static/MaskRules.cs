using System.Numerics.Tensors;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// Cuts masks of attention to what they need. A mask takes a score out of Softmax by a number like -10000 or float's lowest, added to it or
/// put in its place by Where. In the range of a quantized value such a number would leave no codes for the scores themselves, and it need
/// not be lower than what makes a score vanish.
/// </summary>
internal sealed class MaskRules(OnnxGraph graph, IReadOnlyDictionary<string, TensorRange> observed, Dictionary<string, TensorRange> adjusted)
{
    // exp(-16) is below half a code of 16 bits: a score so far below another weighs nothing after Softmax.
    private const float Nothing = 16;

    private static readonly HashSet<string> Movers = new(StringComparer.Ordinal) { "Expand", "Unsqueeze", "Squeeze", "Slice", "Reshape", "Transpose", "Identity", "Tile" };

    // What is lower than this takes scores out rather than weighing them.
    private const float Deep = -1000;

    /// <summary>Values whose bounds are wanted to cut masks, over those that the nodes themselves read and make: the scores that Where masks.</summary>
    public static IEnumerable<string> Wanted(OnnxGraph graph, IEnumerable<NodeProto> nodes)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var node in nodes.Where(n => n.OpType == "Softmax"))
        {
            var value = node.Input[0];
            if (graph.Producer(value) is { OpType: "Add" } add && add.Input.FirstOrDefault(i => graph.Producer(i)?.OpType == "Where") is { } masked)
            {
                value = masked;
            }

            if (graph.Producer(value) is { OpType: "Where", Input.Count: 3 } where)
            {
                names.UnionWith(where.Input.Skip(1).Where(i => graph.Constant(i) is null));
            }
        }

        return names;
    }

    /// <summary>Cuts what masks the scores of one Softmax.</summary>
    public void Cut(NodeProto softmax)
    {
        var value = softmax.Input[0];
        if (graph.IsOutput(value) || graph.Readers(value).Any(r => r.OpType != "Softmax"))
        {
            return;
        }

        if (graph.Producer(value) is { OpType: "Where" } where)
        {
            CutWhere(where, 0);
        }
        else if (graph.Producer(value) is { OpType: "Add", Input.Count: 2 } add)
        {
            CutAdd(add);
        }
    }

    // Scores that keep their place or are replaced by a constant. What is added to them afterwards spreads them further.
    private TensorRange? CutWhere(NodeProto where, float spread)
    {
        if (where.Input.Count != 3 || graph.Readers(where.Output[0]).Count != 1 || graph.IsOutput(where.Output[0]))
        {
            return null;
        }

        var mask = graph.Constant(where.Input[1]) is null ? 2 : 1;
        if (graph.Constant(where.Input[mask]) is not { } constant || graph.Constant(where.Input[3 - mask]) is not null
            || Bounds(where.Input[mask]) is not { } low || Bounds(where.Input[3 - mask]) is not { } scores || scores.Max <= scores.Min)
        {
            return null;
        }

        var lowest = scores.Min - spread - Nothing;
        if (low.Max > Math.Min(lowest, Deep))
        {
            return null;
        }

        where.Input[mask] = Raise(constant, lowest);
        return Adjust(where.Output[0], new TensorRange(lowest, scores.Max));
    }

    private void CutAdd(NodeProto add)
    {
        if (Scores(add, 0) is not { } first || Scores(add, 1) is not { } second)
        {
            return;
        }

        var position = first.Min >= second.Min ? 1 : 0;
        var (scores, mask) = position == 1 ? (first, second) : (second, first);
        if (mask.Max > 0 || mask.Min >= Depth(scores))
        {
            if (Bounds(add.Output[0]) is { } total)
            {
                // What Where had put in place of scores is gone from their sum, too.
                Adjust(add.Output[0], new TensorRange(Math.Max(total.Min, first.Min + second.Min), total.Max));
            }

            return;
        }

        var name = add.Input[position];
        if (graph.Constant(name) is { } constant)
        {
            add.Input[position] = Raise(constant, Depth(scores));
        }
        else if (graph.Readers(name).All(IsAddedToScores))
        {
            // Only where all its readers add it to scores: elsewhere its true value may matter. They share it, and the deepest counts.
            var depths = graph.Readers(name).Select(r => Bounds(r.Input[r.Input[0] == name ? 1 : 0])).OfType<TensorRange>().Select(Depth).Append(Depth(scores));
            CutBack(name, Math.Max(mask.Min, depths.Where(d => d > float.MinValue).Min()));
        }

        // The observed sum says nothing: a histogram over float's lowest number has all scores in one bin.
        Adjust(add.Output[0], new TensorRange(scores.Min - Nothing, Math.Max(scores.Max, 0)));
    }

    // A mask and what it is made of, as far up as nothing else reads it: Where of two constants, often behind operators that reshape it.
    private void CutBack(string name, float depth)
    {
        if (Bounds(name) is { } range)
        {
            Adjust(name, new TensorRange(Math.Max(range.Min, depth), range.Max));
        }

        if (graph.Producer(name) is not { } producer)
        {
            return;
        }

        for (var i = producer.OpType == "Where" ? 1 : 0; i < (producer.OpType == "Where" ? 3 : Movers.Contains(producer.OpType) ? 1 : 0); i++)
        {
            if (graph.Constant(producer.Input[i]) is not { } constant)
            {
                if (graph.Readers(producer.Input[i]).Count == 1 && !graph.IsOutput(producer.Input[i]))
                {
                    CutBack(producer.Input[i], depth);
                }
            }
            else if (Bounds(producer.Input[i]) is { } bounds && bounds.Min < depth)
            {
                producer.Input[i] = Raise(constant, depth);
            }
        }
    }

    // The range of one summand, its own mask cut.
    private TensorRange? Scores(NodeProto add, int input)
    {
        var other = Bounds(add.Input[1 - input]);
        var spread = other is not { } o || (o.Max <= 0 && o.Min <= Deep) ? 0 : o.Max - o.Min;
        return (graph.Producer(add.Input[input]) is { OpType: "Where" } where ? CutWhere(where, spread) : null) ?? Bounds(add.Input[input]);
    }

    private bool IsAddedToScores(NodeProto node) =>
        node.OpType == "Add" && !graph.IsOutput(node.Output[0]) && graph.Readers(node.Output[0]).All(r => r.OpType == "Softmax");

    private static float Depth(TensorRange scores) => -(scores.Max - scores.Min) - Nothing;

    private TensorRange? Bounds(string value)
    {
        // A choice of two constants is known without samples, and these may never have chosen one.
        if (graph.Producer(value) is { OpType: "Where", Input.Count: 3 } where && graph.Constant(where.Input[1]) is not null && graph.Constant(where.Input[2]) is not null
            && Bounds(where.Input[1]) is { } first && Bounds(where.Input[2]) is { } second)
        {
            return new TensorRange(Math.Min(first.Min, second.Min), Math.Max(first.Max, second.Max));
        }

        if (observed.TryGetValue(value, out var range))
        {
            return range;
        }

        if (graph.Constant(value) is not { DataType: (int)DataType.Float } tensor || OnnxTensors.ElementCount(tensor.Dims) is null or 0)
        {
            return null;
        }

        var values = OnnxTensors.Floats(tensor);
        return LinearQuantizer.IsFinite(values) ? new TensorRange(TensorPrimitives.Min(values), TensorPrimitives.Max(values)) : null;
    }

    private TensorRange Adjust(string value, TensorRange range)
    {
        if (adjusted.ContainsKey(value))
        {
            adjusted[value] = range;
        }

        return range;
    }

    // Each reader gets a copy of its own: the scores of another may need it deeper, or something else its true value.
    private string Raise(TensorProto constant, float lowest) => graph.AddInitializer(OnnxTensors.Create(
        graph.UniqueName($"{constant.Name}_cut"), [.. constant.Dims], Array.ConvertAll(OnnxTensors.ToFloats(constant), v => Math.Max(v, lowest))));
}
