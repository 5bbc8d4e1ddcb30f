using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.HalfPrecision;

/// <summary>The numbers of a half-precision type: round to nearest even, no finite value becomes infinite.</summary>
internal static class HalfCodes
{
    // Smallest positive float16; smaller values of weights become this rather than zero, so that nothing divides by zero.
    private const float SmallestFloat16 = 5.96e-8f;

    private const float LargestFloat16 = 65504;

    private static readonly float LargestBfloat16 = BitConverter.UInt32BitsToSingle(0x7f7f0000);

    /// <summary>Largest finite value.</summary>
    public static float Largest(DataType half) => half == DataType.Float16 ? LargestFloat16 : LargestBfloat16;

    /// <summary>The nearest value within the type's range; what is not finite stays.</summary>
    public static float Within(DataType half, float value) => float.IsFinite(value) ? Math.Clamp(value, -Largest(half), Largest(half)) : value;

    /// <summary>A value's code.</summary>
    public static ushort Encode(DataType half, float value)
    {
        value = Within(half, value);
        if (half == DataType.Float16)
        {
            return BitConverter.HalfToUInt16Bits((Half)(value != 0 && Math.Abs(value) < SmallestFloat16 ? MathF.CopySign(SmallestFloat16, value) : value));
        }

        // Infinities and NaN keep their upper half.
        var bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsFinite(value) ? (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) : (ushort)((bits >> 16) | (float.IsNaN(value) ? 0x40u : 0));
    }

    /// <summary>A code's value.</summary>
    public static float Decode(DataType half, ushort code) =>
        half == DataType.Float16 ? (float)BitConverter.UInt16BitsToHalf(code) : BitConverter.UInt32BitsToSingle((uint)code << 16);
}
