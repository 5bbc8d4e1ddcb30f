using System.Diagnostics;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Actors.Tests.Farm;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Actors.Tests.Farm.TestPlans;

namespace EdgeFarm.Actors.Tests.Projections;

public sealed class ProjectionTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_process_killed_between_rows_and_offset_shows_each_event_once()
    {
        using var child = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, ["exec", typeof(ProjectionCrash).Assembly.Location, "crash-projection", _directory.Path]))!;
        await child.WaitForExitAsync(new CancellationTokenSource(Wait.Limit).Token);
        Assert.NotEqual(0, child.ExitCode);
        Assert.NotEqual(2, child.ExitCode);

        await using var farm = await TestFarm.StartAsync(_directory.Path);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        await farm.FinishAsync("s-1");
        await farm.Queries.CaughtUpAsync(default);

        var sweep = Assert.Single((await farm.Queries.ListSweepsAsync(10, "", default)).Items);
        Assert.Equal((SweepStatus.Completed, 5), (sweep.Status, sweep.Counts[JobStatus.Succeeded]));
        var jobs = (await farm.Queries.ListJobsAsync("s-1", failedOnly: false, 10, "", default)).Items;
        Assert.Equal(5, jobs.Length);
        Assert.All(jobs, j => Assert.Single(j.Attempts, a => a.Failure is null));
        Assert.Equal(2, (await farm.Queries.QueryLeaderboardAsync(new LeaderboardQuery(), default)).Items.Length);
    }

    [Fact]
    public async Task A_rebuild_gives_the_same_rows()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await farm.FinishAsync("s-1");
        await farm.Queries.CaughtUpAsync(default);
        var before = await DumpAsync(farm);

        await farm.Services.GetRequiredService<FarmProjection>().RebuildAsync(default);
        await farm.Queries.CaughtUpAsync(default);

        Assert.Equal(before, await DumpAsync(farm));
        Assert.Contains("s-1/e1", before, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_projection_on_one_database_is_stopped_by_the_offset()
    {
        var database = new FarmDatabase(FarmDatabaseOptions.SqliteFile(Path.Combine(_directory.Path, "farm.db")));
        await database.InitializeAsync(default);
        var (first, second) = (new ProjectionWriter(database, TimeProvider.System), new ProjectionWriter(database, TimeProvider.System));
        await first.WriteAsync([], 0, 5, default);
        await Assert.ThrowsAsync<ProjectionConflictException>(() => second.WriteAsync([], 0, 5, default));
        await first.WriteAsync([], 5, 9, default);
        await Assert.ThrowsAsync<ProjectionConflictException>(() => second.WriteAsync([], 5, 9, default));
        Assert.Equal(9, await second.ReadOffsetAsync(default));
    }

    [Fact]
    public async Task The_leaderboard_filters_sorts_and_pages()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        foreach (var id in new[] { "s-1", "s-2" })
        {
            await farm.Farm.SubmitAsync(Submission(id), default);
            await farm.FinishAsync(id);
        }

        await farm.Queries.CaughtUpAsync(default);
        async Task<string[]> Ids(LeaderboardQuery query) => [.. (await farm.Queries.QueryLeaderboardAsync(query, default)).Items.Select(e => e.Id)];

        // Without a sweep: of each series the newest.
        Assert.Equal(["s-2/e0", "s-2/e1"], await Ids(new LeaderboardQuery()));
        Assert.Equal(["s-1/e0", "s-1/e1"], await Ids(new LeaderboardQuery { Sweep = "s-1" }));
        Assert.Equal(["s-2/e1"], await Ids(new LeaderboardQuery { Form = "Q4_0" }));
        Assert.Equal(["s-2/e0", "s-2/e1"], await Ids(new LeaderboardQuery { Device = "cpu-x64", Labels = Map(("team", "red")) }));
        Assert.Empty(await Ids(new LeaderboardQuery { Labels = Map(("team", "blue")) }));
        Assert.Equal(["s-1/e1", "s-2/e1"], (await farm.Queries.EntryHistoryAsync("s-2/e1", default)).Select(e => e.Id));

        // Sorted by a metric that only one has: the other follows, and pages go on over the border.
        var query = new LeaderboardQuery { Sweep = "s-1", Sort = "kld_mean", PageSize = 1 };
        var first = await farm.Queries.QueryLeaderboardAsync(query, default);
        var second = await farm.Queries.QueryLeaderboardAsync(query with { PageToken = first.NextPageToken }, default);
        Assert.Equal(["s-1/e1", "s-1/e0"], first.Items.Concat(second.Items).Select(e => e.Id));
        Assert.Equal("", second.NextPageToken);
        await Assert.ThrowsAsync<FailureException>(() => farm.Queries.QueryLeaderboardAsync(query with { PageToken = "nonsense" }, default));

        Assert.Equal("s-2/e1", (await farm.Queries.FindEntryAsync("s-2/e1", default))!.Id);
        Assert.Null(await farm.Queries.FindEntryAsync("s-", default));
        var sweeps = await farm.Queries.ListSweepsAsync(1, "", default);
        Assert.Equal("s-2", Assert.Single(sweeps.Items).Id);
        Assert.Equal("s-1", Assert.Single((await farm.Queries.ListSweepsAsync(1, sweeps.NextPageToken, default)).Items).Id);
        Assert.Equal("name: test", await farm.Queries.FindYamlAsync("s-1", default));
    }

    private static async Task<string> DumpAsync(TestFarm farm) => string.Join('\n',
        Documents.Describe(await farm.Queries.ListSweepsAsync(10, "", default)),
        Documents.Describe(await farm.Queries.ListJobsAsync("s-1", failedOnly: false, 10, "", default)),
        Documents.Describe(await farm.Queries.QueryLeaderboardAsync(new LeaderboardQuery { Full = true }, default)));
}
