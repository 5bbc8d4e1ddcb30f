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

    private const string OuterWeights = "ONNX Runtime loads no DequantizeLinear there whose weight stands outside, so quant_format QDQ is for the main graph";

    /// <inheritdoc/>
    public override string Type => "OnnxMatMulNBits";

    /// <inheritdoc/>
    public override string Summary => "weights in blocks of 2, 4 or 8 bits (RTN, HQQ, k-quant or GPTQ), activations in floating point";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("bits", PassParameterKind.Integer, "4", "bits of a weight") { Minimum = 2, Maximum = 8, Choices = ["2", "4", "8"] },
        new("block_size", PassParameterKind.Integer, "32", "weights that share a scale") { Minimum = 16, Maximum = 256, Choices = ["16", "32", "64", "128", "256"] },
        new("is_symmetric", PassParameterKind.Boolean, "true", "no zero points"),
        new("algorithm", PassParameterKind.Choice, "rtn", "rtn rounds to the nearest code; hqq optimizes zero points (slower to run); k_quant fits scales and zero points by least squares; gptq spreads the rounding error over calibration samples")
        {
            Choices = ["rtn", "hqq", "k_quant", "gptq"],
        },
        new("damping", PassParameterKind.Number, "0.01", "share of the mean that gptq adds to the diagonal of the inputs' second moment") { Minimum = 1e-6, Maximum = 1 },
        new("max_samples", PassParameterKind.Integer, "0", "most calibration samples for gptq; 0 for all") { Minimum = 0, Maximum = int.MaxValue },
        new("quant_format", PassParameterKind.Choice, "QOperator", "QOperator writes MatMulNBits, QDQ the standard's DequantizeLinear in blocks (4 and 8 bits, operator set 21)") { Choices = ["QOperator", "QDQ"] },
        new("accuracy_level", PassParameterKind.Integer, "4", "how activations are multiplied: 0 as the runtime likes, 1 float32, 4 int8") { Minimum = 0, Maximum = 4 },
        new("op_types_to_quantize", PassParameterKind.Names, "MatMul,Gemm", "operators to quantize") { Choices = ["MatMul", "Gemm", "Gather"] },
        .. CommonParameters.Nodes,
        CommonParameters.Subgraphs("true"),
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var notes = new List<string>();
        if (GraphCleanup.ConstantsToInitializers(model) is var moved and > 0)
        {
            notes.Add($"{moved} Constant nodes became initializers");
        }

        var types = arguments.Names("op_types_to_quantize");
        if (arguments.Integer("bits") == 2 && types.Contains("Gather"))
        {
            throw new FailureException(Failure.Unsupported("GatherBlockQuantized has no 2-bit form; leave Gather out of op_types_to_quantize or take 4 bits"));
        }

        var qdq = arguments.Text("quant_format") == "QDQ";
        if (qdq && (arguments.Integer("bits") == 2 || arguments.Text("algorithm") == "hqq"))
        {
            throw new FailureException(Failure.InvalidInput("quant_format QDQ takes 4 or 8 bits, and integer zero points, which hqq has not"));
        }

        var before = model.Opset;
        if ((qdq || types.Contains("Gather")) && OpsetUpgrade.Raise(model, TableOpset) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        if (model.Opset != before)
        {
            notes.Add($"operator set raised from {before} to {model.Opset}");
        }

        var filter = CommonParameters.Filter(arguments);
        var warnings = new List<string>();
        var (changed, skipped) = (new List<ChangedOp>(), new List<SkippedOp>());
        BlockRewriter? rewriter = null;
        foreach (var graph in CommonParameters.Graphs(model, arguments, notes, qdq ? OuterWeights : null))
        {
            var isMain = rewriter is null;
            rewriter = new BlockRewriter(model, graph, arguments, context, filter, rewriter);
            if (isMain && arguments.Text("algorithm") == "gptq")
            {
                Calibrate(rewriter, arguments, context, notes, warnings);
            }

            rewriter.Run();
            if (!isMain && rewriter.Changed.Count > 0 && arguments.Text("algorithm") == "gptq")
            {
                warnings.Add($"{rewriter.Changed.Count} nodes inside If, Loop and Scan are rounded to nearest: what they multiply cannot be read, so gptq knows nothing of it");
            }

            changed.AddRange(rewriter.Changed);
            skipped.AddRange(rewriter.Skipped);
        }

        if (changed.Count == 0)
        {
            throw PassNodes.Nothing(Type, string.Join(" or ", types), skipped, model);
        }

        if (!qdq || types.Contains("Gather"))
        {
            model.RequireOpset("com.microsoft", 1);
        }

        GraphCleanup.RemoveDead(model);
        return new PassReport(Type, arguments.Values, changed, skipped, notes)
        {
            Warnings = warnings,
            Synthetic = arguments.Text("algorithm") == "gptq" && (context.Calibration?.Synthetic ?? true),
        };
    }

    private static void Calibrate(BlockRewriter rewriter, PassArguments arguments, PassContext context, List<string> notes, List<string> warnings)
    {
        var samples = rewriter.Calibrate(arguments.Number("damping"), arguments.Integer("max_samples"));
        notes.Add($"{samples} calibration samples{(context.Calibration is null ? " of seeded random input" : "")}");
        if (context.Calibration is null)
        {
            warnings.Add("calibrated on random input, because no calibration data was given: gptq then knows little about real input");
        }
    }
}
