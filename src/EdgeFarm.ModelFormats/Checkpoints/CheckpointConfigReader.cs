using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Checkpoints;

/// <summary>Reads config.json. Throws <see cref="FailureException"/>.</summary>
internal sealed class CheckpointConfigReader
{
    private const long MaxConfig = 1 << 24;
    private readonly JsonNode _root;
    private readonly JsonNode? _text;
    private readonly ModelFamily _family;

    private CheckpointConfigReader(JsonNode root, JsonNode? text, ModelFamily family) => (_root, _text, _family) = (root, text, family);

    public static CheckpointConfig Read(string path)
    {
        var root = JsonNode.Load(path, MaxConfig);
        var classes = root.Require("architectures");
        var className = classes.Count() == 1 ? classes.Items().First().Text() : throw classes.Error($"has {classes.Count()} entries, not 1");
        if (ModelFamily.Find(className) is not { } family)
        {
            var known = string.Join(", ", ModelFamily.All.SelectMany(f => f.Classes).Order(StringComparer.Ordinal));
            throw new FailureException(Failure.Unsupported($"{path}: the architecture {className} is not supported; supported are {known}"));
        }

        if (root.Optional("quantization_config") is not null)
        {
            throw new FailureException(Failure.Unsupported($"{path}: the checkpoint is quantized (quantization_config); take the unquantized one"));
        }

        return new CheckpointConfigReader(root, root.Optional("text_config"), family).Build(className);
    }

    // A multimodal config holds the language model's own in text_config, which wins.
    private JsonNode? Get(string key) => _text?.Optional(key) ?? _root.Optional(key);

    private int Size(string key, int fallback, int max = 1 << 24) => (int)(Get(key)?.Integer(1, max) ?? fallback);

    private CheckpointConfig Build(string className)
    {
        var defaults = _family.Defaults;
        var hidden = Size("hidden_size", defaults.Hidden);
        var heads = Size("num_attention_heads", defaults.Heads, 1 << 16);
        var keyValueHeads = Size("num_key_value_heads", defaults.KeyValueHeads ?? heads, 1 << 16);
        if (heads % keyValueHeads != 0)
        {
            throw _root.Error($"num_attention_heads = {heads} is not a multiple of num_key_value_heads = {keyValueHeads}");
        }

        var statedHeadSize = Get("head_dim") is { } given ? (int)given.Integer(1, 1 << 16) : defaults.HeadSize;
        if (statedHeadSize is null && hidden % heads != 0)
        {
            throw _root.Error($"hidden_size = {hidden} is not a multiple of num_attention_heads = {heads}, and no head_dim is given");
        }

        var headSize = statedHeadSize ?? hidden / heads;
        var layers = Size("num_hidden_layers", defaults.Layers, 1 << 12);
        var context = Size("max_position_embeddings", defaults.Context, int.MaxValue);
        var window = Window(layers, out var windowed);
        return new CheckpointConfig
        {
            Family = _family,
            ClassName = className,
            Vocabulary = Size("vocab_size", defaults.Vocabulary),
            Hidden = hidden,
            FeedForward = Size("intermediate_size", defaults.FeedForward),
            Layers = layers,
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            HeadSize = headSize,
            // Llama's and Mistral's config classes fill in head_dim themselves; Qwen 2's and Phi-3's have none.
            HeadSizeIsStated = statedHeadSize is not null || _family == ModelFamily.Llama || _family == ModelFamily.Mistral,
            Context = context,
            RmsEpsilon = Get("rms_norm_eps")?.Number() ?? defaults.RmsEpsilon,
            Rope = Rope(context),
            SlidingWindow = window,
            LayerIsWindowed = windowed,
            AttentionSoftCap = SoftCap("attn_logit_softcapping", 50),
            OutputSoftCap = SoftCap("final_logit_softcapping", 30),
            AttentionScalar = Get("query_pre_attn_scalar")?.Number() ?? (_family.FullAttentionEvery is null ? null : 256),
            TiesEmbeddings = Get("tie_word_embeddings")?.Flag() ?? defaults.TiesEmbeddings,
            Activation = (Get("hidden_activation") ?? Get("hidden_act"))?.Text() ?? defaults.Activation,
            IsBidirectional = Get("use_bidirectional_attention") is { Kind: JsonValueKind.True },
            TokenIds = TokenIds(),
            NameOrPath = _root.Optional("_name_or_path") is { } name && name.TryText(out var text) ? text : null,
        };
    }

    private double? SoftCap(string key, double fallback) =>
        Get(key)?.Number() ?? (_family == ModelFamily.Gemma2 && !_root.Has(key) ? fallback : null);

    private Dictionary<string, int> TokenIds()
    {
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var kind in (string[])["bos", "eos", "unk", "sep", "pad", "cls", "mask"])
        {
            // The root wins here, unlike elsewhere: a multimodal root repeats the ids that generation uses.
            var key = kind + "_token_id";
            if ((_root.Optional(key) ?? _text?.Optional(key))?.TryInteger() is >= 0 and <= int.MaxValue and var id)
            {
                ids[kind] = (int)id;
            }
        }

        return ids;
    }

    private int? Window(int layers, out bool[] windowed)
    {
        var stated = Has("sliding_window") ? (int?)Get("sliding_window")?.Integer(0, int.MaxValue) : _family.Defaults.SlidingWindow;
        if (_family.WindowNeedsFlag && Get("use_sliding_window")?.Flag() is not true)
        {
            stated = null;
        }

        var inUse = stated is > 0;
        if (Get("layer_types") is { } types)
        {
            if (types.Count() != layers)
            {
                throw types.Error($"has {types.Count()} entries for {layers} layers");
            }

            windowed = [.. types.Items().Select(type => type.Text() switch
            {
                "sliding_attention" => inUse,
                "full_attention" => false,
                var other => throw new FailureException(Failure.Unsupported($"config.json: the layer type {other} is not supported")),
            })];
        }
        else if (_family.FullAttentionEvery is { } usual)
        {
            var every = (int)((Get("sliding_window_pattern") ?? Get("_sliding_window_pattern"))?.Integer(1, 1 << 12) ?? usual);
            windowed = [.. Enumerable.Range(1, layers).Select(n => inUse && n % every != 0)];
        }
        else
        {
            var first = _family.WindowNeedsFlag ? Get("max_window_layers")?.Integer(0, int.MaxValue) ?? 28 : 0;
            windowed = [.. Enumerable.Range(0, layers).Select(n => inUse && n >= first)];
        }

        return stated;
    }

    private bool Has(string key) => _root.Has(key) || _text?.Has(key) == true;

    private RopeParameters Rope(int context)
    {
        var outer = Get("rope_parameters") ?? Get("rope_scaling");
        var local = outer?.Optional("sliding_attention");
        var rope = outer?.Optional("full_attention") ?? (local is null ? outer : null);
        var theta = (rope?.Optional("rope_theta") ?? Get("rope_theta"))?.Number() ?? _family.Defaults.RopeTheta;
        var localTheta = _family == ModelFamily.Gemma3
            ? (local?.Optional("rope_theta") ?? Get("rope_local_base_freq"))?.Number() ?? 10_000
            : (double?)null;
        var typeNode = rope?.Optional("rope_type") ?? rope?.Optional("type");
        var scaling = typeNode?.Text() switch
        {
            null or "default" => RopeScalingType.None,
            "linear" => RopeScalingType.Linear,
            "dynamic" => RopeScalingType.Dynamic,
            "yarn" => RopeScalingType.Yarn,
            "longrope" or "su" => RopeScalingType.LongRope,
            "llama3" => RopeScalingType.Llama3,
            var other => throw new FailureException(Failure.Unsupported($"config.json: the rope type {other} is not supported")),
        };
        if (local?.Optional("rope_type")?.Text() is { } localType && localType != "default")
        {
            throw new FailureException(Failure.Unsupported($"config.json: rope type {localType} on the layers with a sliding window is not supported"));
        }

        var original = (rope?.Optional("original_max_position_embeddings") ?? Get("original_max_position_embeddings"))?.Integer(1, int.MaxValue);
        return new RopeParameters
        {
            Theta = Positive(theta, "rope_theta"),
            LocalTheta = localTheta is { } value ? Positive(value, "rope_local_base_freq") : null,
            Scaling = scaling,
            Factor = rope?.Optional("factor")?.Number(),
            LowFrequencyFactor = rope?.Optional("low_freq_factor")?.Number() ?? 1,
            HighFrequencyFactor = rope?.Optional("high_freq_factor")?.Number() ?? 4,
            OriginalContext = (int?)original ?? (_family == ModelFamily.Phi3 ? 4096 : scaling == RopeScalingType.Yarn ? context : null),
            LongFactors = Factors(rope, "long_factor"),
            ShortFactors = Factors(rope, "short_factor"),
            PartialRotaryFactor = (rope?.Optional("partial_rotary_factor") ?? Get("partial_rotary_factor"))?.Number() ?? 1,
            AttentionFactor = (rope?.Optional("attention_factor") ?? rope?.Optional("attn_factor"))?.Number(),
            ExtrapolationFactor = rope?.Optional("extrapolation_factor")?.Number(),
            BetaFast = rope?.Optional("beta_fast")?.Number(),
            BetaSlow = rope?.Optional("beta_slow")?.Number(),
        };
    }

    private double Positive(double value, string key) => value > 0 ? value : throw _root.Error($"{key} is {value}; it must be positive");

    private static double[] Factors(JsonNode? rope, string key) =>
        rope?.Optional(key) is { } factors && factors.Kind == JsonValueKind.Array ? [.. factors.Items().Select(factor => factor.Number())] : [];
}
