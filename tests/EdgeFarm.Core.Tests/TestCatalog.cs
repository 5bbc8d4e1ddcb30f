using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Tests;

/// <summary>Descriptors in the shape of the real ones, and sweeps over them.</summary>
internal static class TestCatalog
{
    public static readonly EngineIdentity Llama = new("llama.cpp", "b6000", "abc");
    public static readonly EngineIdentity Onnx = new("onnxruntime", "1.23.0", "def");
    public static readonly EngineIdentity Vino = new("openvino", "2026.1", "fed");

    private static readonly EvaluationDescriptor Perplexity = new(
        "Perplexity",
        NeedsText: true,
        NeedsBaseline: false,
        TakesData: false,
        [
            Integer("context", "512", 8, 4096),
            Integer("chunks", "20", 1, 1000),
            new("type_k", ParameterType.Choice, "f16", "") { Choices = ["f16", "q8_0", "q4_0"] },
            new("kld", ParameterType.Boolean, "true", ""),
        ],
        ["perplexity", "kld_mean"])
    {
        Reference = new ReferenceDescriptor("logits", "save_logits", "kld", ["type_k"]),
    };

    private static readonly EvaluationDescriptor CompareOutputs = new(
        "CompareOutputs", NeedsText: false, NeedsBaseline: true, TakesData: true, [Integer("samples", "32", 1, 1000)], ["cosine", "sqnr"]);

    public static readonly ToolchainDescriptor LlamaCpp = new(
        Llama,
        ["gguf", "hf"],
        "F16",
        [
            new("F16", [new("GgufQuantize", Parameters(("type", "F16")))], "half", ""),
            new("Q8_0", [new("GgufQuantize", Parameters(("type", "Q8_0")))], "5-8", ""),
            new("Q4_K_M", [new("GgufQuantize", Parameters(("type", "Q4_K_M")))], "3-4", ""),
            new("Q4_K_M+imatrix", [new("GgufQuantize", Parameters(("type", "Q4_K_M")))], "3-4", "") { Calibration = "imatrix" },
            new("IQ2_XS+imatrix", [new("GgufQuantize", Parameters(("type", "IQ2_XS")))], "1-2", "") { Calibration = "imatrix", Aliases = ["IQ2_XS"] },
        ],
        [
            new(
                "GgufQuantize",
                ["gguf"],
                "gguf",
                [
                    new("type", ParameterType.Choice, null, "") { Choices = ["F16", "Q8_0", "Q4_K_M", "IQ2_XS"] },
                    new("imatrix", ParameterType.DataSet, null, "matrix") { PreparedBy = "Imatrix" },
                    Integer("imatrix_chunks", null, -1, 1000),
                ],
                "")
            {
                Precision = new PrecisionRule("type", Parameters(("F16", "half"), ("Q8_0", "5-8"), ("Q4_K_M", "3-4"))),
            },
            new("HfToGguf", ["hf"], "gguf", [], ""),
        ],
        new RuntimeDescriptor(
            Llama,
            ["gguf"],
            [Integer("prompt", "512", 1, 8192), Integer("generate", "128", 1, 8192), new("threads", ParameterType.Text, "auto", "")],
            ["pp", "tg"],
            [Perplexity]))
    {
        Preparations = [new PreparationDescriptor("Imatrix", "calibration", ["text"], "imatrix", "gguf", [Integer("chunks", "-1", -1, 1000)])],
    };

    public static readonly ToolchainDescriptor OnnxRuntime = new(
        Onnx,
        ["onnx"],
        "fp32",
        [new("fp32", [], "full", ""), new("dynamic-int8", [new("OnnxDynamicQuantization", Parameters(("per_channel", "true")))], "5-8", ""), new("auto", [new("OnnxAutoOpt", Parameters())], "", "")],
        [
            new("OnnxAutoOpt", ["onnx"], "onnx", [new("objective", ParameterType.Text, "latency", "")], "") { Measures = true },
            new(
                "OnnxDynamicQuantization",
                ["onnx"],
                "onnx",
                [new("per_channel", ParameterType.Boolean, "false", ""), new("op_types", ParameterType.Text, "MatMul,Gemm", "")],
                ""),
            new("OnnxSimplify", ["onnx"], "onnx", [], ""),
            new(
                "OnnxMatMulNBits",
                ["onnx"],
                "onnx",
                [
                    Integer("bits", "4", 2, 8),
                    Integer("block_size", "32", 16, 256),
                    new("accuracy", ParameterType.Number, "0.5", "") { Minimum = 0, Maximum = 1 },
                    new("calibration", ParameterType.DataSet, null, ""),
                ],
                ""),
        ],
        new RuntimeDescriptor(
            Onnx, ["onnx"], [Integer("repetitions", "100", 1, 10000), new("threads", ParameterType.Text, "auto", "")], ["latency"], [CompareOutputs]));

    public static readonly ToolchainDescriptor OpenVino = new(
        Vino, ["onnx"], "ov-fp32", [new("ov-fp32", [new("OvConvert", Parameters())], "full", "")], [new("OvConvert", ["onnx"], "openvino", [], "")],
        new RuntimeDescriptor(Vino, ["openvino", "onnx"], [new("hint", ParameterType.Choice, "latency", "") { Choices = ["latency", "throughput"] }], ["latency"], [CompareOutputs]));

    public static readonly ToolchainCatalog Two = new([LlamaCpp, OnnxRuntime]);
    public static readonly ToolchainCatalog Three = new([LlamaCpp, OnnxRuntime, OpenVino]);

    public static readonly QualitySpec NoQuality = new(null, null, [], false, Parameters());

    public static ImmutableSortedDictionary<string, string> Parameters(params (string Name, string Value)[] values) =>
        values.ToImmutableSortedDictionary(v => v.Name, v => v.Value, StringComparer.Ordinal);

    public static ArtifactRef Artifact(string name, string format) => new(Digest.OfText(name), ArtifactKind.File, 1000, format, name);

    public static SweepSpec Spec(ImmutableArray<ModelSpec> models, ImmutableArray<RecipeSpec> recipes) =>
        new("test", Parameters(), models, [], recipes, [], Parameters(), []);

    public static ModelSpec Model(string id) =>
        new(id, $"bundled:{id}", ImmutableSortedDictionary.Create<string, ImmutableArray<long>>(StringComparer.Ordinal));

    public static RecipeSpec Types(string toolchain, params string[] types) => new(toolchain, null, [.. types], [], [], []);

    public static RecipeSpec Chain(string toolchain, string name, params PassSpec[] passes) => new(toolchain, name, [], [.. passes], [], []);

    public static PassSpec Pass(string type, params (string Name, string[] Values)[] parameters) =>
        new(type, parameters.ToImmutableSortedDictionary(p => p.Name, p => p.Values.ToImmutableArray(), StringComparer.Ordinal));

    private static ParameterDescriptor Integer(string name, string? value, double minimum, double maximum) =>
        new(name, ParameterType.Integer, value, "") { Minimum = minimum, Maximum = maximum };
}
