using System.Collections.Immutable;

namespace EdgeFarm.Core.Planning;

/// <summary>How large a model is by what its weights are for: read of its source, before any job runs.</summary>
/// <param name="Matrices">
/// Elements by role: <c>token_embd</c>, <c>output</c>, <c>attn_q</c>, <c>attn_k</c>, <c>attn_v</c>, <c>attn_qkv</c>, <c>attn_output</c>, <c>ffn_gate</c>,
/// <c>ffn_up</c>, <c>ffn_down</c>, or a name of the model's own. A matrix that is both embedding and output counts as <c>output</c>.
/// </param>
/// <param name="Vectors">Elements of everything that is no matrix; stays in single precision in every form.</param>
/// <param name="MetadataBytes">Bytes beside the weights (vocabulary), about.</param>
/// <param name="CacheWidth">Elements of keys and values that one token takes, over all layers.</param>
public sealed record ModelShape(ImmutableSortedDictionary<string, long> Matrices, long Vectors, long MetadataBytes, long CacheWidth)
{
    /// <summary>Weights of all tensors.</summary>
    public long Parameters => Matrices.Values.Sum() + Vectors;
}

/// <summary>What a form makes of the matrices of a model: an estimate, within a few percent, that needs no engine.</summary>
/// <param name="Bits">Bits per weight of most matrices, scales included.</param>
/// <param name="Roles">Role to bits per weight where it differs; a mean where layers differ.</param>
public sealed record FormSize(double Bits, ImmutableSortedDictionary<string, double> Roles)
{
    /// <summary>Bytes of the form's artifact.</summary>
    public long Predict(ModelShape shape)
    {
        ArgumentNullException.ThrowIfNull(shape);
        var bits = shape.Matrices.Sum(m => m.Value * Roles.GetValueOrDefault(m.Key, Bits)) + (shape.Vectors * 32.0);
        return (long)Math.Min(bits / 8, long.MaxValue / 4) + shape.MetadataBytes;
    }
}

/// <summary>What tells the memory that a runtime takes to run a form, beside its weights.</summary>
/// <param name="Longest">Benchmark parameters of which the greatest is the length of a run, in tokens.</param>
/// <param name="Before">Benchmark parameters for tokens that are there before it.</param>
/// <param name="Context">Evaluation parameters that are the length of a run, in tokens.</param>
/// <param name="CacheTypes">Parameters whose values are the types of the cache's parts, which are equally large: keys and values.</param>
/// <param name="CacheBytes">Bytes that one element takes by type.</param>
/// <param name="FixedBytes">Bytes that a process takes in any case: libraries and buffers.</param>
public sealed record MemoryEstimate(
    ImmutableArray<string> Longest,
    ImmutableArray<string> Before,
    ImmutableArray<string> Context,
    ImmutableArray<string> CacheTypes,
    ImmutableSortedDictionary<string, double> CacheBytes,
    long FixedBytes)
{
    /// <summary>Bytes that running a form takes, about; 0 when its size is not known.</summary>
    /// <param name="size">Bytes of the form.</param>
    /// <param name="shape">The model.</param>
    /// <param name="parameters">The job's parameters.</param>
    public long Predict(long size, ModelShape? shape, ImmutableSortedDictionary<string, string> parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        if (size <= 0 || shape is null)
        {
            return 0;
        }

        long Number(string name) => long.TryParse(parameters.GetValueOrDefault(name), out var number) && number is > 0 and < int.MaxValue ? number : 0;
        var tokens = Longest.Concat(Context).Select(Number).DefaultIfEmpty(0).Max() + Before.Sum(Number);
        var element = CacheTypes.Average(name => CacheBytes.GetValueOrDefault(parameters.GetValueOrDefault(name, ""), CacheBytes.Values.Max()));
        return (long)Math.Min(size + (tokens * shape.CacheWidth * element) + FixedBytes, long.MaxValue / 4);
    }
}
