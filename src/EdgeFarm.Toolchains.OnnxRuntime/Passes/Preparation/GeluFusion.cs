using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Preparation;

/// <summary>Makes the standard's Gelu (operator set 20) of x / 2 * (1 + erf(x / sqrt 2)), in whatever order it is multiplied.</summary>
internal static class GeluFusion
{
    private const float Tolerance = 1e-4f;

    /// <summary>Rewrites every such pattern; dead nodes stay until they are removed.</summary>
    /// <returns>Patterns found.</returns>
    public static int Run(OnnxModel model)
    {
        var graph = new OnnxGraph(model);
        var replaced = new Dictionary<NodeProto, NodeProto>();
        foreach (var erf in model.Graph.Node.Where(n => n.Is("Erf")))
        {
            if (Argument(graph, erf) is { } x && Single(graph, erf) is { OpType: "Add" } add && Scalar(graph, Other(add, erf.Output[0])) is { } one && Near(one, 1) && Root(graph, add, x) is { } root)
            {
                replaced[root] = NodeAttributes.Create("Gelu", graph.UniqueName($"{root.Name}_gelu"), [x], [root.Output[0]]);
            }
        }

        graph.ReplaceNodes(model.Graph.Node.Select(n => replaced.GetValueOrDefault(n, n)));
        return replaced.Count;
    }

    // x, of erf(x / sqrt 2).
    private static string? Argument(OnnxGraph graph, NodeProto erf)
    {
        var scaled = graph.Producer(erf.Input[0]);
        if (scaled is { OpType: "Div", Input.Count: 2 } && Scalar(graph, scaled.Input[1]) is { } divisor && Near(divisor, MathF.Sqrt(2)))
        {
            return scaled.Input[0];
        }

        if (scaled is not { OpType: "Mul", Input.Count: 2 })
        {
            return null;
        }

        var constant = Scalar(graph, scaled.Input[0]) is null ? 1 : 0;
        return Scalar(graph, scaled.Input[constant]) is { } factor && Near(factor, MathF.Sqrt(0.5f)) ? scaled.Input[1 - constant] : null;
    }

    // The last multiplication of x, one half and 1 + erf.
    private static NodeProto? Root(OnnxGraph graph, NodeProto add, string x)
    {
        if (Single(graph, add) is not { OpType: "Mul" } first)
        {
            return null;
        }

        var other = Other(first, add.Output[0]);
        if (IsHalfOf(graph, other, x))
        {
            return first;
        }

        if (Single(graph, first) is not { OpType: "Mul" } second)
        {
            return null;
        }

        var last = Other(second, first.Output[0]);
        return (other == x && IsHalf(graph, last)) || (IsHalf(graph, other) && last == x) ? second : null;
    }

    private static bool IsHalfOf(OnnxGraph graph, string value, string x) => graph.Producer(value) switch
    {
        { OpType: "Mul", Input.Count: 2 } product => (product.Input[0] == x && IsHalf(graph, product.Input[1])) || (product.Input[1] == x && IsHalf(graph, product.Input[0])),
        { OpType: "Div", Input.Count: 2 } quotient => quotient.Input[0] == x && Scalar(graph, quotient.Input[1]) is { } two && Near(two, 2),
        _ => false,
    };

    private static bool IsHalf(OnnxGraph graph, string value) => Scalar(graph, value) is { } half && Near(half, 0.5f);

    private static NodeProto? Single(OnnxGraph graph, NodeProto node) =>
        graph.Readers(node.Output[0]) is [{ Input.Count: 2 } reader] && !graph.IsOutput(node.Output[0]) ? reader : null;

    private static string Other(NodeProto node, string input) => node.Input[0] == input ? node.Input[1] : node.Input[0];

    private static float? Scalar(OnnxGraph graph, string value) =>
        graph.Constant(value) is { DataType: (int)DataType.Float } tensor && OnnxTensors.ElementCount(tensor.Dims) == 1 ? OnnxTensors.Floats(tensor)[0] : null;

    private static bool Near(float value, float wanted) => Math.Abs(value - wanted) <= Tolerance * wanted;
}
