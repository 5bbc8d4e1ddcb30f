using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>Numbers between their stored forms and single precision; bit for bit as numpy and ggml do it.</summary>
internal static class ElementCodec
{
    /// <summary>Elements of a Q8_0 block.</summary>
    public const int Q8Block = 32;

    /// <summary>Bytes of a Q8_0 block: a half-precision scale and 32 signed bytes.</summary>
    public const int Q8BlockBytes = 34;

    /// <summary>From here on half precision has only infinity.</summary>
    public const float HalfOverflow = 65520;

    /// <summary>Widens stored elements.</summary>
    public static void Widen(SafetensorsDType type, ReadOnlySpan<byte> source, Span<float> target)
    {
        switch (type)
        {
            case SafetensorsDType.F32:
                source.CopyTo(MemoryMarshal.AsBytes(target));
                break;
            case SafetensorsDType.F16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), target);
                break;
            case SafetensorsDType.BF16:
                WidenBrain(MemoryMarshal.Cast<byte, ushort>(source), target);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "only F32, F16 and BF16 are converted");
        }
    }

    /// <summary>
    /// Adds one to every element. torch adds within the stored type, so a half-precision norm is rounded once more; bfloat16 is widened
    /// before.
    /// </summary>
    public static void AddOne(SafetensorsDType stored, Span<float> values)
    {
        foreach (ref var value in values)
        {
            value += 1;
            if (stored == SafetensorsDType.F16)
            {
                value = (float)(Half)value;
            }
        }
    }

    /// <summary>Encodes numbers; the length must be a whole number of blocks.</summary>
    /// <returns>How many finite numbers became infinite.</returns>
    public static long Encode(GgmlType type, ReadOnlySpan<float> source, Span<byte> target)
    {
        switch (type)
        {
            case GgmlType.F32:
                MemoryMarshal.AsBytes(source).CopyTo(target);
                return 0;
            case GgmlType.F16:
                TensorPrimitives.ConvertToHalf(source, MemoryMarshal.Cast<byte, Half>(target));
                return CountFrom(HalfOverflow, source);
            case GgmlType.BF16:
                return NarrowToBrain(source, MemoryMarshal.Cast<byte, ushort>(target));
            case GgmlType.Q8_0:
                long overflows = 0;
                for (var block = 0; block < source.Length / Q8Block; block++)
                {
                    overflows += EncodeQ8Block(source.Slice(block * Q8Block, Q8Block), target.Slice(block * Q8BlockBytes, Q8BlockBytes));
                }

                return overflows;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "only F32, F16, BF16 and Q8_0 are written");
        }
    }

    /// <summary>Decodes what <see cref="Encode"/> wrote, by the formats' definitions.</summary>
    public static void Decode(GgmlType type, ReadOnlySpan<byte> source, Span<float> target)
    {
        switch (type)
        {
            case GgmlType.F32: Widen(SafetensorsDType.F32, source, target); break;
            case GgmlType.F16: Widen(SafetensorsDType.F16, source, target); break;
            case GgmlType.BF16: Widen(SafetensorsDType.BF16, source, target); break;
            case GgmlType.Q8_0:
                for (var block = 0; block < target.Length / Q8Block; block++)
                {
                    var stored = source.Slice(block * Q8BlockBytes, Q8BlockBytes);
                    var scale = (float)MemoryMarshal.Read<Half>(stored);
                    var values = target.Slice(block * Q8Block, Q8Block);
                    for (var i = 0; i < Q8Block; i++)
                    {
                        values[i] = scale * (sbyte)stored[2 + i];
                    }
                }

                break;
            default: throw new ArgumentOutOfRangeException(nameof(type), type, "only F32, F16, BF16 and Q8_0 are read");
        }
    }

    private static void WidenBrain(ReadOnlySpan<ushort> source, Span<float> target)
    {
        var bits = MemoryMarshal.Cast<float, uint>(target);
        for (var i = 0; i < source.Length; i++)
        {
            bits[i] = (uint)source[i] << 16;
        }
    }

    private static long NarrowToBrain(ReadOnlySpan<float> source, Span<ushort> target)
    {
        long overflows = 0;
        var bits = MemoryMarshal.Cast<float, uint>(source);
        for (var i = 0; i < bits.Length; i++)
        {
            var value = bits[i];
            var magnitude = value & 0x7FFF_FFFF;
            if (magnitude > 0x7F80_0000)
            {
                // A quiet NaN; rounding could make it an infinity.
                target[i] = (ushort)((value >> 16) | 0x40);
                continue;
            }

            // Nearest, ties to even.
            var rounded = (value + 0x7FFF + ((value >> 16) & 1)) >> 16;
            target[i] = (ushort)rounded;
            overflows += magnitude < 0x7F80_0000 && (rounded & 0x7FFF) == 0x7F80 ? 1 : 0;
        }

        return overflows;
    }

    private static int EncodeQ8Block(ReadOnlySpan<float> source, Span<byte> target)
    {
        var largest = 0f;
        foreach (var value in source)
        {
            largest = Math.Max(largest, Math.Abs(value));
        }

        var scale = largest / 127;
        var inverse = scale == 0 ? 0 : 1 / scale;
        var half = (Half)scale;
        MemoryMarshal.Write(target, half);
        for (var i = 0; i < source.Length; i++)
        {
            // Halves are rounded away from zero, as roundf does.
            var scaled = source[i] * inverse;
            var magnitude = Math.Abs(scaled);
            var whole = MathF.Floor(magnitude);
            var rounded = whole + (magnitude - whole >= 0.5f ? 1 : 0);
            target[2 + i] = (byte)(sbyte)(scaled < 0 ? -rounded : rounded);
        }

        return Half.IsInfinity(half) && float.IsFinite(scale) ? source.Length : 0;
    }

    private static long CountFrom(float limit, ReadOnlySpan<float> values)
    {
        if (values.IsEmpty || !(Math.Abs(TensorPrimitives.MaxMagnitude(values)) >= limit))
        {
            return 0;
        }

        long count = 0;
        foreach (var value in values)
        {
            count += float.IsFinite(value) && Math.Abs(value) >= limit ? 1 : 0;
        }

        return count;
    }
}
