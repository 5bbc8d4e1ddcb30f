using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>
/// Half-quadratic quantization (Badri and Shaji, 2023): scales come from the range of a block, zero points are fractions that are
/// improved by alternating between a shrunken error and its mean. The parameters are those of ONNX Runtime's quantizer: norm 0.7, beta 10
/// growing by 1 % a step, at most 20 steps, ending when the mean error over the whole matrix stops to fall.
/// </summary>
internal static class HqqQuantizer
{
    private const float Norm = 0.7f;
    private const float Kappa = 1.01f;
    private const int Steps = 20;
    private const float LargestScale = 2e4f;

    /// <summary>Quantizes a row-major [rows, columns] matrix; blocks run down the columns. Zero points are floats.</summary>
    public static BlockMatrix Quantize(ReadOnlySpan<float> matrix, int rows, int columns, BlockFormat format, int threads)
    {
        var blocks = format.Blocks(rows);
        var size = format.BlockSize;
        var groups = columns * blocks;
        // One group is one block of one column; what is beyond the last row is 0, as it is padded in ONNX Runtime's quantizer.
        var values = new float[checked(groups * size)];
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < columns; c++)
            {
                values[(((c * blocks) + (r / size)) * size) + (r % size)] = matrix[(r * columns) + c];
            }
        }

        var (inverse, zero) = Start(values, groups, size, format.MaxCode);
        Improve(values, inverse, zero, groups, size, format.MaxCode, threads);

        var result = BlockQuantizer.Allocate(rows, columns, format, floatZeroPoints: true);
        var perByte = 8 / format.Bits;
        for (var g = 0; g < groups; g++)
        {
            result.Scales[g] = 1f / inverse[g];
            result.FloatZeroPoints![g] = zero[g];
            var blob = result.Codes.AsSpan(g * format.BlobBytes, format.BlobBytes);
            for (var i = 0; i < size; i++)
            {
                blob[i / perByte] |= (byte)((int)Code(values[(g * size) + i], inverse[g], zero[g], format.MaxCode) << (i % perByte * format.Bits));
            }
        }

        return result;
    }

    private static (float[] Inverse, float[] Zero) Start(float[] values, int groups, int size, int maxCode)
    {
        var inverse = new float[groups];
        var zero = new float[groups];
        for (var g = 0; g < groups; g++)
        {
            var group = values.AsSpan(g * size, size);
            var (min, max) = (TensorPrimitives.Min<float>(group), TensorPrimitives.Max<float>(group));
            var width = max - min;
            inverse[g] = Math.Min(maxCode / (width == 0 ? maxCode : width), LargestScale);
            zero[g] = MathF.Round(-min * inverse[g]);
        }

        return (inverse, zero);
    }

    private static void Improve(float[] values, float[] inverse, float[] zero, int groups, int size, int maxCode, int threads)
    {
        var beta = 10f;
        var best = 1e4;
        var errors = new double[groups];
        for (var step = 0; step < Steps; step++)
        {
            var reciprocalBeta = 1f / beta;
            Parallel.For(0, groups, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) }, g =>
            {
                var (scale, z) = (inverse[g], zero[g]);
                double error = 0, sum = 0;
                for (var i = g * size; i < (g + 1) * size; i++)
                {
                    var w = values[i];
                    var code = Code(w, scale, z, maxCode);
                    var difference = w - ((code - z) / scale);
                    var magnitude = Math.Abs(difference);
                    var shrunk = Math.Max(0f, magnitude - (reciprocalBeta * MathF.Pow(magnitude + 1e-8f, Norm - 1)));
                    sum += code - ((w - MathF.CopySign(shrunk, difference)) * scale);
                    error += magnitude;
                }

                zero[g] = (float)(sum / size);
                errors[g] = error;
            });
            beta *= Kappa;
            // Summed in order: the result must not depend on the number of threads.
            var mean = errors.Sum() / values.Length;
            if (mean >= best)
            {
                break;
            }

            best = mean;
        }
    }

    private static float Code(float value, float inverse, float zero, int maxCode) =>
        Math.Clamp(MathF.Round((value * inverse) + zero), 0f, maxCode);
}
