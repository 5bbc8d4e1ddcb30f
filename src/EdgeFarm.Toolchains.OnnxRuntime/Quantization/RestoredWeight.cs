using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>Values that codes stand for, made piece by piece, so that a weight of gigabytes is never there twice. Pieces may be read side by side.</summary>
internal abstract class RestoredWeight
{
    /// <summary>Values in all.</summary>
    public abstract long Length { get; }

    /// <summary>Values of a piece; the last may be shorter.</summary>
    public abstract int PieceLength { get; }

    /// <summary>Makes the values from one place on; it is a multiple of the piece's length.</summary>
    public abstract void Read(long first, Span<float> target);
}

/// <summary>Values that are all there.</summary>
/// <param name="values">The values.</param>
internal sealed class WholeWeight(float[] values) : RestoredWeight
{
    /// <inheritdoc/>
    public override long Length => values.Length;

    /// <inheritdoc/>
    public override int PieceLength => 1 << 14;

    /// <inheritdoc/>
    public override void Read(long first, Span<float> target) => values.AsSpan((int)first, target.Length).CopyTo(target);
}

/// <summary>(code - zero point) * scale, for codes of one byte seen as [outer, scales, inner].</summary>
internal sealed class LinearPieces : RestoredWeight
{
    private const int About = 1 << 14;

    private readonly TensorProto _codes;
    private readonly float[] _scales;
    private readonly float[] _zeros;
    private readonly int _inner;
    private readonly bool _signed;

    private LinearPieces(TensorProto codes, float[] scales, float[] zeros, int inner)
    {
        (_codes, _scales, _inner, _signed) = (codes, scales, inner, codes.DataType == (int)DataType.Int8);
        _zeros = zeros.Length == scales.Length ? zeros : [.. Enumerable.Repeat(zeros.Length == 0 ? 0 : zeros[0], scales.Length)];
        Length = OnnxTensors.ElementCount(codes.Dims)!.Value;
        var unit = scales.Length == 1 ? 1 : inner == 1 ? scales.Length : inner;
        PieceLength = Math.Max(1, About / unit) * unit;
    }

    /// <inheritdoc/>
    public override long Length { get; }

    /// <inheritdoc/>
    public override int PieceLength { get; }

    /// <summary>Reads codes of any integer type.</summary>
    /// <param name="codes">The codes.</param>
    /// <param name="scales">Scales, one or one per channel.</param>
    /// <param name="zeros">Zero points as many; empty where they are 0.</param>
    /// <param name="inner">Elements from one channel to the next.</param>
    public static RestoredWeight Open(TensorProto codes, float[] scales, float[] zeros, int inner)
    {
        if (codes.DataType is (int)DataType.Int8 or (int)DataType.Uint8 && codes.HasRawData)
        {
            return new LinearPieces(codes, scales, zeros, inner);
        }

        var values = QuantCodes.Unpack(codes);
        QuantCodes.Restore(values, scales, zeros, inner);
        return new WholeWeight(values);
    }

    /// <inheritdoc/>
    public override void Read(long first, Span<float> target)
    {
        var bytes = OnnxTensors.Bytes(_codes).Slice((int)first, target.Length);
        if (_scales.Length == 1)
        {
            Restore(bytes, _zeros[0], _scales[0], target);
        }
        else if (_inner == 1)
        {
            for (var at = 0; at < target.Length; at += _scales.Length)
            {
                RestoreRow(bytes.Slice(at, _scales.Length), target.Slice(at, _scales.Length));
            }
        }
        else
        {
            for (var at = 0; at < target.Length; at += _inner)
            {
                var channel = (int)((first + at) / _inner % _scales.Length);
                Restore(bytes.Slice(at, _inner), _zeros[channel], _scales[channel], target.Slice(at, _inner));
            }
        }
    }

    private void Restore(ReadOnlySpan<byte> codes, float zero, float scale, Span<float> target)
    {
        var at = 0;
        if (Vector256.IsHardwareAccelerated)
        {
            var (zeros, scales) = (Vector256.Create(zero), Vector256.Create(scale));
            for (; at <= codes.Length - 8; at += 8)
            {
                ((Load(codes, at) - zeros) * scales).StoreUnsafe(ref MemoryMarshal.GetReference(target), (nuint)at);
            }
        }

        for (; at < codes.Length; at++)
        {
            target[at] = (Code(codes[at]) - zero) * scale;
        }
    }

    private void RestoreRow(ReadOnlySpan<byte> codes, Span<float> target)
    {
        var at = 0;
        if (Vector256.IsHardwareAccelerated)
        {
            for (; at <= codes.Length - 8; at += 8)
            {
                var value = (Load(codes, at) - Vector256.LoadUnsafe(ref _zeros[0], (nuint)at)) * Vector256.LoadUnsafe(ref _scales[0], (nuint)at);
                value.StoreUnsafe(ref MemoryMarshal.GetReference(target), (nuint)at);
            }
        }

        for (; at < codes.Length; at++)
        {
            target[at] = (Code(codes[at]) - _zeros[at]) * _scales[at];
        }
    }

    private float Code(byte code) => _signed ? (sbyte)code : code;

    // Eight codes as floats.
    private Vector256<float> Load(ReadOnlySpan<byte> codes, int at)
    {
        var eight = Vector128.CreateScalarUnsafe(MemoryMarshal.Read<ulong>(codes[at..])).AsByte();
        var wide = _signed
            ? Vector256.WidenLower(Vector128.WidenLower(eight.AsSByte()).ToVector256Unsafe())
            : Vector256.WidenLower(Vector128.WidenLower(eight).ToVector256Unsafe()).AsInt32();
        return Vector256.ConvertToSingle(wide);
    }
}

/// <summary>A matrix in MatMulNBits's layout, a row of blocks at a time.</summary>
/// <param name="rows">K.</param>
/// <param name="columns">N.</param>
/// <param name="format">Bits and blocks.</param>
/// <param name="codes">[N, blocks, blob bytes].</param>
/// <param name="scales">[N, blocks].</param>
/// <param name="zeros">Packed or float zero points; null where the middle code is 0.</param>
internal sealed class BlockPieces(int rows, int columns, BlockFormat format, TensorProto codes, TensorProto scales, TensorProto? zeros) : RestoredWeight
{
    private readonly float[] _scales = OnnxTensors.ToFloats(scales);
    private readonly float[]? _floatZeros = zeros?.DataType == (int)DataType.Float ? OnnxTensors.ToFloats(zeros) : null;
    private readonly byte[]? _packedZeros = zeros is null || zeros.DataType == (int)DataType.Float ? null : OnnxTensors.Bytes(zeros).ToArray();

    /// <inheritdoc/>
    public override long Length => (long)rows * columns;

    /// <inheritdoc/>
    public override int PieceLength => checked(format.BlockSize * columns);

    /// <inheritdoc/>
    public override void Read(long first, Span<float> target)
    {
        var (blocks, blob, bits, mask) = (format.Blocks(rows), format.BlobBytes, format.Bits, format.MaxCode);
        var (block, count) = ((int)(first / PieceLength), target.Length / columns);
        var bytes = OnnxTensors.Bytes(codes);
        for (var c = 0; c < columns; c++)
        {
            var scale = _scales[(c * blocks) + block];
            var zero = _floatZeros is { } f ? f[(c * blocks) + block]
                : _packedZeros is { } z ? BlockQuantizer.GetZero(z, c, block, blocks, format)
                : format.MiddleCode;
            var own = bytes.Slice((int)(((c * (long)blocks) + block) * blob), blob);
            var at = c;
            for (var r = 0; r < count; r++)
            {
                target[at] = (((own[r * bits >> 3] >> (r * bits & 7)) & mask) - zero) * scale;
                at += columns;
            }
        }
    }
}

/// <summary>An embedding table of GatherBlockQuantized, some rows at a time.</summary>
/// <param name="rows">Rows of the table.</param>
/// <param name="columns">Values of a row.</param>
/// <param name="format">Bits and blocks.</param>
/// <param name="codes">[rows, columns].</param>
/// <param name="scales">[rows, blocks].</param>
/// <param name="zeros">[rows, blocks]; null where codes are symmetric.</param>
internal sealed class TablePieces(int rows, int columns, BlockFormat format, TensorProto codes, TensorProto scales, TensorProto? zeros) : RestoredWeight
{
    private readonly float[] _scales = OnnxTensors.ToFloats(scales);
    private readonly float[]? _zeros = zeros is null ? null : QuantCodes.Unpack(zeros);

    /// <inheritdoc/>
    public override long Length => (long)rows * columns;

    /// <inheritdoc/>
    public override int PieceLength => Math.Max(1, (1 << 14) / columns) * columns;

    /// <inheritdoc/>
    public override void Read(long first, Span<float> target)
    {
        var (blocks, middle) = (format.Blocks(columns), format.MiddleCode);
        var bytes = OnnxTensors.Bytes(codes);
        for (var at = 0; at < target.Length; at += columns)
        {
            var row = (int)((first + at) / columns);
            for (var c = 0; c < columns; c++)
            {
                var bit = (((long)row * columns) + c) * format.Bits;
                var code = (bytes[(int)(bit >> 3)] >> (int)(bit & 7)) & format.MaxCode;
                var block = (row * blocks) + (c / format.BlockSize);
                // Without zero points four bits are signed and eight have an offset.
                var value = _zeros is { } z ? code - z[block] : format.Bits == 8 ? code - middle : (code ^ middle) - middle;
                target[at + c] = value * _scales[block];
            }
        }
    }
}
