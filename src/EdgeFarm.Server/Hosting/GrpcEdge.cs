using EdgeFarm.Actors;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Core.Planning;
using EdgeFarm.Server.Services;
using EdgeFarm.Server.Services.Scaling;
using EdgeFarm.Server.Submissions;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;

namespace EdgeFarm.Server.Hosting;

/// <summary>The public edge of a coordinator: gRPC services, health, metrics. It needs an <see cref="IFarm"/>, its queries and its store.</summary>
internal static class GrpcEdge
{
    private const string MeterName = FarmMetrics.MeterName;

    private const int MaxMessageBytes = 1024 * 1024;

    /// <summary>A worker's result may have 3 MiB; one that was refused would be sent again on every new link.</summary>
    private const int MaxLinkMessageBytes = 4 * 1024 * 1024;
    private const string ReadyTag = "ready";

    /// <summary>Adds the services of the public API.</summary>
    public static IServiceCollection AddGrpcEdge(this IServiceCollection services, ToolchainCatalog catalog, BundledContent bundled, bool isClustered = false)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<FarmMetrics>();
        services.AddSingleton(catalog);
        services.AddSingleton(bundled);
        services.TryAddSingleton(provider => new HubFetcher(provider.GetRequiredService<IArtifactStore>(), HubOptions.FromEnvironment));
        services.AddSingleton<SourceResolver>();
        services.AddSingleton<ModelShapeReader>();
        services.AddSingleton<SweepIntake>();
        services.AddSingleton<SubmissionPreview>();
        services.AddGrpc(options =>
        {
            options.MaxReceiveMessageSize = MaxMessageBytes;
            options.Interceptors.Add<ErrorInterceptor>();
        }).AddServiceOptions<WorkerLinkService>(options => options.MaxReceiveMessageSize = MaxLinkMessageBytes);
        services.AddGrpcReflection();
        var checks = services.AddGrpcHealthChecks().AddCheck<StoreHealthCheck>("store", tags: [ReadyTag]);
        if (isClustered)
        {
            // Not the dispatcher: while it moves, every coordinator would be taken out of service at once.
            checks.AddCheck<MembershipHealthCheck>("cluster", tags: [ReadyTag]).AddCheck<DatabaseHealthCheck>("database", tags: [ReadyTag]);
        }
        else
        {
            checks.AddCheck<FarmHealthCheck>("farm", tags: [ReadyTag]);
        }

        services.AddOpenTelemetry().ConfigureResource(r => r.AddService("edgefarm")).WithMetrics(metrics => metrics.AddMeter(MeterName).AddPrometheusExporter());
        return services;
    }

    /// <summary>Maps the services, and /metrics, /health/live and /health/ready for whoever speaks HTTP/1.1.</summary>
    public static void MapGrpcEdge(this IEndpointRouteBuilder app)
    {
        app.MapGrpcService<SweepsService>();
        app.MapGrpcService<JobsService>();
        app.MapGrpcService<LeaderboardService>();
        app.MapGrpcService<FleetService>();
        app.MapGrpcService<ArtifactsService>();
        app.MapGrpcService<ScalerService>();
        app.MapGrpcReflectionService();
        app.MapGrpcHealthChecksService();
        app.MapPrometheusScrapingEndpoint("/metrics");
        app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = _ => false });
        app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = c => c.Tags.Contains(ReadyTag), ResponseWriter = WriteHealthAsync });
    }

    /// <summary>The status, then one line a check, with the reason of those that fail.</summary>
    internal static Task WriteHealthAsync(HttpContext context, HealthReport report)
    {
        context.Response.ContentType = "text/plain";
        return context.Response.WriteAsync($"{report.Status}\n" + string.Concat(report.Entries.Select(e =>
            $"{e.Key}: {e.Value.Status}{(e.Value.Description is { Length: > 0 } reason ? $": {reason}" : "")}\n")));
    }

    /// <summary>Listens for gRPC at one address and for HTTP/1.1 at another, because without TLS one port cannot speak both.</summary>
    public static void Listen(KestrelServerOptions kestrel, ListenAddress grpc, ListenAddress http, ServerCertificate? certificate)
    {
        kestrel.AddServerHeader = false;
        kestrel.Listen(grpc.BindAddress, grpc.Port, o =>
        {
            o.Protocols = HttpProtocols.Http2;
            if (certificate is not null)
            {
                o.UseHttps(certificate.Apply);
            }
        });
        kestrel.Listen(http.BindAddress, http.Port, o => o.Protocols = HttpProtocols.Http1);

        // A watch or a worker's link may be silent for hours: who vanished is noticed by missing answers to pings.
        kestrel.Limits.Http2.KeepAlivePingDelay = LinkProtocol.KeepAliveInterval;
        kestrel.Limits.Http2.KeepAlivePingTimeout = LinkProtocol.KeepAliveInterval;
    }
}

/// <summary>Whether the artifact store can be written.</summary>
internal sealed class StoreHealthCheck(IArtifactStore store) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        await store.ProbeAsync(cancellationToken) is { } failure ? HealthCheckResult.Unhealthy(failure.Message) : HealthCheckResult.Healthy();
}

/// <summary>Whether the dispatcher and the read side answer: for a farm of one process.</summary>
internal sealed class FarmHealthCheck(IFarm farm, IFarmQueries queries) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            await farm.FleetAsync(cancellationToken);
            await queries.ListSweepsAsync(1, "", cancellationToken);
            return HealthCheckResult.Healthy();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return HealthCheckResult.Unhealthy(e.Message, e);
        }
    }
}
