using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>Codes of every integer type, as ONNX stores them.</summary>
internal static class QuantCodes
{
    /// <summary>Quantizes a tensor seen as [outer, channels, inner]; one scale means one channel that takes all.</summary>
    public static byte[] Quantize(ReadOnlySpan<float> values, QuantScale[] scales, int channels, int inner, QuantRange range)
    {
        var (low, high) = range.Clip;
        var codes = new int[values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            var scale = scales[scales.Length == 1 ? 0 : i / inner % channels];
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

    /// <summary>The integers of a tensor, four-bit types included.</summary>
    public static long[] Unpack(TensorProto tensor)
    {
        if ((DataType)tensor.DataType is not (DataType.Int4 or DataType.Uint4))
        {
            return OnnxTensors.ToInt64s(tensor);
        }

        var bytes = OnnxTensors.Bytes(tensor);
        var codes = new long[OnnxTensors.ElementCount(tensor.Dims)!.Value];
        for (var i = 0; i < codes.Length; i++)
        {
            var code = (bytes[i / 2] >> (i % 2 * 4)) & 15;
            codes[i] = tensor.DataType == (int)DataType.Int4 && code > 7 ? code - 16 : code;
        }

        return codes;
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
    public override double FloorDb => type is DataType.Int4 or DataType.Uint4 ? 2 : 10;

    /// <inheritdoc/>
    protected override float[] Dequantize(Func<string, TensorProto> find)
    {
        var values = Array.ConvertAll(QuantCodes.Unpack(find(codes)), v => (float)v);
        var (scales, zeros) = (OnnxTensors.ToFloats(find(scale)), QuantCodes.Unpack(find(zeroPoint)));
        for (var i = 0; i < values.Length; i++)
        {
            var channel = scales.Length == 1 ? 0 : i / inner % scales.Length;
            values[i] = (values[i] - zeros[channel]) * scales[channel];
        }

        return values;
    }
}
