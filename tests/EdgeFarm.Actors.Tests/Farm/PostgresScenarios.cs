using Akka.Actor;
using Akka.Configuration;
using Akka.Persistence.Sql;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Tests.Shared;
using Npgsql;
using static EdgeFarm.Actors.Tests.Farm.TestPlans;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>The same farm on the other database, by configuration alone.</summary>
public sealed class PostgresScenarios : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>The journal's plugin makes its tables only where the farm does not, and the farm makes them as the plugin would.</summary>
    [SkippableFact]
    public async Task The_journal_is_as_its_plugin_would_make_it()
    {
        Skip.If(PostgresServer.Missing is not null, PostgresServer.Missing);
        await using var postgres = await PostgresServer.StartAsync(_directory.Path);
        var ours = FarmDatabaseOptions.PostgreSql(postgres.ConnectionString);
        await new FarmDatabase(ours).InitializeAsync(default);
        var made = await SchemaAsync(ours);
        await using (var connection = await new FarmDatabase(ours).OpenAsync(default))
        {
            await connection.RunAsync("create database plugin", default);
        }

        var theirs = FarmDatabaseOptions.PostgreSql(postgres.ConnectionString + ";Database=plugin");
        var config = ConfigurationFactory.ParseString("akka.persistence { journal.sql.auto-initialize = on, snapshot-store.sql.auto-initialize = on }")
            .WithFallback(PersistenceConfig.For(theirs)).WithFallback(SqlPersistence.DefaultConfiguration);
        using (var system = ActorSystem.Create("plugin", config))
        {
            Akka.Persistence.Persistence.Instance.Apply(system).JournalFor("");
            Akka.Persistence.Persistence.Instance.Apply(system).SnapshotStoreFor("");
            await Wait.UntilAsync(async () => (await SchemaAsync(theirs)).Length == made.Length, "the plugin has made its tables");
            await system.Terminate();
        }

        Assert.Equal(await SchemaAsync(theirs), made);
    }

    /// <summary>
    /// A coordinator that was cut off in the middle of a transaction, or a dump, holds a lock on the journal; who starts must not wait for
    /// it, because everybody else would wait behind.
    /// </summary>
    [SkippableFact]
    public async Task A_farm_starts_while_another_session_has_the_journal_open()
    {
        Skip.If(PostgresServer.Missing is not null, PostgresServer.Missing);
        await using var postgres = await PostgresServer.StartAsync(_directory.Path);
        var database = FarmDatabaseOptions.PostgreSql(postgres.ConnectionString);
        await new FarmDatabase(database).InitializeAsync(default);

        // Without the farm's options, so that nothing ends it.
        await using var stuck = new NpgsqlConnection(postgres.ConnectionString);
        await stuck.OpenAsync();
        await using var transaction = await stuck.BeginTransactionAsync();
        await stuck.RunAsync("select * from journal; select * from snapshot; update farm_sweeps set status = 0", default);

        await using var farm = await TestFarm.StartAsync(_directory.Path, configure: o => o with { Database = database });
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        Assert.Equal(SweepStatus.Completed, (await farm.FinishAsync("s-1")).Sweep.Status);
    }

    [SkippableFact]
    public async Task A_session_that_stops_in_the_middle_of_a_transaction_loses_its_locks()
    {
        Skip.If(PostgresServer.Missing is not null, PostgresServer.Missing);
        await using var postgres = await PostgresServer.StartAsync(_directory.Path);
        var farm = new FarmDatabase(FarmDatabaseOptions.PostgreSql(postgres.ConnectionString));
        await farm.InitializeAsync(default);
        var impatient = new FarmDatabase(FarmDatabaseOptions.PostgreSql(postgres.ConnectionString + ";Options=-c idle_in_transaction_session_timeout=1ms"));
        await using var stuck = await impatient.OpenAsync(default);
        await using var transaction = await stuck.BeginTransactionAsync();
        await stuck.RunAsync("insert into farm_offsets (name, position) values ('sweeps', 1)", default);
        await using var other = await farm.OpenAsync(default);
        Assert.Equal(1, await other.RunAsync("insert into farm_offsets (name, position) values ('sweeps', 2)", default));
        var options = await other.Command("select current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('tcp_keepalives_idle')").ReadAsync(r => r.GetString(0), default);
        Assert.Equal("10s 30", Assert.Single(options));
    }

    /// <summary>Columns, constraints and indexes of the journal's tables, one a line.</summary>
    private static async Task<string[]> SchemaAsync(FarmDatabaseOptions options)
    {
        await using var connection = await new FarmDatabase(options).OpenAsync(default);
        var columns = await connection.Command(
            """
            select table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(identity_generation, '')
            from information_schema.columns where table_name in ('journal', 'snapshot') order by table_name, ordinal_position
            """).ReadAsync(r => r.GetString(0), default);
        var indexes = await connection.Command("select indexdef from pg_indexes where tablename in ('journal', 'snapshot') order by indexname").ReadAsync(r => r.GetString(0), default);
        var constraints = await connection.Command(
            """
            select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
            where contype in ('p', 'u') and conrelid in (to_regclass('journal'), to_regclass('snapshot')) order by 1
            """).ReadAsync(r => r.GetString(0), default);
        return [.. columns, .. indexes, .. constraints];
    }

    [SkippableFact]
    public async Task A_farm_on_PostgreSQL_runs_restarts_caches_and_answers()
    {
        Skip.If(PostgresServer.Missing is not null, PostgresServer.Missing);
        await using var postgres = await PostgresServer.StartAsync(_directory.Path);
        var database = FarmDatabaseOptions.PostgreSql(postgres.ConnectionString);
        var runner = new TestRunner();
        runner.Hold("s-1/1");
        var farm = await TestFarm.StartAsync(_directory.Path, configure: o => o with { Database = database, SnapshotAfter = 1 });
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        Assert.True((await farm.Farm.SubmitAsync(Submission("s-1", "r", "content"), default)).IsOk);
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");
        await farm.DisposeAsync();

        await using var again = await TestFarm.StartAsync(_directory.Path, farm.Port, o => o with { Database = database });
        runner.Open("s-1/1");
        Assert.Equal(SweepStatus.Completed, (await again.FinishAsync("s-1")).Sweep.Status);
        Assert.Equal("s-1", (await again.Farm.SubmitAsync(Submission("s-9", "r", "content"), default)).Value.Id);
        await again.Queries.CaughtUpAsync(default);
        await again.Farm.SubmitAsync(Submission("s-2"), default);
        Assert.Equal(3, (await again.FinishAsync("s-2")).Sweep.CacheHits);
        await again.Queries.CaughtUpAsync(default);

        var query = new LeaderboardQuery { Sweep = "s-1", Sort = "kld_mean", PageSize = 1, Device = "cpu-x64", Labels = Map(("team", "red")) };
        var first = await again.Queries.QueryLeaderboardAsync(query, default);
        var second = await again.Queries.QueryLeaderboardAsync(query with { PageToken = first.NextPageToken }, default);
        Assert.Equal(["s-1/e1", "s-1/e0"], first.Items.Concat(second.Items).Select(e => e.Id));
        Assert.Equal(2, (await again.Queries.QueryLeaderboardAsync(new LeaderboardQuery(), default)).Items.Length);
        var rows = await again.Queries.QueryLeaderboardAsync(new LeaderboardQuery { PageSize = 1 }, default);
        Assert.Equal("s-2/e1", Assert.Single((await again.Queries.QueryLeaderboardAsync(new LeaderboardQuery { PageToken = rows.NextPageToken }, default)).Items).Id);
        var sweeps = await again.Queries.ListSweepsAsync(1, "", default);
        Assert.Equal("s-1", Assert.Single((await again.Queries.ListSweepsAsync(1, sweeps.NextPageToken, default)).Items).Id);
        Assert.Equal(5, (await again.Queries.ListJobsAsync("s-1", failedOnly: false, 10, "", default)).Items.Length);
        Assert.Equal(2, (await again.Queries.EntryHistoryAsync("s-1/e1", default)).Length);
        Assert.Equal("s-1/e1", (await again.Queries.FindEntryAsync("s-1/e1", default))!.Id);

        await again.Services.GetRequiredService<FarmProjection>().RebuildAsync(default);
        await again.Queries.CaughtUpAsync(default);
        Assert.Equal(2, (await again.Queries.ListSweepsAsync(10, "", default)).Items.Length);
    }
}
