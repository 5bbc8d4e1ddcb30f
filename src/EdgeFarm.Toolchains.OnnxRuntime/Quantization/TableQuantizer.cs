using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>
/// Embedding tables in blocks along each row, as GatherBlockQuantized reads them. Unlike matrices these are divided by the scale and
/// halves go to the even code: that is how ONNX Runtime's quantizer does it.
/// </summary>
internal static class TableQuantizer
{
    /// <summary>Quantizes a row-major [rows, columns] table symmetrically.</summary>
    /// <returns>Codes (4 bits: signed and packed low first; 8 bits: unsigned with 128 for 0) and scales [rows, blocks].</returns>
    public static (byte[] Codes, float[] Scales) Quantize(ReadOnlyMemory<float> table, int rows, int columns, BlockFormat format, int threads)
    {
        var blocks = format.Blocks(columns);
        var codes = new byte[checked((int)((((long)rows * columns * format.Bits) + 7) / 8))];
        var scales = new float[checked(rows * blocks)];
        var signed = format.Bits < 8;
        // Rows are packed back to back: only whole bytes may be a thread's own.
        var aligned = columns * format.Bits % 8 == 0;
        Parallel.For(0, rows, new ParallelOptions { MaxDegreeOfParallelism = aligned ? Math.Max(1, threads) : 1 }, row =>
        {
            var values = table.Span.Slice(row * columns, columns);
            for (var block = 0; block < blocks; block++)
            {
                var part = values.Slice(block * format.BlockSize, Math.Min(format.BlockSize, columns - (block * format.BlockSize)));
                var (min, max) = (TensorPrimitives.Min(part), TensorPrimitives.Max(part));
                var scale = (Math.Abs(max) > Math.Abs(min) ? max : min) / -format.MiddleCode;
                scales[(row * blocks) + block] = scale;
                for (var i = 0; i < part.Length; i++)
                {
                    var code = scale == 0 ? 0 : (int)Math.Clamp(MathF.Round(part[i] / scale), -format.MiddleCode, format.MiddleCode - 1);
                    var bit = (((long)row * columns) + (block * format.BlockSize) + i) * format.Bits;
                    codes[bit / 8] |= (byte)(((signed ? code : code + format.MiddleCode) & format.MaxCode) << (int)(bit % 8));
                }
            }
        });
        return (codes, scales);
    }
}
