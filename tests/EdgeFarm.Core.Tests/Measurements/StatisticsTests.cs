using CsCheck;
using EdgeFarm.Core.Measurements;

namespace EdgeFarm.Core.Tests.Measurements;

public sealed class StatisticsTests
{
    // Reference values of mean and deviation: Python's statistics module; of the quantiles: published tables of Student's t.
    private static readonly double[] Ten = [2.1, 3.4, 1.9, 5.6, 4.4, 2.8, 3.3, 4.1, 2.2, 3.9];

    [Fact]
    public void Mean_and_deviation_are_those_of_the_reference()
    {
        Assert.Equal(3.37, Statistics.Mean(Ten)!.Value, 12);
        Assert.Equal(1.1700427342623, Statistics.StandardDeviation(Ten)!.Value, 9);
        Assert.Equal(3.35, Statistics.Percentile(Ten, 50)!.Value, 12);
        Assert.Equal(4.52, Statistics.Percentile(Ten, 90)!.Value, 12);
    }

    [Fact]
    public void Too_few_samples_give_null()
    {
        Assert.Null(Statistics.Mean([]));
        Assert.Null(Statistics.StandardDeviation([1]));
        Assert.Null(Statistics.Percentile([1], 50));
        Assert.Null(Statistics.Percentile(Ten, 95));
        Assert.Null(Statistics.Percentile(Enumerable.Range(0, 99).Select(i => (double)i).ToArray(), 99));
        Assert.NotNull(Statistics.Percentile(Enumerable.Range(0, 100).Select(i => (double)i).ToArray(), 99));
        Assert.Null(Statistics.MeanInterval([1]));
        Assert.Null(Statistics.MedianInterval([1, 2, 3, 4, 5]));
    }

    [Theory]
    [InlineData(1, 12.7062047362)]
    [InlineData(2, 4.30265272975)]
    [InlineData(4, 2.77644510520)]
    [InlineData(9, 2.26215716285)]
    [InlineData(29, 2.04522964213)]
    [InlineData(100, 1.98397151845)]
    [InlineData(10000, 1.96020123937)]
    public void Students_quantile_is_that_of_the_tables(int freedom, double expected) =>
        Assert.Equal(expected, StudentT.Quantile(0.975, freedom), 8);

    [Fact]
    public void The_interval_of_the_mean_is_students()
    {
        var interval = Statistics.MeanInterval(Ten)!.Value;
        var half = 2.26215716285 * 1.1700427342623 / Math.Sqrt(10);
        Assert.Equal(3.37 - half, interval.Low, 8);
        Assert.Equal(3.37 + half, interval.High, 8);
    }

    [Theory]
    [InlineData(6, 1, 6)]
    [InlineData(8, 1, 8)]
    [InlineData(9, 2, 8)]
    [InlineData(15, 4, 12)]
    [InlineData(100, 40, 61)]
    public void The_interval_of_the_median_takes_the_ranks_of_the_binomial(int n, int low, int high)
    {
        var interval = Statistics.MedianInterval(Enumerable.Range(1, n).Select(i => (double)i).ToArray())!.Value;
        Assert.Equal(new Interval(low, high), interval);
    }

    [Fact]
    public void The_median_interval_of_many_samples_goes_on_where_the_exact_one_ends()
    {
        double Low(int n) => Statistics.MedianInterval(Enumerable.Range(1, n).Select(i => (double)i).ToArray())!.Value.Low;
        Assert.InRange(Low(1001) - Low(1000), -1, 2);
    }

    [Fact]
    public void A_latency_is_told_by_its_median_and_a_rate_by_its_mean()
    {
        double[] samples = [1, 1, 1, 1, 1, 1, 1, 1, 1, 100];
        var latency = Statistics.Summarize([new Measurement("latency", [.. samples], "r")])!;
        var rate = Statistics.Summarize([new Measurement("tg", [.. samples], "r")])!;
        Assert.Equal(1, latency.Value);
        Assert.Equal(10.9, rate.Value, 12);
        Assert.Equal(10.9, latency.Mean!.Value, 12);
        Assert.Equal((1.0, 1.0), (latency.Ci95Low!.Value, latency.Ci95High!.Value));
        Assert.Equal(10, rate.N);
    }

    [Fact]
    public void A_standard_error_of_the_method_gives_the_interval()
    {
        var perplexity = Statistics.Summarize([new Measurement("perplexity", [20.0], "r", 0.5)])!;
        Assert.Equal(20 - 0.9799819923, perplexity.Ci95Low!.Value, 9);
        Assert.Null(perplexity.Mean);
        Assert.Null(perplexity.P50);
    }

    [Fact]
    public void Measurements_of_several_jobs_are_taken_together()
    {
        var metric = Statistics.Summarize([new Measurement("tg", [1, 2], "r"), new Measurement("tg", [3], "r")])!;
        Assert.Equal([1.0, 2.0, 3.0], metric.Samples.AsEnumerable());
        Assert.Equal(2, metric.Value);
        Assert.Null(Statistics.Summarize([new Measurement("unheard_of", [1], "r")]));
    }

    [Fact]
    public void Nothing_is_ever_NaN_or_infinite() => Gen.Double.Array[0, 40].Sample(samples =>
    {
        if (Statistics.Summarize([new Measurement("latency", [.. samples], "r")]) is { } metric)
        {
            double?[] all = [metric.Value, metric.Mean, metric.StdDev, metric.Ci95Low, metric.Ci95High, metric.P50, metric.P90, metric.P95, metric.P99];
            Assert.All(all, v => Assert.True(v is null || double.IsFinite(v.Value)));
            Assert.True(metric.Ci95Low is null || (metric.Ci95Low <= metric.Value && metric.Value <= metric.Ci95High));
        }
    });
}
