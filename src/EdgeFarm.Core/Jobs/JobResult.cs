using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Jobs;

/// <summary>What a job that succeeded brought.</summary>
public sealed record JobResult
{
    /// <summary>Output name to artifact.</summary>
    public ImmutableSortedDictionary<string, ArtifactRef> Outputs { get; init; } = Empty<ArtifactRef>();

    /// <summary>Measurements, with samples.</summary>
    public ImmutableArray<Measurement> Measurements { get; init; } = [];

    /// <summary>Settings as run (llama-bench's names where it has them): name to canonical text. Another value makes another leaderboard entry.</summary>
    public ImmutableSortedDictionary<string, string> Settings { get; init; } = Empty<string>();

    /// <summary>The engine build that ran.</summary>
    public EngineIdentity? Engine { get; init; }

    /// <summary>Variant of the engine's library, e.g. llama.cpp's <c>haswell</c>.</summary>
    public string LibraryVariant { get; init; } = "";

    /// <summary>SHA-256 of the engine's library, hexadecimal.</summary>
    public string LibraryDigest { get; init; } = "";

    /// <summary>What the machine was like: CPU, limits, governor, frequency, load, temperature before and after.</summary>
    public ImmutableSortedDictionary<string, PropertyValue> Environment { get; init; } = Empty<PropertyValue>();

    /// <summary>Marks on the figures: <c>contended</c>, <c>throttled</c>, <c>virtual</c>, <c>synthetic_input</c>, <c>unsteady</c>.</summary>
    public ImmutableSortedSet<string> Flags { get; init; } = [];

    /// <summary>Warnings for the user: what was made works, but something about it should be known.</summary>
    public ImmutableArray<string> Warnings { get; init; } = [];

    /// <summary>A report of the operation's own as a JSON document (e.g. operators quantized and skipped with reasons); empty for none.</summary>
    public string Report { get; init; } = "";

    /// <summary>Digest of the log of the attempt in the artifact store, or the default value.</summary>
    public Digest Log { get; init; }

    private static ImmutableSortedDictionary<string, T> Empty<T>() => ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);
}

/// <summary>How an attempt ended: with a result or with a failure.</summary>
/// <param name="Result">The result of a success, or null.</param>
/// <param name="Failure">The failure, or null.</param>
/// <param name="Log">Digest of the attempt's log in the artifact store, or the default value.</param>
/// <param name="StartedAt">When the child started, by the worker's clock.</param>
/// <param name="FinishedAt">When it ended, by the worker's clock.</param>
public sealed record JobOutcome(JobResult? Result, Failure? Failure, Digest Log, DateTimeOffset StartedAt, DateTimeOffset FinishedAt)
{
    /// <summary>Whether it succeeded.</summary>
    public bool IsSuccess => Failure is null;
}
