using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>An integer type that values are quantized to, with its range.</summary>
/// <param name="DataType">ONNX's type.</param>
/// <param name="Minimum">Lowest code.</param>
/// <param name="Maximum">Highest code.</param>
/// <param name="Symmetric">Whether zero is the middle code and the range is even about it.</param>
internal readonly record struct QuantRange(TensorProto.Types.DataType DataType, int Minimum, int Maximum, bool Symmetric)
{
    /// <summary>
    /// The range that ONNX Runtime's quantizer uses: symmetric signed types leave out the lowest code; a reduced range halves the codes
    /// so that 16-bit accumulation on CPUs without VNNI cannot saturate.
    /// </summary>
    public static QuantRange Of(TensorProto.Types.DataType type, bool symmetric, bool reduce) => type switch
    {
        TensorProto.Types.DataType.Int8 => reduce ? new(type, -64, 64, symmetric) : new(type, symmetric ? -127 : -128, 127, symmetric),
        TensorProto.Types.DataType.Uint8 => new(type, 0, reduce ? 127 : 255, symmetric),
        TensorProto.Types.DataType.Int16 => reduce ? new(type, -16384, 16384, symmetric) : new(type, symmetric ? -32767 : -32768, 32767, symmetric),
        TensorProto.Types.DataType.Uint16 => new(type, 0, reduce ? 32767 : 65535, symmetric),
        TensorProto.Types.DataType.Int4 => reduce ? new(type, -4, 3, symmetric) : new(type, -8, 7, symmetric),
        TensorProto.Types.DataType.Uint4 => new(type, 0, reduce ? 7 : 15, symmetric),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not an integer type for quantization"),
    };

    /// <summary>Lowest and highest code that a value is clipped to: of the signed types ONNX Runtime's quantizer never writes the lowest one where they are symmetric.</summary>
    public (int Low, int High) Clip => DataType switch
    {
        TensorProto.Types.DataType.Int8 => (Symmetric ? -127 : -128, 127),
        TensorProto.Types.DataType.Uint8 => (0, 255),
        TensorProto.Types.DataType.Int16 => (Symmetric ? -32767 : -32768, 32767),
        TensorProto.Types.DataType.Uint16 => (0, 65535),
        TensorProto.Types.DataType.Int4 => (-8, 7),
        _ => (0, 15),
    };
}

/// <summary>Scale and zero point: value = (code - zero point) * scale.</summary>
/// <param name="Scale">Positive.</param>
/// <param name="ZeroPoint">The code of 0.</param>
internal readonly record struct QuantScale(float Scale, int ZeroPoint);

/// <summary>Linear quantization of weights, bit for bit as ONNX Runtime's quantizer does it.</summary>
internal static class LinearQuantizer
{
    private const int Chunk = 4096;

    // Codes made at once, and values that one thread takes at a time.
    private const int Codes = 16;
    private const int Part = 1 << 16;

    /// <summary>
    /// Scale and zero point for values between two bounds. The range is made to include 0; differences are taken in double precision.
    /// </summary>
    /// <param name="minimum">Smallest value, finite.</param>
    /// <param name="maximum">Largest value, finite.</param>
    /// <param name="range">Codes to spread them over.</param>
    /// <param name="minimumRealRange">Least width of the range of values; 0 for no such bound.</param>
    public static QuantScale ScaleFor(float minimum, float maximum, QuantRange range, float minimumRealRange = 0)
    {
        var low = Math.Min(minimum, 0f);
        var high = Math.Max(maximum, 0f);
        if (minimumRealRange > 0)
        {
            high = Math.Max(high, low + minimumRealRange);
        }

        if (range.Symmetric)
        {
            high = Math.Max(Math.Abs(low), Math.Abs(high));
            low = -high;
        }

        var scale = ((double)high - low) / (range.Maximum - (double)range.Minimum);
        // Below the smallest normal float a scale would lose its precision: such a tensor is as good as zero.
        if (scale < 1.17549435e-38)
        {
            return new(1f, 0);
        }

        var zero = range.Symmetric
            ? Math.Round((range.Minimum + range.Maximum) / 2.0, MidpointRounding.ToEven)
            : Math.Round(range.Minimum - (low / scale), MidpointRounding.ToEven);
        return new((float)scale, (int)zero);
    }

    /// <summary>Whether all values are numbers that can be quantized.</summary>
    public static bool IsFinite(ReadOnlySpan<float> values) => FloatScan.Of(values).IsFinite;

    /// <summary>Quantizes values with one scale to one byte each (the bit pattern of int8 or uint8).</summary>
    public static void Quantize(ReadOnlySpan<float> values, QuantScale scale, QuantRange range, Span<byte> codes)
    {
        var (low, high) = range.Clip;
        var at = 0;
        if (Vector256.IsHardwareAccelerated)
        {
            var (divisor, zero) = (Vector256.Create(scale.Scale), Vector256.Create((float)scale.ZeroPoint));
            ref var first = ref MemoryMarshal.GetReference(values);
            for (; at <= values.Length - Codes; at += Codes)
            {
                Store(
                    Vector256.Round(Vector256.LoadUnsafe(ref first, (nuint)at) / divisor) + zero,
                    Vector256.Round(Vector256.LoadUnsafe(ref first, (nuint)at + 8) / divisor) + zero,
                    low, high, codes[at..]);
            }
        }

        for (; at < values.Length; at++)
        {
            codes[at] = Store(MathF.Round(values[at] / scale.Scale) + scale.ZeroPoint, low, high);
        }
    }

    /// <summary>As <see cref="Quantize(ReadOnlySpan{float}, QuantScale, QuantRange, Span{byte})"/>, in parts side by side.</summary>
    public static byte[] Quantize(ReadOnlyMemory<float> values, QuantScale scale, QuantRange range, int threads)
    {
        var codes = GC.AllocateUninitializedArray<byte>(values.Length);
        Parallel.For(0, (values.Length + Part - 1) / Part, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) }, i =>
        {
            var (start, length) = (i * Part, Math.Min(Part, values.Length - (i * Part)));
            Quantize(values.Span.Slice(start, length), scale, range, codes.AsSpan(start, length));
        });
        return codes;
    }

    /// <summary>
    /// Quantizes a tensor seen as [outer, channels, inner] with one scale per channel.
    /// </summary>
    /// <returns>One byte per element, and the scales.</returns>
    public static (byte[] Codes, QuantScale[] Scales) QuantizePerChannel(ReadOnlySpan<float> values, int channels, int inner, QuantRange range)
    {
        var (min, max) = ChannelRanges(values, channels, inner);
        var scales = new QuantScale[channels];
        for (var c = 0; c < channels; c++)
        {
            scales[c] = ScaleFor(min[c], max[c], range);
        }

        return (Quantize(values, scales, inner, range), scales);
    }

    /// <summary>Quantizes a tensor seen as [outer, scales, inner] with given scales, to one byte each.</summary>
    public static byte[] Quantize(ReadOnlySpan<float> values, QuantScale[] scales, int inner, QuantRange range)
    {
        var codes = new byte[values.Length];
        if (scales.Length == 1)
        {
            Quantize(values, scales[0], range, codes);
        }
        else if (inner == 1)
        {
            QuantizeColumns(values, scales, range, codes);
        }
        else
        {
            for (var at = 0; at < values.Length; at += inner)
            {
                Quantize(values.Slice(at, inner), scales[at / inner % scales.Length], range, codes.AsSpan(at, inner));
            }
        }

        return codes;
    }

    /// <summary>Smallest and largest value of each channel of a tensor seen as [outer, channels, inner].</summary>
    public static (float[] Min, float[] Max) ChannelRanges(ReadOnlySpan<float> values, int channels, int inner)
    {
        var min = new float[channels];
        var max = new float[channels];
        min.AsSpan().Fill(float.PositiveInfinity);
        max.AsSpan().Fill(float.NegativeInfinity);
        for (var at = 0; at < values.Length; at += channels * inner)
        {
            if (inner == 1)
            {
                var row = values.Slice(at, channels);
                TensorPrimitives.Min(row, min, min);
                TensorPrimitives.Max(row, max, max);
                continue;
            }

            for (var c = 0; c < channels; c++)
            {
                var part = values.Slice(at + (c * inner), inner);
                min[c] = Math.Min(min[c], TensorPrimitives.Min(part));
                max[c] = Math.Max(max[c], TensorPrimitives.Max(part));
            }
        }

        return (min, max);
    }

    /// <summary>Codes of values that are rounded and offset already: cut to the two bounds, one byte each.</summary>
    public static void Store(ReadOnlySpan<float> rounded, int low, int high, Span<byte> codes)
    {
        var at = 0;
        if (Vector256.IsHardwareAccelerated)
        {
            ref var first = ref MemoryMarshal.GetReference(rounded);
            for (; at <= rounded.Length - Codes; at += Codes)
            {
                Store(Vector256.LoadUnsafe(ref first, (nuint)at), Vector256.LoadUnsafe(ref first, (nuint)at + 8), low, high, codes[at..]);
            }
        }

        for (; at < rounded.Length; at++)
        {
            codes[at] = Store(rounded[at], low, high);
        }
    }

    private static void QuantizeColumns(ReadOnlySpan<float> values, QuantScale[] scales, QuantRange range, byte[] codes)
    {
        var (low, high) = range.Clip;
        var divisors = Array.ConvertAll(scales, s => s.Scale);
        var zeros = Array.ConvertAll(scales, s => (float)s.ZeroPoint);
        var work = new float[Math.Min(Chunk, scales.Length)];
        for (var row = 0; row < values.Length; row += scales.Length)
        {
            for (var start = 0; start < scales.Length; start += Chunk)
            {
                var length = Math.Min(Chunk, scales.Length - start);
                var w = work.AsSpan(0, length);
                TensorPrimitives.Divide(values.Slice(row + start, length), divisors.AsSpan(start, length), w);
                TensorPrimitives.Round(w, w);
                TensorPrimitives.Add(w, zeros.AsSpan(start, length), w);
                Store(w, low, high, codes.AsSpan(row + start, length));
            }
        }
    }

    private static byte Store(float rounded, int low, int high) => unchecked((byte)(int)Math.Min(Math.Max(rounded, low), high));

    // Sixteen codes; a negative one keeps its low bits.
    private static void Store(Vector256<float> left, Vector256<float> right, int low, int high, Span<byte> codes)
    {
        var (least, most) = (Vector256.Create((float)low), Vector256.Create((float)high));
        var shorts = Vector256.Narrow(
            Vector256.ConvertToInt32(Vector256.Min(Vector256.Max(left, least), most)), Vector256.ConvertToInt32(Vector256.Min(Vector256.Max(right, least), most)));
        Vector128.Narrow(shorts.GetLower(), shorts.GetUpper()).AsByte().CopyTo(codes);
    }
}
