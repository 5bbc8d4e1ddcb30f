using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Cluster.Tools.Singleton;
using Akka.Event;
using Akka.Hosting;
using Akka.Persistence.Sql.Config;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using LinqToDB;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace EdgeFarm.Actors.Hosting;

/// <summary>What a coordinator is.</summary>
/// <param name="Database">Journal, snapshots, read model, result cache.</param>
public sealed record FarmCoordinatorOptions(FarmDatabaseOptions Database)
{
    /// <summary>The other coordinators; null for a farm of one process.</summary>
    public FarmClusterOptions? Cluster { get; init; }

    /// <summary>Time limits of the dispatcher.</summary>
    public DispatchLimits Limits { get; init; } = DispatchLimits.Embedded;

    /// <summary>Device classes, most specific first.</summary>
    public ImmutableArray<DeviceClass> DeviceClasses { get; init; } = DeviceClass.Defaults;

    /// <summary>Tells whether an artifact is in the store, so that a cached result whose artifacts are gone is no hit; null trusts the cache.</summary>
    public Func<ArtifactRef, CancellationToken, Task<bool>>? ArtifactExists { get; init; }

    /// <summary>A sweep's snapshot is taken after so many ended attempts, and after no fewer than it has jobs.</summary>
    public int SnapshotAfter { get; init; } = 20_000;

    /// <summary>For the crash test; see <see cref="ProjectionWriter.RowsWritten"/>.</summary>
    internal Func<Task>? RowsWritten { get; init; }
}

/// <summary>The actors of a farm as parts of Akka.Hosting's builder, the same for embedded farm, cluster and tests.</summary>
public static class FarmHosting
{
    /// <summary>
    /// The services of a coordinator beside its actors: <see cref="IFarm"/>, <see cref="IFarmQueries"/>, <see cref="IResultCache"/>,
    /// <see cref="FarmProjection"/>, <see cref="FarmMetrics"/>, <see cref="FarmNode"/>. The actor system must be added with <see cref="WithFarmCoordinator"/>.
    /// </summary>
    public static IServiceCollection AddFarmCoordinator(this IServiceCollection services, FarmCoordinatorOptions options)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton(new FarmDatabase(options.Database));
        services.AddSingleton<FarmMetrics>();
        services.AddSingleton<NodeActivity>();
        services.AddSingleton<FarmNode>();
        services.AddSingleton<ProjectionSignal>();
        services.AddSingleton<RequestIds>();
        services.AddSingleton(p => new ProjectionWriter(p.GetRequiredService<FarmDatabase>(), p.GetRequiredService<TimeProvider>()) { RowsWritten = options.RowsWritten });
        services.AddSingleton<IResultCache>(p => new SqlResultCache(p.GetRequiredService<FarmDatabase>(), options.ArtifactExists));
        services.AddSingleton<FarmProjection>();
        services.AddSingleton<SqlFarmQueries>();
        services.AddSingleton<IFarmQueries>(p => p.GetRequiredService<SqlFarmQueries>());
        services.AddSingleton<IFarm, FarmGateway>();
        return services;
    }

    /// <summary>Protobuf for everything that may leave the process.</summary>
    public static AkkaConfigurationBuilder WithFarmSerialization(this AkkaConfigurationBuilder builder) =>
        builder.WithCustomSerializer("edgefarm", [typeof(IFarmMessage)], system => new FarmSerializer(system));

    /// <summary>
    /// Journal and snapshots on the farm's database, whose tables are made here: WAL must be switched on before any other connection
    /// opens the file. Throws what the database says when it cannot be reached.
    /// </summary>
    public static AkkaConfigurationBuilder WithFarmPersistence(this AkkaConfigurationBuilder builder, FarmDatabaseOptions database)
    {
        new FarmDatabase(database).InitializeAsync(CancellationToken.None).GetAwaiter().GetResult();
        if (database.Kind == DatabaseKind.Sqlite)
        {
            // Of its own accord the journal's connections would wait for the disk at every commit.
            builder.AddSetup(new DataOptionsSetup(
                new DataOptions().UseConnectionString("SQLite.MS", database.ConnectionString).UseAfterConnectionOpened(connection =>
                {
                    using var command = connection.CreateCommand();
                    command.CommandText = FarmDatabase.SqlitePragmas;
                    command.ExecuteNonQuery();
                })));
        }

        return builder.AddHocon(PersistenceConfig.For(database), HoconAddMode.Prepend);
    }

    /// <summary>
    /// The actors of a coordinator: sweeps, dispatcher, projection, the parent of the worker links. Alone they are children of the
    /// user guardian; in a cluster the same props go to a shard region and to singletons, and the keys name their proxies.
    /// </summary>
    public static AkkaConfigurationBuilder WithFarmCoordinator(this AkkaConfigurationBuilder builder, FarmCoordinatorOptions options)
    {
        if (options.Cluster is { } cluster)
        {
            builder.AddHocon(FarmCluster.Config(cluster), HoconAddMode.Prepend);
            if (cluster.Tls is { } tls)
            {
                builder.AddSetup(tls.Setup());
            }

            builder.AddHocon(ClusterSharding.DefaultConfig().WithFallback(ClusterSingleton.DefaultConfig()), HoconAddMode.Append);
        }

        return builder.WithFarmSerialization().WithFarmPersistence(options.Database).WithActors((system, registry, resolver) =>
        {
            T Get<T>() => resolver.GetService<T>();
            var queries = Get<SqlFarmQueries>();
            var time = Get<TimeProvider>();
            var node = Get<NodeActivity>();
            IActorRef Single(Props props, string name) => options.Cluster is null ? system.ActorOf(props, name) : StartSingleton(system, props, name);
            registry.Register<ProjectionKey>(Single(ProjectionActor.Props(Get<ProjectionWriter>(), Get<ProjectionSignal>(), node), "projection"));
            var dispatcher = Single(
                DispatcherActor.Props(new DispatcherServices(
                    () => registry.Get<SweepsKey>(),
                    options.Limits,
                    options.DeviceClasses,
                    new Counters(Get<FarmDatabase>()).NextFenceEpochAsync,
                    queries.UnfinishedAsync,
                    Get<FarmMetrics>().Observe,
                    time,
                    node)),
                "dispatcher");
            registry.Register<DispatcherKey>(dispatcher);
            var services = new SweepServices(dispatcher, Get<IResultCache>(), Get<FarmMetrics>(), time, options.SnapshotAfter, node);
            var sweeps = options.Cluster is null
                ? system.ActorOf(SweepsActor.Props(services), "sweeps")
                : ClusterSharding.Get(system).Start("sweeps", id => SweepActor.Props(id, services), ClusterShardingSettings.Create(system), new SweepExtractor());
            registry.Register<SweepsKey>(sweeps);
            registry.Register<WorkerLinksKey>(system.ActorOf(WorkerLinksActor.Props(dispatcher, sweeps), "links"));
            if (options.Cluster is { } cluster)
            {
                Join(system, cluster);
            }
        });
    }

    /// <summary>Starts the manager of a singleton, which lives on the oldest coordinator; returns the proxy that finds it.</summary>
    private static IActorRef StartSingleton(ActorSystem system, Props props, string name)
    {
        var manager = ClusterSingletonManager.Props(props, PoisonPill.Instance, ClusterSingletonManagerSettings.Create(system).WithSingletonName(name));
        system.ActorOf(manager, $"{name}-manager");
        return system.ActorOf(
            ClusterSingletonProxy.Props($"/user/{name}-manager", ClusterSingletonProxySettings.Create(system).WithSingletonName(name)), $"{name}-proxy");
    }

    private static void Join(ActorSystem system, FarmClusterOptions cluster)
    {
        var stopping = new CancellationTokenSource();
        CoordinatedShutdown.Get(system).AddTask(CoordinatedShutdown.PhaseBeforeServiceUnbind, "stop-joining", () =>
        {
            stopping.Cancel();
            return Task.FromResult(Akka.Done.Instance);
        });
        var log = Logging.GetLogger(system, typeof(FarmCluster));
        Task.Run(() => FarmCluster.JoinAsync(system, cluster, log, stopping.Token)).ContinueWith(
            t =>
            {
                if (!stopping.IsCancellationRequested)
                {
                    log.Error(t.Exception, "the cluster could not be joined");
                }
            },
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted,
            TaskScheduler.Default);
    }

    /// <summary>A sweep's messages name it; its shard follows from its id.</summary>
    private sealed class SweepExtractor() : HashCodeMessageExtractor(Shards)
    {
        // Never changed: coordinators that count differently would start a sweep twice.
        private const int Shards = 100;

        public override string? EntityId(object message) => (message as ISweepMessage)?.SweepId;
    }

    /// <summary>
    /// A worker. Several may live in one process. When the process stops in an orderly way it takes no new lease, waits for
    /// <see cref="FarmWorkerOptions.DrainGrace"/> and hands back what still runs.
    /// </summary>
    public static AkkaConfigurationBuilder WithFarmWorker(
        this AkkaConfigurationBuilder builder, FarmWorkerOptions options, IJobRunner runner, IResultStore results)
    {
        // A phase gives up after 5 s of its own accord.
        var patience = options.DrainGrace + TimeSpan.FromSeconds(5);
        builder.AddHocon(
            $"akka.coordinated-shutdown.phases.before-service-unbind.timeout = {(long)patience.TotalMilliseconds + 1000}ms", HoconAddMode.Prepend);
        return builder.WithActors((system, _, resolver) =>
        {
            var time = resolver.GetService<TimeProvider>() ?? TimeProvider.System;
            var name = $"worker-{Uri.EscapeDataString(options.Capability.Worker)}";
            var worker = system.ActorOf(WorkerActor.Props(options, runner, results, time), name);
            CoordinatedShutdown.Get(system).AddTask(CoordinatedShutdown.PhaseBeforeServiceUnbind, $"drain-{name}", async () =>
            {
                try
                {
                    await worker.Ask<WorkerDrained>(new DrainWorker(options.DrainGrace), patience);
                }
                catch (AskTimeoutException)
                {
                    // What still runs dies with the process; the farm runs it elsewhere.
                }

                return Akka.Done.Instance;
            });
        });
    }
}
