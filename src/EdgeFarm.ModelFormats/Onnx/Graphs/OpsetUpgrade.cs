using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.AttributeProto.Types;

namespace EdgeFarm.ModelFormats.Onnx.Graphs;

/// <summary>
/// Rewrites a model for a newer version of the standard operator set, keeping every result. Covers what changed meaning or signature
/// between versions 7 and 22; everything else only gained types.
/// </summary>
public static class OpsetUpgrade
{
    /// <summary>The oldest version that is understood.</summary>
    public const long Oldest = 7;

    /// <summary>The newest version that can be asked for.</summary>
    public const long Newest = 22;

    // Reduce operators whose axes became an input in version 18 (ReduceSum's already had in 13).
    private static readonly HashSet<string> Reduces18 = new(StringComparer.Ordinal)
    {
        "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
    };

    /// <summary>Raises the model to at least <paramref name="target"/>; does nothing where it is there already.</summary>
    /// <returns>The version afterwards; Unsupported where a node cannot be carried over, and then the model must be thrown away.</returns>
    public static Outcome<long> Raise(OnnxModel model, long target)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(target, Newest);
        var from = model.Opset;
        if (from >= target)
        {
            return from;
        }

        if (from < Oldest)
        {
            return Failure.Unsupported($"the model uses operator set {from}; {Oldest} or newer is needed, export it again with a newer one");
        }

        if (model.Proto.Functions.Count > 0)
        {
            return Failure.Unsupported($"the model uses operator set {from} and has functions of its own, which are not upgraded; export it with operator set {target}");
        }

        GraphCleanup.DropInitializersFromInputs(model);
        try
        {
            RaiseGraph(model.Graph, from, target, new OnnxGraph(model));
        }
        catch (FailureException e)
        {
            return e.Failure;
        }

        model.RequireOpset("", target);
        // The IR version that came out with each operator set: a runtime refuses newer operators in an older envelope.
        var ir = target switch { >= 21 => 10, >= 19 => 9, >= 15 => 8, >= 13 => 7, >= 11 => 6, >= 10 => 5, _ => 4 };
        model.Proto.IrVersion = Math.Max(model.Proto.IrVersion, ir);
        return target;
    }

    private static void RaiseGraph(GraphProto graph, long from, long target, OnnxGraph index)
    {
        var result = new List<NodeProto>(graph.Node.Count);
        foreach (var node in graph.Node)
        {
            foreach (var body in GraphOrder.Subgraphs(node))
            {
                RaiseGraph(body, from, target, index);
            }

            if (node.Domain is "" or "ai.onnx")
            {
                new NodeUpgrade(graph, node, index, result).Run(from, target);
            }

            result.Add(node);
        }

        // Softmax's new neighbours stand before and after it.
        graph.Node.Clear();
        graph.Node.AddRange(GraphOrder.Sort(result)!);
    }

    private sealed class NodeUpgrade(GraphProto graph, NodeProto node, OnnxGraph index, List<NodeProto> extra)
    {
        public void Run(long from, long target)
        {
            for (var version = from + 1; version <= target; version++)
            {
                Step(version);
            }
        }

        private void Step(long version)
        {
            switch (version, node.OpType)
            {
                case (9, "Upsample"):
                    FloatsToInput("scales", 1);
                    break;
                case (9, "BatchNormalization") when node.Take("spatial") is { I: 0 }:
                    throw Refuse("spatial = 0 has no successor");
                case (10, "Upsample"):
                    node.OpType = "Resize";
                    break;
                case (10, "Slice"):
                    Slice();
                    break;
                case (10, "TopK"):
                    IntsToInput("k", 1);
                    break;
                case (11, "Resize"):
                    // Version 10 scaled coordinates by division and rounded down.
                    // The region is of no use in this mode, but may be left out only since version 13.
                    node.Input.Insert(1, "");
                    SetInput(1, OnnxTensors.Create("", [0], Array.Empty<float>()));
                    node.With("coordinate_transformation_mode", "asymmetric").With("nearest_mode", "floor");
                    break;
                case (11, "Pad"):
                    IntsToInput("pads", 1);
                    if (node.Take("value") is { F: not 0 } value)
                    {
                        SetInput(2, OnnxTensors.Scalar("", value.F));
                    }

                    break;
                case (11, "Clip"):
                    Clip();
                    break;
                case (12, "Dropout"):
                    // Ratio matters in training only.
                    node.Take("ratio");
                    break;
                case (13, "Softmax" or "LogSoftmax" or "Hardmax"):
                    Softmax();
                    break;
                case (13, "Squeeze" or "Unsqueeze" or "ReduceSum"):
                    IntsToInput("axes", 1);
                    break;
                case (13, "Split"):
                    IntsToInput("split", 1);
                    break;
                case (14, "BatchNormalization") when node.Output.Count(o => o.Length > 0) > 1:
                    throw Refuse("its training outputs have no successor");
                case (16, "RoiAlign"):
                    node.With("coordinate_transformation_mode", "output_half_pixel");
                    break;
                case (18, "Split") when node.Input.Count < 2 || node.Input[1].Length == 0:
                    node.With("num_outputs", node.Output.Count);
                    break;
                case (18, var reduce) when Reduces18.Contains(reduce):
                    IntsToInput("axes", 1);
                    break;
                case (20, "GridSample"):
                    node.With("mode", node.Text("mode", "bilinear") switch { "bilinear" => "linear", "bicubic" => "cubic", var mode => mode });
                    break;
                case (21, "GroupNormalization"):
                    throw Refuse("its scale and bias changed from groups to channels");
                default:
                    break;
            }
        }

        private void Slice()
        {
            var axes = node.Take("axes");
            IntsToInput("starts", 1);
            IntsToInput("ends", 2);
            if (axes is not null)
            {
                SetInput(3, OnnxTensors.Create("", [axes.Ints.Count], axes.Ints.ToArray()));
            }
        }

        private void Clip()
        {
            var (min, max) = (node.Take("min"), node.Take("max"));
            if (min is not null)
            {
                SetInput(1, OnnxTensors.Scalar("", min.F));
            }

            if (max is not null)
            {
                SetInput(2, OnnxTensors.Scalar("", max.F));
            }
        }

        // Before version 13 everything from the axis on was one dimension; since then the axis is one dimension alone. The same where
        // it is the last one, otherwise the flattening has to be written out.
        private void Softmax()
        {
            var axis = node.Int("axis", 1);
            var rank = index.TypeOf(node.Input[0])?.Dims.Length ?? index.TypeOf(node.Output[0])?.Dims.Length;
            if (axis == -1 || (rank is { } known && axis == known - 1))
            {
                node.With("axis", axis);
                return;
            }

            var (input, output) = (node.Input[0], node.Output[0]);
            var (shape, flat, soft) = (index.UniqueName($"{output}_shape"), index.UniqueName($"{output}_flat"), index.UniqueName($"{output}_soft"));
            extra.Add(NodeAttributes.Create("Shape", index.UniqueName($"{node.Name}_Shape"), [input], [shape]));
            extra.Add(NodeAttributes.Create("Flatten", index.UniqueName($"{node.Name}_Flatten"), [input], [flat]).With("axis", axis));
            extra.Add(NodeAttributes.Create("Reshape", index.UniqueName($"{node.Name}_Reshape"), [soft, shape], [output]));
            node.Input[0] = flat;
            node.Output[0] = soft;
            node.With("axis", -1L);
        }

        private void IntsToInput(string name, int position)
        {
            if (node.Take(name) is { } attribute)
            {
                long[] values = attribute.Type == AttributeType.Int || (attribute.HasI && attribute.Ints.Count == 0) ? [attribute.I] : [.. attribute.Ints];
                SetInput(position, OnnxTensors.Create("", [values.Length], values));
            }
        }

        private void FloatsToInput(string name, int position)
        {
            if (node.Take(name) is { } attribute)
            {
                SetInput(position, OnnxTensors.Create("", [attribute.Floats.Count], attribute.Floats.ToArray()));
            }
        }

        private void SetInput(int position, TensorProto tensor)
        {
            tensor.Name = index.UniqueName($"{(node.Output.Count > 0 ? node.Output[0] : node.Name)}_in{position}");
            graph.Initializer.Add(tensor);
            while (node.Input.Count <= position)
            {
                node.Input.Add("");
            }

            node.Input[position] = tensor.Name;
        }

        private FailureException Refuse(string why) => new(Failure.Unsupported(
            $"{node.OpType} '{OnnxText.Clip(node.Name)}' cannot be carried to a newer operator set: {why}"));
    }
}
