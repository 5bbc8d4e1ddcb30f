using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>Types and size of the KV cache, checked before the library takes them on trust.</summary>
internal static class KvCache
{
    /// <summary>The types that llama.cpp computes attention on; another one ends the process.</summary>
    public static IReadOnlyList<GgmlType> Types { get; } =
    [
        GgmlType.F32, GgmlType.F16, GgmlType.BF16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q4_1, GgmlType.IQ4_NL, GgmlType.Q5_0, GgmlType.Q5_1,
    ];

    /// <summary>The type of a name, upper or lower case. InvalidInput for another one.</summary>
    public static GgmlType Parse(string parameter, string name)
    {
        var found = Types.Where(type => type.ToString().Equals(name, StringComparison.OrdinalIgnoreCase)).ToList();
        return found is [var type]
            ? type
            : throw new FailureException(Failure.InvalidInput($"{parameter} is \"{name}\"; a KV cache can have {string.Join(", ", Types).ToLowerInvariant()}"));
    }

    /// <summary>OutOfMemory when the cache alone would exceed the memory that this process may use.</summary>
    public static void Check(GgufFile model, long tokens, GgmlType typeK, GgmlType typeV)
    {
        var bytes = Bytes(model, tokens, typeK, typeV);
        if (bytes > HostMemory.Available)
        {
            throw new FailureException(new Failure(
                FailureType.OutOfMemory,
                $"a KV cache of {tokens:N0} tokens takes {bytes:N0} bytes, and this process may use {HostMemory.Available:N0}; take a shorter context or a smaller type_k and type_v"));
        }
    }

    // Sizes that a file does not tell (or gives per layer) count as the smallest possible: the check must not refuse what would run.
    private static double Bytes(GgufFile model, long tokens, GgmlType typeK, GgmlType typeV)
    {
        var metadata = model.Metadata;
        long Value(string key) => metadata[$"{metadata.Architecture}.{key}"]?.AsInteger() ?? 0;
        var layers = Value("block_count");
        var heads = Value("attention.head_count");
        var kvHeads = Value("attention.head_count_kv") is > 0 and var count ? count : 1;
        var headWidth = heads > 0 ? Value("embedding_length") / heads : 0;
        var keyWidth = Value("attention.key_length") is > 0 and var key ? key : headWidth;
        var valueWidth = Value("attention.value_length") is > 0 and var value ? value : headWidth;
        return (double)tokens * layers * kvHeads * ((keyWidth * GgmlTypes.Get(typeK).BitsPerWeight) + (valueWidth * GgmlTypes.Get(typeV).BitsPerWeight)) / 8;
    }
}
