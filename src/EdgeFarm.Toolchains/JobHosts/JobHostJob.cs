using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.JobHosts;

/// <summary>One job as it is handed to a child process; <see cref="JobContext"/> is made of it there.</summary>
public sealed record JobHostJob
{
    /// <summary>What to do.</summary>
    public required JobKind Kind { get; init; }

    /// <summary>Pass type, <c>Import</c>, <c>Benchmark</c>, or an evaluation's operation.</summary>
    public required string Operation { get; init; }

    /// <summary>Resolved parameters: name to canonical text.</summary>
    public required ImmutableSortedDictionary<string, string> Parameters { get; init; }

    /// <summary>Inputs by name, materialized at absolute paths.</summary>
    public required ImmutableSortedDictionary<string, InputFile> Inputs { get; init; }

    /// <summary>Absolute path of an empty directory.</summary>
    public required string OutputDirectory { get; init; }

    /// <summary>Id of the device to run on.</summary>
    public required string DeviceId { get; init; }

    /// <summary>What <c>threads: auto</c> means on this host, at least 1.</summary>
    public required int AutoThreads { get; init; }
}

/// <summary>How far a job is.</summary>
/// <param name="Fraction">0 to 1.</param>
/// <param name="Text">What it is doing.</param>
public sealed record JobHostProgress(double Fraction, string Text);
