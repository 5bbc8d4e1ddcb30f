using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Preparation;

/// <summary>
/// Moves outliers of activations into weights before static quantization (Xiao et al., "SmoothQuant", 2022): what a multiplication reads
/// is divided, channel by channel, by s = max|x|^alpha / max|w|^(1 - alpha), and its weight multiplied by it. The division goes into the
/// layer normalization that makes the value where nothing else reads it, else it is a Mul of its own. Results stay what they were up to
/// rounding, and are checked to.
/// </summary>
public sealed class OnnxSmoothQuant : OnnxPass
{
    private const float Least = 1e-5f;

    /// <inheritdoc/>
    public override string Type => "OnnxSmoothQuant";

    /// <inheritdoc/>
    public override string Summary => "evens out activation outliers between activations and weights before static quantization";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("alpha", PassParameterKind.Number, "0.5", "how much of the outliers goes into the weights: 0 none, 1 all") { Minimum = 0, Maximum = 1 },
        new("max_samples", PassParameterKind.Integer, "0", "most calibration samples; 0 for all") { Minimum = 0, Maximum = int.MaxValue },
        .. CommonParameters.Nodes,
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        GraphCleanup.ConstantsToInitializers(model);
        var filter = new NodeFilter(["MatMul", "Gemm"], arguments.Names("nodes_to_quantize"), arguments.Names("nodes_to_exclude"));
        var graph = new OnnxGraph(model);
        var skipped = new List<SkippedOp>();
        var groups = new Dictionary<string, List<NodeProto>>(StringComparer.Ordinal);
        foreach (var node in GraphOrder.Sort(model.Graph.Node)!.Where(n => n.Domain is "" or "ai.onnx" && filter.HasType(n)))
        {
            if ((filter.Refusal(node) ?? Refusal(graph, node)) is { } refusal)
            {
                skipped.Add(new SkippedOp(PassNodes.Label(node), node.OpType, refusal));
            }
            else
            {
                (groups.TryGetValue(node.Input[0], out var group) ? group : groups[node.Input[0]] = []).Add(node);
            }
        }

        if (groups.Count == 0)
        {
            throw PassNodes.Nothing(Type, "MatMul or Gemm", skipped, model);
        }

        using var original = model.CopySharingWeights();
        OutputJudge judge;
        Dictionary<string, float[]> peaks;
        using (var calibrator = Calibrator.Create(model, groups.Keys.Concat(model.Graph.Output.Select(o => o.Name)), arguments.Integer("max_samples"), context))
        {
            judge = OutputJudge.Capture(model, calibrator, 4, context);
            peaks = Peaks(calibrator, [.. groups.Keys.Where(calibrator.Tensors.Contains)]);
        }

        var nodes = new List<NodeProto>();
        var changed = new List<ChangedOp>();
        var folded = 0;
        foreach (var (value, readers) in groups.Where(g => peaks.ContainsKey(g.Key)))
        {
            var divisor = Divisor(graph, peaks[value], readers, (float)arguments.Number("alpha"));
            var inNormalization = Fold(graph, value, readers, divisor);
            folded += inNormalization ? 1 : 0;
            var source = inNormalization ? value : Multiply(graph, value, divisor, nodes);
            foreach (var reader in readers)
            {
                reader.Input[0] = source;
                reader.Input[1] = Scale(graph, reader, divisor);
                changed.Add(new ChangedOp(PassNodes.Label(reader), reader.OpType, inNormalization ? "evened out in the layer normalization before it" : "evened out by a Mul before it"));
            }
        }

        graph.ReplaceNodes(GraphOrder.Sort([.. model.Graph.Node, .. nodes])!);
        GraphCleanup.RemoveDead(model);
        var notes = new List<string> { $"{groups.Count} values were evened out, {folded} of them in the layer normalization that makes them" };
        judge.RequireSame(Type, original, model, notes);
        return new PassReport(Type, arguments.Values, changed, skipped, notes)
        {
            Synthetic = context.Calibration?.Synthetic ?? true,
            Warnings = context.Calibration is null ? ["calibrated on random input, because no calibration data was given: its outliers are not those of real input"] : [],
        };
    }

    private static string? Refusal(OnnxGraph graph, NodeProto node) =>
        graph.Constant(node.Input[1]) is not { } weight ? "its weight is not a constant"
        : weight.DataType != (int)DataType.Float || weight.Dims.Count != 2 ? "its weight is no float matrix"
        : node.OpType == "Gemm" && node.Int("transA", 0) != 0 ? "transA is not the default"
        : null;

    private static Dictionary<string, float[]> Peaks(Calibrator calibrator, List<string> values)
    {
        var peaks = new Dictionary<string, float[]>(StringComparer.Ordinal);
        calibrator.Visit(values, (_, t, shape, data) =>
        {
            var width = (int)shape[^1];
            if (!peaks.TryGetValue(values[t], out var peak))
            {
                peaks[values[t]] = peak = new float[width];
            }

            for (var at = 0; at < data.Length; at += width)
            {
                System.Numerics.Tensors.TensorPrimitives.MaxMagnitude(data.Slice(at, width), peak, peak);
            }
        });
        foreach (var peak in peaks.Values)
        {
            System.Numerics.Tensors.TensorPrimitives.Abs(peak, peak);
        }

        return peaks;
    }

    private static float[] Divisor(OnnxGraph graph, float[] peak, List<NodeProto> readers, float alpha)
    {
        var weights = new float[peak.Length];
        foreach (var reader in readers)
        {
            var tensor = graph.Constant(reader.Input[1])!;
            var values = OnnxTensors.Floats(tensor);
            var columns = (int)tensor.Dims[1];
            var rowsAreOutputs = reader.Int("transB", 0) != 0;
            for (var i = 0; i < values.Length; i++)
            {
                var channel = rowsAreOutputs ? i % columns : i / columns;
                weights[channel] = Math.Max(weights[channel], Math.Abs(values[i]));
            }
        }

        // A channel that is never used, or whose weights are 0, needs nothing.
        return [.. peak.Zip(weights, (x, w) => x < Least || w < Least ? 1 : Math.Max(Least, MathF.Pow(x, alpha) / MathF.Pow(w, 1 - alpha)))];
    }

    // gamma and beta are divided instead of the value, where only these multiplications read it.
    private static bool Fold(OnnxGraph graph, string value, List<NodeProto> readers, float[] divisor)
    {
        if (graph.Producer(value) is not { OpType: "LayerNormalization" } norm || graph.IsOutput(value) || graph.Readers(value).Count != readers.Count
            || norm.Input.Skip(1).Any(i => i.Length == 0 || graph.Constant(i) is not { DataType: (int)DataType.Float } tensor || OnnxTensors.ElementCount(tensor.Dims) != divisor.Length))
        {
            return false;
        }

        for (var input = 1; input < norm.Input.Count; input++)
        {
            var tensor = graph.Constant(norm.Input[input])!;
            var values = OnnxTensors.ToFloats(tensor);
            System.Numerics.Tensors.TensorPrimitives.Divide(values, divisor, values);
            norm.Input[input] = graph.AddInitializer(OnnxTensors.Create(graph.UniqueName($"{tensor.Name}_smooth"), [.. tensor.Dims], values));
        }

        return true;
    }

    private static string Multiply(OnnxGraph graph, string value, float[] divisor, List<NodeProto> nodes)
    {
        var factor = graph.AddInitializer(OnnxTensors.Create(graph.UniqueName($"{value}_smooth_factor"), [divisor.Length], Array.ConvertAll(divisor, d => 1 / d)));
        var output = graph.UniqueName($"{value}_smooth");
        nodes.Add(NodeAttributes.Create("Mul", graph.UniqueName($"{value}_smooth_mul"), [value, factor], [output]));
        return output;
    }

    private static string Scale(OnnxGraph graph, NodeProto reader, float[] divisor)
    {
        var tensor = graph.Constant(reader.Input[1])!;
        var values = OnnxTensors.ToFloats(tensor);
        var columns = (int)tensor.Dims[1];
        var rowsAreOutputs = reader.Int("transB", 0) != 0;
        for (var i = 0; i < values.Length; i++)
        {
            values[i] *= divisor[rowsAreOutputs ? i % columns : i / columns];
        }

        return graph.AddInitializer(OnnxTensors.Create(graph.UniqueName($"{tensor.Name}_smooth"), [.. tensor.Dims], values));
    }
}
