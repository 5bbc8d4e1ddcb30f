using System.Numerics.Tensors;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>
/// GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022): row after row is
/// rounded, and what rounding does to the product with the samples is taken out of the rows still to come. A block's scale is fixed when
/// its first row's turn comes, from the rows as they are then.
/// </summary>
internal static class GptqQuantizer
{
    // Columns that one thread works on at a time: their part of the matrix stays in its cache.
    private const int Band = 64;

    /// <summary>
    /// The upper triangular U with U'U = inverse of (H + damping), row-major, from the inputs' second moment H = X'X. Rows without any
    /// input get 1 on the diagonal of H, so that nothing is taken out for them.
    /// </summary>
    /// <param name="moment">H, row-major [rows, rows].</param>
    /// <param name="rows">K.</param>
    /// <param name="damping">Share of the diagonal's mean that is added to it.</param>
    /// <param name="threads">Threads that may be used.</param>
    /// <exception cref="FailureException">InvalidInput: H is not a second moment of finite values.</exception>
    public static float[] Factor(ReadOnlySpan<float> moment, int rows, double damping, int threads)
    {
        // With the order of rows reversed, H = LL' gives inverse(H) = (reversed inverse(L))' times itself: one factorization and one
        // triangular inverse instead of two factorizations and a full inverse.
        double diagonal = 0;
        for (var i = 0; i < rows; i++)
        {
            diagonal += moment[(i * rows) + i];
        }

        var added = Math.Max(damping * diagonal / rows, 1e-12);
        var lower = new double[checked(rows * rows)];
        for (var i = 0; i < rows; i++)
        {
            var source = rows - 1 - i;
            var row = lower.AsSpan(i * rows, i + 1);
            for (var j = 0; j <= i; j++)
            {
                row[j] = moment[(source * rows) + rows - 1 - j];
            }

            row[i] = moment[(source * rows) + source] == 0 ? 1 : row[i] + added;
            for (var j = 0; j < i; j++)
            {
                var other = lower.AsSpan(j * rows, j + 1);
                row[j] = (row[j] - TensorPrimitives.Dot<double>(row[..j], other[..j])) / other[j];
            }

            var rest = row[i] - TensorPrimitives.SumOfSquares<double>(row[..i]);
            row[i] = rest > 0 && double.IsFinite(rest) ? Math.Sqrt(rest)
                : throw new FailureException(Failure.InvalidInput("the calibration samples give a second moment that has no inverse: they hold infinite or NaN values, or are too few"));
        }

        return Invert(lower, rows, threads);
    }

    /// <summary>Quantizes a row-major [rows, columns] matrix; blocks run down the columns.</summary>
    /// <param name="matrix">The weights.</param>
    /// <param name="rows">K.</param>
    /// <param name="columns">N.</param>
    /// <param name="factor">U of <see cref="Factor"/>.</param>
    /// <param name="format">Bits and blocks.</param>
    /// <param name="threads">Threads that may be used.</param>
    public static BlockMatrix Quantize(ReadOnlyMemory<float> matrix, int rows, int columns, float[] factor, BlockFormat format, int threads)
    {
        var result = BlockQuantizer.Allocate(rows, columns, format);
        var blocks = format.Blocks(rows);
        var codes = new byte[checked(rows * columns)];
        var zeroCodes = new byte[checked(columns * blocks)];
        var bands = (columns + Band - 1) / Band;
        Parallel.For(0, bands, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) }, band =>
        {
            var first = band * Band;
            var width = Math.Min(Band, columns - first);
            // The band's own copy is contiguous; the whole matrix would be walked with a stride.
            var part = new float[rows * width];
            for (var r = 0; r < rows; r++)
            {
                matrix.Span.Slice((r * columns) + first, width).CopyTo(part.AsSpan(r * width));
            }

            var (scale, zero, error) = (new float[width], new int[width], new float[width]);
            for (var r = 0; r < rows; r++)
            {
                if (r % format.BlockSize == 0)
                {
                    Scales(part.AsSpan(r * width, Math.Min(format.BlockSize, rows - r) * width), width, format, scale, zero);
                    for (var c = 0; c < width; c++)
                    {
                        result.Scales[((first + c) * blocks) + (r / format.BlockSize)] = scale[c];
                        zeroCodes[((first + c) * blocks) + (r / format.BlockSize)] = (byte)zero[c];
                    }
                }

                var row = part.AsSpan(r * width, width);
                var pivot = factor[(r * rows) + r];
                for (var c = 0; c < width; c++)
                {
                    var code = scale[c] == 0 ? zero[c] : (int)Math.Clamp(MathF.Round((row[c] / scale[c]) + zero[c], MidpointRounding.AwayFromZero), 0, format.MaxCode);
                    codes[(r * columns) + first + c] = (byte)code;
                    error[c] = (row[c] - ((code - zero[c]) * scale[c])) / pivot;
                }

                for (var j = r + 1; j < rows; j++)
                {
                    var later = part.AsSpan(j * width, width);
                    TensorPrimitives.MultiplyAdd(error, -factor[(r * rows) + j], later, later);
                }
            }
        });
        for (var block = 0; block < blocks; block++)
        {
            var first = block * format.BlockSize;
            var count = Math.Min(format.BlockSize, rows - first);
            BlockQuantizer.Pack(codes.AsSpan(first * columns, count * columns), count, block, result, format);
            for (var c = 0; result.ZeroPoints is { } zeros && c < columns; c++)
            {
                BlockQuantizer.PutZero(zeros, c, block, blocks, zeroCodes[(c * blocks) + block], format);
            }
        }

        return result;
    }

    private static void Scales(ReadOnlySpan<float> block, int width, BlockFormat format, float[] scale, int[] zero)
    {
        var (min, max) = LinearQuantizer.ChannelRanges(block, width, 1);
        for (var c = 0; c < width; c++)
        {
            (scale[c], zero[c]) = BlockQuantizer.ScaleFor(min[c], max[c], format);
        }
    }

    // U[i, j] = inverse(L)[n-1-i, n-1-j].
    private static float[] Invert(double[] lower, int rows, int threads)
    {
        var result = new float[lower.Length];
        var bands = (rows + Band - 1) / Band;
        Parallel.For(0, bands, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) }, band =>
        {
            var first = band * Band;
            var width = Math.Min(Band, rows - first);
            var part = new double[rows * width];
            for (var i = first; i < rows; i++)
            {
                var row = part.AsSpan(i * width, width);
                for (var j = first; j < i; j++)
                {
                    TensorPrimitives.MultiplyAdd(part.AsSpan(j * width, width), -lower[(i * rows) + j], row, row);
                }

                if (i < first + width)
                {
                    row[i - first] += 1;
                }

                TensorPrimitives.Divide(row, lower[(i * rows) + i], row);
                for (var c = 0; c < width && first + c <= i; c++)
                {
                    result[((rows - 1 - i) * rows) + rows - 1 - first - c] = (float)row[c];
                }
            }
        });
        return result;
    }
}
