using System.Collections.Frozen;

namespace EdgeFarm.ModelFormats.Checkpoints;

/// <summary>Values that transformers' config class takes for keys that a config.json leaves out.</summary>
internal sealed record FamilyDefaults
{
    public required int Vocabulary { get; init; }

    public required int Hidden { get; init; }

    public required int FeedForward { get; init; }

    public required int Layers { get; init; }

    public required int Heads { get; init; }

    /// <summary>Null: as many as heads.</summary>
    public int? KeyValueHeads { get; init; }

    /// <summary>Null: hidden / heads.</summary>
    public int? HeadSize { get; init; }

    public required int Context { get; init; }

    public double RmsEpsilon { get; init; } = 1e-6;

    public double RopeTheta { get; init; } = 10_000;

    public int? SlidingWindow { get; init; }

    public bool TiesEmbeddings { get; init; }

    public string Activation { get; init; } = "silu";
}

/// <summary>
/// An architecture of decoder-only transformers as Hugging Face checkpoints hold it, described once for every format that is made
/// from one: which classes it covers, which tensors a layer has, and what its forward pass does differently.
/// </summary>
public sealed class ModelFamily
{
    private static readonly (string Suffix, TensorRole Role)[] SplitAttention =
    [
        ("self_attn.q_proj", TensorRole.Query),
        ("self_attn.k_proj", TensorRole.Key),
        ("self_attn.v_proj", TensorRole.Value),
        ("self_attn.o_proj", TensorRole.AttentionOutput),
    ];

    private static readonly (string Suffix, TensorRole Role)[] SplitFeedForward =
    [
        ("mlp.gate_proj", TensorRole.Gate),
        ("mlp.up_proj", TensorRole.Up),
        ("mlp.down_proj", TensorRole.Down),
    ];

    private static readonly (string Suffix, TensorRole Role)[] PreNorms =
    [
        ("input_layernorm", TensorRole.AttentionNorm),
        ("post_attention_layernorm", TensorRole.FeedForwardNorm),
    ];

    private static readonly (string Suffix, TensorRole Role)[] SandwichNorms =
    [
        ("input_layernorm", TensorRole.AttentionNorm),
        ("post_attention_layernorm", TensorRole.PostAttentionNorm),
        ("pre_feedforward_layernorm", TensorRole.FeedForwardNorm),
        ("post_feedforward_layernorm", TensorRole.PostFeedForwardNorm),
    ];

    private static readonly (string Suffix, TensorRole Role)[] HeadNorms =
    [
        ("self_attn.q_norm", TensorRole.QueryNorm),
        ("self_attn.k_norm", TensorRole.KeyNorm),
    ];

    private static readonly TensorRole[] AllProjections =
    [
        TensorRole.Query, TensorRole.Key, TensorRole.Value, TensorRole.AttentionOutput, TensorRole.Gate, TensorRole.Up, TensorRole.Down,
    ];

    private ModelFamily(string id, string[] classes, FamilyDefaults defaults, params (string Suffix, TensorRole Role)[][] layer)
    {
        (Id, Classes, Defaults) = (id, classes, defaults);
        LayerTensors = layer.SelectMany(part => part).ToFrozenDictionary(pair => pair.Suffix, pair => pair.Role, StringComparer.Ordinal);
    }

    /// <summary>Llama 2 and 3.x, SmolLM2 and everything else with Llama's class.</summary>
    public static ModelFamily Llama { get; } = new("llama", ["LlamaForCausalLM", "LLaMAForCausalLM"],
        new() { Vocabulary = 32000, Hidden = 4096, FeedForward = 11008, Layers = 32, Heads = 32, Context = 2048 },
        SplitAttention, SplitFeedForward, PreNorms)
    {
        MayHaveBias = AllProjections,
    };

    /// <summary>Mistral.</summary>
    public static ModelFamily Mistral { get; } = new("mistral", ["MistralForCausalLM"],
        new() { Vocabulary = 32000, Hidden = 4096, FeedForward = 14336, Layers = 32, Heads = 32, KeyValueHeads = 8, Context = 131072, SlidingWindow = 4096 },
        SplitAttention, SplitFeedForward, PreNorms)
    {
        MayHaveBias = AllProjections,
    };

    /// <summary>Qwen 2 and 2.5.</summary>
    public static ModelFamily Qwen2 { get; } = new("qwen2", ["Qwen2ForCausalLM"],
        new() { Vocabulary = 151936, Hidden = 4096, FeedForward = 22016, Layers = 32, Heads = 32, KeyValueHeads = 32, Context = 32768, SlidingWindow = 4096 },
        SplitAttention, SplitFeedForward, PreNorms)
    {
        MayHaveBias = [TensorRole.Query, TensorRole.Key, TensorRole.Value],
        MustHaveBias = [TensorRole.Query, TensorRole.Key, TensorRole.Value],
        WindowNeedsFlag = true,
    };

    /// <summary>Qwen 3 (dense).</summary>
    public static ModelFamily Qwen3 { get; } = new("qwen3", ["Qwen3ForCausalLM"],
        new() { Vocabulary = 151936, Hidden = 4096, FeedForward = 22016, Layers = 32, Heads = 32, KeyValueHeads = 32, HeadSize = 128, Context = 32768, SlidingWindow = 4096 },
        SplitAttention, SplitFeedForward, PreNorms, HeadNorms)
    {
        WindowNeedsFlag = true,
    };

    /// <summary>Phi-3 and Phi-4-mini.</summary>
    public static ModelFamily Phi3 { get; } = new("phi3", ["Phi3ForCausalLM"],
        new() { Vocabulary = 32064, Hidden = 3072, FeedForward = 8192, Layers = 32, Heads = 32, Context = 4096, RmsEpsilon = 1e-5 },
        [("self_attn.qkv_proj", TensorRole.QueryKeyValue), ("self_attn.o_proj", TensorRole.AttentionOutput)],
        [("mlp.gate_up_proj", TensorRole.GateUp), ("mlp.down_proj", TensorRole.Down)],
        PreNorms);

    /// <summary>Gemma 2.</summary>
    public static ModelFamily Gemma2 { get; } = new("gemma2", ["Gemma2ForCausalLM"],
        new()
        {
            Vocabulary = 256000,
            Hidden = 2304,
            FeedForward = 9216,
            Layers = 26,
            Heads = 8,
            KeyValueHeads = 4,
            HeadSize = 256,
            Context = 8192,
            SlidingWindow = 4096,
            TiesEmbeddings = true,
            Activation = "gelu_pytorch_tanh",
        },
        SplitAttention, SplitFeedForward, SandwichNorms)
    {
        NormsAreOffsetByOne = true,
        FullAttentionEvery = 2,
    };

    /// <summary>Gemma 3, the text model.</summary>
    public static ModelFamily Gemma3 { get; } = new("gemma3", ["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
        new()
        {
            Vocabulary = 262208,
            Hidden = 2304,
            FeedForward = 9216,
            Layers = 26,
            Heads = 8,
            KeyValueHeads = 4,
            HeadSize = 256,
            Context = 131072,
            RopeTheta = 1_000_000,
            SlidingWindow = 4096,
            TiesEmbeddings = true,
            Activation = "gelu_pytorch_tanh",
        },
        SplitAttention, SplitFeedForward, SandwichNorms, HeadNorms)
    {
        NormsAreOffsetByOne = true,
        FullAttentionEvery = 6,
    };

    /// <summary>All families.</summary>
    public static IReadOnlyList<ModelFamily> All { get; } = [Llama, Mistral, Qwen2, Qwen3, Phi3, Gemma2, Gemma3];

    /// <summary>Short name: llama, mistral, qwen2, qwen3, phi3, gemma2, gemma3.</summary>
    public string Id { get; }

    /// <summary>Class names in <c>architectures</c> of config.json.</summary>
    public IReadOnlyList<string> Classes { get; }

    /// <summary>Roles of a layer's tensors by the name between <c>model.layers.N.</c> and <c>.weight</c> or <c>.bias</c>.</summary>
    public IReadOnlyDictionary<string, TensorRole> LayerTensors { get; }

    /// <summary>Norms multiply by 1 + weight, and so formats that multiply by the weight need one added (Gemma).</summary>
    public bool NormsAreOffsetByOne { get; private init; }

    /// <summary>
    /// Every n-th layer (n, 2n, ...) attends to everything, the others only to a sliding window; null when all layers are alike.
    /// </summary>
    public int? FullAttentionEvery { get; private init; }

    /// <summary>The sliding window counts only with <c>use_sliding_window</c> (Qwen).</summary>
    internal bool WindowNeedsFlag { get; private init; }

    internal IReadOnlyList<TensorRole> MayHaveBias { get; private init; } = [];

    internal IReadOnlyList<TensorRole> MustHaveBias { get; private init; } = [];

    internal FamilyDefaults Defaults { get; }

    /// <summary>The family of a class name, or null.</summary>
    public static ModelFamily? Find(string className) => All.FirstOrDefault(family => family.Classes.Contains(className));

    /// <inheritdoc/>
    public override string ToString() => Id;
}
