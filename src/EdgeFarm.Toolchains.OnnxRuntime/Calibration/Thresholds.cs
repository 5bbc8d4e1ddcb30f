using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>Turns histograms into bounds.</summary>
internal static class Thresholds
{
    // Levels that ONNX Runtime's entropy calibrator merges bins into.
    private const int QuantizedBins = 128;

    /// <summary>Bounds that hold the share of values; cut to what was observed.</summary>
    public static TensorRange Percentile(Histogram histogram, CalibrationSettings settings, TensorRange observed)
    {
        var total = (double)histogram.Counts.Sum();
        var cumulative = new double[histogram.Counts.Length];
        double sum = 0;
        for (var i = 0; i < cumulative.Length; i++)
        {
            cumulative[i] = sum += histogram.Counts[i] / total;
        }

        if (settings.Symmetric)
        {
            var edge = histogram.Edges[First(cumulative, settings.Percentile / 100)];
            return Cut(-edge, edge, observed);
        }

        var cut = (100 - settings.Percentile) / 200;
        return Cut(histogram.Edges[First(cumulative, cut)], histogram.Edges[First(cumulative, 1 - cut)], observed);
    }

    /// <summary>Bounds, even about the middle bin, whose quantized distribution diverges least from the counted one.</summary>
    public static TensorRange Entropy(Histogram histogram, TensorRange observed)
    {
        var counts = histogram.Counts;
        var (bins, middle, half) = (counts.Length, counts.Length / 2, QuantizedBins / 2);
        var (best, bestRange) = (double.PositiveInfinity, observed);
        for (var i = half; i <= middle; i++)
        {
            var (start, end) = (middle - i, Math.Min(middle + i + 1, bins));
            var divergence = Divergence(counts, start, end);
            if (divergence < best || i == half)
            {
                (best, bestRange) = (divergence, new TensorRange(histogram.Edges[start], histogram.Edges[end]));
            }
        }

        return Cut(bestRange.Min, bestRange.Max, observed);
    }

    /// <summary>The fraction of the observed bounds that gives 256 levels their least squared error over the counts.</summary>
    public static TensorRange Mse(Histogram histogram, TensorRange observed)
    {
        const int Levels = 255;
        const int Fractions = 80;
        var (best, bestRange) = (double.PositiveInfinity, observed);
        for (var f = Fractions; f >= 8; f--)
        {
            var (low, high) = (Math.Min(observed.Min, 0) * f / Fractions, Math.Max(observed.Max, 0) * f / Fractions);
            var scale = ((double)high - low) / Levels;
            if (scale <= 0)
            {
                break;
            }

            double error = 0;
            for (var b = 0; b < histogram.Counts.Length; b++)
            {
                if (histogram.Counts[b] > 0)
                {
                    var value = (histogram.Edges[b] + (double)histogram.Edges[b + 1]) / 2;
                    var restored = low + (Math.Round((Math.Clamp(value, low, high) - low) / scale) * scale);
                    // Inside the bounds the rounding error of a bin's middle says little: its expectation does.
                    var squared = value >= low && value <= high ? scale * scale / 12 : (value - restored) * (value - restored);
                    error += squared * histogram.Counts[b];
                }
            }

            if (error < best)
            {
                (best, bestRange) = (error, new TensorRange(low, high));
            }
        }

        return bestRange;
    }

    private static double Divergence(long[] counts, int start, int end)
    {
        var size = end - start;
        var p = counts.AsSpan(start, size).ToArray();
        p[0] += Sum(counts.AsSpan(0, start));
        p[^1] += Sum(counts.AsSpan(end));
        var merged = size / QuantizedBins;
        var q = new long[size];
        for (var level = 0; level < QuantizedBins; level++)
        {
            var first = level * merged;
            // The bins that do not divide evenly fall to the last level's sum, though not to its width: so it is there, too.
            var sum = Sum(counts.AsSpan(start + first, level == QuantizedBins - 1 ? size - first : merged));
            var filled = merged - p.AsSpan(first, merged).Count(0);
            if (filled != 0)
            {
                q.AsSpan(first, merged).Fill(sum / filled);
            }
        }

        if (Smooth(p) is not { } left || Smooth(q) is not { } right)
        {
            return double.PositiveInfinity;
        }

        double leftSum = 0, rightSum = 0, divergence = 0;
        for (var i = 0; i < size; i++)
        {
            leftSum += left[i];
            rightSum += right[i];
        }

        for (var i = 0; i < size; i++)
        {
            var (pi, qi) = (left[i] / leftSum, right[i] / rightSum);
            divergence += pi > 0 ? pi * Math.Log(pi / qi) : 0;
        }

        return divergence;
    }

    private static long Sum(ReadOnlySpan<long> values) => TensorPrimitives.Sum(values);

    private static float[]? Smooth(long[] counts)
    {
        const float Epsilon = 0.0001f;
        var zeros = counts.AsSpan().Count(0);
        if (zeros == counts.Length)
        {
            return null;
        }

        var taken = Epsilon * zeros / (counts.Length - zeros);
        return Array.ConvertAll(counts, c => c == 0 ? Epsilon : c - taken);
    }

    private static int First(double[] cumulative, double share)
    {
        var index = Array.FindIndex(cumulative, c => c >= share);
        return index < 0 ? cumulative.Length : index;
    }

    private static TensorRange Cut(float low, float high, TensorRange observed) => new(Math.Max(low, observed.Min), Math.Min(high, observed.Max));
}
