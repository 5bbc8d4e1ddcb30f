using System.Collections.Immutable;
using EdgeFarm.Core.Planning;
using EdgeFarm.Toolchains.LlamaCpp.Conversion;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp;

/// <summary>llama.cpp as data: its forms, passes, parameters and metrics. Nothing here touches native code.</summary>
public static class LlamaCppDescriptor
{
    /// <summary>Id of the toolchain and of its runtime.</summary>
    public const string Id = "llama.cpp";

    /// <summary>The pass that makes a GGUF file of a Hugging Face checkpoint directory.</summary>
    public const string ConversionPass = "GgufConversion";

    /// <summary>The pass that quantizes.</summary>
    public const string QuantizationPass = "GgufQuantization";

    /// <summary>The operation that computes an importance matrix. No pass of a chain: its output is no model.</summary>
    public const string ImportanceMatrixPass = "GgufImportanceMatrix";

    /// <summary>The evaluation that reads a text.</summary>
    public const string PerplexityOperation = "Perplexity";

    private const string ImatrixParameter = "imatrix", LogitsOutput = "logits";

    private static readonly ImmutableArray<string> CacheTypes = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];

    // The quantized ones have blocks of 32 elements with one or two half-precision numbers.
    private static ImmutableSortedDictionary<string, double> CacheBytes => ImmutableSortedDictionary.CreateRange(
        StringComparer.Ordinal,
        new KeyValuePair<string, double>[]
        {
            new("f32", 4), new("f16", 2), new("bf16", 2), new("q8_0", 34 / 32.0), new("q4_0", 18 / 32.0), new("q4_1", 20 / 32.0),
            new("iq4_nl", 18 / 32.0), new("q5_0", 22 / 32.0), new("q5_1", 24 / 32.0),
        });

    /// <summary>Metrics of percentiles of the KL divergence.</summary>
    internal static ImmutableArray<(string Metric, double Percentile)> DivergencePercentiles { get; } =
        [("kld_p50", 50), ("kld_p90", 90), ("kld_p95", 95), ("kld_p99", 99), ("kld_p999", 99.9), ("kld_max", 100)];

    private static ImmutableArray<string> QualityMetrics =>
        ["perplexity", "kld_mean", .. DivergencePercentiles.Select(percentile => percentile.Metric), "same_top", "rms_dp", "mean_dp", "perplexity_ratio"];

    /// <summary>The build that EdgeFarm ships: the npm packages' llama.cpp.</summary>
    public static EngineIdentity Identity { get; } = new(Id, "0.5.0", "0ad4a86");

    /// <summary>The toolchain.</summary>
    public static ToolchainDescriptor Value { get; } = new(
        Identity,
        [FormatNames.Gguf, FormatNames.HuggingFace],
        "F16",
        [.. LlamaQuantTypes.All.SelectMany(Forms)],
        [Conversion, Quantization],
        new RuntimeDescriptor(
            Identity,
            [FormatNames.Gguf],
            Benchmark,
            ["size", "load_time", "peak_memory", "model_memory", "device_memory", "pp", "tg", "ttft"],
            [new EvaluationDescriptor(PerplexityOperation, NeedsText: true, NeedsBaseline: false, TakesData: false, Perplexity, QualityMetrics)
            {
                Reference = new ReferenceDescriptor(LogitsOutput, "save_logits", "kld", ["type_k", "type_v", "flash_attn"]),
            }])
        {
            Memory = new MemoryEstimate(["prompt", "generate"], ["n_depth"], ["context"], ["type_k", "type_v"], CacheBytes, FixedBytes: 128L << 20),
        })
    {
        Preparations = [ImportanceMatrix],
    };

    private static PassDescriptor Conversion => new(
        ConversionPass,
        [FormatNames.HuggingFace],
        FormatNames.Gguf,
        [
            new("outtype", ParameterType.Choice, "auto", "type of the matrices; auto keeps BF16 and F16 and makes F16 of the rest") { Choices = [.. ConversionJob.OutTypes.Keys] },
            new("strict", ParameterType.Boolean, "false", "refuse what llama.cpp would load and compute differently, instead of warning"),
        ],
        "converts a Hugging Face checkpoint to GGUF, as llama.cpp's converter does")
    {
        // Of auto only the checkpoint tells it, and the result does.
        Precision = new PrecisionRule("outtype", ImmutableSortedDictionary.CreateRange(
            StringComparer.Ordinal, [KeyValuePair.Create("f32", "full"), KeyValuePair.Create("f16", "half"), KeyValuePair.Create("bf16", "half"), KeyValuePair.Create("q8_0", "5-8")])),
    };

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
            new(ImatrixParameter, ParameterType.DataSet, null, "importance matrix that llama-imatrix wrote (GGUF), or a text to compute it of") { PreparedBy = ImportanceMatrixPass },
            .. ImportanceMatrix.Parameters.Select(parameter => parameter with { Name = $"{ImatrixParameter}_{parameter.Name}", Default = null }),
        ],
        "quantizes a GGUF model, as llama-quantize does")
    {
        Precision = new PrecisionRule("ftype", LlamaQuantTypes.All.ToImmutableSortedDictionary(type => type.Name, type => type.PrecisionClass, StringComparer.Ordinal))
        {
            Sizes = LlamaQuantTypes.All.ToImmutableSortedDictionary(type => type.Name, LlamaQuantSizes.Of, StringComparer.Ordinal),
            SizedBy = ["pure", "leave_output_tensor", "output_tensor_type", "token_embedding_type", "tensor_type", "prune_layers"],
        },
    };

    private static PreparationDescriptor ImportanceMatrix => new(
        ImportanceMatrixPass,
        "calibration",
        [FormatNames.Text],
        ImatrixParameter,
        FormatNames.Gguf,
        [
            new("context", ParameterType.Integer, "512", "tokens per chunk of the text that the matrix is computed of; 512 where it is left out") { Minimum = 8, Maximum = 1 << 20 },
            new("chunks", ParameterType.Integer, "-1", "most chunks of that text; all where it is left out or -1") { Minimum = -1, Maximum = int.MaxValue },
            new("process_output", ParameterType.Boolean, "false", "whether output.weight is part of the matrix"),
        ]);

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
        new("kld", ParameterType.Boolean, "true", "compare with the baseline's logits, which take twice the vocabulary in bytes per scored token"),
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

    /// <summary>A type as it is, where it may be made so, and with an importance matrix, where one has an effect.</summary>
    private static IEnumerable<FormDescriptor> Forms(LlamaQuantType type)
    {
        ImmutableArray<PassStep> steps = [new PassStep(QuantizationPass, Defaults(Quantization).SetItem("ftype", type.Name))];
        if (!type.NeedsImatrix)
        {
            yield return new FormDescriptor(type.Name, steps, type.PrecisionClass, $"{type.DefaultType} and others");
        }

        if (type.TakesImatrix)
        {
            yield return new FormDescriptor($"{type.Name}+imatrix", steps, type.PrecisionClass, $"{type.DefaultType} and others, weighted by the recipe's calibration")
            {
                Aliases = type.NeedsImatrix ? [type.Name] : [],
                Calibration = ImatrixParameter,
            };
        }
    }

    private static ImmutableSortedDictionary<string, string> Defaults(PassDescriptor pass) =>
        pass.Parameters.Where(parameter => parameter.Default is not null)
            .ToImmutableSortedDictionary(parameter => parameter.Name, parameter => parameter.Default!, StringComparer.Ordinal);
}
