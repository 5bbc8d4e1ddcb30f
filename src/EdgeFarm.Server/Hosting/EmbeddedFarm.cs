using System.Net.Sockets;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Workers;
using Microsoft.AspNetCore.Connections;

namespace EdgeFarm.Server.Hosting;

/// <summary>What an embedded farm is.</summary>
/// <param name="DataDirectory">Its directory; made where it is absent.</param>
/// <param name="Grpc">Where gRPC listens; port 0 takes a free one.</param>
/// <param name="Http">Where metrics and health listen; port 0 takes a free one.</param>
/// <param name="Workers">How many workers live in the process.</param>
public sealed record EmbeddedFarmOptions(string DataDirectory, ListenAddress Grpc, ListenAddress Http, int Workers)
{
    /// <summary>Least level of log lines, which go to stderr.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Warning;
}

/// <summary>A whole farm in this process: one coordinator and workers that link to it over its own port, as remote ones do.</summary>
public sealed class EmbeddedFarm : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly DataDirectory _data;

    private EmbeddedFarm(WebApplication app, DataDirectory data, WorkerFindings findings, ListenAddress grpc, ListenAddress http)
    {
        (_app, _data) = (app, data);
        Findings = findings;
        Address = new Uri($"http://{grpc}");
        HttpAddress = new Uri($"http://{http}");
    }

    /// <summary>Where clients reach it.</summary>
    public Uri Address { get; }

    /// <summary>Where metrics and health are.</summary>
    public Uri HttpAddress { get; }

    /// <summary>Its data directory.</summary>
    public string DataDirectory => _data.Root;

    /// <summary>This machine and its engines.</summary>
    public WorkerFindings Findings { get; }

    /// <summary>Cancelled when the process was asked to stop (SIGTERM, Ctrl+C) or <see cref="StopAsync"/> was called.</summary>
    public CancellationToken Stopping => _app.Lifetime.ApplicationStopping;

    /// <summary>
    /// Starts one. Failures: the directory is taken or cannot be written, a port is taken, there is no job host.
    /// </summary>
    public static async Task<Outcome<EmbeddedFarm>> StartAsync(EmbeddedFarmOptions options, CancellationToken cancellationToken)
    {
        var opened = Hosting.DataDirectory.Open(options.DataDirectory);
        if (!opened.IsOk)
        {
            return opened.Failure!;
        }

        var data = opened.Value;
        WebApplication? app = null;
        try
        {
            var store = DiskArtifactStore.Open(data.Artifacts, TimeProvider.System);
            var setup = await WorkerSetup.ProbeAsync(data.Root, cancellationToken);
            if ((store.Failure ?? setup.Failure) is { } failure)
            {
                data.Dispose();
                return failure;
            }

            var (grpc, http) = (options.Grpc.TakePort(), options.Http.TakePort());
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
            builder.Logging.SetMinimumLevel(options.LogLevel);
            builder.AddEdgeFarmCoordinator(new EdgeFarmCoordinatorOptions(FarmDatabaseOptions.SqliteFile(data.Database), store.Value, grpc, http));
            for (var i = 1; i <= options.Workers; i++)
            {
                var name = $"{Environment.MachineName.ToLowerInvariant()}-{i}";
                var worker = new EdgeFarmWorkerOptions(name, data.Worker(name), [new Uri($"http://{grpc.Reachable()}")])
                {
                    WorkersOnMachine = options.Workers,
                };
                builder.Services.AddEdgeFarmWorker(setup.Value.Prepare(worker, store.Value, new SharedArtifacts(store.Value)));
            }

            app = builder.Build();
            app.MapEdgeFarmCoordinator();
            await app.StartAsync(cancellationToken);
            return new EmbeddedFarm(app, data, setup.Value.Findings, grpc.Reachable(), http.Reachable());
        }
        catch (Exception e)
        {
            if (app is not null)
            {
                await app.DisposeAsync();
            }

            data.Dispose();
            if (e is SocketException or IOException { InnerException: SocketException or AddressInUseException })
            {
                return Failure.InvalidInput($"cannot listen at {options.Grpc} and {options.Http}: {e.Message}; choose others with --listen and --http");
            }

            throw;
        }
    }

    /// <summary>Stops it in an orderly way; unfinished sweeps go on at the next start.</summary>
    public Task StopAsync(CancellationToken cancellationToken) => _app.StopAsync(cancellationToken);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        // Streams end before the services that they use; after an orderly stop this does nothing.
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        _data.Dispose();
    }
}
