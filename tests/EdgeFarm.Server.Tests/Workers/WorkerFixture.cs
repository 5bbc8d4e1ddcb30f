using System.Collections.Immutable;
using System.Text;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Artifacts.Transfer;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Server.Workers;
using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Server.Tests.Workers;

/// <summary>A farm's store and a worker with a store of its own, in one directory; jobs run in real child processes of the test host.</summary>
internal sealed class WorkerFixture : IDisposable
{
    public static readonly JobHostRunner Hosts =
        new(JobHostCommand.Of(Path.Combine(AppContext.BaseDirectory, "EdgeFarm.JobHost.TestHost.dll")), TimeProvider.System);

    private int _jobs;

    public WorkerFixture()
    {
        FarmStore = DiskArtifactStore.Open(Path.Combine(Root, "farm"), TimeProvider.System).Value;
        WorkerStore = DiskArtifactStore.Open(Path.Combine(Root, "worker"), TimeProvider.System).Value;
    }

    public string Root { get; } = Directory.CreateTempSubdirectory("edgefarm-test-").FullName;

    public string Scratch => Path.Combine(Root, "scratch");

    public IArtifactStore FarmStore { get; }

    public IArtifactStore WorkerStore { get; }

    public static async Task<HostReport> HostAsync() =>
        await HostProber.ProbeAsync(new HostProbeOptions(Path.GetTempPath(), "test-machine"), default);

    public async Task<JobRunner> RunnerAsync(IArtifactExchange? exchange = null, string? scratch = null, TimeProvider? time = null) => new(
        new JobRunnerSettings(scratch ?? Scratch, await HostAsync(), 0),
        WorkerStore,
        exchange ?? new StoreExchange(FarmStore, WorkerStore),
        Hosts,
        new MachineLock(Path.Combine(Root, "machine"), TimeProvider.System),
        time ?? TimeProvider.System);

    public async Task<ArtifactRef> PutAsync(string text, string fileName = "input.txt")
    {
        var path = Path.Combine(Root, Guid.NewGuid().ToString("N"));
        await File.WriteAllTextAsync(path, text);
        return (await FarmStore.ImportAsync(path, ImportMode.Take, default)).Value.ToRef("text", fileName);
    }

    public Lease Lease(
        string operation,
        ImmutableSortedDictionary<string, ArtifactRef>? inputs = null,
        JobKind kind = JobKind.Optimize,
        TimeSpan? transfer = null,
        string[]? outputs = null,
        params (string Name, string Value)[] parameters)
    {
        inputs ??= ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal);
        var spec = new JobSpec
        {
            Id = $"test/{Interlocked.Increment(ref _jobs)}",
            Kind = kind,
            Operation = operation,
            Engine = new EngineIdentity("hostile", "1", "test"),
            Parameters = parameters.ToImmutableSortedDictionary(p => p.Name, p => p.Value, StringComparer.Ordinal),
            Inputs = [.. inputs.Select(i => new JobInput(i.Key, InputSource.Of(i.Value)))],
            Outputs = [.. outputs ?? []],
            Requirements = JobRequirements.None,
            Model = "m",
            DeviceGroup = kind == JobKind.Benchmark ? "m|r|t|1" : null,
        };
        return new Lease(new ReadyJob(spec, inputs, ActionDigest.Of(spec, inputs)), "test", 1, 1, "cpu", transfer ?? TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(5));
    }

    public static ImmutableSortedDictionary<string, ArtifactRef> Inputs(params (string Name, ArtifactRef Artifact)[] inputs) =>
        inputs.ToImmutableSortedDictionary(i => i.Name, i => i.Artifact, StringComparer.Ordinal);

    public static async Task<string> ReadAsync(IArtifactStore store, Digest digest)
    {
        await using var stream = (await store.OpenReadAsync(digest, 0, default)).Value;
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return await reader.ReadToEndAsync();
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);

    /// <summary>Moves artifacts between two stores in pieces, as the wire does.</summary>
    private sealed class StoreExchange(IArtifactStore farm, IArtifactStore worker) : IArtifactExchange
    {
        public async Task<Failure?> FetchAsync(ArtifactRef artifact, CancellationToken cancellationToken) => (await ArtifactTransfer.PullAsync(
            worker, artifact.Digest, artifact.Kind, (needs, token) => ArtifactTransfer.ReadAsync(farm, needs, token), cancellationToken)).Failure;

        public async Task<Failure?> UploadAsync(StoredArtifact artifact, CancellationToken cancellationToken) => (await ArtifactTransfer.PushAsync(
            worker,
            token => ArtifactTransfer.StatusAsync(farm, artifact.Digest, artifact.Kind, token),
            (chunks, token) => ArtifactTransfer.WriteAsync(farm, artifact.Digest, artifact.Kind, chunks, token),
            cancellationToken)).Failure;
    }
}

/// <summary>Collects progress and lets a test wait for a text.</summary>
internal sealed class ProgressLog : IProgress<JobProgress>
{
    private readonly List<(string Text, TaskCompletionSource Seen)> _waits = [];
    private readonly List<string> _texts = [];

    public void Report(JobProgress value)
    {
        lock (_waits)
        {
            _texts.Add(value.Text);
            foreach (var (text, seen) in _waits)
            {
                if (value.Text.Contains(text, StringComparison.Ordinal))
                {
                    seen.TrySetResult();
                }
            }
        }
    }

    public Task SeenAsync(string text)
    {
        lock (_waits)
        {
            if (_texts.Any(t => t.Contains(text, StringComparison.Ordinal)))
            {
                return Task.CompletedTask;
            }

            var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waits.Add((text, seen));
            return seen.Task.WaitAsync(TimeSpan.FromMinutes(5));
        }
    }
}
