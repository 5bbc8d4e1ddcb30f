using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Tests.Shared;
using static EdgeFarm.Actors.Tests.Farm.TestPlans;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>The same farm on the other database, by configuration alone.</summary>
public sealed class PostgresScenarios : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

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
