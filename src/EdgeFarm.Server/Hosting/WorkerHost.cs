using EdgeFarm.Actors.Workers;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Contracts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Hosting.Settings;
using EdgeFarm.Server.Workers;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace EdgeFarm.Server.Hosting;

/// <summary>A worker in this process, linked to a farm elsewhere.</summary>
public sealed class WorkerHost : IAsyncDisposable
{
    // For what comes after the jobs: results on their way, streams, the actor system.
    private static readonly TimeSpan StopSlack = TimeSpan.FromSeconds(30);

    private readonly WebApplication _app;
    private readonly IReadOnlyList<EdgeFarmClient> _farm;

    private WorkerHost(WebApplication app, IReadOnlyList<EdgeFarmClient> farm, WorkerFindings findings) => (_app, _farm, Findings) = (app, farm, findings);

    /// <summary>This machine and its engines.</summary>
    public WorkerFindings Findings { get; }

    /// <summary>Cancelled when the process was asked to stop.</summary>
    public CancellationToken Stopping => _app.Lifetime.ApplicationStopping;

    /// <summary>Starts one. Failures: no job host, a store or port that cannot be used, a token or certificate file.</summary>
    /// <param name="settings">How it is to be.</param>
    /// <param name="data">Its data directory.</param>
    /// <param name="logLevel">Least level of log lines, which go to stderr.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    public static async Task<Outcome<WorkerHost>> StartAsync(WorkerSettings settings, DataDirectory data, LogLevel logLevel, CancellationToken cancellationToken)
    {
        FarmAccess access;
        try
        {
            access = FarmAccess.Load(settings.Token, settings.Ca);
        }
        catch (InvalidDataException e)
        {
            return Failure.InvalidInput(e.Message);
        }

        var store = DiskArtifactStore.Open(data.Artifacts, TimeProvider.System);
        var setup = await WorkerSetup.ProbeAsync(data.Root, settings.ExecutionProviders, cancellationToken);
        if ((store.Failure ?? setup.Failure) is { } failure)
        {
            return failure;
        }

        var link = new LinkHealthCheck();
        EdgeFarmClient[] farm = [.. settings.Farm.Select(url => new EdgeFarmClient(url, access, LinkProtocol.KeepAliveInterval))];
        var artifacts = new FarmArtifacts([.. farm.Select(f => f.Artifacts)], store.Value, TimeProvider.System);
        var worker = new EdgeFarmWorkerOptions(settings.Name, data.Root, settings.Farm)
        {
            Labels = settings.Labels,
            Slots = settings.Slots,
            Access = access,
            Drain = settings.Drain,
            OnlyWhatFits = settings.OnlyWhatFits,
            LinkChanged = coordinator =>
            {
                link.Set(coordinator is not null);
                if (coordinator is not null)
                {
                    // It answers now; the one before may be cut off, which a transfer finds out only after a while.
                    artifacts.Prefer(settings.Farm.IndexOf(coordinator));
                }
            },
        };
        var builder = RoleHost.CreateBuilder(logLevel);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            if (settings.Http is { } http)
            {
                kestrel.Listen(http.BindAddress, http.Port, o => o.Protocols = HttpProtocols.Http1);
            }
        });
        if (settings.Http is null)
        {
            // A server without an address would take the default one.
            builder.Services.AddSingleton<Microsoft.AspNetCore.Hosting.Server.IServer, NoServer>();
        }

        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = settings.Drain + StopSlack);
        builder.Services.AddHealthChecks().AddCheck("farm", link);
        builder.Services.AddOtlpExport(settings.Otlp, settings.Name);
        builder.Services.AddEdgeFarmWorker(setup.Value.Prepare(worker, store.Value, artifacts));
        var app = builder.Build();
        app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = _ => false });
        app.MapHealthChecks("/health/ready", new HealthCheckOptions { ResponseWriter = GrpcEdge.WriteHealthAsync });
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch (IOException e)
        {
            await app.DisposeAsync();
            return Failure.InvalidInput($"cannot listen at {settings.Http?.Url}: {e.Message}; choose another with Http");
        }

        return new WorkerHost(app, farm, setup.Value.Findings);
    }

    /// <summary>Takes no new lease, finishes what the drain time allows, hands back the rest.</summary>
    public Task StopAsync() => _app.StopAsync(CancellationToken.None);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        foreach (var client in _farm)
        {
            client.Dispose();
        }
    }

    /// <summary>Whether the worker is linked to a coordinator.</summary>
    private sealed class LinkHealthCheck : IHealthCheck
    {
        private volatile bool _isLinked;

        public void Set(bool isLinked) => _isLinked = isLinked;

        public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
            Task.FromResult(_isLinked ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("not linked to a coordinator"));
    }

    /// <summary>Serves nothing.</summary>
    private sealed class NoServer : Microsoft.AspNetCore.Hosting.Server.IServer
    {
        public Microsoft.AspNetCore.Http.Features.IFeatureCollection Features { get; } = new Microsoft.AspNetCore.Http.Features.FeatureCollection();

        public Task StartAsync<TContext>(Microsoft.AspNetCore.Hosting.Server.IHttpApplication<TContext> application, CancellationToken cancellationToken)
            where TContext : notnull => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public void Dispose()
        {
        }
    }
}
