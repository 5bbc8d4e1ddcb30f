using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Leaderboard;

/// <summary>A metric of an entry. What has no finite value is absent; percentiles are null when the samples are too few for them.</summary>
/// <param name="Name">Name of the metric.</param>
/// <param name="Value">The mean, for latencies the median; in <paramref name="Unit"/>.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Better">Direction.</param>
/// <param name="N">How many samples.</param>
/// <param name="By">Runtime that computed it.</param>
public sealed record MetricValue(string Name, double Value, string Unit, Better Better, int N, string By)
{
    /// <summary>Mean of the samples; null with n = 1.</summary>
    public double? Mean { get; init; }

    /// <summary>Standard deviation of the samples with n - 1; null with n = 1.</summary>
    public double? StdDev { get; init; }

    /// <summary>Lower end of the 95 % confidence interval of the value; null when it is unknown.</summary>
    public double? Ci95Low { get; init; }

    /// <summary>Upper end of the 95 % confidence interval of the value; null when it is unknown.</summary>
    public double? Ci95High { get; init; }

    /// <summary>Percentile 50; null with n = 1.</summary>
    public double? P50 { get; init; }

    /// <summary>Percentile 90; null with too few samples.</summary>
    public double? P90 { get; init; }

    /// <summary>Percentile 95; null with too few samples.</summary>
    public double? P95 { get; init; }

    /// <summary>Percentile 99; null with too few samples.</summary>
    public double? P99 { get; init; }

    /// <summary>The samples in order, only when asked for.</summary>
    public ImmutableArray<double> Samples { get; init; } = [];
}

/// <summary>One row of the leaderboard; the members are those of the public contract.</summary>
public sealed record LeaderboardEntry
{
    /// <summary>Id of the row.</summary>
    public required string Id { get; init; }

    /// <summary>Id of its sweep.</summary>
    public required string Sweep { get; init; }

    /// <summary>Labels of its sweep.</summary>
    public required ImmutableSortedDictionary<string, string> Labels { get; init; }

    /// <summary>Id of the model.</summary>
    public required string Model { get; init; }

    /// <summary>Made the form.</summary>
    public required string Toolchain { get; init; }

    /// <summary>Measured it.</summary>
    public required string Runtime { get; init; }

    /// <summary>Canonical name of the form.</summary>
    public required string Form { get; init; }

    /// <summary>Resolved passes.</summary>
    public required ImmutableArray<PassStep> Recipe { get; init; }

    /// <summary>Whether others are compared with it.</summary>
    public required bool Baseline { get; init; }

    /// <summary>The row it is compared with.</summary>
    public required string BaselineId { get; init; }

    /// <summary>Id of the target.</summary>
    public required string Target { get; init; }

    /// <summary>Stable machine id of the host that measured; empty until then.</summary>
    public string Host { get; init; } = "";

    /// <summary>Name of the worker that measured; empty until then.</summary>
    public string Worker { get; init; } = "";

    /// <summary>Device that measured; empty until then.</summary>
    public string Device { get; init; } = "";

    /// <summary>Class of that device.</summary>
    public string DeviceClass { get; init; } = "";

    /// <summary>The form's artifact, or null until it is made.</summary>
    public ArtifactRef? Artifact { get; init; }

    /// <summary>Artifact bits per parameter; null when the parameters are unknown.</summary>
    public double? BitsPerWeight { get; init; }

    /// <summary><c>1-2</c>, <c>3-4</c>, <c>5-8</c>, <c>half</c>, <c>full</c> or empty.</summary>
    public string PrecisionClass { get; init; } = "";

    /// <summary>Settings as run.</summary>
    public ImmutableSortedDictionary<string, string> Settings { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>Build of the toolchain that made the form.</summary>
    public string ToolchainVersion { get; init; } = "";

    /// <summary>Build of the runtime that measured.</summary>
    public string RuntimeVersion { get; init; } = "";

    /// <summary>Variant of the runtime's library.</summary>
    public string LibraryVariant { get; init; } = "";

    /// <summary>Digest of the runtime's library.</summary>
    public string LibraryDigest { get; init; } = "";

    /// <summary>When the newest figure was taken; null until then.</summary>
    public DateTimeOffset? MeasuredAt { get; init; }

    /// <summary>What the machine was like.</summary>
    public ImmutableSortedDictionary<string, PropertyValue> Environment { get; init; } = ImmutableSortedDictionary<string, PropertyValue>.Empty;

    /// <summary>Marks on the figures.</summary>
    public ImmutableSortedSet<string> Flags { get; init; } = [];

    /// <summary>Attempts of its jobs, in all.</summary>
    public int Attempts { get; init; }

    /// <summary>Whether the form and its evaluations came from the cache.</summary>
    public bool Cached { get; init; }

    /// <summary>The first failure that keeps it from being complete, or null.</summary>
    public Failure? Failure { get; init; }

    /// <summary>Metrics by name.</summary>
    public ImmutableSortedDictionary<string, MetricValue> Metrics { get; init; } = ImmutableSortedDictionary<string, MetricValue>.Empty;

    /// <summary>Metric name to form / baseline; only for metrics that both have.</summary>
    public ImmutableSortedDictionary<string, double> Relative { get; init; } = ImmutableSortedDictionary<string, double>.Empty;

    /// <summary>Whether no comparable row beats it; see the contract.</summary>
    public bool Pareto { get; init; }

    /// <summary>Warnings of its passes.</summary>
    public ImmutableArray<string> Warnings { get; init; } = [];

    /// <summary>Reports of its passes and evaluations: operation to JSON document.</summary>
    public ImmutableSortedDictionary<string, string> Reports { get; init; } = ImmutableSortedDictionary<string, string>.Empty;
}

/// <summary>What rows to return.</summary>
public sealed record LeaderboardQuery
{
    /// <summary>Only rows of this sweep.</summary>
    public string? Sweep { get; init; }

    /// <summary>Only rows of this model.</summary>
    public string? Model { get; init; }

    /// <summary>Only rows of this toolchain.</summary>
    public string? Toolchain { get; init; }

    /// <summary>Only rows of this runtime.</summary>
    public string? Runtime { get; init; }

    /// <summary>Only rows of this form.</summary>
    public string? Form { get; init; }

    /// <summary>Only rows measured on this device or device class, or planned for this target.</summary>
    public string? Device { get; init; }

    /// <summary>Only rows whose sweep has these labels.</summary>
    public ImmutableSortedDictionary<string, string> Labels { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>Metric to sort by, best first; null keeps sweep, model, plan order.</summary>
    public string? Sort { get; init; }

    /// <summary>Only the Pareto front.</summary>
    public bool ParetoOnly { get; init; }

    /// <summary>Whether samples, environment and reports are wanted.</summary>
    public bool Full { get; init; }

    /// <summary>Most rows to return, 1 to 1000.</summary>
    public int PageSize { get; init; } = 100;

    /// <summary>Where to go on, from the page before; empty for the first.</summary>
    public string PageToken { get; init; } = "";
}

/// <summary>One page of a list.</summary>
/// <typeparam name="T">Its rows.</typeparam>
/// <param name="Items">The rows.</param>
/// <param name="NextPageToken">Token of the next page; empty on the last.</param>
public sealed record Page<T>(ImmutableArray<T> Items, string NextPageToken);
