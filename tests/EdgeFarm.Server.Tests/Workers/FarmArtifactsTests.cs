using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Contracts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Services;
using EdgeFarm.Server.Submissions;
using EdgeFarm.Server.Workers;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace EdgeFarm.Server.Tests.Workers;

/// <summary>Artifacts between a worker's store and a farm's, over gRPC on a loopback port.</summary>
public sealed class FarmArtifactsTests : IAsyncLifetime, IDisposable
{
    private readonly WorkerFixture _worker = new();
    private WebApplication? _app;
    private EdgeFarmClient? _client;
    private FarmArtifacts? _farm;
    private volatile int _breaks;

    public async Task InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(System.Net.IPAddress.Loopback, 0, o => o.Protocols = HttpProtocols.Http2));
        builder.WebHost.UseUrls();
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(_worker.FarmStore);
        builder.Services.AddSingleton(new HubFetcher(_worker.FarmStore, HubOptions.FromEnvironment));
        _app = builder.Build();
        _app.Use(async (context, next) =>
        {
            if (_breaks > 0)
            {
                _breaks--;
                context.Abort();
                return;
            }

            await next(context);
        });
        _app.MapGrpcService<ArtifactsService>();
        await _app.StartAsync();
        _client = new EdgeFarmClient(new Uri(_app.Urls.First()));
        _farm = new FarmArtifacts(_client.Artifacts, _worker.WorkerStore);
    }

    public async Task DisposeAsync() => await _app!.DisposeAsync();

    public void Dispose()
    {
        _client?.Dispose();
        _worker.Dispose();
    }

    [Fact]
    public async Task A_file_of_many_pieces_is_fetched_and_sent_back_whole()
    {
        var bytes = new byte[(3 << 20) + 17];
        new Random(1).NextBytes(bytes);
        var stored = await ImportAsync(_worker.FarmStore, "large", path => File.WriteAllBytes(path, bytes));

        Assert.Null(await _farm!.FetchAsync(stored.ToRef("gguf", "large.gguf"), default));
        Assert.Equal(stored, (await _worker.WorkerStore.StatAsync(Digest.Of(bytes), default)).Value);

        var made = await ImportAsync(_worker.WorkerStore, "made", path => File.WriteAllBytes(path, [.. bytes.Reverse()]));
        Assert.Null(await _farm.UploadAsync(made, default));
        Assert.Null(await _farm.UploadAsync(made, default));
        Assert.Equal(made, (await _worker.FarmStore.StatAsync(made.Digest, default)).Value);
    }

    [Fact]
    public async Task A_tree_goes_both_ways()
    {
        static void Make(string path)
        {
            Directory.CreateDirectory(Path.Combine(path, "sub"));
            File.WriteAllText(Path.Combine(path, "model.onnx"), "graph");
            File.WriteAllText(Path.Combine(path, "sub", "weights.data"), "weights");
            File.WriteAllText(Path.Combine(path, "empty"), "");
        }

        var there = await ImportAsync(_worker.FarmStore, "there", Make);
        Assert.Null(await _farm!.FetchAsync(there.ToRef("onnx", "model"), default));
        Assert.Equal(there, (await _worker.WorkerStore.StatAsync(there.Digest, default)).Value);

        var here = await ImportAsync(_worker.WorkerStore, "here", path =>
        {
            Make(path);
            File.WriteAllText(Path.Combine(path, "more"), "more");
        });
        Assert.Null(await _farm.UploadAsync(here, default));
        Assert.Equal(here, (await _worker.FarmStore.StatAsync(here.Digest, default)).Value);
    }

    [Fact]
    public async Task What_the_farm_lacks_is_an_internal_failure()
    {
        var absent = new ArtifactRef(Digest.OfText("absent"), ArtifactKind.File, 6, "text", "absent.txt");

        Assert.Equal(FailureType.Internal, (await _farm!.FetchAsync(absent, default))!.Type);
    }

    [Fact]
    public async Task A_farm_that_is_gone_is_an_internal_failure_that_says_so()
    {
        var stored = await ImportAsync(_worker.WorkerStore, "made", path => File.WriteAllText(path, "made"));
        await _app!.StopAsync();

        var failure = await _farm!.UploadAsync(stored, default);

        Assert.Equal(FailureType.Internal, failure!.Type);
        Assert.Contains("Unavailable", failure.Message);
    }

    [Fact]
    public async Task A_worker_goes_on_over_broken_streams_and_dead_coordinators()
    {
        var bytes = new byte[(2 << 20) + 5];
        new Random(2).NextBytes(bytes);
        var stored = await ImportAsync(_worker.FarmStore, "large", path => File.WriteAllBytes(path, bytes));
        using var nowhere = new EdgeFarmClient(new Uri("http://127.0.0.1:9"));
        var farm = new FarmArtifacts([nowhere.Artifacts, _client!.Artifacts], _worker.WorkerStore, TimeProvider.System);

        // Calls break off until this many have.
        _breaks = 3;
        Assert.Null(await farm.FetchAsync(stored.ToRef("gguf", "large.gguf"), default));
        Assert.Equal(stored, (await _worker.WorkerStore.StatAsync(stored.Digest, default)).Value);

        _breaks = 3;
        var made = await ImportAsync(_worker.WorkerStore, "made", path => File.WriteAllBytes(path, [.. bytes.Reverse()]));
        Assert.Null(await farm.UploadAsync(made, default));
        Assert.Equal(made, (await _worker.FarmStore.StatAsync(made.Digest, default)).Value);
        Assert.Equal(0, _breaks);
    }

    [Fact]
    public async Task A_transfer_begins_with_the_coordinator_that_the_worker_is_linked_to()
    {
        using var nowhere = new EdgeFarmClient(new Uri("http://127.0.0.1:9"));
        var errors = 0;
        var farm = new FarmArtifacts([nowhere.Artifacts, _client!.Artifacts], _worker.WorkerStore, TimeProvider.System) { OnError = _ => errors++ };
        var stored = await ImportAsync(_worker.WorkerStore, "made", path => File.WriteAllText(path, "made"));

        farm.Prefer(1);
        Assert.Null(await farm.UploadAsync(stored, default));

        Assert.Equal(0, errors);
        Assert.Throws<ArgumentOutOfRangeException>(() => farm.Prefer(2));
    }

    [Fact]
    public async Task A_worker_gives_up_when_its_deadline_comes()
    {
        using var nowhere = new EdgeFarmClient(new Uri("http://127.0.0.1:9"));
        var farm = new FarmArtifacts([nowhere.Artifacts], _worker.WorkerStore, TimeProvider.System);
        var stored = await ImportAsync(_worker.WorkerStore, "made", path => File.WriteAllText(path, "made"));
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => farm.UploadAsync(stored, deadline.Token));
    }

    [Fact]
    public async Task Cancelling_throws()
    {
        var stored = await ImportAsync(_worker.FarmStore, "x", path => File.WriteAllText(path, "x"));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _farm!.FetchAsync(stored.ToRef("text", "x"), new CancellationToken(canceled: true)));
    }

    private async Task<StoredArtifact> ImportAsync(IArtifactStore store, string name, Action<string> make)
    {
        var path = Path.Combine(_worker.Root, name);
        make(path);
        return (await store.ImportAsync(path, ImportMode.Copy, default)).Value;
    }
}
