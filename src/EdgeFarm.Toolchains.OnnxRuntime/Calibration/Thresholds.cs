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
        var divergence = new Divergence(counts, QuantizedBins);
        var (best, bestRange) = (double.PositiveInfinity, observed);
        for (var i = half; i <= middle; i++)
        {
            var (start, end) = (middle - i, Math.Min(middle + i + 1, bins));
            var here = divergence.Of(start, end);
            if (here < best || i == half)
            {
                (best, bestRange) = (here, new TensorRange(histogram.Edges[start], histogram.Edges[end]));
            }
        }

        return Cut(bestRange.Min, bestRange.Max, observed);
    }

    /// <summary>The fraction of the observed bounds that gives 256 levels their least squared error over the counts.</summary>
    public static TensorRange Mse(Histogram histogram, TensorRange observed)
    {
        const int Levels = 255;
        const int Fractions = 80;
        var bins = histogram.Counts.Length;

        // Sums of counts, values and squares up to each bin: what lies beyond a bound is a difference of two.
        var (count, sum, squares) = (new double[bins + 1], new double[bins + 1], new double[bins + 1]);
        for (var b = 0; b < bins; b++)
        {
            var value = Middle(b);
            count[b + 1] = count[b] + histogram.Counts[b];
            sum[b + 1] = sum[b] + (histogram.Counts[b] * value);
            squares[b + 1] = squares[b] + (histogram.Counts[b] * value * value);
        }

        var (best, bestRange) = (double.PositiveInfinity, observed);
        var (first, last) = (0, bins);
        for (var f = Fractions; f >= 8; f--)
        {
            var (low, high) = (Math.Min(observed.Min, 0) * f / Fractions, Math.Max(observed.Max, 0) * f / Fractions);
            var scale = ((double)high - low) / Levels;
            if (scale <= 0)
            {
                break;
            }

            // Bounds only come nearer, so the bins beyond them only become more.
            while (first < bins && Middle(first) < low)
            {
                first++;
            }

            while (last > first && Middle(last - 1) > high)
            {
                last--;
            }

            // Inside the bounds the rounding error of a bin's middle says little: its expectation does.
            var error = (scale * scale / 12 * (count[last] - count[first])) + Beyond(0, first, low) + Beyond(last, bins, high);
            if (error < best)
            {
                (best, bestRange) = (error, new TensorRange(low, high));
            }
        }

        return bestRange;

        double Middle(int bin) => (histogram.Edges[bin] + (double)histogram.Edges[bin + 1]) / 2;

        // Squared distance of some bins' values from a bound.
        double Beyond(int from, int to, double bound) =>
            squares[to] - squares[from] - (2 * bound * (sum[to] - sum[from])) + (bound * bound * (count[to] - count[from]));
    }

    private static int First(double[] cumulative, double share)
    {
        var index = Array.FindIndex(cumulative, c => c >= share);
        return index < 0 ? cumulative.Length : index;
    }

    private static TensorRange Cut(float low, float high, TensorRange observed) => new(Math.Max(low, observed.Min), Math.Min(high, observed.Max));
}
