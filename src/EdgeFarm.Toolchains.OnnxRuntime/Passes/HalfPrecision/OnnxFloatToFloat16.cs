using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.HalfPrecision;

/// <summary>
/// Converts a model to half precision (float16 or bfloat16). Weights are converted, values beyond float16's range are clamped; nodes
/// that are blocked, whose values overflow float16 on the samples, or for whose weights it has no numbers, stay float32 between Casts.
/// </summary>
public sealed class OnnxFloatToFloat16 : OnnxPass
{
    // Operators that have no float16 form in the standard, or whose float16 result is useless.
    private const string DefaultBlocked = "NonMaxSuppression,RoiAlign,Resize,Upsample,Range,CumSum,Min,Max,TopK,RandomUniform,RandomNormal,Multinomial,DynamicQuantizeLinear";

    /// <inheritdoc/>
    public override string Type => "OnnxFloatToFloat16";

    /// <inheritdoc/>
    public override string Summary => "weights and arithmetic in half precision";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("dtype", PassParameterKind.Choice, "float16", "half-precision type") { Choices = ["float16", "bfloat16"] },
        new("keep_io_types", PassParameterKind.Boolean, "true", "leave the model's inputs and outputs float32"),
        new("op_block_list", PassParameterKind.Names, DefaultBlocked, "operators that stay float32"),
        new("node_block_list", PassParameterKind.Names, "", "names of nodes that stay float32, * and ? allowed"),
        new("find_overflow", PassParameterKind.Boolean, "true", "run the model on samples and keep in float32 what leaves float16's range"),
    ];

    /// <inheritdoc/>
    internal override bool KeepsSignature(PassArguments arguments) => arguments.Flag("keep_io_types");

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        if (model.Graph.Node.Any(n => GraphOrder.Subgraphs(n).Any()) || model.Proto.Functions.Count > 0)
        {
            throw new FailureException(Failure.Unsupported("models with subgraphs (If, Loop, Scan) or functions of their own are not converted to half precision"));
        }

        GraphCleanup.ConstantsToInitializers(model);
        // Before weights are noted for the proof: what nothing reads is not in the result.
        GraphCleanup.RemoveDead(model);
        var half = arguments.Text("dtype") == "float16" ? DataType.Float16 : DataType.Bfloat16;
        // Version 22 let convolution, pooling and their like take bfloat16.
        if (half == DataType.Bfloat16 && OpsetUpgrade.Raise(model, 22) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        var notes = new List<string>();
        var blockedTypes = arguments.Names("op_block_list").ToHashSet(StringComparer.Ordinal);
        var blockedNames = new NodeFilter(null, [], arguments.Names("node_block_list"));
        var operators = new HalfOperators(model, half);
        var blocked = new Dictionary<NodeProto, string>();
        foreach (var node in model.Graph.Node)
        {
            if (blockedTypes.Contains(node.OpType) || node.Domain is not ("" or "ai.onnx" or "com.microsoft"))
            {
                blocked[node] = "operator stays float32";
            }
            else if (blockedNames.Refusal(node) is { } refusal)
            {
                blocked[node] = refusal;
            }
            else if (operators.Refusal(node) is { } impossible)
            {
                blocked[node] = impossible;
            }
        }

        KeepUnfit(model, half, blocked, tooLarge: arguments.Flag("find_overflow"));
        if (half == DataType.Float16 && arguments.Flag("find_overflow"))
        {
            FindOverflow(model, half, context, blocked, arguments.Flag("keep_io_types"), notes);
        }

        var converter = new HalfConverter(model, half, arguments.Flag("keep_io_types"), blocked.Keys.ToHashSet<NodeProto>(ReferenceEqualityComparer.Instance), context);
        converter.Run();
        if (converter.Changed.Count == 0)
        {
            throw new FailureException(Failure.Unsupported($"{Type} converted nothing: the model holds no float32 weights or arithmetic{Kept(blocked)}"));
        }

        if (converter.Clamped > 0)
        {
            notes.Add($"{converter.Clamped} values of weights lay beyond {(half == DataType.Float16 ? "±65504" : "its range")} and were clamped");
        }

        return new PassReport(
            Type, arguments.Values, converter.Changed, [.. blocked.Select(b => new SkippedOp(PassNodes.Label(b.Key), b.Key.OpType, b.Value))], notes);
    }

    private static string Kept(Dictionary<NodeProto, string> blocked) =>
        blocked.Count == 0 ? "" : $" but what stays float32: {string.Join("; ", blocked.Take(3).Select(b => $"{PassNodes.Label(b.Key)} ({b.Value})"))}{(blocked.Count > 3 ? $" and {blocked.Count - 3} more" : "")}";

    // Variances of a normalization can be so small that float16 has only zero for them, and a mask's constant so large that it is clamped.
    private static void KeepUnfit(OnnxModel model, DataType half, Dictionary<NodeProto, string> blocked, bool tooLarge)
    {
        var graph = new OnnxGraph(model);
        var reasons = new Dictionary<string, string?>(StringComparer.Ordinal);
        foreach (var node in model.Graph.Node.Where(n => !blocked.ContainsKey(n)))
        {
            foreach (var weight in node.Input.Select(graph.Constant).OfType<TensorProto>().Where(t => t.DataType == (int)DataType.Float))
            {
                if (!reasons.TryGetValue(weight.Name, out var reason))
                {
                    reasons[weight.Name] = reason = Unfit(weight, half, tooLarge);
                }

                if (reason is not null)
                {
                    blocked[node] = reason;
                    break;
                }
            }
        }
    }

    // Why the type cannot stand for a weight; null where it can.
    private static string? Unfit(TensorProto weight, DataType half, bool tooLarge)
    {
        var values = OnnxTensors.ToFloats(weight);
        var within = Array.ConvertAll(values, v => HalfCodes.Within(half, v));
        var restored = Array.ConvertAll(within, v => HalfCodes.Decode(half, HalfCodes.Encode(half, v)));
        return tooLarge && QuantizedWeight.Decibel(values, within) < HalfWeight.Floor(half) ? $"values of its weight '{weight.Name}' leave the range of {OnnxTensors.TypeName((int)half)}"
            : QuantizedWeight.Decibel(within, restored) < HalfWeight.Floor(half) ? $"{OnnxTensors.TypeName((int)half)} has no numbers as small as those of its weight '{weight.Name}'"
            : null;
    }

    private static void FindOverflow(OnnxModel model, DataType half, PassContext context, Dictionary<NodeProto, string> blocked, bool keepIo, List<string> notes)
    {
        var types = ElementTypes.Infer(model);
        var outputs = model.Graph.Node.SelectMany(n => n.Output).Where(o => types.GetValueOrDefault(o) == DataType.Float);
        try
        {
            using var calibrator = Calibrator.Create(model, outputs, 16, context);
            var ranges = calibrator.Ranges(new CalibrationSettings(CalibrationMethod.MinMax));
            foreach (var node in model.Graph.Node.Where(n => !blocked.ContainsKey(n)))
            {
                if (node.Output.Concat(node.Input).Any(Leaves))
                {
                    blocked[node] = "its values leave float16's range on the samples";
                }
            }

            foreach (var output in model.Graph.Output.Where(o => !keepIo && Leaves(o.Name)))
            {
                notes.Add($"output '{output.Name}' leaves float16's range on the samples, so infinities are in it; keep_io_types=true gives it as float32");
            }

            notes.Add($"looked for overflow on {calibrator.SampleCount} samples{(context.Calibration is null ? " of seeded random input" : "")}");

            bool Leaves(string value) => ranges.TryGetValue(value, out var range) && Math.Max(Math.Abs(range.Min), Math.Abs(range.Max)) > HalfCodes.Largest(half);
        }
        catch (FailureException e) when (e.Failure.Type == FailureType.InvalidInput && context.Calibration is null)
        {
            notes.Add($"overflow was not looked for, because no samples were given and none could be made: {e.Failure.Message}");
        }
    }
}
