using System.Collections.Concurrent;
using System.Collections.Immutable;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Deployment.Tests.Support;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Tests.Shared;

namespace EdgeFarm.Deployment.Tests.Scaling;

/// <summary>A coordinator as production wires it, without a worker of its own.</summary>
internal sealed class ScaledFarm : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly DirectoryInfo _directory;

    private ScaledFarm(WebApplication app, DirectoryInfo directory, Uri grpc, Uri http) => (_app, _directory, Grpc, Http) = (app, directory, grpc, http);

    public Uri Grpc { get; }

    public Uri Http { get; }

    public string Directory => _directory.FullName;

    public IFarm Farm => Services.GetRequiredService<IFarm>();

    public IServiceProvider Services => _app.Services;

    public static async Task<ScaledFarm> StartAsync()
    {
        var directory = System.IO.Directory.CreateTempSubdirectory("edgefarm-scaling-");
        var (grpc, http) = (new ListenAddress("127.0.0.1", Ports.Free()), new ListenAddress("127.0.0.1", Ports.Free()));
        var store = DiskArtifactStore.Open(Path.Combine(directory.FullName, "artifacts"), TimeProvider.System).Value;
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.AddEdgeFarmCoordinator(new EdgeFarmCoordinatorOptions(FarmDatabaseOptions.SqliteFile(Path.Combine(directory.FullName, "farm.db")), store, grpc, http)
        {
            BundledFolder = directory.FullName,
        });
        var app = builder.Build();
        app.MapEdgeFarmCoordinator();
        await app.StartAsync();
        return new ScaledFarm(app, directory, new Uri($"http://{grpc}"), new Uri($"http://{http}"));
    }

    /// <summary>Stops it; its directory stays until it is disposed.</summary>
    public async Task StopAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        StoppedFarm.Delete(_directory.FullName);
    }
}

/// <summary>A pod: a worker in an actor system of its own, linked over real gRPC.</summary>
internal sealed class Pod : IAsyncDisposable
{
    private readonly IHost _host;

    private Pod(IHost host, string name) => (_host, Name) = (host, name);

    public string Name { get; }

    public static async Task<Pod> StartAsync(ScaledFarm farm, WorkerTemplate template, string name, IJobRunner runner, TimeSpan drain)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddSingleton(TimeProvider.System);
        var capability = template.Worker with { Worker = name, HostId = $"node-of-{name}" };
        builder.Services.AddEdgeFarmWorker(new PreparedWorker(
            new FarmWorkerOptions(capability, [farm.Grpc]) { DrainGrace = drain }, runner, new DiskResultStore(Path.Combine(farm.Directory, name))));
        var pod = new Pod(builder.Build(), name);
        await pod._host.StartAsync();
        return pod;
    }

    /// <summary>What SIGTERM does: no new lease, the grace for what runs, the rest handed back.</summary>
    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync();
        _host.Dispose();
    }
}

/// <summary>Holds every job until the test lets it end; it ends well.</summary>
internal sealed class GatedRunner : IJobRunner
{
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _gates = new();

    /// <summary>What a job makes; by default nothing.</summary>
    public Func<JobSpec, ImmutableSortedDictionary<string, ArtifactRef>> Outputs { get; init; } = _ => ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal);

    /// <summary>Digest of the log that every attempt says it left.</summary>
    public Digest Log { get; init; }

    /// <summary>Every start, in order.</summary>
    public ConcurrentQueue<string> Started { get; } = new();

    public void Open(string job) => Gate(job).TrySetResult();

    public async Task<JobOutcome> RunAsync(Lease lease, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        var spec = lease.Job.Spec;
        var start = DateTimeOffset.UtcNow;
        Started.Enqueue(spec.Id);
        await Gate(spec.Id).Task.WaitAsync(cancellationToken);
        ImmutableArray<Measurement> measurements = spec.Kind == JobKind.Benchmark ? [new Measurement("tg", [10.0, 11.0, 12.0], spec.Engine.Id)] : [];
        return new JobOutcome(new JobResult { Measurements = measurements, Engine = spec.Engine, Outputs = Outputs(spec) }, null, Log, start, DateTimeOffset.UtcNow);
    }

    private TaskCompletionSource Gate(string job) => _gates.GetOrAdd(job, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
}
