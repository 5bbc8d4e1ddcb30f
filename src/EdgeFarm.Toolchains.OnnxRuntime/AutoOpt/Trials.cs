using System.Globalization;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>A chain of passes that may be what is wanted.</summary>
/// <param name="Name">Name of the form that it is, or a name of its own.</param>
/// <param name="Precision">Precision class of what it makes.</param>
/// <param name="Steps">The chain; empty for the source itself.</param>
/// <param name="Reason">Why it is tried, in words for the user.</param>
internal sealed record Candidate(string Name, string Precision, IReadOnlyList<PassStep> Steps, string Reason)
{
    /// <summary>The model as it came.</summary>
    public static Candidate Source { get; } = new("source", "", [], "what all others are held against");

    /// <summary>Whether it is the model as it came.</summary>
    public bool IsSource => Steps.Count == 0;

    /// <summary>Whether it is one pass that changes weights or arithmetic, as a user would name it.</summary>
    public bool IsSingle => Steps.Count == 1;

    /// <summary>The chain as one line, parameters that are not the default included.</summary>
    public string Recipe => string.Join(" + ", Steps.Select(s => string.Join(' ', s.Parameters.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}={p.Value}").Prepend(s.Type))));
}

/// <summary>A chain that is not tried.</summary>
/// <param name="Name">As of a <see cref="Candidate"/>.</param>
/// <param name="Reason">Why not, in words for the user.</param>
internal sealed record Exclusion(string Name, string Reason);

/// <summary>How long a form takes against another, of runs that took turns.</summary>
/// <param name="Ratio">Median of the rounds' ratios; below 1 it is faster.</param>
/// <param name="Low">Lower end of the median's 95 % interval.</param>
/// <param name="High">Upper end.</param>
/// <param name="Rounds">Rounds.</param>
internal sealed record LatencyRatio(double Ratio, double Low, double High, int Rounds)
{
    /// <summary>Of a thing against itself.</summary>
    public static LatencyRatio Same { get; } = new(1, 1, 1, 0);

    /// <summary>Of times of the same rounds; at least six, or there is no interval and the whole range stands for it.</summary>
    public static LatencyRatio Of(IReadOnlyList<double> form, IReadOnlyList<double> reference)
    {
        var ratios = form.Zip(reference, (f, r) => f / r).ToArray();
        var interval = Statistics.MedianInterval(ratios) ?? new Interval(ratios.Min(), ratios.Max());
        return new LatencyRatio(Statistics.Median(ratios)!.Value, interval.Low, interval.High, ratios.Length);
    }

    /// <summary>Whether the intervals have a point in common.</summary>
    public bool Overlaps(LatencyRatio other) => Low <= other.High && other.Low <= High;

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Ratio:0.000} [{Low:0.000}, {High:0.000}]");
}

/// <summary>What came of a candidate.</summary>
/// <param name="Candidate">The candidate.</param>
internal sealed record Trial(Candidate Candidate)
{
    /// <summary>Why it could not be made or run; null where it could.</summary>
    public string? Failure { get; init; }

    /// <summary>Bytes of the model, weights in files of their own included.</summary>
    public long Bytes { get; init; }

    /// <summary>Its outputs; null where it could not be run.</summary>
    public QualityFigures? Quality { get; init; }

    /// <summary>What it lost in the goal's metric.</summary>
    public double? Degradation { get; init; }

    /// <summary>Whether it keeps the goal.</summary>
    public bool MeetsGoal { get; init; }

    /// <summary>Its time against the source's; null where it was not measured.</summary>
    public LatencyRatio? Latency { get; init; }

    /// <summary>Seconds that making and judging it took.</summary>
    public double Seconds { get; init; }
}
