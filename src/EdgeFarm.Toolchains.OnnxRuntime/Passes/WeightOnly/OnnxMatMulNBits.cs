using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.WeightOnly;

/// <summary>
/// Weight-only quantization in blocks: MatMul and Gemm with constant weights become MatMulNBits, embedding tables
/// GatherBlockQuantized. Activations stay floating point. Round-to-nearest weights are those of ONNX Runtime's own quantizer.
/// </summary>
public sealed class OnnxMatMulNBits : OnnxPass
{
    // The first operator set with 4-bit tensors, which GatherBlockQuantized reads.
    private const long TableOpset = 21;

    /// <inheritdoc/>
    public override string Type => "OnnxMatMulNBits";

    /// <inheritdoc/>
    public override string Summary => "weights in blocks of 2, 4 or 8 bits (RTN or HQQ), activations in floating point";

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("bits", PassParameterKind.Integer, "4", "bits of a weight") { Minimum = 2, Maximum = 8, Choices = ["2", "4", "8"] },
        new("block_size", PassParameterKind.Integer, "32", "weights that share a scale") { Minimum = 16, Maximum = 256, Choices = ["16", "32", "64", "128", "256"] },
        new("is_symmetric", PassParameterKind.Boolean, "true", "no zero points"),
        new("algorithm", PassParameterKind.Choice, "rtn", "rtn rounds to the nearest code, hqq optimizes zero points (slower to run)") { Choices = ["rtn", "hqq"] },
        new("accuracy_level", PassParameterKind.Integer, "4", "how activations are multiplied: 0 as the runtime likes, 1 float32, 4 int8") { Minimum = 0, Maximum = 4 },
        new("op_types_to_quantize", PassParameterKind.Names, "MatMul,Gemm", "operators to quantize") { Choices = ["MatMul", "Gemm", "Gather"] },
        .. CommonParameters.Nodes,
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var notes = new List<string>();
        if (GraphCleanup.ConstantsToInitializers(model) is var moved and > 0)
        {
            notes.Add($"{moved} Constant nodes became initializers");
        }

        GraphCleanup.DropInitializersFromInputs(model);
        var types = arguments.Names("op_types_to_quantize");
        if (arguments.Integer("bits") == 2 && types.Contains("Gather"))
        {
            throw new FailureException(Failure.Unsupported("GatherBlockQuantized has no 2-bit form; leave Gather out of op_types_to_quantize or take 4 bits"));
        }

        var before = model.Opset;
        if (types.Contains("Gather") && OpsetUpgrade.Raise(model, TableOpset) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        if (model.Opset != before)
        {
            notes.Add($"operator set raised from {before} to {model.Opset}");
        }

        var filter = CommonParameters.Filter(arguments);
        var rewriter = new BlockRewriter(model, arguments, context, filter);
        rewriter.Run();
        if (rewriter.Changed.Count == 0)
        {
            throw PassNodes.Nothing(Type, string.Join(" or ", types), rewriter.Skipped);
        }

        model.RequireOpset("com.microsoft", 1);
        GraphCleanup.RemoveDead(model);
        return new PassReport(Type, arguments.Values, rewriter.Changed, rewriter.Skipped, notes);
    }
}
