using System.Collections.Immutable;
using EdgeFarm.Core.Measurements;

namespace EdgeFarm.Core.Leaderboard;

/// <summary>What may be compared with what: rows of one sweep, model, device and runtime build.</summary>
/// <param name="Sweep">Sweep.</param>
/// <param name="Model">Model.</param>
/// <param name="Host">Host that measured.</param>
/// <param name="Device">Device that measured.</param>
/// <param name="Runtime">Runtime that measured.</param>
/// <param name="RuntimeVersion">Its build.</param>
/// <param name="Library">Variant and digest of its library.</param>
internal sealed record ComparisonKey(
    string Sweep, string Model, string Host, string Device, string Runtime, string RuntimeVersion, string Library)
{
    public static ComparisonKey Of(LeaderboardEntry entry) => new(
        entry.Sweep,
        entry.Model,
        entry.Host,
        entry.Device,
        entry.Runtime,
        entry.RuntimeVersion,
        $"{entry.LibraryVariant} {entry.LibraryDigest}");
}

/// <summary>Metrics of a form relative to its baseline's.</summary>
public static class Relative
{
    /// <summary>
    /// Metric name to form / baseline, for the metrics that both have and whose baseline is not 0. Empty when the two were not
    /// measured on one device by one runtime build.
    /// </summary>
    public static ImmutableSortedDictionary<string, double> Of(LeaderboardEntry entry, LeaderboardEntry baseline)
    {
        var ratios = ImmutableSortedDictionary.CreateBuilder<string, double>(StringComparer.Ordinal);
        if (entry.Host.Length == 0 || ComparisonKey.Of(entry) != ComparisonKey.Of(baseline))
        {
            return ratios.ToImmutable();
        }

        foreach (var (name, metric) in entry.Metrics)
        {
            if (baseline.Metrics.TryGetValue(name, out var other) && other.Value != 0 && double.IsFinite(metric.Value / other.Value))
            {
                ratios[name] = metric.Value / other.Value;
            }
        }

        return ratios.ToImmutable();
    }

    /// <summary>Rows with their ratios to the baselines among them filled in.</summary>
    public static ImmutableArray<LeaderboardEntry> Fill(IReadOnlyList<LeaderboardEntry> entries)
    {
        var byId = entries.ToDictionary(e => e.Id, StringComparer.Ordinal);
        return [.. entries.Select(e => e with { Relative = byId.TryGetValue(e.BaselineId, out var baseline) ? Of(e, baseline) : Of(e, e).Clear() })];
    }
}

/// <summary>The front of rows that no other row beats.</summary>
public static class Pareto
{
    private const string SyntheticInput = "synthetic_input";
    private static readonly ImmutableArray<string> QualityMetrics = ["kld_mean", "perplexity", "sqnr"];

    /// <summary>
    /// Rows with <see cref="LeaderboardEntry.Pareto"/> set on those that no comparable row beats: one that is at least as good in
    /// speed, size and quality, and better in one of them. A row without speed or size is never on the front.
    /// </summary>
    public static ImmutableArray<LeaderboardEntry> Mark(IReadOnlyList<LeaderboardEntry> entries)
    {
        var front = new HashSet<string>(StringComparer.Ordinal);
        foreach (var group in entries.Where(e => e.Host.Length > 0).GroupBy(ComparisonKey.Of))
        {
            var points = Points([.. group]);
            front.UnionWith(points.Where(p => !points.Exists(other => Beats(other, p))).Select(p => p.Id));
        }

        return [.. entries.Select(e => e with { Pareto = front.Contains(e.Id) })];
    }

    /// <summary>The row's speed: token generation, else latency; null when it has neither.</summary>
    internal static MetricValue? Speed(LeaderboardEntry entry) => entry.Metrics.GetValueOrDefault("tg") ?? entry.Metrics.GetValueOrDefault("latency");

    /// <summary>The metric that tells the quality of the rows of a group; null when none has one.</summary>
    internal static string? QualityMetric(IReadOnlyCollection<LeaderboardEntry> entries) =>
        QualityMetrics.FirstOrDefault(
            name => entries.Any(e => !e.Flags.Contains(SyntheticInput) && e.Metrics.ContainsKey(name)));

    /// <summary>Whether the quality figures of a row count.</summary>
    internal static bool HasQuality(LeaderboardEntry entry) => !entry.Flags.Contains(SyntheticInput);

    private static List<Point> Points(List<LeaderboardEntry> entries)
    {
        var quality = QualityMetric(entries);
        var points = new List<Point>();
        foreach (var entry in entries)
        {
            if (Speed(entry) is { } speed && entry.Metrics.TryGetValue("size", out var size))
            {
                points.Add(new Point(entry.Id, speed.Name, Upward(speed), -size.Value, Quality(entry, quality)));
            }
        }

        return points;
    }

    /// <summary>Greater is better. The baseline is the reference of the figures that compare with it, so none can be better.</summary>
    private static double? Quality(LeaderboardEntry entry, string? metric)
    {
        if (metric is null || !HasQuality(entry))
        {
            return null;
        }

        return entry.Metrics.TryGetValue(metric, out var value)
            ? Upward(value)
            : entry.Baseline && metric != "perplexity" ? double.PositiveInfinity : null;
    }

    private static double Upward(MetricValue metric) => metric.Better == Better.Lower ? -metric.Value : metric.Value;

    private static bool Beats(Point a, Point b)
    {
        if (a.SpeedMetric != b.SpeedMetric || a.Speed < b.Speed || a.Smallness < b.Smallness)
        {
            return false;
        }

        if (b.Quality is { } quality)
        {
            // What is not known of a cannot beat what is known of b.
            return a.Quality is { } own && own >= quality && (own > quality || a.Speed > b.Speed || a.Smallness > b.Smallness);
        }

        return a.Speed > b.Speed || a.Smallness > b.Smallness;
    }

    private sealed record Point(string Id, string SpeedMetric, double Speed, double Smallness, double? Quality);
}
