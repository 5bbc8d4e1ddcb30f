using EdgeFarm.Core.Planning;

namespace EdgeFarm.Server.Tests.Support;

/// <summary>Two small toolchains as data, so that messages about them can be asserted word by word.</summary>
internal static class TestCatalog
{
    public static readonly ToolchainCatalog Value = new(
    [
        new(
            new("llama.cpp", "0.5.0", "abc"),
            ["gguf"],
            "F16",
            [
                new("F16", [], "half", "the source"),
                new("Q8_0", [Step("GgufQuantization", ("type", "Q8_0"))], "5-8", "8 bits"),
                new("Q4_K_M", [Step("GgufQuantization", ("type", "Q4_K_M"))], "3-4", "4 bits"),
            ],
            [
                new("GgufQuantization", ["gguf"], "gguf",
                [
                    new("type", ParameterType.Choice, null, "form") { Choices = ["Q8_0", "Q4_K_M"] },
                    new("pure", ParameterType.Boolean, "false", "one type for all tensors"),
                ], "quantizes"),
            ],
            new(
                new("llama.cpp", "0.5.0", "abc"),
                ["gguf"],
                [
                    new("prompt", ParameterType.Integer, "512", "prompt tokens") { Minimum = 1, Maximum = 1_000_000 },
                    new("generate", ParameterType.Integer, "128", "generated tokens") { Minimum = 1, Maximum = 1_000_000 },
                    new("repetitions", ParameterType.Integer, "5", "repetitions") { Minimum = 1, Maximum = 1000 },
                    new("warmup", ParameterType.Integer, "auto", "warm-up runs") { Choices = ["auto"], Minimum = 0, Maximum = 1000 },
                    new("threads", ParameterType.Integer, "auto", "threads") { Choices = ["auto"], Minimum = 1, Maximum = 1024 },
                ],
                ["pp", "tg", "load_time", "peak_memory", "model_memory"],
                [
                    new("Perplexity", true, false, false,
                    [
                        new("context", ParameterType.Integer, "512", "tokens a chunk") { Minimum = 8, Maximum = 1_000_000 },
                        new("chunks", ParameterType.Integer, "20", "chunks") { Minimum = 1, Maximum = 1_000_000 },
                    ], ["perplexity"]),
                ])),
        new(
            new("onnxruntime", "1.31.1", "def"),
            ["onnx"],
            "fp32",
            [
                new("fp32", [], "full", "the source"),
                new("dynamic-int8", [Step("OnnxDynamicQuantization")], "5-8", "int8 weights"),
            ],
            [
                new("OnnxDynamicQuantization", ["onnx"], "onnx", [], "dynamic quantization"),
                new("OnnxMatMulNBits", ["onnx"], "onnx",
                [
                    new("bits", ParameterType.Integer, "4", "bits") { Minimum = 2, Maximum = 8 },
                    new("block_size", ParameterType.Integer, "32", "weights a block") { Minimum = 16, Maximum = 256 },
                    new("calibration", ParameterType.DataSet, null, "calibration data"),
                    new("ratio", ParameterType.Number, "0.5", "a number") { Minimum = 0, Maximum = 1 },
                ], "n-bit weights"),
            ],
            new(
                new("onnxruntime", "1.31.1", "def"),
                ["onnx"],
                [
                    new("repetitions", ParameterType.Integer, "5", "repetitions") { Minimum = 1, Maximum = 1000 },
                    new("warmup", ParameterType.Integer, "auto", "warm-up runs") { Choices = ["auto"], Minimum = 0, Maximum = 1000 },
                    new("threads", ParameterType.Integer, "auto", "threads") { Choices = ["auto"], Minimum = 1, Maximum = 1024 },
                ],
                ["latency", "throughput", "load_time", "peak_memory", "model_memory"],
                [new("CompareOutputs", false, true, true, [], ["cosine", "sqnr"])])),
    ]);

    private static PassStep Step(string type, params (string Name, string Value)[] parameters) =>
        new(type, System.Collections.Immutable.ImmutableSortedDictionary.CreateRange(
            StringComparer.Ordinal, parameters.Select(p => KeyValuePair.Create(p.Name, p.Value))));
}
