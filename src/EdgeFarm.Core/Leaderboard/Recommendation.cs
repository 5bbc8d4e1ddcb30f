using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Measurements;

namespace EdgeFarm.Core.Leaderboard;

/// <summary>What a newcomer should take of one model on one device.</summary>
/// <param name="Model">The model.</param>
/// <param name="Host">Host of the device.</param>
/// <param name="Device">The device.</param>
/// <param name="Pick">The row to take.</param>
/// <param name="RunnerUp">The next best, or null when there is no other.</param>
/// <param name="Text">One line: the pick, why, and the runner-up.</param>
public sealed record Recommendation(
    string Model, string Host, string Device, LeaderboardEntry Pick, LeaderboardEntry? RunnerUp, string Text)
{
    /// <summary>A form is acceptable when its perplexity is at most so many times its baseline's.</summary>
    public const double PerplexityLimit = 1.05;

    /// <summary>A form is acceptable when its mean KL divergence from the baseline is at most this, in nat.</summary>
    public const double DivergenceLimit = 0.1;

    /// <summary>A form is acceptable when its accuracy is at least so many times its baseline's.</summary>
    public const double AccuracyLimit = 0.98;

    /// <summary>A form is acceptable when its outputs' signal to quantization noise is at least this, in dB.</summary>
    public const double NoiseLimit = 20;

    /// <summary>
    /// One recommendation per sweep, model and device that has measured rows, in the order of the rows: the fastest form whose quality is
    /// acceptable; among those whose speed cannot be told apart (their 95 % confidence intervals overlap) the smallest.
    /// </summary>
    public static ImmutableArray<Recommendation> Of(IReadOnlyList<LeaderboardEntry> entries)
    {
        var found = ImmutableArray.CreateBuilder<Recommendation>();
        foreach (var group in entries.Where(e => e.Host.Length > 0 && e.Failure is null && Pareto.Speed(e) is not null).GroupBy(e => (e.Sweep, e.Model, e.Host, e.Device)))
        {
            var rows = group.ToList();
            var baselines = rows.Where(r => r.Baseline).ToDictionary(r => r.Id, StringComparer.Ordinal);
            var acceptable = rows.FindAll(r => IsAcceptable(r, baselines));
            var pool = acceptable.Count > 0 ? acceptable : rows;
            var pick = Best(pool)!;
            var runnerUp = Best(pool.FindAll(r => r != pick)) ?? Best(rows.FindAll(r => r != pick));
            found.Add(new Recommendation(
                pick.Model, pick.Host, pick.Device, pick, runnerUp, Describe(pick, runnerUp, baselines, acceptable.Count > 0)));
        }

        return found.ToImmutable();
    }

    /// <summary>Whether two figures cannot be told apart: their 95 % confidence intervals overlap, or both are equal.</summary>
    public static bool IsTie(MetricValue a, MetricValue b)
    {
        if (a is { Ci95Low: { } lowA, Ci95High: { } highA } && b is { Ci95Low: { } lowB, Ci95High: { } highB })
        {
            return new Interval(lowA, highA).Overlaps(new Interval(lowB, highB));
        }

        return a.Value.Equals(b.Value);
    }

    private static LeaderboardEntry? Best(List<LeaderboardEntry> rows)
    {
        if (rows.Count == 0)
        {
            return null;
        }

        var fastest = rows.Aggregate((a, b) => IsFaster(b, a) ? b : a);
        return rows.Where(r => Pareto.Speed(r)!.Name == Pareto.Speed(fastest)!.Name && IsTie(Pareto.Speed(r)!, Pareto.Speed(fastest)!))
            .Append(fastest)
            .MinBy(r => (r.Metrics.GetValueOrDefault("size")?.Value ?? double.MaxValue, r == fastest ? 0 : 1));
    }

    private static bool IsFaster(LeaderboardEntry a, LeaderboardEntry b)
    {
        var (x, y) = (Pareto.Speed(a)!, Pareto.Speed(b)!);
        return x.Name == y.Name && (x.Better == Better.Lower ? x.Value < y.Value : x.Value > y.Value);
    }

    private static bool IsAcceptable(LeaderboardEntry row, Dictionary<string, LeaderboardEntry> baselines)
    {
        if (row.Baseline)
        {
            return true;
        }

        var baseline = baselines.GetValueOrDefault(row.BaselineId);
        if (Ratio(row, baseline, "accuracy") is { } accuracy)
        {
            return accuracy >= AccuracyLimit;
        }

        if (row.Metrics.GetValueOrDefault("kld_mean") is { } divergence)
        {
            return divergence.Value <= DivergenceLimit;
        }

        if (Ratio(row, baseline, "perplexity") is { } perplexity)
        {
            return perplexity <= PerplexityLimit;
        }

        if (row.Metrics.ContainsKey("accuracy") || row.Metrics.ContainsKey("perplexity"))
        {
            // Measured, but without the baseline's figure nobody can tell whether it was kept.
            return false;
        }

        return row.Metrics.GetValueOrDefault("sqnr") is not { } noise || noise.Value >= NoiseLimit;
    }

    private static double? Ratio(LeaderboardEntry row, LeaderboardEntry? baseline, string metric) =>
        row.Relative.TryGetValue(metric, out var relative) ? relative
        : baseline is not null && row.Metrics.TryGetValue(metric, out var own) && baseline.Metrics.TryGetValue(metric, out var other) && other.Value > 0
            ? own.Value / other.Value
            : null;

    private static string Describe(
        LeaderboardEntry pick, LeaderboardEntry? runnerUp, Dictionary<string, LeaderboardEntry> baselines, bool acceptable)
    {
        var verdict = acceptable ? "the fastest form that keeps its quality" : "the fastest, but no form keeps the baseline's quality";
        var line = $"Take {Name(pick)} of {pick.Model} on {pick.Device}: {verdict} ({Facts(pick, baselines)})";
        if (runnerUp is null)
        {
            return line + "; there is no other to compare it with.";
        }

        var (a, b) = (Pareto.Speed(pick)!, Pareto.Speed(runnerUp)!);
        var why = a.Name != b.Name
            ? ""
            : IsTie(a, b) ? ", as fast as far as can be told, but larger" : $", {Number(Factor(b, a))}x its speed";
        return $"{line}; runner-up {Name(runnerUp)} ({Facts(runnerUp, baselines)}{why}).";
    }

    private static string Name(LeaderboardEntry row) => row.Toolchain == row.Runtime ? $"{row.Form} ({row.Runtime})" : $"{row.Form} ({row.Toolchain} in {row.Runtime})";

    private static string Facts(LeaderboardEntry row, Dictionary<string, LeaderboardEntry> baselines)
    {
        if (row.Baseline)
        {
            return "the unquantized baseline";
        }

        if (baselines.GetValueOrDefault(row.BaselineId) is not { } baseline)
        {
            return Plain(Pareto.Speed(row)!);
        }

        var facts = new List<string>();
        if (baseline.Metrics.GetValueOrDefault(Pareto.Speed(row)!.Name) is { } speed)
        {
            facts.Add($"{Number(Factor(Pareto.Speed(row)!, speed))}x the speed");
        }

        if (Ratio(row, baseline, "size") is { } size)
        {
            facts.Add($"{Number(size)}x the size");
        }

        if (Ratio(row, baseline, "accuracy") is { } accuracy)
        {
            facts.Add($"{Number(accuracy)}x the accuracy");
        }
        else if (Ratio(row, baseline, "perplexity") is { } perplexity)
        {
            facts.Add($"{Number(perplexity, "0.000")}x the perplexity");
        }
        else if (row.Metrics.GetValueOrDefault("sqnr") is { } noise)
        {
            facts.Add($"{Number(noise.Value, "0.0")} dB SQNR");
        }

        return $"{string.Join(", ", facts)} of {baseline.Form}";
    }

    /// <summary>How many times as fast the first is.</summary>
    private static double Factor(MetricValue a, MetricValue b) => a.Better == Better.Lower ? b.Value / a.Value : a.Value / b.Value;

    private static string Plain(MetricValue metric) => $"{metric.Name} {Number(metric.Value, "0.###")} {metric.Unit}";

    private static string Number(double value, string format = "0.00") => double.IsFinite(value) ? value.ToString(format, CultureInfo.InvariantCulture) : "many";
}
