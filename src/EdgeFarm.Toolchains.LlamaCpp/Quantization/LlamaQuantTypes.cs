using System.Diagnostics.CodeAnalysis;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.Toolchains.LlamaCpp.Quantization;

/// <summary>A quantization type of llama.cpp: a mixture of tensor types under one name.</summary>
/// <param name="Name">llama-quantize's name; the canonical name of the form.</param>
/// <param name="Ftype">The number in <c>general.file_type</c> (enum llama_ftype).</param>
/// <param name="DefaultType">The type of most tensors.</param>
/// <param name="NeedsImatrix">Whether models need an importance matrix for it. The plan of a model says exactly.</param>
/// <param name="PrecisionClass"><c>1-2</c>, <c>3-4</c>, <c>5-8</c>, <c>half</c> or <c>full</c>: bits of most weights.</param>
public sealed record LlamaQuantType(string Name, int Ftype, GgmlType DefaultType, bool NeedsImatrix, string PrecisionClass)
{
    /// <summary>Whether an importance matrix changes the weights: rounding to 8 and more bits, to signs, to three values and to FP4 does without.</summary>
    public bool TakesImatrix => DefaultType is not (
        GgmlType.F32 or GgmlType.F16 or GgmlType.BF16 or GgmlType.Q8_0 or GgmlType.Q1_0 or GgmlType.Q2_0 or GgmlType.TQ1_0 or GgmlType.TQ2_0 or GgmlType.MXFP4);
}

/// <summary>The quantization types of llama.cpp 0.5.0 (tools/quantize), and the tensor types that overrides may name.</summary>
public static class LlamaQuantTypes
{
    /// <summary>All types, from the most bits to the fewest.</summary>
    public static IReadOnlyList<LlamaQuantType> All { get; } =
    [
        new("F32", 0, GgmlType.F32, false, "full"),
        new("F16", 1, GgmlType.F16, false, "half"),
        new("BF16", 32, GgmlType.BF16, false, "half"),
        new("Q8_0", 7, GgmlType.Q8_0, false, "5-8"),
        new("Q6_K", 18, GgmlType.Q6_K, false, "5-8"),
        new("Q5_1", 9, GgmlType.Q5_1, false, "5-8"),
        new("Q5_K_M", 17, GgmlType.Q5_K, false, "5-8"),
        new("Q5_K_S", 16, GgmlType.Q5_K, false, "5-8"),
        new("Q5_0", 8, GgmlType.Q5_0, false, "5-8"),
        new("Q4_1", 3, GgmlType.Q4_1, false, "3-4"),
        new("Q4_K_M", 15, GgmlType.Q4_K, false, "3-4"),
        new("Q4_K_S", 14, GgmlType.Q4_K, false, "3-4"),
        new("Q4_0", 2, GgmlType.Q4_0, false, "3-4"),
        new("IQ4_NL", 25, GgmlType.IQ4_NL, false, "3-4"),
        new("IQ4_XS", 30, GgmlType.IQ4_XS, false, "3-4"),
        new("MXFP4_MOE", 38, GgmlType.MXFP4, false, "3-4"),
        new("Q3_K_L", 13, GgmlType.Q3_K, false, "3-4"),
        new("Q3_K_M", 12, GgmlType.Q3_K, false, "3-4"),
        new("IQ3_M", 27, GgmlType.IQ3_S, false, "3-4"),
        new("IQ3_S", 26, GgmlType.IQ3_S, false, "3-4"),
        new("Q3_K_S", 11, GgmlType.Q3_K, false, "3-4"),
        new("IQ3_XS", 22, GgmlType.IQ3_S, true, "3-4"),
        new("IQ3_XXS", 23, GgmlType.IQ3_XXS, true, "3-4"),
        new("Q2_K", 10, GgmlType.Q2_K, false, "1-2"),
        new("Q2_K_S", 21, GgmlType.Q2_K, true, "1-2"),
        new("IQ2_M", 29, GgmlType.IQ2_S, true, "1-2"),
        new("IQ2_S", 28, GgmlType.IQ2_XS, true, "1-2"),
        new("Q2_0", 41, GgmlType.Q2_0, false, "1-2"),
        new("IQ2_XS", 20, GgmlType.IQ2_XS, true, "1-2"),
        new("TQ2_0", 37, GgmlType.TQ2_0, false, "1-2"),
        new("IQ2_XXS", 19, GgmlType.IQ2_XXS, true, "1-2"),
        new("IQ1_M", 31, GgmlType.IQ1_M, true, "1-2"),
        new("TQ1_0", 36, GgmlType.TQ1_0, false, "1-2"),
        new("IQ1_S", 24, GgmlType.IQ1_S, true, "1-2"),
        new("Q1_0", 40, GgmlType.Q1_0, false, "1-2"),
    ];

    private static readonly Dictionary<string, LlamaQuantType> ByName = All
        .Select(type => (type.Name, Type: type))
        .Concat(new (string Alias, string Of)[] { ("Q3_K", "Q3_K_M"), ("Q4_K", "Q4_K_M"), ("Q5_K", "Q5_K_M") }
            .Select(alias => (alias.Alias, All.First(type => type.Name == alias.Of))))
        .ToDictionary(entry => entry.Item1, entry => entry.Item2, StringComparer.OrdinalIgnoreCase);

    /// <summary>
    /// Tensor types that weights can be quantized to. The library aborts the process when it is given another one: integers and doubles are
    /// no weights, Q8_1 and Q8_K hold activations.
    /// </summary>
    public static IReadOnlyList<GgmlType> TensorTypes { get; } =
    [
        .. GgmlTypes.All.Select(info => info.Type).Where(type => type is not (
            GgmlType.I8 or GgmlType.I16 or GgmlType.I32 or GgmlType.I64 or GgmlType.F64 or GgmlType.Q8_1 or GgmlType.Q8_K)),
    ];

    /// <summary>Finds a type by name, upper or lower case; <c>Q4_K</c> and its like stand for the medium mixture.</summary>
    public static bool TryGet(string name, [NotNullWhen(true)] out LlamaQuantType? type) => ByName.TryGetValue(name, out type);

    /// <summary>Finds a tensor type by ggml's name, upper or lower case.</summary>
    public static bool TryGetTensorType(string name, out GgmlType type)
    {
        var found = TensorTypes.Where(candidate => candidate.ToString().Equals(name, StringComparison.OrdinalIgnoreCase)).Take(1).ToArray();
        type = found.FirstOrDefault();
        return found.Length == 1;
    }
}
