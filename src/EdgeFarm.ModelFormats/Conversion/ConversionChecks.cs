using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>
/// Finds what llama.cpp would load without a word and compute differently from the checkpoint (measured with llama.cpp 0.5.0), and
/// refuses what its files cannot hold at all.
/// </summary>
internal static class ConversionChecks
{
    /// <summary>Adds the warnings for a checkpoint; throws <see cref="FailureException"/> for what cannot be converted.</summary>
    public static void Check(Checkpoint checkpoint, List<ConversionWarning> warnings)
    {
        var config = checkpoint.Config;
        void Warn(ConversionWarningCode code, string message) => warnings.Add(new ConversionWarning(code, message, true));

        Refuse(config);
        CheckWindow(config, Warn);
        CheckRope(config, Warn);
        var isGemma = config.Family.FullAttentionEvery is not null;
        if (isGemma && config.AttentionScalar is { } scalar && scalar != BuiltInScalar(config))
        {
            Warn(ConversionWarningCode.AttentionScaleIgnored,
                $"query_pre_attn_scalar is {scalar}, but llama.cpp scales attention by the square root of {BuiltInScalar(config)}");
        }

        var activation = isGemma ? "gelu_pytorch_tanh" : "silu";
        if (config.Activation != activation)
        {
            Warn(ConversionWarningCode.ActivationIgnored, $"the activation function is {config.Activation}, but llama.cpp computes {activation}");
        }

        if (config.IsBidirectional)
        {
            Warn(ConversionWarningCode.DirectionIgnored, "use_bidirectional_attention is set, but llama.cpp lets tokens attend only to earlier ones");
        }

        var hasOutput = checkpoint.Tensors.Any(tensor => tensor.Role == TensorRole.Output);
        if (!config.TiesEmbeddings && !hasOutput)
        {
            Warn(ConversionWarningCode.OutputTied, "the config does not tie the output to the embedding, but there is no lm_head.weight; llama.cpp uses the embedding");
        }
        else if (config.TiesEmbeddings && hasOutput && config.Family != ModelFamily.Gemma2)
        {
            Warn(ConversionWarningCode.OutputTied, "the config ties the output to the embedding, but there is a lm_head.weight, which llama.cpp uses instead");
        }
        else if (!config.TiesEmbeddings && config.Family == ModelFamily.Gemma2)
        {
            Warn(ConversionWarningCode.OutputTied, "the config does not tie the output to the embedding, but llama.cpp's Gemma 2 always does; lm_head.weight is left out");
        }
    }

    private static void Refuse(CheckpointConfig config)
    {
        if (config.Family == ModelFamily.Gemma2 && (config.AttentionSoftCap is null || config.OutputSoftCap is null))
        {
            throw new FailureException(Failure.Unsupported("config.json: Gemma 2 without soft caps has no form in GGUF"));
        }

        if (config.Family == ModelFamily.Gemma3 && config.AttentionSoftCap is not null)
        {
            throw new FailureException(Failure.Unsupported("config.json: attn_logit_softcapping has no form in GGUF for Gemma 3"));
        }

        if (config.Family == ModelFamily.Phi3 && config.HeadSize * config.Heads != config.Hidden)
        {
            throw new FailureException(Failure.Unsupported("config.json: Phi-3 with a head_dim other than hidden_size / num_attention_heads has no form in GGUF"));
        }
    }

    private static double BuiltInScalar(CheckpointConfig config)
    {
        // llama.cpp tells the 27B models by their number of layers.
        var isLargest = config.Layers == (config.Family == ModelFamily.Gemma2 ? 46 : 62);
        return isLargest ? config.Hidden / config.Heads : config.HeadSize;
    }

    private static void CheckWindow(CheckpointConfig config, Action<ConversionWarningCode, string> warn)
    {
        var windowed = config.LayerIsWindowed.Count(isWindowed => isWindowed);
        if (config.Family.FullAttentionEvery is { } every)
        {
            var hasWindow = config.SlidingWindow is > 0 && (windowed > 0 || config.Family == ModelFamily.Gemma2);
            var builtIn = Enumerable.Range(1, config.Layers).Select(n => hasWindow && n % every != 0);
            if (!config.LayerIsWindowed.SequenceEqual(builtIn))
            {
                warn(ConversionWarningCode.LayerPatternIgnored,
                    $"the layers with full attention are {Layers(config)}, but llama.cpp lets every {every}th layer attend to everything");
            }
        }
        else if (windowed > 0 && config.SlidingWindow < config.Context)
        {
            warn(ConversionWarningCode.SlidingWindowIgnored,
                $"{windowed} layers attend to a sliding window of {config.SlidingWindow} tokens, which llama.cpp does not apply; results differ from that position on");
        }
    }

    private static string Layers(CheckpointConfig config)
    {
        var full = config.LayerIsWindowed.Index().Where(layer => !layer.Item).Select(layer => layer.Index).ToArray();
        return full.Length == 0 ? "none" : string.Join(", ", full.Take(8)) + (full.Length > 8 ? ", ..." : "");
    }

    private static void CheckRope(CheckpointConfig config, Action<ConversionWarningCode, string> warn)
    {
        var rope = config.Rope;
        var isPhi = config.Family == ModelFamily.Phi3;
        var isLlama = config.Family == ModelFamily.Llama || config.Family == ModelFamily.Mistral;
        var held = rope.Scaling switch
        {
            RopeScalingType.None => true,
            RopeScalingType.Linear or RopeScalingType.Yarn => !isPhi && config.Family != ModelFamily.Gemma2 && rope.Factor is not null,
            RopeScalingType.Llama3 => isLlama,
            RopeScalingType.LongRope => isPhi && rope.LongFactors.Count > 0,
            _ => false,
        };
        if (!held && rope.Scaling == RopeScalingType.LongRope)
        {
            throw new FailureException(Failure.Unsupported($"config.json: rope type longrope has no form in GGUF for {config.Family}"));
        }

        if (!held)
        {
            warn(ConversionWarningCode.RopeIgnored, $"the rope type {rope.Scaling} has no form in GGUF for {config.Family}; llama.cpp computes positions unscaled");
        }

        if (config.Family == ModelFamily.Gemma2 && rope.Theta != 10_000)
        {
            warn(ConversionWarningCode.RopeIgnored, $"rope_theta is {rope.Theta}, but llama.cpp's Gemma 2 always takes 10000");
        }

        if (!isPhi && rope.PartialRotaryFactor != 1)
        {
            warn(ConversionWarningCode.RopeIgnored, $"partial_rotary_factor is {rope.PartialRotaryFactor}, but llama.cpp rotates all dimensions of {config.Family}'s heads");
        }

        if (rope.Scaling == RopeScalingType.LongRope && rope.AttentionFactor is { } stated)
        {
            warn(ConversionWarningCode.RopeIgnored, $"attention_factor is {stated}, but llama.cpp's file has the one that follows from the context lengths");
        }
    }
}
