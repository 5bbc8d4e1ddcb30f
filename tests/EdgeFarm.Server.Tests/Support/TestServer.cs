using System.Net;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Contracts;
using EdgeFarm.Core.Planning;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Submissions;
using EdgeFarm.Tests.Shared;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace EdgeFarm.Server.Tests.Support;

/// <summary>The gRPC edge on real loopback ports, with a real store, over the in-memory farm.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly DirectoryInfo _folder;

    private TestServer(WebApplication app, DirectoryInfo folder, InMemoryFarm farm, IArtifactStore store)
    {
        (_app, _folder, Farm, Store) = (app, folder, farm, store);
        var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.ToArray();
        (Address, Http) = (new Uri(addresses[0]), new Uri(addresses[1]));
        Client = new EdgeFarmClient(Address);
    }

    public InMemoryFarm Farm { get; }

    public IArtifactStore Store { get; }

    public Uri Address { get; }

    public Uri Http { get; }

    public EdgeFarmClient Client { get; }

    /// <param name="hub">How the Hub is reached; null for what the environment says.</param>
    /// <param name="catalog">The toolchains; null for <see cref="TestCatalog"/>.</param>
    public static async Task<TestServer> StartAsync(HubOptions? hub = null, ToolchainCatalog? catalog = null)
    {
        var folder = Directory.CreateTempSubdirectory("edgefarm-server-tests-");
        var samples = Path.Combine(folder.FullName, "samples");
        Directory.CreateDirectory(samples);
        await File.WriteAllTextAsync(Path.Combine(samples, "tiny.gguf"), "GGUF and what follows");
        await File.WriteAllTextAsync(Path.Combine(samples, "held.txt"), "some text");
        await File.WriteAllTextAsync(Path.Combine(samples, "index.json"), """
            {"version": 1, "items": [
              {"name": "edgefarm-tiny", "kind": "model", "format": "gguf", "path": "tiny.gguf", "description": "x"},
              {"name": "held-out", "kind": "data", "format": "text", "path": "held.txt", "description": "x"},
              {"name": "gone", "kind": "model", "format": "onnx", "path": "gone.onnx", "description": "x"}
            ]}
            """);
        var store = DiskArtifactStore.Open(Path.Combine(folder.FullName, "store"), TimeProvider.System).Value;
        var farm = new InMemoryFarm();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => GrpcEdge.Listen(k, new ListenAddress(IPAddress.Loopback.ToString(), 0), new ListenAddress(IPAddress.Loopback.ToString(), 0), null));
        builder.Services.AddSingleton<IArtifactStore>(store);
        builder.Services.AddSingleton<IFarm>(farm);
        builder.Services.AddSingleton<IFarmQueries>(farm);
        builder.Services.AddSingleton<IResultCache>(farm);
        if (hub is not null)
        {
            builder.Services.AddSingleton(new HubFetcher(store, () => hub));
        }

        builder.Services.AddGrpcEdge(catalog ?? TestCatalog.Value, BundledContent.Open(samples));
        var app = builder.Build();
        app.MapGrpcEdge();
        await app.StartAsync();
        return new TestServer(app, folder, farm, store);
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        StoppedFarm.Delete(_folder.FullName);
    }
}
