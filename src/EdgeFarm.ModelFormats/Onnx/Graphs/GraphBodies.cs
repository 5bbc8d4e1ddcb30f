using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.ModelFormats.Onnx.Graphs;

/// <summary>The bodies of If, Loop and Scan as graphs that passes can rewrite.</summary>
public static class GraphBodies
{
    /// <summary>Every body under a graph, with the bodies around it: innermost first, the graph itself not among them. Outer bodies come before what they hold.</summary>
    public static IEnumerable<IReadOnlyList<GraphProto>> Of(GraphProto graph) => Under(graph, []);

    /// <summary>
    /// Moves float weights (two dimensions or more) that a body holds, as initializers or Constant nodes, into the main graph, where
    /// passes look for them and every body can read them. Names that a model uses more than once become new ones.
    /// </summary>
    /// <returns>Weights moved.</returns>
    public static int LiftWeights(OnnxModel model)
    {
        var bodies = Of(model.Graph).Select(b => b[0]).ToList();
        if (bodies.Count == 0)
        {
            return 0;
        }

        // In branches of one If the same name stands for different values.
        var uses = bodies.Append(model.Graph).SelectMany(Defined).GroupBy(n => n, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.Count(), StringComparer.Ordinal);
        var names = new OnnxGraph(model);
        var moved = 0;
        foreach (var body in bodies)
        {
            var bound = body.Output.Select(o => o.Name).Concat(body.Input.Select(i => i.Name)).ToHashSet(StringComparer.Ordinal);
            foreach (var (node, weight) in body.Node.Select(n => (Node: (NodeProto?)n, Weight: Held(n))).Concat(body.Initializer.Select(t => ((NodeProto?)null, (TensorProto?)t))).ToList())
            {
                var name = node?.Output[0] ?? weight?.Name ?? "";
                if (weight is not { DataType: (int)DataType.Float, Dims.Count: >= 2 } || bound.Contains(name))
                {
                    continue;
                }

                // By reference: protobuf would compare the contents of all that stand before.
                RemoveSame(body.Node, node);
                RemoveSame(body.Initializer, weight);
                RemoveSame(body.ValueInfo, body.ValueInfo.FirstOrDefault(v => v.Name == name));
                weight.Name = name;
                if (uses[name] > 1)
                {
                    weight.Name = names.UniqueName($"{name}_{body.Name}");
                    Rename(body, name, weight.Name);
                }

                model.Graph.Initializer.Add(weight);
                moved++;
            }
        }

        return moved;
    }

    /// <summary>The names that a graph itself gives to values, its bodies' not among them.</summary>
    internal static IEnumerable<string> Defined(GraphProto graph) =>
        graph.Initializer.Select(t => t.Name).Concat(graph.Input.Select(i => i.Name)).Concat(graph.Node.SelectMany(n => n.Output)).Where(n => n.Length > 0);

    private static IEnumerable<IReadOnlyList<GraphProto>> Under(GraphProto graph, IReadOnlyList<GraphProto> around) =>
        graph.Node.SelectMany(GraphOrder.Subgraphs).SelectMany(body =>
        {
            IReadOnlyList<GraphProto> scopes = [body, .. around];
            return Under(body, scopes).Prepend(scopes);
        });

    private static TensorProto? Held(NodeProto node) => node.Is("Constant") && node.Output.Count == 1 ? GraphCleanup.Value(node) : null;

    private static void RemoveSame<T>(Google.Protobuf.Collections.RepeatedField<T> field, T? item) where T : class
    {
        for (var i = field.Count - 1; item is not null && i >= 0; i--)
        {
            if (ReferenceEquals(field[i], item))
            {
                field.RemoveAt(i);
            }
        }
    }

    private static void Rename(GraphProto graph, string name, string other)
    {
        foreach (var node in graph.Node)
        {
            for (var i = 0; i < node.Input.Count; i++)
            {
                node.Input[i] = node.Input[i] == name ? other : node.Input[i];
            }

            foreach (var body in GraphOrder.Subgraphs(node).Where(b => !Defined(b).Contains(name, StringComparer.Ordinal)))
            {
                Rename(body, name, other);
                foreach (var output in body.Output.Where(o => o.Name == name))
                {
                    output.Name = other;
                }
            }
        }
    }
}
