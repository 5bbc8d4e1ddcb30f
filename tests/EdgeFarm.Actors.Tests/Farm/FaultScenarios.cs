using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Actors.Tests.Farm.TestPlans;

namespace EdgeFarm.Actors.Tests.Farm;

public sealed class FaultScenarios : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_killed_workers_job_runs_on_another()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path, configure: o => o with
        {
            Limits = TestFarm.Limits with { ReconnectGrace = TimeSpan.FromMilliseconds(500) },
        });
        var (held, free) = (new TestRunner(), new TestRunner());
        held.Hold("s-1/1");
        await using var first = await TestWorker.StartAsync("w1", farm.Url, held, _directory.Path, host: "host-a");
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(() => held.HasStarted("s-1/1"), "the pass runs");

        await first.KillAsync();
        await using var second = await TestWorker.StartAsync("w2", farm.Url, free, _directory.Path, host: "host-a");
        var last = await farm.FinishAsync("s-1");

        Assert.Equal(SweepStatus.Completed, last.Sweep.Status);
        var pass = (await farm.Farm.SnapshotAsync("s-1", default)).Value.Jobs.Single(j => j.Id == "s-1/1");
        Assert.Equal([FailureType.WorkerLost, null], pass.Attempts.Select(a => a.Failure?.Type));
        Assert.Equal(["w1", "w2"], pass.Attempts.Select(a => a.Worker));
        Assert.Single(held.Killed);
    }

    [Fact]
    public async Task A_lost_device_makes_its_comparison_start_anew_elsewhere()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path, configure: o => o with
        {
            Limits = TestFarm.Limits with { ReconnectGrace = TimeSpan.FromMilliseconds(500), DeviceLostAfter = TimeSpan.FromMilliseconds(500) },
        });
        var runner = new TestRunner();
        runner.Hold("s-1/1");
        await using var first = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path, slots: 1);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await farm.UntilAsync("s-1", "s-1/2", JobStatus.Succeeded);
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");

        await first.KillAsync();
        await using var second = await TestWorker.StartAsync("w2", farm.Url, new TestRunner(), _directory.Path);
        Assert.Equal(SweepStatus.Completed, (await farm.FinishAsync("s-1")).Sweep.Status);
        await farm.Queries.CaughtUpAsync(default);
        var form = (await farm.Queries.FindEntryAsync("s-1/e1", default))!;
        var baseline = (await farm.Queries.FindEntryAsync(form.BaselineId, default))!;
        Assert.NotEqual("s-1/e0", baseline.Id);
        Assert.Equal(("host-w2", "host-w2"), (form.Host, baseline.Host));
        Assert.Equal(21.0 / 11, form.Relative["tg"], 6);
    }

    [Fact]
    public async Task A_job_goes_on_over_a_restart_of_the_coordinator()
    {
        var runner = new TestRunner();
        runner.Hold("s-1/1");
        var farm = await TestFarm.StartAsync(_directory.Path);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");

        await farm.DisposeAsync();
        await using var again = await TestFarm.StartAsync(_directory.Path, farm.Port);
        await Wait.UntilAsync(async () => (await again.Farm.FleetAsync(default)).Workers.Any(w => w.Held.Length == 1), "the worker is back with its lease");
        runner.Open("s-1/1");
        var last = await again.FinishAsync("s-1");

        Assert.Equal(SweepStatus.Completed, last.Sweep.Status);
        Assert.Single(runner.Started, l => l.Job.Spec.Id == "s-1/1");
        Assert.Empty(runner.Killed);
        var jobs = (await again.Farm.SnapshotAsync("s-1", default)).Value.Jobs;
        Assert.All(jobs, j => Assert.Null(Assert.Single(j.Attempts).Failure));
    }

    [Fact]
    public async Task A_restarted_coordinator_goes_on_without_a_call_of_a_client()
    {
        await using (var farm = await TestFarm.StartAsync(_directory.Path))
        {
            Assert.True((await farm.Farm.SubmitAsync(Submission("s-1"), default)).IsOk);
        }

        await using var again = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner();
        await using var worker = await TestWorker.StartAsync("w1", again.Url, runner, _directory.Path);
        await Wait.UntilAsync(
            async () => (await again.Queries.FindSweepAsync("s-1", default))?.Status == SweepStatus.Completed, "the sweep ends, seen in the rows alone");
        Assert.Equal(5, runner.Started.Count);
    }

    [Fact]
    public async Task A_result_that_nobody_took_is_delivered_later()
    {
        var runner = new TestRunner();
        runner.Hold("s-1/1");
        var farm = await TestFarm.StartAsync(_directory.Path);
        var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");
        await farm.DisposeAsync();

        // It ends while no coordinator lives, and the worker dies too: the result is on its disk.
        var results = Path.Combine(_directory.Path, "w1");
        runner.Open("s-1/1");
        await Wait.UntilAsync(() => KeepsAsync(results, "s-1/1"), "the result is on disk");
        await worker.KillAsync();

        await using var again = await TestFarm.StartAsync(_directory.Path);
        await using var reborn = await TestWorker.StartAsync("w1", again.Url, runner, _directory.Path);
        var last = await again.FinishAsync("s-1");

        Assert.Equal(SweepStatus.Completed, last.Sweep.Status);
        Assert.Single(runner.Started, l => l.Job.Spec.Id == "s-1/1");
        await Wait.UntilAsync(() => KeptBytes(results) == 0, "every result is acknowledged and forgotten");
        await worker.DisposeAsync();
    }

    [Fact]
    public async Task A_worker_whose_kept_results_cannot_be_read_tries_again_in_peace()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);

        var results = new UnreadableResults(new DiskResultStore(Path.Combine(_directory.Path, "results")), failures: 2);
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path, results: results);
        await Wait.UntilAsync(async () => (await farm.Farm.FleetAsync(default)).Workers.Length == 1, "the worker links");

        // One reading each time: an actor that restarted at once would have read many times in these seconds.
        Assert.Equal(3, results.Loads);
    }

    [Fact]
    public async Task A_draining_worker_hands_back_what_does_not_end_in_time()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var (held, free) = (new TestRunner(), new TestRunner());
        held.Hold("s-1/0");
        var first = await TestWorker.StartAsync("w1", farm.Url, held, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(() => held.HasStarted("s-1/0"), "the import runs");
        await first.DisposeAsync();
        Assert.Single(held.Killed);

        await using var second = await TestWorker.StartAsync("w2", farm.Url, free, _directory.Path);
        Assert.Equal(SweepStatus.Completed, (await farm.FinishAsync("s-1")).Sweep.Status);
    }

    [Fact]
    public async Task Cancelling_kills_what_runs()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner();
        runner.Hold("s-1/1");
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");

        var cancelled = await farm.Farm.CancelAsync("s-1", "enough", default);
        Assert.Equal(SweepStatus.Cancelled, cancelled.Value.Status);
        await Wait.UntilAsync(() => !runner.Killed.IsEmpty, "the pass is killed");
        await Wait.UntilAsync(async () => (await farm.Farm.FleetAsync(default)).Workers.All(w => w.Held.IsEmpty), "nothing is leased");

        // Again, and of an unknown sweep.
        Assert.Equal(SweepStatus.Cancelled, (await farm.Farm.CancelAsync("s-1", "enough", default)).Value.Status);
        Assert.Equal(FailureType.InvalidInput, (await farm.Farm.CancelAsync("nothing", "", default)).Failure!.Type);
    }

    [Fact]
    public async Task A_failed_job_is_retried_on_request()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner { Outcome = l => l.Job.Spec.Kind == JobKind.Optimize ? Fail(FailureType.InvalidInput, "bad file") : Succeed(l) };
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        var last = await farm.FinishAsync("s-1");
        Assert.Equal(SweepStatus.Partial, last.Sweep.Status);
        await farm.Queries.CaughtUpAsync(default);
        var failed = Assert.Single((await farm.Queries.ListJobsAsync("s-1", failedOnly: true, 10, "", default)).Items);
        Assert.Equal("bad file", Assert.Single(failed.Attempts).Failure!.Message);
        Assert.Equal("bad file", (await farm.Queries.FindEntryAsync("s-1/e1", default))!.Failure!.Message);

        runner.Outcome = Succeed;
        Assert.Equal(0, (await farm.Farm.RetryAsync("s-1", FailureType.TimedOut, default)).Value);
        Assert.Equal(3, (await farm.Farm.RetryAsync("s-1", FailureType.InvalidInput, default)).Value);
        Assert.Equal(SweepStatus.Completed, (await farm.FinishAsync("s-1")).Sweep.Status);
        await farm.Queries.CaughtUpAsync(default);
        var entry = await farm.Queries.FindEntryAsync("s-1/e1", default);
        Assert.Null(entry!.Failure);
        Assert.True(entry.Metrics.ContainsKey("tg"));
    }

    /// <summary>Whether a job's result is in a worker's log, read from a copy: to read it as its owner does would mend it.</summary>
    private async Task<bool> KeepsAsync(string directory, string job)
    {
        var log = Path.Combine(directory, "results.log");
        if (!File.Exists(log))
        {
            return false;
        }

        var copy = Directory.CreateDirectory(Path.Combine(_directory.Path, $"copy-{Guid.NewGuid():N}")).FullName;
        File.Copy(log, Path.Combine(copy, "results.log"));
        return (await new DiskResultStore(copy).LoadAsync(default)).Any(r => r.Lease.Job.Spec.Id == job);
    }

    private static long KeptBytes(string directory) => new FileInfo(Path.Combine(directory, "results.log")) is { Exists: true } log ? log.Length : 0;
}
