using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Actors.Tests.Farm.TestPlans;

namespace EdgeFarm.Actors.Tests.Farm;

public sealed class SubmitScenarios : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task The_same_request_makes_one_sweep_and_other_content_is_refused()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var first = await farm.Farm.SubmitAsync(Submission("s-1", "r", "content"), default);
        var second = await farm.Farm.SubmitAsync(Submission("s-2", "r", "content"), default);
        Assert.Equal(("s-1", "s-1"), (first.Value.Id, second.Value.Id));
        Assert.Equal(5, second.Value.Counts.Values.Sum());

        var other = await farm.Farm.SubmitAsync(Submission("s-3", "r", "other"), default);
        Assert.Equal(FailureType.InvalidInput, other.Failure!.Type);
        await farm.Queries.CaughtUpAsync(default);
        Assert.Single((await farm.Queries.ListSweepsAsync(10, "", default)).Items);
    }

    [Fact]
    public async Task A_request_whose_sweep_never_started_starts_it_under_the_id_it_claimed()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);

        // What a coordinator leaves that dies between the claim and the journal.
        await farm.Services.GetRequiredService<RequestIds>().ClaimAsync("r", Digest.OfText("content"), "s-1", default);
        var view = await farm.Farm.SubmitAsync(Submission("s-2", "r", "content"), default);
        Assert.Equal("s-1", view.Value.Id);
        var last = await farm.FinishAsync("s-1");
        Assert.Equal(SweepStatus.Completed, last.Sweep.Status);
        await farm.Queries.CaughtUpAsync(default);
        Assert.Equal("s-1/3", (await farm.Queries.FindJobAsync("s-1/3", default))!.Id);
        Assert.NotNull(await farm.Queries.FindEntryAsync("s-1/e1", default));
    }

    [Fact]
    public async Task A_second_submission_computes_nothing_again_and_measures_speed_again()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner();
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await farm.FinishAsync("s-1");
        await farm.Queries.CaughtUpAsync(default);

        await farm.Farm.SubmitAsync(Submission("s-2"), default);
        var last = await farm.FinishAsync("s-2");
        Assert.Equal((SweepStatus.Completed, 3), (last.Sweep.Status, last.Sweep.CacheHits));
        Assert.Equal(["s-2/2", "s-2/3"], runner.Started.Where(l => l.Sweep == "s-2").Select(l => l.Job.Spec.Id).Order());

        // --fresh computes all of it.
        await farm.Farm.SubmitAsync(Submission("s-3", fresh: true), default);
        Assert.Equal(0, (await farm.FinishAsync("s-3")).Sweep.CacheHits);
        Assert.Equal(5, runner.Started.Count(l => l.Sweep == "s-3"));
    }

    [Fact]
    public async Task A_cached_result_whose_artifact_is_gone_is_no_hit()
    {
        var farm = await TestFarm.StartAsync(_directory.Path);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await farm.FinishAsync("s-1");
        await farm.Queries.CaughtUpAsync(default);
        await farm.DisposeAsync();

        // Started anew, because a dispatcher also passes on what it saw end a moment ago.
        await using var again = await TestFarm.StartAsync(
            _directory.Path, farm.Port, o => o with { ArtifactExists = (artifact, _) => Task.FromResult(artifact.Size != 300) });
        await again.Farm.SubmitAsync(Submission("s-2"), default);
        Assert.Equal(2, (await again.FinishAsync("s-2")).Sweep.CacheHits);
    }

    [Fact]
    public async Task A_miss_is_explained_by_the_nearest_known_result()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await farm.FinishAsync("s-1");
        await farm.Queries.CaughtUpAsync(default);

        var explained = (await farm.Farm.ExplainAsync("s-1/1", default)).Value;
        Assert.Equal("Quantize", explained.Digest.Single(c => c.Key == "operation").Value);
        var cache = farm.Services.GetRequiredService<IResultCache>();
        Assert.Empty(await cache.NearestAsync(explained.Digest, default));
        var changed = explained.Digest.Select(c => c.Key == "parameter.threads" ? KeyValuePair.Create(c.Key, "8") : c);
        Assert.Equal(("parameter.threads", "8", "2"), Assert.Single(await cache.NearestAsync([.. changed], default)));
    }

    [Fact]
    public async Task A_waiting_job_says_what_it_waits_for()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(
            async () => (await farm.Farm.ExplainAsync("s-1/0", default)).Value.Wait?.Position == 1, "the import waits in the queue");
        Assert.Equal("s-1/0", Assert.Single((await farm.Farm.ExplainAsync("s-1/1", default)).Value.BlockedBy));
        Assert.Equal(FailureType.InvalidInput, (await farm.Farm.ExplainAsync("s-1/99", default)).Failure!.Type);
        Assert.Equal(FailureType.InvalidInput, (await farm.Farm.ExplainAsync("nonsense", default)).Failure!.Type);
    }

    [Fact]
    public async Task A_watcher_gets_a_snapshot_then_numbered_changes_and_resumes()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner();
        runner.Hold("s-1/0");
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await farm.UntilAsync("s-1", "s-1/0", JobStatus.Running);

        using var stop = new CancellationTokenSource(Wait.Limit);
        await using var watch = farm.Farm.WatchAsync("s-1", null, stop.Token).GetAsyncEnumerator(stop.Token);
        Assert.True(await watch.MoveNextAsync());
        Assert.True(watch.Current.IsSnapshot);
        Assert.Equal(5, watch.Current.Jobs.Length);
        var start = watch.Current.Sequence;
        await Wait.UntilAsync(
            async () => (await farm.Farm.SnapshotAsync("s-1", default)).Value.Jobs[0].ProgressText == "halfway", "progress arrives");

        runner.Open("s-1/0");
        var numbers = new List<long>();
        var last = watch.Current;
        while (await watch.MoveNextAsync())
        {
            last = watch.Current;
            Assert.False(last.IsSnapshot);
            numbers.Add(last.Sequence);
        }

        Assert.Equal(Enumerable.Range(1, numbers.Count).Select(i => start + i), numbers);
        Assert.Equal(SweepStatus.Completed, last.Sweep.Status);

        var resumed = new List<long>();
        await foreach (var change in farm.Farm.WatchAsync("s-1", start + 1, stop.Token))
        {
            Assert.False(change.IsSnapshot);
            resumed.Add(change.Sequence);
        }

        Assert.Equal(numbers.Skip(1).Take(resumed.Count), resumed);
        await foreach (var change in farm.Farm.WatchAsync("s-1", 12, stop.Token))
        {
            Assert.True(change.IsSnapshot);
        }

        await Assert.ThrowsAsync<FailureException>(async () =>
        {
            await foreach (var _ in farm.Farm.WatchAsync("nothing", null, stop.Token))
            {
            }
        });
    }
}
