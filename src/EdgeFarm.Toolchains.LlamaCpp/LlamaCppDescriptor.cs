using System.Collections.Immutable;
using EdgeFarm.Core.Planning;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp;

/// <summary>llama.cpp as data: its forms, passes, parameters and metrics. Nothing here touches native code.</summary>
public static class LlamaCppDescriptor
{
    /// <summary>Id of the toolchain and of its runtime.</summary>
    public const string Id = "llama.cpp";

    /// <summary>The pass that quantizes.</summary>
    public const string QuantizationPass = "GgufQuantization";

    /// <summary>The operation that computes an importance matrix. No pass of a chain: its output is no model.</summary>
    public const string ImportanceMatrixPass = "GgufImportanceMatrix";

    /// <summary>The evaluation that reads a text.</summary>
    public const string PerplexityOperation = "Perplexity";

    private static readonly ImmutableArray<string> CacheTypes = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];

    /// <summary>The build that EdgeFarm ships: the npm packages' llama.cpp.</summary>
    public static EngineIdentity Identity { get; } = new(Id, "0.5.0", "0ad4a86");

    /// <summary>The toolchain.</summary>
    public static ToolchainDescriptor Value { get; } = new(
        Identity,
        [FormatNames.Gguf],
        "F16",
        [.. LlamaQuantTypes.All.Select(Form)],
        [Quantization],
        new RuntimeDescriptor(
            Identity,
            [FormatNames.Gguf],
            Benchmark,
            ["size", "load_time", "peak_memory", "model_memory", "device_memory", "pp", "tg", "ttft"],
            [new EvaluationDescriptor(PerplexityOperation, NeedsText: true, NeedsBaseline: false, TakesData: false, Perplexity, ["perplexity"])]));

    private static PassDescriptor Quantization => new(
        QuantizationPass,
        [FormatNames.Gguf],
        FormatNames.Gguf,
        [
            new("ftype", ParameterType.Choice, null, "quantization type, as llama-quantize names it") { Choices = [.. LlamaQuantTypes.All.Select(type => type.Name)] },
            new("pure", ParameterType.Boolean, "false", "one type for all tensors instead of a mixture"),
            new("allow_requantize", ParameterType.Boolean, "false", "quantize tensors that are quantized already, at a loss"),
            new("leave_output_tensor", ParameterType.Boolean, "false", "leave output.weight as it is"),
            new("output_tensor_type", ParameterType.Choice, null, "type of output.weight") { Choices = TensorTypes },
            new("token_embedding_type", ParameterType.Choice, null, "type of the token embeddings") { Choices = TensorTypes },
            new("tensor_type", ParameterType.Text, null, "types by pattern of the tensor's name, e.g. attn_v=q8_0 ffn_down=q6_k; the first match decides"),
            new("prune_layers", ParameterType.Text, null, "numbers of layers to leave out, from 0, e.g. 3,4"),
            new("imatrix", ParameterType.DataSet, null, "importance matrix in GGUF form (llama-imatrix)"),
        ],
        "quantizes a GGUF model, as llama-quantize does");

    private static ImmutableArray<string> TensorTypes => [.. LlamaQuantTypes.TensorTypes.Select(type => type.ToString().ToLowerInvariant())];

    private static ImmutableArray<ParameterDescriptor> Benchmark =>
    [
        new("prompt", ParameterType.Integer, "512", "tokens that pp processes; 0 leaves pp out") { Minimum = 0, Maximum = 1 << 24 },
        new("generate", ParameterType.Integer, "128", "tokens that tg generates; 0 leaves tg out") { Minimum = 0, Maximum = 1 << 24 },
        new("repetitions", ParameterType.Integer, "5", "measured runs") { Minimum = 1, Maximum = 10000 },
        new("warmup", ParameterType.Integer, "auto", "runs before the measured ones; auto runs until they are steady, within 10 s") { Choices = ["auto"], Minimum = 0, Maximum = 10000 },
        new("threads", ParameterType.Integer, "auto", "threads; auto takes the physical cores that may be used") { Choices = ["auto"], Minimum = 1, Maximum = 512 },
        new("n_depth", ParameterType.Integer, "0", "tokens in the KV cache before each run") { Minimum = 0, Maximum = 1 << 24 },
        new("n_batch", ParameterType.Integer, "2048", "most tokens in one call") { Minimum = 1, Maximum = 1 << 24 },
        new("n_ubatch", ParameterType.Integer, "512", "most tokens computed at once") { Minimum = 1, Maximum = 1 << 24 },
        .. Cache,
        new("n_gpu_layers", ParameterType.Integer, "-1", "layers on a device that is not the CPU; -1 for all") { Minimum = -1, Maximum = int.MaxValue },
    ];

    private static ImmutableArray<ParameterDescriptor> Perplexity =>
    [
        new("context", ParameterType.Integer, "512", "tokens per chunk of the text; the second half of each is scored") { Minimum = 8, Maximum = 1 << 20 },
        new("chunks", ParameterType.Integer, "20", "most chunks to read; -1 reads all") { Minimum = -1, Maximum = int.MaxValue },
        new("threads", ParameterType.Integer, "auto", "threads; auto takes the physical cores that may be used") { Choices = ["auto"], Minimum = 1, Maximum = 512 },
        .. Cache,
        new("n_gpu_layers", ParameterType.Integer, "-1", "layers on a device that is not the CPU; -1 for all") { Minimum = -1, Maximum = int.MaxValue },
    ];

    private static ImmutableArray<ParameterDescriptor> Cache =>
    [
        new("type_k", ParameterType.Choice, "f16", "type of the cached keys") { Choices = CacheTypes },
        new("type_v", ParameterType.Choice, "f16", "type of the cached values; a quantized one needs flash attention") { Choices = CacheTypes },
        new("flash_attn", ParameterType.Choice, "auto", "flash attention") { Choices = ["auto", "on", "off"] },
    ];

    private static FormDescriptor Form(LlamaQuantType type) => new(
        type.Name,
        [new PassStep(QuantizationPass, Defaults(Quantization).SetItem("ftype", type.Name))],
        type.PrecisionClass,
        type.NeedsImatrix ? $"{type.DefaultType} and others; needs an importance matrix" : $"{type.DefaultType} and others");

    private static ImmutableSortedDictionary<string, string> Defaults(PassDescriptor pass) =>
        pass.Parameters.Where(parameter => parameter.Default is not null)
            .ToImmutableSortedDictionary(parameter => parameter.Name, parameter => parameter.Default!, StringComparer.Ordinal);
}
