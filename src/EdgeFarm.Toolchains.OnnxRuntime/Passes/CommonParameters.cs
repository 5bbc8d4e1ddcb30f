using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>Parameters that mean the same in every pass.</summary>
internal static class CommonParameters
{
    /// <summary>Which nodes are changed, by name.</summary>
    public static IReadOnlyList<PassParameter> Nodes { get; } =
    [
        new("nodes_to_quantize", PassParameterKind.Names, "", "names of the only nodes to quantize, * and ? allowed; empty for all"),
        new("nodes_to_exclude", PassParameterKind.Names, "", "names of nodes to leave alone, * and ? allowed"),
    ];

    /// <summary>The filter that <see cref="Nodes"/> and <c>op_types_to_quantize</c> give.</summary>
    public static NodeFilter Filter(PassArguments arguments) =>
        new(arguments.Names("op_types_to_quantize"), arguments.Names("nodes_to_quantize"), arguments.Names("nodes_to_exclude"));

    private const string SubgraphsName = "enable_subgraph";

    /// <summary>Whether nodes inside If, Loop and Scan are changed, too.</summary>
    public static PassParameter Subgraphs(string byDefault) =>
        new(SubgraphsName, PassParameterKind.Boolean, byDefault, "also what is inside If, Loop and Scan");

    /// <summary>
    /// The graphs to rewrite, one after another: the main one, and with <see cref="Subgraphs"/> every body. Each is indexed when its turn
    /// comes, so that names taken before are known.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="arguments">The pass's parameters.</param>
    /// <param name="notes">Takes what became of the bodies.</param>
    /// <param name="refusal">Why bodies cannot be changed whatever the parameter says; null where they can.</param>
    public static IEnumerable<OnnxGraph> Graphs(OnnxModel model, PassArguments arguments, List<string> notes, string? refusal = null)
    {
        var bodies = new List<IReadOnlyList<ModelFormats.Onnx.Proto.GraphProto>>();
        if (!arguments.Flag(SubgraphsName) || refusal is not null)
        {
            if (model.Graph.Node.Any(n => GraphOrder.Subgraphs(n).Any()))
            {
                notes.Add($"nodes inside If, Loop and Scan stay as they are; {refusal ?? $"{SubgraphsName}=true changes them, too"}");
            }
        }
        else
        {
            if (GraphBodies.LiftWeights(model) is var moved and > 0)
            {
                notes.Add($"{moved} weights inside If, Loop and Scan moved to the main graph");
            }

            bodies = [.. GraphBodies.Of(model.Graph)];
        }

        return bodies.Prepend([]).Select(scopes => new OnnxGraph(model, scopes));
    }
}
