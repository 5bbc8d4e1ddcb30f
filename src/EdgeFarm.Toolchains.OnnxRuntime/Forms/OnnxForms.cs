using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Forms;

/// <summary>A named recipe: what a sweep's <c>types</c> names.</summary>
/// <param name="Name">Canonical name.</param>
/// <param name="Summary">One sentence for the user.</param>
/// <param name="PrecisionClass">The contract's precision class.</param>
/// <param name="Steps">The chain of passes; empty for the model as it came.</param>
public sealed record OnnxForm(string Name, string Summary, string PrecisionClass, IReadOnlyList<PassStep> Steps);

/// <summary>All forms. Pure data: nothing here touches ONNX Runtime.</summary>
public static class OnnxForms
{
    /// <summary>The unquantized form that others are judged against.</summary>
    public const string Baseline = "fp32";

    /// <summary>Every form, baseline first.</summary>
    public static IReadOnlyList<OnnxForm> All { get; } =
    [
        new(Baseline, "the model as it came", "full", []),
        Form("dynamic-int8", "INT8 weights, activations quantized as the model runs", "5-8", ("OnnxDynamicQuantization", [])),
        Form(
            "dynamic-int8-per-channel", "dynamic INT8 with a scale per output channel", "5-8",
            ("OnnxDynamicQuantization", [("per_channel", "true")])),
        Form("fp16", "weights and arithmetic in half precision", "half", ("OnnxFloatToFloat16", [])),
        Form(
            "static-int8", "INT8 weights and activations with scales from calibration samples; sums, softmax and normalization stay floating point", "5-8",
            ("OnnxStaticQuantization",
            [
                ("per_channel", "true"),
                ("op_types_to_quantize", "Conv,ConvTranspose,Gemm,MatMul,Relu,Clip,LeakyRelu,MaxPool,AveragePool,GlobalAveragePool,Flatten,Reshape,Squeeze,Unsqueeze,Transpose,Resize,Gather"),
                ("op_types_to_exclude_output_quantization", "MatMul"),
            ])),
        Form(
            "smooth-int8", "as static-int8, with the outliers of transformers evened out first", "5-8",
            ("OnnxSmoothQuant", [("alpha", "0.7")]),
            ("OnnxStaticQuantization",
            [
                ("per_channel", "true"),
                ("op_types_to_quantize", "Conv,ConvTranspose,Gemm,MatMul,Relu,Clip,LeakyRelu,MaxPool,AveragePool,GlobalAveragePool,Flatten,Reshape,Squeeze,Unsqueeze,Transpose,Resize,Gather"),
                ("op_types_to_exclude_output_quantization", "MatMul"),
            ])),
        Form("mixed-int8", "static INT8 wherever the outputs keep cosine 0.98 on the samples, the rest floating point", "5-8", ("OnnxAutoMixedPrecision", [])),
        Form(
            "qnn-a8w8", "for Qualcomm's NPU: INT8 weights, 8-bit activations, fixed shapes", "5-8",
            ("QnnPreparation", []), ("OnnxStaticQuantization", [("flavour", "qnn"), ("per_channel", "true")])),
        Form(
            "qnn-a16w8", "for Qualcomm's NPU: INT8 weights, 16-bit activations, fixed shapes", "5-8",
            ("QnnPreparation", []), ("OnnxStaticQuantization", [("flavour", "qnn"), ("activation_type", "uint16"), ("per_channel", "true")])),
        Form(
            "openvino-int8", "for OpenVINO: INT8 where weights are constant, all else floating point", "5-8",
            ("OnnxStaticQuantization", [("flavour", "openvino"), ("per_channel", "true")])),
        Form(
            "int8", "INT8 weights in blocks of 32, embeddings included; activations stay floating point", "5-8",
            ("OnnxMatMulNBits", [("bits", "8"), ("op_types_to_quantize", "MatMul,Gemm,Gather")])),
        Form(
            "int4-gptq", "as int4, with rounding errors spread over calibration samples", "3-4",
            ("OnnxMatMulNBits", [("bits", "4"), ("algorithm", "gptq"), ("op_types_to_quantize", "MatMul,Gemm,Gather")])),
        Form(
            "int4", "INT4 weights in blocks of 32, embeddings included; activations stay floating point", "3-4",
            ("OnnxMatMulNBits", [("bits", "4"), ("op_types_to_quantize", "MatMul,Gemm,Gather")])),
        Form("auto", "the fastest form on the device at hand that keeps cosine 0.98 on the samples, found by making and measuring forms", "", ("OnnxAutoOpt", [])),
    ];

    /// <summary>The form of this name, in any case; InvalidInput names the ones there are.</summary>
    public static Outcome<OnnxForm> Find(string name) =>
        All.FirstOrDefault(f => f.Name.Equals(name, StringComparison.OrdinalIgnoreCase)) is { } form
            ? form
            : Failure.InvalidInput($"ONNX Runtime has no form '{name}'; it has {string.Join(", ", All.Select(f => f.Name))}");

    private static OnnxForm Form(string name, string summary, string precision, params (string Type, (string Key, string Value)[] Parameters)[] steps) =>
        new(name, summary, precision, steps.Select(s => new PassStep(s.Type, s.Parameters.ToDictionary(p => p.Key, p => p.Value))).ToList());
}
