using System.Collections.Immutable;
using Akka.Hosting;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Server.Submissions;
using EdgeFarm.Server.Workers;

namespace EdgeFarm.Server.Hosting;

/// <summary>What a coordinator is.</summary>
/// <param name="Database">Journal, rows, cache.</param>
/// <param name="Store">The farm's artifacts.</param>
/// <param name="Grpc">Where gRPC listens; its port is not 0.</param>
/// <param name="Http">Where metrics and health listen; its port is not 0.</param>
public sealed record EdgeFarmCoordinatorOptions(FarmDatabaseOptions Database, IArtifactStore Store, ListenAddress Grpc, ListenAddress Http)
{
    /// <summary>The other coordinators; null for a farm of one process.</summary>
    public FarmClusterOptions? Cluster { get; init; }

    /// <summary>Device classes, most specific first.</summary>
    public ImmutableArray<DeviceClass> DeviceClasses { get; init; } = DeviceClass.Defaults;

    /// <summary>For TLS on the gRPC port; null without.</summary>
    public ServerCertificate? Certificate { get; init; }

    /// <summary>The tokens that are accepted; null lets everybody in.</summary>
    public TokenFile? Tokens { get; init; }

    /// <summary>An OpenTelemetry collector that gets metrics and traces over OTLP; null for that of the standard variable, if any.</summary>
    public Uri? Otlp { get; init; }

    /// <summary>Longest time for an orderly stop.</summary>
    public TimeSpan? StopTimeout { get; init; }

    /// <summary>Folder of what <c>bundled:</c> names.</summary>
    public string BundledFolder { get; init; } = BundledContent.DefaultFolder;
}

/// <summary>Puts a farm's parts into a host: the embedded farm, the cluster roles and the tests call these, with other options.</summary>
public static class EdgeFarmHosting
{
    private const string ActorSystemName = "edgefarm";

    /// <summary>Adds a coordinator: the actors, the public API, metrics and health. Map it with <see cref="MapEdgeFarmCoordinator"/>.</summary>
    public static WebApplicationBuilder AddEdgeFarmCoordinator(this WebApplicationBuilder builder, EdgeFarmCoordinatorOptions options)
    {
        var coordinator = new FarmCoordinatorOptions(options.Database)
        {
            ArtifactExists = async (artifact, token) => await options.Store.StatAsync(artifact.Digest, token) is { IsOk: true, Value: not null },
            Cluster = options.Cluster,
            Limits = options.Cluster is null ? DispatchLimits.Embedded : DispatchLimits.Cluster,
            DeviceClasses = options.DeviceClasses,
        };
        builder.WebHost.ConfigureKestrel(kestrel => GrpcEdge.Listen(kestrel, options.Grpc, options.Http, options.Certificate));
        builder.Services.AddSingleton(options);
        if (options.StopTimeout is { } limit)
        {
            builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = limit);
        }

        builder.Services.AddSingleton(options.Store);
        builder.Services.AddFarmCoordinator(coordinator);
        builder.Services.AddGrpcEdge(BuiltInToolchains.Catalog, BundledContent.Open(options.BundledFolder), options.Cluster is not null);
        builder.Services.AddOtlpExport(options.Otlp);
        builder.Services.AddEdgeFarmActors((akka, _) => akka.WithFarmCoordinator(coordinator));
        return builder;
    }

    /// <summary>Adds a worker. Several may live in one process, with or without a coordinator.</summary>
    public static IServiceCollection AddEdgeFarmWorker(this IServiceCollection services, PreparedWorker worker) =>
        services.AddEdgeFarmActors((akka, provider) => akka.WithFarmWorker(
            worker.Options,
            new ObservedRunner(worker.Runner, worker.Options.Capability.Worker, provider.GetRequiredService<ILogger<ObservedRunner>>()),
            worker.Results));

    /// <summary>Maps the public API, the worker link, metrics and health.</summary>
    public static void MapEdgeFarmCoordinator(this WebApplication app)
    {
        var options = app.Services.GetRequiredService<EdgeFarmCoordinatorOptions>();
        if (options.Tokens is { } tokens)
        {
            // Before routing, so that a method that does not exist is closed too.
            app.UseMiddleware<FarmDoor>(tokens, options.Http.Port);
        }

        app.UseRouting();
        app.MapGrpcEdge();
        app.MapClusterEndpoint();
        app.MapGrpcService<WorkerLinkService>();
    }

    /// <summary>Adds to the process's one actor system, which starts and stops with the host.</summary>
    private static IServiceCollection AddEdgeFarmActors(this IServiceCollection services, Action<AkkaConfigurationBuilder, IServiceProvider> configure)
    {
        services.AddSingleton(new ActorParts(configure));
        if (services.All(s => s.ServiceType != typeof(ActorSystemMarker)))
        {
            services.AddSingleton<ActorSystemMarker>();
            services.AddAkka(ActorSystemName, (akka, provider) =>
            {
                akka.ConfigureLoggers(loggers =>
                {
                    loggers.ClearLoggers();
                    loggers.AddLoggerFactory();
                });

                // The host stops the actors; Akka's own hook would do it at SIGTERM before the host knows.
                akka.AddHocon("akka.coordinated-shutdown.run-by-clr-shutdown-hook = off", HoconAddMode.Prepend);
                foreach (var part in provider.GetServices<ActorParts>())
                {
                    part.Configure(akka, provider);
                }
            });
        }

        return services;
    }

    private sealed record ActorParts(Action<AkkaConfigurationBuilder, IServiceProvider> Configure);

    private sealed class ActorSystemMarker;
}
