using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>Writes the keys that begin with the architecture's name, and <c>general.file_type</c> among them, in the reference's order.</summary>
internal sealed class ArchitectureMetadata(GgufMetadata metadata, CheckpointConfig config, GgmlType matrixType)
{
    private readonly string _name = Name(config.Family);

    /// <summary>llama.cpp's name of an architecture.</summary>
    public static string Name(ModelFamily family) => family == ModelFamily.Mistral ? ModelFamily.Llama.Id : family.Id;

    /// <summary>LongRoPE's scale of the attention, which the reference writes before anything else.</summary>
    public void WriteEarly()
    {
        var rope = config.Rope;
        if (config.Family != ModelFamily.Phi3 || rope.LongFactors.Count == 0)
        {
            return;
        }

        double original = rope.OriginalContext!.Value, ratio = config.Context / original;
        var factor = rope.Scaling switch
        {
            RopeScalingType.LongRope => ratio > 1 ? Math.Sqrt(1 + (Math.Log(ratio) / Math.Log(original))) : 1,
            RopeScalingType.Yarn => ratio > 1 ? (0.1 * Math.Log(ratio)) + 1 : 1,
            _ => throw new FailureException(Failure.Unsupported($"config.json: long_factor with rope type {rope.Scaling} is not supported")),
        };
        Number("rope.scaling.attn_factor", factor);
    }

    /// <summary>Everything else.</summary>
    public void Write()
    {
        if (config.Family == ModelFamily.Phi3)
        {
            WritePhi3();
        }
        else if (config.Family == ModelFamily.Gemma2)
        {
            WriteGemma2();
        }
        else
        {
            WriteCommon();
        }

        metadata.Set("general.quantization_version", GgufValue.Of(2u));
    }

    private void WriteCommon()
    {
        Count("block_count", config.Layers);
        Count("context_length", config.Context);
        Count("embedding_length", config.Hidden);
        Count("feed_forward_length", config.FeedForward);
        WriteHeads();
        WriteRopeScaling();
        Number("rope.freq_base", config.Rope.Theta);
        if (config.Rope.LocalTheta is { } local)
        {
            Number("rope.freq_base_swa", local);
        }

        Number("attention.layer_norm_rms_epsilon", config.RmsEpsilon);
        if (config.HeadSizeIsStated)
        {
            WriteHeadSize();
        }

        WriteFileType();
        if (_name == ModelFamily.Llama.Id)
        {
            Count("vocab_size", config.Vocabulary);
            Count("rope.dimension_count", config.HeadSize);
        }

        if (config.Family == ModelFamily.Gemma3)
        {
            if (config.OutputSoftCap is { } cap && cap != 0)
            {
                Number("final_logit_softcapping", cap);
            }

            if (config.SlidingWindow is { } window && config.LayerIsWindowed.Contains(true))
            {
                Count("attention.sliding_window", window);
            }
        }
    }

    private void WritePhi3()
    {
        Count("context_length", config.Context);
        Count("rope.scaling.original_context_length", config.Rope.OriginalContext!.Value);
        Count("embedding_length", config.Hidden);
        Count("feed_forward_length", config.FeedForward);
        Count("block_count", config.Layers);
        WriteHeads();
        Number("attention.layer_norm_rms_epsilon", config.RmsEpsilon);
        Count("rope.dimension_count", TensorPlanner.RotatedDimensions(config));
        Number("rope.freq_base", config.Rope.Theta);
        WriteFileType();
        Count("attention.sliding_window", config.SlidingWindow ?? 0);
    }

    private void WriteGemma2()
    {
        Count("context_length", config.Context);
        Count("embedding_length", config.Hidden);
        Count("block_count", config.Layers);
        Count("feed_forward_length", config.FeedForward);
        WriteHeads();
        Number("attention.layer_norm_rms_epsilon", config.RmsEpsilon);
        WriteHeadSize();
        WriteFileType();
        Number("attn_logit_softcapping", config.AttentionSoftCap!.Value);
        Number("final_logit_softcapping", config.OutputSoftCap!.Value);
        // llama.cpp takes a window of 0 at its word; one of the whole context is none.
        Count("attention.sliding_window", config.SlidingWindow is > 0 and var window ? window : config.Context);
    }

    private void WriteHeads()
    {
        Count("attention.head_count", config.Heads);
        Count("attention.head_count_kv", config.KeyValueHeads);
    }

    private void WriteHeadSize()
    {
        Count("attention.key_length", config.HeadSize);
        Count("attention.value_length", config.HeadSize);
    }

    private void WriteRopeScaling()
    {
        var rope = config.Rope;
        if (rope.Factor is not { } factor)
        {
            return;
        }

        if (rope.Scaling == RopeScalingType.Linear)
        {
            metadata.Set($"{_name}.rope.scaling.type", GgufValue.Of("linear"));
            Number("rope.scaling.factor", factor);
        }
        else if (rope.Scaling == RopeScalingType.Yarn)
        {
            metadata.Set($"{_name}.rope.scaling.type", GgufValue.Of("yarn"));
            Number("rope.scaling.factor", factor);
            Count("rope.scaling.original_context_length", rope.OriginalContext!.Value);
            Number("rope.scaling.yarn_ext_factor", rope.ExtrapolationFactor);
            Number("rope.scaling.yarn_attn_factor", rope.AttentionFactor);
            Number("rope.scaling.yarn_beta_fast", rope.BetaFast);
            Number("rope.scaling.yarn_beta_slow", rope.BetaSlow);
        }
    }

    private void WriteFileType() => metadata.Set("general.file_type", GgufValue.Of(matrixType switch
    {
        GgmlType.F32 => 0u,
        GgmlType.F16 => 1u,
        GgmlType.Q8_0 => 7u,
        GgmlType.BF16 => 32u,
        _ => throw new InvalidOperationException($"no file type for {matrixType}"),
    }));

    private void Count(string key, int value) => metadata.Set($"{_name}.{key}", GgufValue.Of((uint)value));

    private void Number(string key, double? value)
    {
        if (value is { } number)
        {
            metadata.Set($"{_name}.{key}", GgufValue.Of((float)number));
        }
    }
}
