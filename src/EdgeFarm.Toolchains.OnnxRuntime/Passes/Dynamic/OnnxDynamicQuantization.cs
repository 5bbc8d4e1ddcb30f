using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Dynamic;

/// <summary>
/// Dynamic INT8: weights are quantized now, activations (always uint8) when the model runs. Weights, scales and zero points are those
/// of ONNX Runtime's own quantizer. MatMul and Gemm become MatMulInteger, embedding tables (Gather) are stored as uint8, LSTM becomes
/// DynamicQuantizeLSTM, ONNX Runtime's fused Attention QAttention, and Conv becomes ConvInteger where it is asked for: on CPUs that seldom
/// pays.
/// </summary>
public sealed class OnnxDynamicQuantization : OnnxPass
{
    /// <summary>The operator set of ONNX Runtime's own operators.</summary>
    internal const string Microsoft = "com.microsoft";

    /// <summary>MatMulInteger came with 10, DynamicQuantizeLinear with 11.</summary>
    private const long NeededOpset = 11;

    /// <inheritdoc/>
    public override string Type => "OnnxDynamicQuantization";

    /// <inheritdoc/>
    public override string Summary => "INT8 weights now, INT8 activations at run time; needs no calibration data";

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("weight_type", PassParameterKind.Choice, "int8", "type of the weights; int8 is symmetric, uint8 is not")
        {
            Choices = ["int8", "uint8"],
            Aliases = new Dictionary<string, string> { ["QInt8"] = "int8", ["QUInt8"] = "uint8" },
        },
        new("per_channel", PassParameterKind.Boolean, "false", "one scale per output channel instead of one per tensor"),
        new("reduce_range", PassParameterKind.Boolean, "false", "7-bit weights: avoids saturation on CPUs without VNNI"),
        new("op_types_to_quantize", PassParameterKind.Names, "MatMul,Gemm,Gather,LSTM,Attention", "operators to quantize") { Choices = ["MatMul", "Gemm", "Gather", "LSTM", "Attention", "Conv"] },
        .. CommonParameters.Nodes,
        CommonParameters.Subgraphs("false"),
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var notes = new List<string>();
        if (GraphCleanup.ConstantsToInitializers(model) is var moved and > 0)
        {
            notes.Add($"{moved} Constant nodes became initializers");
        }

        var before = model.Opset;
        if (OpsetUpgrade.Raise(model, NeededOpset) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        if (model.Opset != before)
        {
            notes.Add($"operator set raised from {before} to {model.Opset}");
        }

        var filter = CommonParameters.Filter(arguments);
        var weights = new WeightStore(arguments, context);
        var (changed, skipped) = (new List<ChangedOp>(), new List<SkippedOp>());
        foreach (var graph in CommonParameters.Graphs(model, arguments, notes))
        {
            var rewriter = new DynamicRewriter(graph, weights, context, filter);
            rewriter.Run();
            changed.AddRange(rewriter.Changed);
            skipped.AddRange(rewriter.Skipped);
        }

        if (changed.Count == 0)
        {
            throw PassNodes.Nothing(Type, string.Join(" or ", arguments.Names("op_types_to_quantize")), skipped, model);
        }

        if (changed.Any(c => c.OpType is "LSTM" or "Attention"))
        {
            model.RequireOpset(Microsoft, 1);
        }

        GraphCleanup.RemoveDead(model);
        return new PassReport(Type, arguments.Values, changed, skipped, notes);
    }
}
