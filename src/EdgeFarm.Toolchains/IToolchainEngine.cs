using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains;

/// <summary>
/// The part of a toolchain that touches native code: probes, passes, benchmarks, evaluations. Only the job host loads it, one
/// job per process, because a failed assertion in an engine ends the process. Its descriptor is data and lives beside it.
/// </summary>
public interface IToolchainEngine
{
    /// <summary>Toolchain id, as in its descriptor.</summary>
    string Id { get; }

    /// <summary>Loads the engine and tells its build, passes, formats and devices; or why it cannot be used here and how to get it.</summary>
    Outcome<EngineProbe> Probe(CancellationToken cancellationToken);

    /// <summary>
    /// Runs one job in this process. Expected failures are values; what escapes as an exception becomes Internal, what kills the
    /// process becomes Crashed. Outputs are written below <see cref="JobContext.OutputDirectory"/> and named in the result.
    /// </summary>
    Outcome<EngineResult> Run(JobContext job, CancellationToken cancellationToken);
}

/// <summary>A device that a worker advertises only after a job <see cref="Proof"/> succeeded on it.</summary>
/// <param name="Id">Id of the device.</param>
/// <param name="Advice">What to do where it does not compute.</param>
public sealed record UnprovenDevice(string Id, string Advice)
{
    /// <summary>
    /// Operation of a job that computes something small on its device and compares it with what is known. Drivers that are too old end the
    /// process at the first kernel, after they listed the device without a word, so a probe cannot tell.
    /// </summary>
    public const string Proof = "ProveDevice";
}

/// <summary>What a probe found.</summary>
/// <param name="Toolchain">Build and passes; null when it only measures.</param>
/// <param name="Runtime">Build, formats, ids of the devices that it serves; null when it only makes forms.</param>
/// <param name="Devices">Devices that the engine itself found beyond the CPU (GPUs, NPUs), with their properties.</param>
/// <param name="Notes">What is missing and how to get it, for <c>doctor</c>.</param>
public sealed record EngineProbe(
    ToolchainInfo? Toolchain,
    RuntimeInfo? Runtime,
    ImmutableArray<Device> Devices,
    ImmutableArray<string> Notes)
{
    /// <summary>Devices of the runtime that are to be proven.</summary>
    public ImmutableArray<UnprovenDevice> Unproven { get; init; } = [];
}

/// <summary>A materialized input of a job.</summary>
/// <param name="Path">Absolute path of a read-only file or directory.</param>
/// <param name="Artifact">Which artifact it is.</param>
public sealed record InputFile(string Path, ArtifactRef Artifact);

/// <summary>A job as an engine sees it.</summary>
public sealed record JobContext
{
    /// <summary>What to do.</summary>
    public required JobKind Kind { get; init; }

    /// <summary>Pass type, <c>Import</c>, <c>Benchmark</c>, or an evaluation's operation.</summary>
    public required string Operation { get; init; }

    /// <summary>Resolved parameters: name to canonical text.</summary>
    public required ImmutableSortedDictionary<string, string> Parameters { get; init; }

    /// <summary>Inputs by name.</summary>
    public required ImmutableSortedDictionary<string, InputFile> Inputs { get; init; }

    /// <summary>An empty directory of this job; each output is a file or directory directly in it.</summary>
    public required string OutputDirectory { get; init; }

    /// <summary>Id of the device to run on; <c>cpu</c> for the CPU alone.</summary>
    public required string DeviceId { get; init; }

    /// <summary>What <c>threads: auto</c> means on this host: physical cores capped by affinity and cgroup quota, rounded down, at least 1.</summary>
    public required int AutoThreads { get; init; }

    /// <summary>Progress from 0 to 1 with a line of text. Never throws.</summary>
    public required Action<double, string> Progress { get; init; }

    /// <summary>A line for the job's log. Never throws.</summary>
    public required Action<string> Log { get; init; }
}

/// <summary>What an engine returns of a job that succeeded.</summary>
public sealed record EngineResult
{
    /// <summary>Output name to what was written.</summary>
    public ImmutableArray<OutputFile> Outputs { get; init; } = [];

    /// <summary>Everything but outputs and log, which the worker fills in.</summary>
    public required JobResult Result { get; init; }
}

/// <summary>An output of a job before it is stored.</summary>
/// <param name="Name">Name of the output, e.g. <c>model</c>.</param>
/// <param name="FileName">Name of the file or directory in the output directory; it becomes the artifact's.</param>
/// <param name="Format">Format of the artifact.</param>
/// <param name="SameAsInput">Name of an input whose artifact this output is, unchanged; then nothing is written.</param>
public sealed record OutputFile(string Name, string FileName, string Format, string? SameAsInput = null);
