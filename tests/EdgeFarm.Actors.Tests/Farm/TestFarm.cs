using System.Net;
using Akka.Hosting;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>A coordinator as production wires it: SQLite file, gRPC on loopback; every message is serialized.</summary>
internal sealed class TestFarm : IAsyncDisposable
{
    public static readonly DispatchLimits Limits = DispatchLimits.Embedded with { ReconnectGrace = TimeSpan.FromSeconds(20) };

    private readonly WebApplication _app;

    private TestFarm(WebApplication app, int port) => (_app, Port) = (app, port);

    public int Port { get; }

    public Uri Url => new($"http://127.0.0.1:{Port}");

    public IFarm Farm => _app.Services.GetRequiredService<IFarm>();

    public IFarmQueries Queries => _app.Services.GetRequiredService<IFarmQueries>();

    public IServiceProvider Services => _app.Services;

    public static async Task<TestFarm> StartAsync(string directory, int port = 0, Func<FarmCoordinatorOptions, FarmCoordinatorOptions>? configure = null)
    {
        var options = new FarmCoordinatorOptions(FarmDatabaseOptions.SqliteFile(Path.Combine(directory, "farm.db"))) { Limits = Limits };
        options = configure?.Invoke(options) ?? options;
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, port, l => l.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddFarmCoordinator(options);
        builder.Services.AddAkka("edgefarm", (akka, _) => akka.AddHocon(TestConfig, HoconAddMode.Prepend).WithFarmCoordinator(options));
        var app = builder.Build();
        app.MapGrpcService<WorkerLinkService>();
        await app.StartAsync();
        var bound = new Uri(app.Urls.Single()).Port;
        return new TestFarm(app, bound);
    }

    /// <summary>Watches a sweep to its end.</summary>
    public async Task<SweepChange> FinishAsync(string sweep)
    {
        using var limit = new CancellationTokenSource(Wait.Limit);
        SweepChange? last = null;
        await foreach (var change in Farm.WatchAsync(sweep, null, limit.Token))
        {
            last = change;
        }

        return last!;
    }

    /// <summary>Waits until a job of a sweep stands somewhere.</summary>
    public Task UntilAsync(string sweep, string job, JobStatus status) => Wait.UntilAsync(
        async () => (await Farm.SnapshotAsync(sweep, CancellationToken.None)).Value.Jobs.Single(j => j.Id == job).Status == status,
        $"job {job} is {status}");

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    internal const string TestConfig =
        """
        akka.loglevel = WARNING
        akka.stdout-loglevel = WARNING
        akka.actor.serialize-messages = on
        akka.actor.serializers.internals = "EdgeFarm.Actors.Tests.Farm.AkkaInternalsSerializer, EdgeFarm.Actors.Tests"
        akka.actor.serialization-bindings { "System.Object" = internals }
        """;
}
