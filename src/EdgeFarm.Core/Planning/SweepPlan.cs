using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Core.Planning;

/// <summary>A leaderboard entry as planned: one form of one model, measured by one runtime on one target.</summary>
public sealed record PlannedEntry
{
    /// <summary>Unique in the farm: the sweep's id, <c>/e</c> and a number.</summary>
    public required string Id { get; init; }

    /// <summary>Id of the model.</summary>
    public required string Model { get; init; }

    /// <summary>Id of the toolchain that makes the form.</summary>
    public required string Toolchain { get; init; }

    /// <summary>Id of the runtime that measures it.</summary>
    public required string Runtime { get; init; }

    /// <summary>Canonical name of the form.</summary>
    public required string Form { get; init; }

    /// <summary>The passes with all parameters.</summary>
    public required ImmutableArray<PassStep> Recipe { get; init; }

    /// <summary><c>1-2</c>, <c>3-4</c>, <c>5-8</c>, <c>half</c>, <c>full</c>, or empty when a chain does not tell.</summary>
    public required string PrecisionClass { get; init; }

    /// <summary>Id of the target.</summary>
    public required string Target { get; init; }

    /// <summary>Whether others are compared with it.</summary>
    public required bool IsBaseline { get; init; }

    /// <summary>Id of the entry that it is compared with; its own for a baseline.</summary>
    public required string BaselineId { get; init; }

    /// <summary>Id of the job whose output <c>model</c> is the form's artifact.</summary>
    public required string ArtifactJob { get; init; }

    /// <summary>Id of its benchmark.</summary>
    public required string BenchmarkJob { get; init; }

    /// <summary>Bytes of its artifact as predicted, within a few percent; 0 when they could not be told beforehand.</summary>
    public long PredictedSize { get; init; }

    /// <summary>Ids of its evaluations.</summary>
    public required ImmutableArray<string> EvaluationJobs { get; init; }
}

/// <summary>A pair of recipe and model, or form and target, that can never be served; listed for the user.</summary>
/// <param name="What">E.g. <c>model ocr-rec x llama.cpp</c>.</param>
/// <param name="Reason">Why.</param>
public sealed record LeftOut(string What, string Reason);

/// <summary>What a planner adds to a sweep at once.</summary>
/// <param name="Jobs">In an order in which every job follows those that it depends on.</param>
/// <param name="Entries">Leaderboard entries that the jobs serve.</param>
/// <param name="LeftOut">Pairs that were left out.</param>
public sealed record SweepPlan(ImmutableArray<JobSpec> Jobs, ImmutableArray<PlannedEntry> Entries, ImmutableArray<LeftOut> LeftOut);
