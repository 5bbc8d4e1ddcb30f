using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.ModelFormats.Onnx.Graphs;

/// <summary>Rewrites that change no result: what every pass wants done before and after it.</summary>
public static class GraphCleanup
{
    /// <summary>
    /// Turns Constant nodes of the main graph into initializers, so that weights look the same whatever exported them. Text and sparse
    /// constants stay nodes. Initializers that are meant as constants leave the inputs first (<see cref="DropInitializersFromInputs"/>).
    /// </summary>
    /// <returns>Constants moved.</returns>
    public static int ConstantsToInitializers(OnnxModel model)
    {
        // Before the constants: they are listed nowhere, and whether all initializers are tells what was meant.
        DropInitializersFromInputs(model);
        var graph = model.Graph;
        var keep = new List<NodeProto>(graph.Node.Count);
        foreach (var node in graph.Node)
        {
            if (node.Is("Constant") && node.Output.Count == 1 && Value(node) is { } tensor)
            {
                tensor.Name = node.Output[0];
                graph.Initializer.Add(tensor);
            }
            else
            {
                keep.Add(node);
            }
        }

        var moved = graph.Node.Count - keep.Count;
        if (moved > 0)
        {
            graph.Node.Clear();
            graph.Node.AddRange(keep);
        }

        return moved;
    }

    /// <summary>
    /// Takes initializers out of the inputs where they are listed because IR version 3 wanted it, so that they are the constants that they
    /// were meant to be: in a model of that version, which becomes one of version 4, and in a newer one that an exporter still made so,
    /// which shows in that all its weights are listed. Where only some are, a caller is meant to replace them (adapters), and they stay.
    /// </summary>
    public static void DropInitializersFromInputs(OnnxModel model)
    {
        var names = model.Graph.Initializer.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        var listed = model.Graph.Input.Select(i => i.Name).Where(names.Contains).ToHashSet(StringComparer.Ordinal);
        if (model.Proto.IrVersion >= 4 && (listed.Count == 0 || model.Graph.Initializer.Any(t => IsFloat(t.DataType) && !listed.Contains(t.Name))))
        {
            return;
        }

        var inputs = model.Graph.Input.Where(i => !names.Contains(i.Name)).ToList();
        model.Graph.Input.Clear();
        model.Graph.Input.AddRange(inputs);
        model.Proto.IrVersion = Math.Max(model.Proto.IrVersion, 4);
    }

    /// <summary>Removes nodes and initializers that no output depends on, and type notes about values that are gone.</summary>
    /// <returns>Nodes removed.</returns>
    public static int RemoveDead(OnnxModel model)
    {
        var graph = model.Graph;
        var nodes = GraphOrder.Sort(graph.Node) ?? throw new InvalidOperationException("the graph is cyclic");
        var live = graph.Output.Select(o => o.Name).ToHashSet(StringComparer.Ordinal);
        var keep = new List<NodeProto>(nodes.Count);
        for (var i = nodes.Count - 1; i >= 0; i--)
        {
            if (nodes[i].Output.Any(o => o.Length > 0 && live.Contains(o)))
            {
                live.UnionWith(GraphOrder.Reads(nodes[i]));
                keep.Add(nodes[i]);
            }
        }

        keep.Reverse();
        var removed = graph.Node.Count - keep.Count;
        graph.Node.Clear();
        graph.Node.AddRange(keep);
        Retain(graph.Initializer, t => live.Contains(t.Name));
        var names = graph.Initializer.Select(t => t.Name).Concat(keep.SelectMany(n => n.Output)).ToHashSet(StringComparer.Ordinal);
        var inputs = graph.Input.Select(i => i.Name).ToHashSet(StringComparer.Ordinal);
        Retain(graph.ValueInfo, v => names.Contains(v.Name) && !inputs.Contains(v.Name));
        Retain(graph.QuantizationAnnotation, a => names.Contains(a.TensorName));
        return removed;
    }

    /// <summary>The constant that a Constant node holds; null for text, sparse and function-attribute forms.</summary>
    public static TensorProto? Value(NodeProto node)
    {
        if (node.Attribute.Count != 1 || node.Attribute[0].RefAttrName.Length > 0)
        {
            return null;
        }

        var attribute = node.Attribute[0];
        return attribute.Name switch
        {
            "value" when attribute.T is { } t && t.DataType != (int)TensorProto.Types.DataType.String => t,
            "value_float" => OnnxTensors.Scalar("", attribute.F),
            "value_floats" => OnnxTensors.Create("", [attribute.Floats.Count], attribute.Floats.ToArray()),
            "value_int" => OnnxTensors.Create("", [], (ReadOnlySpan<long>)[attribute.I]),
            "value_ints" => OnnxTensors.Create("", [attribute.Ints.Count], attribute.Ints.ToArray()),
            _ => null,
        };
    }

    private static bool IsFloat(int type) =>
        (TensorProto.Types.DataType)type is TensorProto.Types.DataType.Float or TensorProto.Types.DataType.Float16 or TensorProto.Types.DataType.Bfloat16
            or TensorProto.Types.DataType.Double;

    private static void Retain<T>(Google.Protobuf.Collections.RepeatedField<T> field, Predicate<T> keep)
    {
        var kept = field.Where(v => keep(v)).ToList();
        if (kept.Count != field.Count)
        {
            field.Clear();
            field.AddRange(kept);
        }
    }
}
