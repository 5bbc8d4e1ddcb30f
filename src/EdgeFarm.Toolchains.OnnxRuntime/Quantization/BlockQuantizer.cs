using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>How a weight is cut into blocks and coded.</summary>
/// <param name="Bits">2, 4 or 8.</param>
/// <param name="BlockSize">Values that share a scale, along the reduced dimension; a power of two, at least 16.</param>
/// <param name="Symmetric">Whether the middle code is 0; otherwise each block has a zero point.</param>
internal readonly record struct BlockFormat(int Bits, int BlockSize, bool Symmetric)
{
    /// <summary>The highest code.</summary>
    public int MaxCode => (1 << Bits) - 1;

    /// <summary>The code of 0 where there are no zero points.</summary>
    public int MiddleCode => 1 << (Bits - 1);

    /// <summary>Bytes of one block's codes.</summary>
    public int BlobBytes => BlockSize * Bits / 8;

    /// <summary>Blocks of a column of so many values.</summary>
    public int Blocks(int rows) => (rows + BlockSize - 1) / BlockSize;
}

/// <summary>A matrix in MatMulNBits's layout.</summary>
/// <param name="Rows">K, the reduced dimension.</param>
/// <param name="Columns">N.</param>
/// <param name="Codes">[N, blocks, blob bytes], low bits first.</param>
/// <param name="Scales">[N, blocks].</param>
/// <param name="ZeroPoints">Packed codes [N, ceil(blocks * bits / 8)]; null where the middle code is 0.</param>
/// <param name="FloatZeroPoints">[N, blocks], where the method gives zero points that are no codes (HQQ); then ZeroPoints is null.</param>
internal sealed record BlockMatrix(int Rows, int Columns, byte[] Codes, float[] Scales, byte[]? ZeroPoints, float[]? FloatZeroPoints);

/// <summary>
/// Round-to-nearest in blocks, bit for bit as ONNX Runtime's own quantizer does it: halves are rounded away from zero, and values are
/// multiplied by the reciprocal of the scale.
/// </summary>
internal static class BlockQuantizer
{
    /// <summary>Quantizes a row-major [rows, columns] matrix; blocks run down the columns.</summary>
    public static BlockMatrix Quantize(ReadOnlyMemory<float> matrix, int rows, int columns, BlockFormat format, int threads)
    {
        var blocks = format.Blocks(rows);
        var result = Allocate(rows, columns, format);
        Parallel.For(0, blocks, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) }, block =>
        {
            var first = block * format.BlockSize;
            var count = Math.Min(format.BlockSize, rows - first);
            var band = matrix.Span.Slice(first * columns, count * columns);
            var (min, max) = LinearQuantizer.ChannelRanges(band, columns, 1);
            var reciprocal = new float[columns];
            var zero = new float[columns];
            for (var c = 0; c < columns; c++)
            {
                var (scale, zeroPoint) = ScaleFor(min[c], max[c], format);
                result.Scales[(c * blocks) + block] = scale;
                reciprocal[c] = scale != 0 ? 1f / scale : 0f;
                zero[c] = zeroPoint;
            }

            var codes = new byte[count * columns];
            var work = new float[columns];
            for (var r = 0; r < count; r++)
            {
                TensorPrimitives.Multiply(band.Slice(r * columns, columns), reciprocal, work);
                TensorPrimitives.Add(work, zero, work);
                TensorPrimitives.Round(work, MidpointRounding.AwayFromZero, work);
                LinearQuantizer.Store(work, 0, format.MaxCode, codes.AsSpan(r * columns, columns));
            }

            Pack(codes, count, block, result, format);
            if (result.ZeroPoints is { } zeros)
            {
                // Neighbouring blocks share a byte, so each thread's part is put in under a lock of its own kind: once per block.
                lock (zeros)
                {
                    for (var c = 0; c < columns; c++)
                    {
                        PutZero(zeros, c, block, blocks, (int)zero[c], format);
                    }
                }
            }
        });
        return result;
    }

    /// <summary>A matrix of that shape with nothing in it.</summary>
    public static BlockMatrix Allocate(int rows, int columns, BlockFormat format, bool floatZeroPoints = false)
    {
        var blocks = format.Blocks(rows);
        return new BlockMatrix(
            rows,
            columns,
            new byte[checked((long)columns * blocks * format.BlobBytes)],
            new float[checked((long)columns * blocks)],
            format.Symmetric || floatZeroPoints ? null : EmptyZeros(columns, blocks, format),
            floatZeroPoints ? new float[checked((long)columns * blocks)] : null);
    }

    /// <summary>Scale and zero point of a block with these bounds.</summary>
    public static (float Scale, int Zero) ScaleFor(float min, float max, BlockFormat format)
    {
        if (format.Symmetric)
        {
            var extreme = Math.Abs(max) > Math.Abs(min) ? max : min;
            return (extreme / -format.MiddleCode, format.MiddleCode);
        }

        min = Math.Min(min, 0f);
        max = Math.Max(max, 0f);
        var scale = (max - min) / format.MaxCode;
        var zero = scale != 0 ? 0f - (min / scale) : min;
        return (scale, (int)MathF.Round(Math.Clamp(zero, 0f, format.MaxCode), MidpointRounding.AwayFromZero));
    }

    /// <summary>Puts one band of codes (rows of one block, one byte each) into its place.</summary>
    public static void Pack(ReadOnlySpan<byte> codes, int count, int block, BlockMatrix target, BlockFormat format)
    {
        var (columns, blob) = (target.Columns, format.BlobBytes);
        var stride = format.Blocks(target.Rows) * blob;
        var perByte = 8 / format.Bits;
        for (var c = 0; c < columns; c++)
        {
            // A column's bytes lie together in the target, and the band is small enough for the cache.
            var own = target.Codes.AsSpan((int)((c * (long)stride) + (block * blob)), blob);
            var at = c;
            for (var r = 0; r < count; r += perByte)
            {
                var packed = 0;
                for (var i = 0; i < perByte && r + i < count; i++)
                {
                    packed |= codes[at] << (i * format.Bits);
                    at += columns;
                }

                own[r / perByte] = (byte)packed;
            }
        }
    }

    /// <summary>Puts one block's zero point into its packed place, which must hold 0.</summary>
    public static void PutZero(byte[] zeros, int column, int block, int blocks, int zero, BlockFormat format)
    {
        var bit = block * format.Bits;
        zeros[(column * ZeroBytes(blocks, format)) + (bit / 8)] |= (byte)(zero << (bit % 8));
    }

    /// <summary>One block's zero point.</summary>
    public static int GetZero(ReadOnlySpan<byte> zeros, int column, int block, int blocks, BlockFormat format)
    {
        var bit = block * format.Bits;
        return (zeros[(column * ZeroBytes(blocks, format)) + (bit / 8)] >> (bit % 8)) & format.MaxCode;
    }

    /// <summary>The row-major [rows, columns] matrix that the codes stand for.</summary>
    public static float[] Dequantize(BlockMatrix matrix, BlockFormat format)
    {
        var (rows, columns, blocks) = (matrix.Rows, matrix.Columns, format.Blocks(matrix.Rows));
        var mask = format.MaxCode;
        var result = new float[checked(rows * columns)];
        for (var c = 0; c < columns; c++)
        {
            for (var block = 0; block < blocks; block++)
            {
                var scale = matrix.Scales[(c * blocks) + block];
                var zero = matrix.FloatZeroPoints is { } f ? f[(c * blocks) + block]
                    : matrix.ZeroPoints is { } z ? GetZero(z, c, block, blocks, format)
                    : format.MiddleCode;
                var blob = matrix.Codes.AsSpan((int)(((c * (long)blocks) + block) * format.BlobBytes), format.BlobBytes);
                var first = block * format.BlockSize;
                var count = Math.Min(format.BlockSize, rows - first);
                for (var r = 0; r < count; r++)
                {
                    var code = (blob[r * format.Bits / 8] >> (r * format.Bits % 8)) & mask;
                    result[((first + r) * columns) + c] = (code - zero) * scale;
                }
            }
        }

        return result;
    }

    // What is left of a column's last byte holds the middle code, as ONNX Runtime's quantizer leaves it.
    private static byte[] EmptyZeros(int columns, int blocks, BlockFormat format)
    {
        var (bytes, used) = (ZeroBytes(blocks, format), blocks * format.Bits % 8);
        var zeros = new byte[columns * bytes];
        if (used > 0)
        {
            var rest = 0;
            for (var bit = used; bit < 8; bit += format.Bits)
            {
                rest |= format.MiddleCode << bit;
            }

            for (var c = 0; c < columns; c++)
            {
                zeros[(c * bytes) + bytes - 1] = (byte)rest;
            }
        }

        return zeros;
    }

    private static int ZeroBytes(int blocks, BlockFormat format) => ((blocks * format.Bits) + 7) / 8;
}
