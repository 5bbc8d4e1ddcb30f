using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>
/// Embedding tables in blocks along each row, as GatherBlockQuantized reads them. Unlike matrices these are divided by the scale and
/// halves go to the even code: that is how ONNX Runtime's quantizer does it.
/// </summary>
internal static class TableQuantizer
{
    /// <summary>Quantizes a row-major [rows, columns] table.</summary>
    /// <returns>
    /// Codes, packed low first, scales and zero points [rows, blocks], the latter packed like the codes. Symmetric 4-bit codes are signed,
    /// symmetric 8-bit ones have 128 for 0; then there are no zero points.
    /// </returns>
    public static (byte[] Codes, float[] Scales, byte[]? Zeros) Quantize(ReadOnlyMemory<float> table, int rows, int columns, BlockFormat format, int threads)
    {
        var blocks = format.Blocks(columns);
        var codes = new byte[Bytes((long)rows * columns, format)];
        var scales = new float[checked(rows * blocks)];
        var zeros = format.Symmetric ? null : new byte[Bytes((long)rows * blocks, format)];
        var offset = format.Symmetric && format.Bits == 8 ? format.MiddleCode : 0;
        // Rows are packed back to back: only whole bytes may be a thread's own.
        var aligned = columns * format.Bits % 8 == 0 && (format.Symmetric || blocks * format.Bits % 8 == 0);
        Parallel.For(0, rows, new ParallelOptions { MaxDegreeOfParallelism = aligned ? Math.Max(1, threads) : 1 }, row =>
        {
            var values = table.Span.Slice(row * columns, columns);
            for (var block = 0; block < blocks; block++)
            {
                var part = values.Slice(block * format.BlockSize, Math.Min(format.BlockSize, columns - (block * format.BlockSize)));
                var (scale, zero) = ScaleFor(TensorPrimitives.Min(part), TensorPrimitives.Max(part), format);
                var at = ((long)row * blocks) + block;
                scales[at] = scale;
                if (zeros is not null)
                {
                    Put(zeros, at, zero, format);
                }

                var (least, most) = format.Symmetric ? (-format.MiddleCode, format.MiddleCode - 1) : (0, format.MaxCode);
                for (var i = 0; i < part.Length; i++)
                {
                    var code = scale == 0 ? zero : (int)Math.Clamp(MathF.Round((part[i] / scale) + zero), least, most);
                    Put(codes, ((long)row * columns) + (block * format.BlockSize) + i, code + offset, format);
                }
            }
        });
        return (codes, scales, zeros);
    }

    private static (float Scale, int Zero) ScaleFor(float min, float max, BlockFormat format)
    {
        if (format.Symmetric)
        {
            return ((Math.Abs(max) > Math.Abs(min) ? max : min) / -format.MiddleCode, 0);
        }

        (min, max) = (Math.Min(min, 0), Math.Max(max, 0));
        var scale = (max - min) / format.MaxCode;
        return (scale, scale == 0 ? format.MiddleCode : (int)Math.Clamp(MathF.Round(-min / scale), 0, format.MaxCode));
    }

    private static void Put(byte[] target, long index, int code, BlockFormat format)
    {
        var bit = index * format.Bits;
        target[bit / 8] |= (byte)((code & format.MaxCode) << (int)(bit % 8));
    }

    private static int Bytes(long codes, BlockFormat format) => checked((int)(((codes * format.Bits) + 7) / 8));
}
