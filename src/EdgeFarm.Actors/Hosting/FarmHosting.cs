using System.Collections.Immutable;
using Akka.Actor;
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
    /// <summary>Time limits of the dispatcher.</summary>
    public DispatchLimits Limits { get; init; } = DispatchLimits.Embedded;

    /// <summary>Device classes, most specific first.</summary>
    public ImmutableArray<DeviceClass> DeviceClasses { get; init; } = DeviceClass.Defaults;

    /// <summary>Tells whether an artifact is in the store, so that a cached result whose artifacts are gone is no hit; null trusts the cache.</summary>
    public Func<ArtifactRef, CancellationToken, Task<bool>>? ArtifactExists { get; init; }

    /// <summary>A sweep's snapshot is taken after so many journaled jobs and attempts.</summary>
    public int SnapshotAfter { get; init; } = 20_000;

    /// <summary>For the crash test; see <see cref="ProjectionWriter.RowsWritten"/>.</summary>
    internal Func<Task>? RowsWritten { get; init; }
}

/// <summary>The actors of a farm as parts of Akka.Hosting's builder, the same for embedded farm, cluster and tests.</summary>
public static class FarmHosting
{
    /// <summary>
    /// The services of a coordinator beside its actors: <see cref="IFarm"/>, <see cref="IFarmQueries"/>, <see cref="IResultCache"/>,
    /// <see cref="FarmProjection"/>, <see cref="FarmMetrics"/>. The actor system must be added with <see cref="WithFarmCoordinator"/>.
    /// </summary>
    public static IServiceCollection AddFarmCoordinator(this IServiceCollection services, FarmCoordinatorOptions options)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton(new FarmDatabase(options.Database));
        services.AddSingleton<FarmMetrics>();
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
    /// The actors of a coordinator that is a farm of its own: sweeps, dispatcher, projection, the parent of the worker links. In a
    /// cluster the same props go to a shard region and singletons, and the keys name their proxies.
    /// </summary>
    public static AkkaConfigurationBuilder WithFarmCoordinator(this AkkaConfigurationBuilder builder, FarmCoordinatorOptions options) =>
        builder.WithFarmSerialization().WithFarmPersistence(options.Database).WithActors((system, registry, resolver) =>
        {
            T Get<T>() => resolver.GetService<T>();
            var queries = Get<SqlFarmQueries>();
            var time = Get<TimeProvider>();
            registry.Register<ProjectionKey>(
                system.ActorOf(ProjectionActor.Props(Get<ProjectionWriter>(), Get<ProjectionSignal>()), "projection"));
            var dispatcher = system.ActorOf(
                DispatcherActor.Props(new DispatcherServices(
                    () => registry.Get<SweepsKey>(),
                    options.Limits,
                    options.DeviceClasses,
                    new Counters(Get<FarmDatabase>()).NextFenceEpochAsync,
                    queries.UnfinishedAsync,
                    Get<FarmMetrics>().Observe,
                    time)),
                "dispatcher");
            registry.Register<DispatcherKey>(dispatcher);
            var sweeps = system.ActorOf(
                SweepsActor.Props(new SweepServices(dispatcher, Get<IResultCache>(), Get<FarmMetrics>(), time, options.SnapshotAfter)), "sweeps");
            registry.Register<SweepsKey>(sweeps);
            registry.Register<WorkerLinksKey>(system.ActorOf(WorkerLinksActor.Props(dispatcher, sweeps), "links"));
        });

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
