using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>
/// Scales and offsets of blocks by weighted least squares over a row of trial scales, as llama.cpp's k-quants find them: large values
/// weigh more. The parameters are those that ONNX Runtime's quantizer uses: 20 trials, a tenth of a code apart.
/// </summary>
internal static class KQuantizer
{
    private const int Trials = 20;
    private const float Spacing = 0.1f;
    private const float FirstTrial = -1;

    /// <summary>Quantizes a row-major [rows, columns] matrix with zero points; blocks run down the columns.</summary>
    public static BlockMatrix Quantize(ReadOnlyMemory<float> matrix, int rows, int columns, BlockFormat format, int threads)
    {
        var result = BlockQuantizer.Allocate(rows, columns, format);
        var blocks = format.Blocks(rows);
        var zeros = new byte[checked(columns * blocks)];
        Parallel.For(0, blocks, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) }, block =>
        {
            var first = block * format.BlockSize;
            var count = Math.Min(format.BlockSize, rows - first);
            var codes = new byte[count * columns];
            // What is beyond the last row is 0, and counts.
            var values = new float[format.BlockSize];
            for (var c = 0; c < columns; c++)
            {
                for (var r = 0; r < count; r++)
                {
                    values[r] = matrix.Span[((first + r) * columns) + c];
                }

                var (scale, zero) = Search(values, format.MaxCode);
                result.Scales[(c * blocks) + block] = scale;
                zeros[(c * blocks) + block] = (byte)zero;
                for (var r = 0; r < count; r++)
                {
                    codes[(r * columns) + c] = (byte)Math.Clamp(Math.Round((values[r] / (double)scale) + zero), 0, format.MaxCode);
                }
            }

            BlockQuantizer.Pack(codes, count, block, result, format);
        });
        for (var i = 0; i < zeros.Length; i++)
        {
            BlockQuantizer.PutZero(result.ZeroPoints!, i / blocks, i % blocks, blocks, zeros[i], format);
        }

        return result;
    }

    private static (float Scale, int Zero) Search(ReadOnlySpan<float> values, int maxCode)
    {
        var size = values.Length;
        Span<float> weights = stackalloc float[size], codes = stackalloc float[size];
        TensorPrimitives.Abs(values, weights);
        TensorPrimitives.Add(weights, MathF.Sqrt(TensorPrimitives.SumOfSquares(values) / size), weights);
        var (low, high) = (TensorPrimitives.Min(values), TensorPrimitives.Max(values));
        var (sumW, sumX) = (TensorPrimitives.Sum<float>(weights), TensorPrimitives.Dot(weights, values));
        var scale = high == low ? 1 : (high - low) / maxCode;
        Round(values, low, high == low ? 1 : maxCode / (high - low), maxCode, codes);
        var best = Error(values, weights, codes, scale, low);
        for (var trial = 0; trial < Trials; trial++)
        {
            // The best offset so far is where the next trial starts from.
            Round(values, low, high == low ? 1 : (FirstTrial + (Spacing * trial) + maxCode) / (high - low), maxCode, codes);
            float sumL = 0, sumL2 = 0, sumXL = 0;
            for (var i = 0; i < size; i++)
            {
                var weighted = weights[i] * codes[i];
                sumL += weighted;
                sumL2 += weighted * codes[i];
                sumXL += weighted * values[i];
            }

            var determinant = (sumW * sumL2) - (sumL * sumL);
            var (trialScale, trialLow) = (((sumW * sumXL) - (sumX * sumL)) / determinant, ((sumL2 * sumX) - (sumL * sumXL)) / determinant);
            if (Error(values, weights, codes, trialScale, trialLow) is var error && error < best)
            {
                (best, scale, low) = (error, trialScale, trialLow);
            }
        }

        return scale > 0 && float.IsFinite(scale) ? (scale, (int)Math.Clamp(MathF.Round(-low / scale), 0, maxCode)) : (1, 0);
    }

    private static void Round(ReadOnlySpan<float> values, float low, float inverse, int maxCode, Span<float> codes)
    {
        for (var i = 0; i < values.Length; i++)
        {
            codes[i] = Math.Clamp(MathF.Round(inverse * (values[i] - low)), 0, maxCode);
        }
    }

    private static float Error(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, ReadOnlySpan<float> codes, float scale, float low)
    {
        float error = 0;
        for (var i = 0; i < values.Length; i++)
        {
            var difference = (scale * codes[i]) + low - values[i];
            error += weights[i] * difference * difference;
        }

        return error;
    }
}
