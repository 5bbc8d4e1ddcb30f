using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>Codes of every integer type, as ONNX stores them.</summary>
internal static class QuantCodes
{
    /// <summary>Quantizes a tensor seen as [outer, scales, inner].</summary>
    public static byte[] Quantize(ReadOnlySpan<float> values, QuantScale[] scales, int inner, QuantRange range)
    {
        if (range.DataType is DataType.Int8 or DataType.Uint8)
        {
            return LinearQuantizer.Quantize(values, scales, inner, range);
        }

        var (low, high) = range.Clip;
        var codes = new int[values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            var scale = scales[scales.Length == 1 ? 0 : i / inner % scales.Length];
            codes[i] = (int)Math.Clamp(MathF.Round(values[i] / scale.Scale) + scale.ZeroPoint, low, high);
        }

        return Pack(range.DataType, codes);
    }

    /// <summary>Integers as little-endian bytes of a type; four-bit types are packed, low half first.</summary>
    public static byte[] Pack(DataType type, int[] codes)
    {
        switch (type)
        {
            case DataType.Int8 or DataType.Uint8:
                return Array.ConvertAll(codes, c => unchecked((byte)c));
            case DataType.Int16 or DataType.Uint16:
                return MemoryMarshal.AsBytes(Array.ConvertAll(codes, c => unchecked((short)c)).AsSpan()).ToArray();
            case DataType.Int4 or DataType.Uint4:
                var packed = new byte[(codes.Length + 1) / 2];
                for (var i = 0; i < codes.Length; i++)
                {
                    packed[i / 2] |= (byte)((codes[i] & 15) << (i % 2 * 4));
                }

                return packed;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "not an integer type for quantization");
        }
    }

    /// <summary>The integers of a tensor as floats, which hold every code of up to 16 bits.</summary>
    public static float[] Unpack(TensorProto tensor)
    {
        var bytes = OnnxTensors.Bytes(tensor);
        var codes = new float[OnnxTensors.ElementCount(tensor.Dims)!.Value];
        switch ((DataType)tensor.DataType)
        {
            case DataType.Int8:
                TensorPrimitives.ConvertTruncating(MemoryMarshal.Cast<byte, sbyte>(bytes), codes);
                break;
            case DataType.Uint8:
                TensorPrimitives.ConvertTruncating(bytes, codes);
                break;
            case DataType.Int16:
                TensorPrimitives.ConvertTruncating(MemoryMarshal.Cast<byte, short>(bytes), codes);
                break;
            case DataType.Uint16:
                TensorPrimitives.ConvertTruncating(MemoryMarshal.Cast<byte, ushort>(bytes), codes);
                break;
            default:
                for (var i = 0; i < codes.Length; i++)
                {
                    var code = (bytes[i / 2] >> (i % 2 * 4)) & 15;
                    codes[i] = tensor.DataType == (int)DataType.Int4 && code > 7 ? code - 16 : code;
                }

                break;
        }

        return codes;
    }

    /// <summary>(codes - zero point) * scale in place, for a tensor seen as [outer, scales, inner].</summary>
    public static void Restore(float[] codes, ReadOnlySpan<float> scales, ReadOnlySpan<float> zeros, int inner)
    {
        for (var at = 0; at < codes.Length; at += inner)
        {
            var channel = scales.Length == 1 ? 0 : at / inner % scales.Length;
            var part = codes.AsSpan(at, inner);
            TensorPrimitives.Subtract(part, zeros.IsEmpty ? 0 : zeros[zeros.Length == 1 ? 0 : channel], part);
            TensorPrimitives.Multiply(part, scales[channel], part);
        }
    }
}

/// <summary>A constant behind a DequantizeLinear.</summary>
/// <param name="source">The tensor as it was.</param>
/// <param name="format">What it became.</param>
/// <param name="type">Its codes' type.</param>
/// <param name="codes">Initializer of the codes.</param>
/// <param name="scale">Initializer of the scales.</param>
/// <param name="zeroPoint">Initializer of the zero points.</param>
/// <param name="inner">Elements from one channel to the next.</param>
internal sealed class QdqWeight(TensorProto source, string format, DataType type, string codes, string scale, string zeroPoint, int inner)
    : QuantizedWeight(source, format)
{
    /// <inheritdoc/>
    // With one scale for all, real weights with outliers keep 8 dB; a wrong layout keeps none.
    public override double FloorDb => type is DataType.Int4 or DataType.Uint4 || !Format.EndsWith("per-channel", StringComparison.Ordinal) ? 2 : 10;

    /// <inheritdoc/>
    protected override RestoredWeight Restore(Func<string, TensorProto> find) =>
        LinearPieces.Open(find(codes), OnnxTensors.ToFloats(find(scale)), QuantCodes.Unpack(find(zeroPoint)), inner);
}
