using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Actors.Tests.Farm.TestPlans;

namespace EdgeFarm.Actors.Tests.Farm;

public sealed class FarmScenarios : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_sweep_runs_to_its_end_and_its_rows_are_right()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner();
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);

        Assert.True((await farm.Farm.SubmitAsync(Submission("s-1"), default)).IsOk);
        var last = await farm.FinishAsync("s-1");

        Assert.Equal(SweepStatus.Completed, last.Sweep.Status);
        await farm.Queries.CaughtUpAsync(default);
        var view = await farm.Queries.FindSweepAsync("s-1", default);
        Assert.Equal((SweepStatus.Completed, 5), (view!.Status, view.Counts[JobStatus.Succeeded]));
        Assert.Equal("red", view.Labels["team"]);
        var jobs = await farm.Queries.ListJobsAsync("s-1", failedOnly: false, 3, "", default);
        Assert.Equal(["s-1/0", "s-1/1", "s-1/2"], jobs.Items.Select(j => j.Id));
        var rest = await farm.Queries.ListJobsAsync("s-1", failedOnly: false, 3, jobs.NextPageToken, default);
        Assert.Equal(["s-1/3", "s-1/4"], rest.Items.Select(j => j.Id));
        Assert.All(jobs.Items.Concat(rest.Items), j => Assert.Equal("w1", Assert.Single(j.Attempts).Worker));

        var rows = await farm.Queries.QueryLeaderboardAsync(new LeaderboardQuery { Sort = "tg" }, default);
        Assert.Equal(["s-1/e1", "s-1/e0"], rows.Items.Select(r => r.Id));
        var best = rows.Items[0];
        Assert.Equal((21.0, 300.0, 0.01), (best.Metrics["tg"].Value, best.Metrics["size"].Value, best.Metrics["kld_mean"].Value));
        Assert.Equal(0.3, best.Relative["size"], 6);
        Assert.True(best.Pareto);
        Assert.Equal(("host-w1", "cpu", "cpu-x64"), (best.Host, best.Device, best.DeviceClass));
        Assert.Empty(best.Metrics["tg"].Samples);
        var whole = await farm.Queries.FindEntryAsync("s-1/e1", default);
        Assert.Equal((IEnumerable<double>)[20, 21, 22], whole!.Metrics["tg"].Samples);
    }
}
