using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>Lists the tensors of the GGUF file of a checkpoint, in the reference's order. Throws <see cref="FailureException"/>.</summary>
internal static class TensorPlanner
{
    /// <summary>The type of the matrices: as asked, or that of the first matrix in half precision.</summary>
    public static GgmlType MatrixType(Checkpoint checkpoint, ConversionOutType outType) => outType switch
    {
        ConversionOutType.F32 => GgmlType.F32,
        ConversionOutType.F16 => GgmlType.F16,
        ConversionOutType.BF16 => GgmlType.BF16,
        ConversionOutType.Q8_0 => GgmlType.Q8_0,
        _ => checkpoint.Tensors.Where(tensor => tensor.Source.Shape.Count > 1).Select(tensor => tensor.Source.Type)
            .FirstOrDefault(type => type is SafetensorsDType.BF16 or SafetensorsDType.F16) == SafetensorsDType.BF16 ? GgmlType.BF16 : GgmlType.F16,
    };

    /// <summary>The tensors.</summary>
    public static List<PlannedTensor> Plan(Checkpoint checkpoint, GgmlType matrixType, List<ConversionWarning> warnings)
    {
        var family = checkpoint.Config.Family;
        var plan = new List<PlannedTensor>(GeneratedTensors(checkpoint.Config));
        foreach (var tensor in checkpoint.Tensors)
        {
            // llama.cpp's Gemma 2 has no output matrix of its own.
            if (family == ModelFamily.Gemma2 && tensor.Role == TensorRole.Output)
            {
                continue;
            }

            plan.Add(Plan(checkpoint.Config, tensor, matrixType));
        }

        var downgraded = plan.Where(tensor => matrixType == GgmlType.Q8_0 && tensor.Spec.Type == GgmlType.F16).Select(tensor => tensor.Spec.Name).ToArray();
        if (downgraded.Length > 0)
        {
            warnings.Add(new ConversionWarning(ConversionWarningCode.StoredAsF16,
                $"{downgraded.Length} matrices have rows that are not a multiple of {ElementCodec.Q8Block} and are stored as F16: {string.Join(", ", downgraded.Take(3))}{(downgraded.Length > 3 ? ", ..." : "")}", false));
        }

        return plan;
    }

    private static PlannedTensor Plan(CheckpointConfig config, CheckpointTensor tensor, GgmlType matrixType)
    {
        var isNorm = tensor.Role is TensorRole.OutputNorm or TensorRole.AttentionNorm or TensorRole.FeedForwardNorm or TensorRole.PostAttentionNorm
            or TensorRole.PostFeedForwardNorm or TensorRole.QueryNorm or TensorRole.KeyNorm;
        long[] shape = [.. tensor.Source.Shape.Reverse()];
        var type = isNorm || shape.Length < 2 ? GgmlType.F32
            : shape[0] % GgmlTypes.Get(matrixType).BlockSize != 0 ? GgmlType.F16
            : matrixType;
        var interleaves = tensor.Role is TensorRole.Query or TensorRole.Key && (config.Family == ModelFamily.Llama || config.Family == ModelFamily.Mistral);
        if (interleaves && config.HeadSize % 2 != 0)
        {
            throw new FailureException(Failure.InvalidInput($"config.json: heads of {config.HeadSize} dimensions cannot be rotated; the number must be even"));
        }

        var transform = interleaves ? TensorTransform.InterleaveHeads
            : isNorm && config.Family.NormsAreOffsetByOne ? TensorTransform.AddOne
            : TensorTransform.None;
        var heads = tensor.Role == TensorRole.Query ? config.Heads : config.KeyValueHeads;
        return new PlannedTensor(new GgufTensorSpec(Name(config.Family, tensor), type, shape), tensor, transform, interleaves ? heads : 1, []);
    }

    private static string Name(ModelFamily family, CheckpointTensor tensor)
    {
        var stem = tensor.Role switch
        {
            TensorRole.TokenEmbedding => "token_embd",
            TensorRole.OutputNorm => "output_norm",
            TensorRole.Output => "output",
            TensorRole.AttentionNorm => "attn_norm",
            TensorRole.Query => "attn_q",
            TensorRole.Key => "attn_k",
            TensorRole.Value => "attn_v",
            TensorRole.QueryKeyValue => "attn_qkv",
            TensorRole.AttentionOutput => "attn_output",
            TensorRole.QueryNorm => "attn_q_norm",
            TensorRole.KeyNorm => "attn_k_norm",
            TensorRole.PostAttentionNorm => "post_attention_norm",
            TensorRole.FeedForwardNorm => "ffn_norm",
            TensorRole.Gate => "ffn_gate",
            TensorRole.Up or TensorRole.GateUp => "ffn_up",
            TensorRole.Down => "ffn_down",
            TensorRole.PostFeedForwardNorm => "post_ffw_norm",
            _ => throw new InvalidOperationException($"{family} has no name for {tensor.Role}"),
        };
        var layer = tensor.Layer is { } n ? $"blk.{n.ToString(CultureInfo.InvariantCulture)}." : "";
        return $"{layer}{stem}.{(tensor.IsBias ? "bias" : "weight")}";
    }

    private static IEnumerable<PlannedTensor> GeneratedTensors(CheckpointConfig config)
    {
        var rope = config.Rope;
        if (config.Family == ModelFamily.Phi3 && rope.LongFactors.Count > 0)
        {
            var pairs = RotatedDimensions(config) / 2;
            if (rope.LongFactors.Count != pairs || rope.ShortFactors.Count != pairs)
            {
                throw new FailureException(Failure.InvalidInput(
                    $"config.json: long_factor and short_factor must have {pairs} numbers each, one per rotated pair, not {rope.LongFactors.Count} and {rope.ShortFactors.Count}"));
            }

            yield return Generated("rope_factors_long.weight", [.. rope.LongFactors.Select(factor => (float)factor)]);
            yield return Generated("rope_factors_short.weight", [.. rope.ShortFactors.Select(factor => (float)factor)]);
        }
        else if (rope.Scaling == RopeScalingType.Llama3)
        {
            yield return Generated("rope_freqs.weight", Llama3Factors(config));
        }
    }

    private static PlannedTensor Generated(string name, float[] values) =>
        new(new GgufTensorSpec(name, GgmlType.F32, [values.Length]), null, TensorTransform.None, 1, values);

    /// <summary>Dimensions of a head that are rotated, as llama.cpp's converter computes it for Phi-3.</summary>
    public static int RotatedDimensions(CheckpointConfig config) => (int)(config.Rope.PartialRotaryFactor * config.Hidden) / config.Heads;

    // Every step in single precision as torch computes it, but for the power, which it computes in double precision; so the result is
    // bit-equal to the reference's.
    private static float[] Llama3Factors(CheckpointConfig config)
    {
        var rope = config.Rope;
        float factor = (float)(rope.Factor ?? 8), low = (float)rope.LowFrequencyFactor, original = rope.OriginalContext ?? 8192;
        var range = (float)(rope.HighFrequencyFactor - rope.LowFrequencyFactor);
        var longest = (float)((rope.OriginalContext ?? 8192) / rope.LowFrequencyFactor);
        var shortest = (float)((rope.OriginalContext ?? 8192) / rope.HighFrequencyFactor);
        var factors = new float[config.HeadSize / 2];
        for (var i = 0; i < factors.Length; i++)
        {
            var exponent = 2f * i / config.HeadSize;
            var frequency = 1f / (float)Math.Pow(rope.Theta, exponent);
            var wavelength = (float)(2 * Math.PI) / frequency;
            if (wavelength < shortest)
            {
                factors[i] = 1;
            }
            else if (wavelength > longest)
            {
                factors[i] = factor;
            }
            else
            {
                var smooth = ((original / wavelength) - low) / range;
                factors[i] = 1f / (((1f - smooth) / factor) + smooth);
            }
        }

        return factors;
    }
}
