namespace EdgeFarm.ModelFormats.Safetensors;

#pragma warning disable CA1707 // The names are the format's own spelling.
/// <summary>Element types of safetensors files, spelled as in the files.</summary>
public enum SafetensorsDType
{
    /// <summary>Truth values of one byte.</summary>
    BOOL,

    /// <summary>4-bit floats, two in a byte.</summary>
    F4,

    /// <summary>6-bit floats with 2 exponent bits.</summary>
    F6_E2M3,

    /// <summary>6-bit floats with 3 exponent bits.</summary>
    F6_E3M2,

    /// <summary>8-bit unsigned integers.</summary>
    U8,

    /// <summary>8-bit signed integers.</summary>
    I8,

    /// <summary>8-bit floats with 5 exponent bits.</summary>
    F8_E5M2,

    /// <summary>8-bit floats with 4 exponent bits.</summary>
    F8_E4M3,

    /// <summary>8-bit exponents without sign and mantissa.</summary>
    F8_E8M0,

    /// <summary>16-bit signed integers.</summary>
    I16,

    /// <summary>16-bit unsigned integers.</summary>
    U16,

    /// <summary>IEEE half precision.</summary>
    F16,

    /// <summary>bfloat16.</summary>
    BF16,

    /// <summary>32-bit signed integers.</summary>
    I32,

    /// <summary>32-bit unsigned integers.</summary>
    U32,

    /// <summary>IEEE single precision.</summary>
    F32,

    /// <summary>Complex numbers of two IEEE singles.</summary>
    C64,

    /// <summary>IEEE double precision.</summary>
    F64,

    /// <summary>64-bit signed integers.</summary>
    I64,

    /// <summary>64-bit unsigned integers.</summary>
    U64,
}
#pragma warning restore CA1707

/// <summary>Sizes of element types.</summary>
public static class SafetensorsDTypes
{
    /// <summary>Bits of one element.</summary>
    public static int Bits(this SafetensorsDType type) => type switch
    {
        SafetensorsDType.F4 => 4,
        SafetensorsDType.F6_E2M3 or SafetensorsDType.F6_E3M2 => 6,
        <= SafetensorsDType.F8_E8M0 => 8,
        <= SafetensorsDType.BF16 => 16,
        <= SafetensorsDType.F32 => 32,
        _ => 64,
    };
}
