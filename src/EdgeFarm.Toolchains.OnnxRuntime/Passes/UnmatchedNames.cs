using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>
/// Names that a user wrote and a model does not have. They are warnings, because one recipe serves many models; without them a misspelt
/// name gives a form that looks as if it had been heeded.
/// </summary>
internal static class UnmatchedNames
{
    private const int MostNamed = 5;

    private static readonly HashSet<string> OfNodes = new(StringComparer.Ordinal) { "nodes_to_quantize", "nodes_to_exclude", "node_block_list" };

    /// <summary>A warning for each pattern of <paramref name="arguments"/> that nothing in the model fits.</summary>
    public static IReadOnlyList<string> Of(OnnxModel model, IReadOnlyList<PassParameter> parameters, PassArguments arguments)
    {
        var warnings = new List<string>();
        foreach (var parameter in parameters)
        {
            if (OfNodes.Contains(parameter.Name))
            {
                Add(parameter.Name, arguments.Names(parameter.Name), "node", () => [.. Nodes(model).Where(n => n.OpType != "Constant").Select(PassNodes.Label)]);
            }
            else if (parameter.Name == "tensor_types")
            {
                Add(parameter.Name, [.. arguments.Names(parameter.Name).Select(p => p[..Math.Max(0, p.LastIndexOf('='))])], "tensor", () => Tensors(model));
            }
        }

        return warnings;

        void Add(string parameter, IReadOnlyList<string> patterns, string what, Func<IReadOnlyCollection<string>> all)
        {
            if (patterns.Count == 0)
            {
                return;
            }

            var names = all();
            foreach (var pattern in patterns.Select(p => (Text: p, Regex: NodeFilter.Pattern(p))).Where(p => !names.Any(p.Regex.IsMatch)).Select(p => p.Text))
            {
                warnings.Add($"{parameter}: no {what} of the model is called '{pattern}'; it has {string.Join(", ", names.Take(MostNamed))}{(names.Count > MostNamed ? $" and {names.Count - MostNamed} others" : "")}");
            }
        }
    }

    private static IEnumerable<NodeProto> Nodes(OnnxModel model) => model.Graph.Node.Concat(GraphBodies.Of(model.Graph).SelectMany(b => b[0].Node));

    private static SortedSet<string> Tensors(OnnxModel model) => new(
        model.Graph.Input.Select(i => i.Name).Concat(model.Graph.Initializer.Select(i => i.Name)).Concat(Nodes(model).SelectMany(n => n.Output)).Where(n => n.Length > 0),
        StringComparer.Ordinal);
}
