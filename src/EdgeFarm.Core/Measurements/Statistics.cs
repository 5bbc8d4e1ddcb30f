using System.Collections.Immutable;
using EdgeFarm.Core.Leaderboard;

namespace EdgeFarm.Core.Measurements;

/// <summary>A closed interval.</summary>
/// <param name="Low">Lower end.</param>
/// <param name="High">Upper end.</param>
public readonly record struct Interval(double Low, double High)
{
    /// <summary>Whether the intervals have a point in common.</summary>
    public bool Overlaps(Interval other) => Low <= other.High && other.Low <= High;
}

/// <summary>Statistics of samples. Samples are finite; what the samples are too few for is null, and nothing is ever NaN or infinite.</summary>
public static class Statistics
{
    private const double Confidence = 0.95;
    private const double NormalQuantile = 1.959963984540054;

    /// <summary>Fewer samples give no interval of the median: even the whole range would cover it with less than 95 %.</summary>
    private const int MinimumForMedian = 6;

    /// <summary>From so many samples on the normal approximation of the binomial is exact enough (its rank is off by at most one).</summary>
    private const int ManySamples = 1000;

    /// <summary>Arithmetic mean; null without samples or when it overflows.</summary>
    public static double? Mean(ReadOnlySpan<double> samples)
    {
        if (samples.IsEmpty)
        {
            return null;
        }

        var sum = 0.0;
        var lost = 0.0;
        foreach (var sample in samples)
        {
            // Kahan: a million small samples would otherwise lose digits.
            var term = sample - lost;
            var next = sum + term;
            lost = next - sum - term;
            sum = next;
        }

        return Finite(sum / samples.Length);
    }

    /// <summary>Standard deviation with n - 1; null with fewer than two samples.</summary>
    public static double? StandardDeviation(ReadOnlySpan<double> samples)
    {
        if (samples.Length < 2 || Mean(samples) is not { } mean)
        {
            return null;
        }

        var sum = 0.0;
        foreach (var sample in samples)
        {
            sum += (sample - mean) * (sample - mean);
        }

        return Finite(Math.Sqrt(sum / (samples.Length - 1)));
    }

    /// <summary>
    /// A percentile, 0 to 100, by linear interpolation between order statistics; null with so few samples that none is expected
    /// beyond it (10 for p90, 20 for p95, 100 for p99), or with fewer than two.
    /// </summary>
    public static double? Percentile(ReadOnlySpan<double> samples, double percent)
    {
        var rarer = Math.Min(percent, 100 - percent) / 100;
        if (samples.Length < 2 || samples.Length * rarer < 1 - 1e-9)
        {
            return null;
        }

        var sorted = samples.ToArray();
        Array.Sort(sorted);
        return Finite(Interpolate(sorted, percent / 100));
    }

    /// <summary>Median by linear interpolation; of one sample that sample; null without samples.</summary>
    public static double? Median(ReadOnlySpan<double> samples)
    {
        if (samples.IsEmpty)
        {
            return null;
        }

        var sorted = samples.ToArray();
        Array.Sort(sorted);
        return Finite(Interpolate(sorted, 0.5));
    }

    /// <summary>95 % confidence interval of the mean by Student's t; null with fewer than two samples.</summary>
    public static Interval? MeanInterval(ReadOnlySpan<double> samples)
    {
        if (Mean(samples) is not { } mean || StandardDeviation(samples) is not { } deviation)
        {
            return null;
        }

        var half = StudentT.Quantile((1 + Confidence) / 2, samples.Length - 1) * deviation / Math.Sqrt(samples.Length);
        return Finite(mean - half) is { } low && Finite(mean + half) is { } high ? new Interval(low, high) : null;
    }

    /// <summary>
    /// Confidence interval of the median of at least 95 %, by order statistics: no assumption on the distribution. Null with fewer
    /// than six samples, whose whole range covers the median less often.
    /// </summary>
    public static Interval? MedianInterval(ReadOnlySpan<double> samples)
    {
        if (samples.Length < MinimumForMedian)
        {
            return null;
        }

        var sorted = samples.ToArray();
        Array.Sort(sorted);
        var rank = MedianRank(sorted.Length);
        return new Interval(sorted[rank - 1], sorted[^rank]);
    }

    /// <summary>Interval of a value whose method gives its standard error.</summary>
    public static Interval? ErrorInterval(double value, double standardError) =>
        Finite(value - (NormalQuantile * standardError)) is { } low && Finite(value + (NormalQuantile * standardError)) is { } high
            ? new Interval(low, high)
            : null;

    /// <summary>
    /// The metric that measurements of one name give together, in the order given; null when the metric is unknown or no sample is
    /// finite.
    /// </summary>
    public static MetricValue? Summarize(IEnumerable<Measurement> measurements)
    {
        var all = measurements.ToList();
        var samples = all.SelectMany(m => m.Samples).Where(double.IsFinite).ToImmutableArray();
        if (samples.IsEmpty || Metrics.Find(all[0].Metric) is not { } metric)
        {
            return null;
        }

        var span = samples.AsSpan();
        if ((metric.IsLatency ? Median(span) : Mean(span)) is not { } value)
        {
            return null;
        }

        var interval = all is [{ StandardError: { } error }]
            ? ErrorInterval(value, error)
            : metric.IsLatency ? MedianInterval(span) : MeanInterval(span);
        return new MetricValue(metric.Name, value, metric.Unit, metric.Better, samples.Length, all[0].By)
        {
            Mean = samples.Length > 1 ? Mean(span) : null,
            StdDev = StandardDeviation(span),
            Ci95Low = interval?.Low,
            Ci95High = interval?.High,
            P50 = Percentile(span, 50),
            P90 = Percentile(span, 90),
            P95 = Percentile(span, 95),
            P99 = Percentile(span, 99),
            Samples = samples,
        };
    }

    private static double Interpolate(double[] sorted, double fraction)
    {
        var position = fraction * (sorted.Length - 1);
        var below = (int)Math.Floor(position);
        var above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + ((position - below) * (sorted[above] - sorted[below]));
    }

    /// <summary>The greatest k for which fewer than k of n samples lie below the median with a probability of at most 2.5 %.</summary>
    private static int MedianRank(int n)
    {
        if (n > ManySamples)
        {
            return Math.Max(1, (int)Math.Floor((n - (NormalQuantile * Math.Sqrt(n))) / 2));
        }

        var term = Math.Pow(2, -n);
        var below = term;
        var k = 1;
        while (below + (term = term * (n - k + 1) / k) <= (1 - Confidence) / 2)
        {
            below += term;
            k++;
        }

        return k;
    }

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}
