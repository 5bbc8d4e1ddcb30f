using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Akka.Hosting;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Hosting;

/// <summary>An artifact that the farm's database names.</summary>
/// <param name="Digest">The artifact.</param>
/// <param name="Kind">File or tree; unspecified for a log, which is whatever the store holds under the name.</param>
/// <param name="NamedBy">Who names it, e.g. <c>plan of sweep tiny-k3f9: model of job tiny-k3f9/0</c>.</param>
public sealed record NamedArtifact(Digest Digest, ArtifactKind Kind, string NamedBy);

/// <summary>How far a rebuild is.</summary>
/// <param name="Done">Events that are in the rows.</param>
/// <param name="Total">Events that were durable when it began.</param>
public sealed record RebuildProgress(long Done, long Total);

/// <summary>Work on a farm's database from outside of its coordinators.</summary>
public static class FarmMaintenance
{
    private const int Page = 500;
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(250);

    /// <summary>
    /// Empties the rows and replays every event into them; returns the number of the newest event. It may run while coordinators do: a
    /// projection of theirs that meets it starts again from the common offset, and no event shows twice. Throws what the database says
    /// when it cannot be used.
    /// </summary>
    /// <param name="database">The farm's database.</param>
    /// <param name="progress">Told now and then.</param>
    /// <param name="cancellationToken">Ends it; the coordinators' projection, or another rebuild, goes on from where it was.</param>
    public static async Task<long> RebuildAsync(FarmDatabaseOptions database, IProgress<RebuildProgress>? progress, CancellationToken cancellationToken)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddFarmCoordinator(new FarmCoordinatorOptions(database));
        builder.Services.AddAkka("edgefarm-rebuild", (akka, _) => akka
            .ConfigureLoggers(loggers =>
            {
                // To the host's log, not to stdout, which is the caller's.
                loggers.ClearLoggers();
                loggers.AddLoggerFactory();
            })
            .WithFarmSerialization()
            .WithFarmPersistence(database)
            .WithActors((system, registry, resolver) => registry.Register<ProjectionKey>(
                system.ActorOf(ProjectionActor.Props(resolver.GetService<ProjectionWriter>(), resolver.GetService<ProjectionSignal>(), resolver.GetService<NodeActivity>()), "projection"))));
        using var host = builder.Build();
        await host.StartAsync(cancellationToken);
        try
        {
            var queries = host.Services.GetRequiredService<SqlFarmQueries>();
            var writer = host.Services.GetRequiredService<ProjectionWriter>();
            var total = await queries.NewestEventAsync(cancellationToken);
            await host.Services.GetRequiredService<FarmProjection>().RebuildAsync(cancellationToken);
            for (var done = 0L; done < total;)
            {
                await Task.Delay(Poll, cancellationToken);
                done = await writer.ReadOffsetAsync(cancellationToken);
                progress?.Report(new RebuildProgress(Math.Min(done, total), total));
            }

            return total;
        }
        finally
        {
            await host.StopAsync(CancellationToken.None);
        }
    }

    /// <summary>
    /// Every artifact that a plan or a row names: sources and inputs of plans from the journal; outputs, logs, entries and cached results
    /// from the rows. One may come several times. Reads only.
    /// </summary>
    /// <param name="database">The farm's database.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async IAsyncEnumerable<NamedArtifact> NamedArtifactsAsync(
        FarmDatabaseOptions database, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var tables = new FarmDatabase(database);
        await tables.InitializeAsync(cancellationToken);
        if (await new SqlFarmQueries(tables, new ProjectionSignal(), TimeProvider.System).NewestEventAsync(cancellationToken) > 0)
        {
            await foreach (var record in EventsAsync(tables, cancellationToken))
            {
                foreach (var named in OfPlan(record))
                {
                    yield return named;
                }
            }
        }

        await foreach (var named in OfRowsAsync(tables, cancellationToken))
        {
            yield return named;
        }
    }

    /// <summary>The journal in order, page by page, without the actors that usually read it.</summary>
    private static async IAsyncEnumerable<SweepRecord> EventsAsync(FarmDatabase database, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenAsync(cancellationToken);
        for (var last = 0L; ;)
        {
            var page = await connection.Command(
                    "select ordering, manifest, message from journal where ordering > @last order by ordering limit @limit", ("last", last), ("limit", Page))
                .ReadAsync(r => (Ordering: r.GetInt64(0), Event: FarmSerializer.Read((byte[])r.GetValue(2), r.GetString(1))), cancellationToken);
            foreach (var (ordering, happened) in page)
            {
                yield return happened as SweepRecord
                    ?? throw new InvalidOperationException($"event {ordering} of the journal is a {happened.GetType().Name}, not a sweep's");
            }

            if (page.Count < Page)
            {
                yield break;
            }

            last = page[^1].Ordering;
        }
    }

    private static IEnumerable<NamedArtifact> OfPlan(SweepRecord record)
    {
        switch (record.Event)
        {
            case SweepEvent.Submitted submitted:
                return submitted.Submission.Sources.Select(s => Named(s.Value, $"sweep {record.Sweep}: source {s.Key}"))
                    .Concat(OfJobs(record.Sweep, submitted.Submission.Plan.Jobs));
            case SweepEvent.PlanGrown grown:
                return OfJobs(record.Sweep, grown.Jobs);
            default:
                return [];
        }
    }

    private static IEnumerable<NamedArtifact> OfJobs(string sweep, IEnumerable<JobSpec> jobs) =>
        from job in jobs
        from input in job.Inputs
        where input.Source.Artifact is not null
        select Named(input.Source.Artifact!, $"plan of sweep {sweep}: {input.Name} of job {job.Id}");

    private static async IAsyncEnumerable<NamedArtifact> OfRowsAsync(FarmDatabase database, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var job in RowsAsync(database, "farm_jobs", "document", r => ReadModelJson.Read<JobView>(r.GetString(1)), cancellationToken))
        {
            foreach (var (name, output) in job.Outputs)
            {
                yield return Named(output, $"job {job.Id}: {name}");
            }

            foreach (var attempt in job.Attempts.Where(a => a.Log != default))
            {
                yield return new NamedArtifact(attempt.Log, ArtifactKind.Unspecified, $"job {job.Id}: log of attempt {attempt.Number}");
            }
        }

        await foreach (var entry in RowsAsync(database, "farm_entries", "document", r => ReadModelJson.Read<LeaderboardEntry>(r.GetString(1)), cancellationToken))
        {
            if (entry.Artifact is { } artifact)
            {
                yield return Named(artifact, $"entry {entry.Id}");
            }
        }

        await foreach (var (action, outcome) in RowsAsync(
            database,
            "farm_results",
            "outcome",
            r => (r.GetString(0), Serialization.Wire.Outcome.Parser.ParseFrom((byte[])r.GetValue(1)).ToCore()),
            cancellationToken,
            key: "action"))
        {
            foreach (var (name, output) in outcome.Result?.Outputs ?? ImmutableSortedDictionary<string, ArtifactRef>.Empty)
            {
                yield return Named(output, $"cached result {action}: {name}");
            }
        }
    }

    /// <summary>A table by its key, page by page, so that a large one is never in memory.</summary>
    private static async IAsyncEnumerable<T> RowsAsync<T>(
        FarmDatabase database,
        string table,
        string column,
        Func<System.Data.Common.DbDataReader, T> read,
        [EnumeratorCancellation] CancellationToken cancellationToken,
        string key = "id")
    {
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        for (var last = ""; ;)
        {
            var page = await connection.Command(
                    $"select {key}, {column} from {table} where {key} > @last order by {key} limit @limit", ("last", last), ("limit", Page))
                .ReadAsync(r => (Key: r.GetString(0), Row: read(r)), cancellationToken);
            foreach (var (_, row) in page)
            {
                yield return row;
            }

            if (page.Count < Page)
            {
                yield break;
            }

            last = page[^1].Key;
        }
    }

    private static NamedArtifact Named(ArtifactRef artifact, string by) => new(artifact.Digest, artifact.Kind, by);
}
