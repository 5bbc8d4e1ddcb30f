using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.JobHost.Tests;

/// <summary>Runs jobs of the real engines in real job hosts, on files in a directory of its own.</summary>
internal sealed class RealChild : IDisposable
{
    private readonly JobHostRunner _runner;
    private readonly string _root = Directory.CreateTempSubdirectory("edgefarm-test-").FullName;

    public string Output { get; } = "";

    /// <summary>A child with variables of its own in its environment; null removes one.</summary>
    public RealChild(params (string Name, string? Value)[] environment)
        : this(JobHostCommand.Locate().Value, environment)
    {
    }

    /// <summary>A child of another program.</summary>
    public RealChild(JobHostCommand command, params (string Name, string? Value)[] environment)
    {
        _runner = new JobHostRunner(
            command with { Environment = command.Environment.SetItems(environment.Select(variable => KeyValuePair.Create(variable.Name, variable.Value))) }, TimeProvider.System);
        Output = Directory.CreateDirectory(Path.Combine(_root, "out")).FullName;
        Limits = new JobHostLimits(TimeSpan.FromMinutes(5), Directory.CreateDirectory(Path.Combine(_root, "work")).FullName);
    }

    public JobHostLimits Limits { get; }

    /// <summary>Id of the device that jobs run on.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>The sample model in F16.</summary>
    public static string TinyModel => Shared("models/edgefarm-tiny/edgefarm-tiny-f16.gguf");

    /// <summary>A path below EDGEFARM_TEST_DATA; skips the test with the reason where it is absent.</summary>
    public static string Shared(string relative)
    {
        var root = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(string.IsNullOrEmpty(root), "EDGEFARM_TEST_DATA is not set");
        var path = Path.Combine(root!, relative);
        Skip.IfNot(Path.Exists(path), $"{relative} is not below EDGEFARM_TEST_DATA");
        return path;
    }

    /// <summary>A file of the test's own.</summary>
    public string Write(string name, ReadOnlySpan<byte> bytes)
    {
        var path = Path.Combine(_root, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    public Task<JobHostRun> ProbeAsync(string engine) => _runner.ProbeAsync(engine, Limits, default);

    public Task<JobHostRun> ImportAsync(string model) => RunAsync("none", JobKind.Import, "Import", [("source", model)], []);

    public Task<JobHostRun> RunAsync(
        string engine,
        JobKind kind,
        string operation,
        (string Name, string Path)[] inputs,
        (string Name, string Value)[] parameters,
        JobHostLimits? limits = null,
        IProgress<JobHostProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        var job = new JobHostJob
        {
            Kind = kind,
            Operation = operation,
            Parameters = parameters.ToImmutableSortedDictionary(p => p.Name, p => p.Value, StringComparer.Ordinal),
            Inputs = inputs.ToImmutableSortedDictionary(i => i.Name, i => new InputFile(i.Path, Describe(i.Path)), StringComparer.Ordinal),
            OutputDirectory = Output,
            DeviceId = Device,
            AutoThreads = 1,
        };
        return _runner.RunAsync(engine, job, limits ?? Limits, progress, cancellationToken);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    /// <summary>Elements named <paramref name="key"/> in a GGUF file's metadata set to a number of 32 bits.</summary>
    public static byte[] WithMetadata(byte[] gguf, string key, uint value)
    {
        var at = gguf.AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes(key));
        Assert.True(at > 0, $"{key} is in the file");
        var changed = gguf.ToArray();

        // After the key: the type of the value (4 is UInt32), then the value.
        Assert.Equal(4, BitConverter.ToInt32(changed, at + key.Length));
        BitConverter.TryWriteBytes(changed.AsSpan(at + key.Length + 4), value);
        return changed;
    }

    private static ArtifactRef Describe(string path) => Directory.Exists(path)
        ? new ArtifactRef(Digest.OfText(path), ArtifactKind.Tree, 0, FormatNames.Unknown, Path.GetFileName(path))
        : new ArtifactRef(Digest.OfText(path), ArtifactKind.File, new FileInfo(path).Length, FormatNames.Unknown, Path.GetFileName(path));
}

/// <summary>Reports once that a job says a text.</summary>
internal sealed class WaitFor(string text) : IProgress<JobHostProgress>
{
    private readonly TaskCompletionSource _seen = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task SeenAsync(Task running) => Task.WhenAny(_seen.Task, running).WaitAsync(TimeSpan.FromMinutes(5));

    public void Report(JobHostProgress value)
    {
        if (value.Text.Contains(text, StringComparison.OrdinalIgnoreCase))
        {
            _seen.TrySetResult();
        }
    }
}
