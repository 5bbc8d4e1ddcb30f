namespace EdgeFarm.ModelFormats.Gguf;

#pragma warning disable CA1707 // The names are ggml's own, underscores included: they appear in logs, file names and every document of the field.
/// <summary>How ggml stores the elements of a tensor; the number is the one in GGUF files. Gaps are types that ggml removed.</summary>
public enum GgmlType : uint
{
    /// <summary>IEEE single precision.</summary>
    F32 = 0,

    /// <summary>IEEE half precision.</summary>
    F16 = 1,

    /// <summary>4-bit blocks of 32 with a scale.</summary>
    Q4_0 = 2,

    /// <summary>4-bit blocks of 32 with a scale and a minimum.</summary>
    Q4_1 = 3,

    /// <summary>5-bit blocks of 32 with a scale.</summary>
    Q5_0 = 6,

    /// <summary>5-bit blocks of 32 with a scale and a minimum.</summary>
    Q5_1 = 7,

    /// <summary>8-bit blocks of 32 with a half-precision scale.</summary>
    Q8_0 = 8,

    /// <summary>8-bit blocks of 32 with a scale and a sum (activations only).</summary>
    Q8_1 = 9,

    /// <summary>2-bit super-blocks of 256.</summary>
    Q2_K = 10,

    /// <summary>3-bit super-blocks of 256.</summary>
    Q3_K = 11,

    /// <summary>4-bit super-blocks of 256.</summary>
    Q4_K = 12,

    /// <summary>5-bit super-blocks of 256.</summary>
    Q5_K = 13,

    /// <summary>6-bit super-blocks of 256.</summary>
    Q6_K = 14,

    /// <summary>8-bit super-blocks of 256 (activations only).</summary>
    Q8_K = 15,

    /// <summary>Lattice-coded, 2.06 bits per weight.</summary>
    IQ2_XXS = 16,

    /// <summary>Lattice-coded, 2.31 bits per weight.</summary>
    IQ2_XS = 17,

    /// <summary>Lattice-coded, 3.06 bits per weight.</summary>
    IQ3_XXS = 18,

    /// <summary>Lattice-coded, 1.56 bits per weight.</summary>
    IQ1_S = 19,

    /// <summary>4-bit blocks of 32 with a nonlinear code book.</summary>
    IQ4_NL = 20,

    /// <summary>Lattice-coded, 3.44 bits per weight.</summary>
    IQ3_S = 21,

    /// <summary>Lattice-coded, 2.5 bits per weight.</summary>
    IQ2_S = 22,

    /// <summary>4-bit super-blocks of 256 with a nonlinear code book.</summary>
    IQ4_XS = 23,

    /// <summary>8-bit integers.</summary>
    I8 = 24,

    /// <summary>16-bit integers.</summary>
    I16 = 25,

    /// <summary>32-bit integers.</summary>
    I32 = 26,

    /// <summary>64-bit integers.</summary>
    I64 = 27,

    /// <summary>IEEE double precision.</summary>
    F64 = 28,

    /// <summary>Lattice-coded, 1.75 bits per weight.</summary>
    IQ1_M = 29,

    /// <summary>bfloat16.</summary>
    BF16 = 30,

    /// <summary>Ternary, 1.69 bits per weight.</summary>
    TQ1_0 = 34,

    /// <summary>Ternary, 2.06 bits per weight.</summary>
    TQ2_0 = 35,

    /// <summary>OCP microscaling FP4: blocks of 32 with an E8M0 scale.</summary>
    MXFP4 = 39,

    /// <summary>NVIDIA FP4: blocks of 16 with E4M3 scales, stored four at a time.</summary>
    NVFP4 = 40,

    /// <summary>1-bit blocks of 128 with a scale.</summary>
    Q1_0 = 41,

    /// <summary>2-bit blocks of 64 with a scale.</summary>
    Q2_0 = 42,
}
#pragma warning restore CA1707

/// <summary>Size of one block of a ggml type.</summary>
/// <param name="Type">The type.</param>
/// <param name="BlockSize">Elements per block; a row's length must be a multiple of it.</param>
/// <param name="BlockBytes">Bytes per block.</param>
public readonly record struct GgmlTypeInfo(GgmlType Type, int BlockSize, int BlockBytes)
{
    /// <summary>Bits per element, scales included.</summary>
    public double BitsPerWeight => 8.0 * BlockBytes / BlockSize;
}

/// <summary>The table of ggml's types (ggml 0.25.1).</summary>
public static class GgmlTypes
{
    private static readonly Dictionary<GgmlType, GgmlTypeInfo> Table = new GgmlTypeInfo[]
    {
        new(GgmlType.F32, 1, 4), new(GgmlType.F16, 1, 2), new(GgmlType.BF16, 1, 2), new(GgmlType.F64, 1, 8),
        new(GgmlType.I8, 1, 1), new(GgmlType.I16, 1, 2), new(GgmlType.I32, 1, 4), new(GgmlType.I64, 1, 8),
        new(GgmlType.Q4_0, 32, 18), new(GgmlType.Q4_1, 32, 20), new(GgmlType.Q5_0, 32, 22), new(GgmlType.Q5_1, 32, 24),
        new(GgmlType.Q8_0, 32, 34), new(GgmlType.Q8_1, 32, 36), new(GgmlType.IQ4_NL, 32, 18), new(GgmlType.MXFP4, 32, 17),
        new(GgmlType.Q2_K, 256, 84), new(GgmlType.Q3_K, 256, 110), new(GgmlType.Q4_K, 256, 144), new(GgmlType.Q5_K, 256, 176),
        new(GgmlType.Q6_K, 256, 210), new(GgmlType.Q8_K, 256, 292),
        new(GgmlType.IQ1_S, 256, 50), new(GgmlType.IQ1_M, 256, 56), new(GgmlType.IQ2_XXS, 256, 66), new(GgmlType.IQ2_XS, 256, 74),
        new(GgmlType.IQ2_S, 256, 82), new(GgmlType.IQ3_XXS, 256, 98), new(GgmlType.IQ3_S, 256, 110), new(GgmlType.IQ4_XS, 256, 136),
        new(GgmlType.TQ1_0, 256, 54), new(GgmlType.TQ2_0, 256, 66),
        new(GgmlType.NVFP4, 64, 36), new(GgmlType.Q1_0, 128, 18), new(GgmlType.Q2_0, 64, 18),
    }.ToDictionary(info => info.Type);

    /// <summary>All types, in order of their number.</summary>
    public static IReadOnlyList<GgmlTypeInfo> All { get; } = [.. Table.Values.OrderBy(info => info.Type)];

    /// <summary>The block sizes of a type that exists.</summary>
    public static GgmlTypeInfo Get(GgmlType type) => Table[type];

    /// <summary>The block sizes of a type by the number in a file; false when ggml has no such type (any more).</summary>
    public static bool TryGet(uint number, out GgmlTypeInfo info) => Table.TryGetValue((GgmlType)number, out info);

    /// <summary>
    /// Bytes of a tensor whose innermost dimension comes first; null when a dimension is not positive, the row is not a whole
    /// number of blocks, or the elements or bytes exceed 2^63-1.
    /// </summary>
    public static long? TensorBytes(GgmlType type, ReadOnlySpan<long> shape)
    {
        var info = Get(type);
        var elements = UInt128.One;
        foreach (var extent in shape)
        {
            if (extent <= 0)
            {
                return null;
            }

            elements *= (UInt128)extent;
            if (elements > long.MaxValue)
            {
                return null;
            }
        }

        if (shape.Length > 0 && shape[0] % info.BlockSize != 0)
        {
            return null;
        }

        var bytes = elements / (UInt128)info.BlockSize * (UInt128)info.BlockBytes;
        return bytes <= long.MaxValue ? (long)bytes : null;
    }
}
