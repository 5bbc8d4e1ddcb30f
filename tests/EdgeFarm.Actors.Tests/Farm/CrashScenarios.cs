using System.Diagnostics.Metrics;
using Akka.Actor;
using Akka.Hosting;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Actors.Tests.Farm.TestPlans;

namespace EdgeFarm.Actors.Tests.Farm;

public sealed class CrashScenarios : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_dispatcher_that_starts_anew_adopts_what_runs_and_gives_the_rest()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner();
        runner.Hold("s-1/1");
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");
        var fence = runner.Started.Max(l => l.Fence);

        var dispatcher = farm.Services.GetRequiredService<ActorRegistry>().Get<DispatcherKey>();
        ((IInternalActorRef)dispatcher).Restart(new InvalidOperationException("a bug"));
        await Wait.UntilAsync(
            async () => (await farm.Farm.FleetAsync(default)).Workers.Any(w => w.Held.Any(h => h.Key.JobId == "s-1/1")), "the lease is adopted");
        runner.Open("s-1/1");

        Assert.Equal(SweepStatus.Completed, (await farm.FinishAsync("s-1")).Sweep.Status);
        Assert.Equal(5, runner.Started.Select(l => l.Job.Spec.Id).Distinct().Count());
        Assert.Single(runner.Started, l => l.Job.Spec.Id == "s-1/1");
        Assert.True(runner.Started.Single(l => l.Job.Spec.Id == "s-1/4").Fence > fence);
    }

    [Fact]
    public async Task A_sweep_whose_actor_dies_goes_on_and_its_watchers_stay()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var runner = new TestRunner();
        runner.Hold("s-1/1");
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        var watch = farm.FinishAsync("s-1");
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");

        var system = farm.Services.GetRequiredService<ActorSystem>();
        var sweep = await system.ActorSelection("/user/sweeps/s-1").ResolveOne(Wait.Limit);
        using var inbox = Inbox.Create(system);
        inbox.Watch(sweep);
        sweep.Tell(Kill.Instance);
        Assert.IsType<Terminated>(inbox.Receive(Wait.Limit));
        runner.Open("s-1/1");

        Assert.Equal(SweepStatus.Completed, (await watch).Sweep.Status);
        var jobs = (await farm.Farm.SnapshotAsync("s-1", default)).Value.Jobs;
        Assert.All(jobs, j => Assert.Single(j.Attempts));
    }

    [Fact]
    public async Task A_sweep_recovers_from_a_snapshot_and_the_events_after_it()
    {
        var runner = new TestRunner();
        runner.Hold("s-1/1");

        // As many attempts as the sweep has jobs must end before a snapshot pays.
        runner.Outcome = lease => lease is { Job.Spec.Id: "s-1/0", Attempt: <= 4 }
            ? TestPlans.Succeed(lease) with { Result = null, Failure = new EdgeFarm.Core.Jobs.Failure(EdgeFarm.Core.Jobs.FailureType.Cancelled, "the machine is wanted back") }
            : TestPlans.Succeed(lease);
        var farm = await TestFarm.StartAsync(_directory.Path, configure: o => o with { SnapshotAfter = 2 });
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, runner, _directory.Path, slots: 1);
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await farm.UntilAsync("s-1", "s-1/2", JobStatus.Succeeded);
        await Wait.UntilAsync(() => CountAsync(farm, "select count(*) from snapshot", n => n > 0), "a snapshot is stored");
        await farm.DisposeAsync();

        await using var again = await TestFarm.StartAsync(_directory.Path, farm.Port, o => o with { SnapshotAfter = 2 });
        await Wait.UntilAsync(() => runner.HasStarted("s-1/1"), "the pass runs");
        runner.Open("s-1/1");
        Assert.Equal(SweepStatus.Completed, (await again.FinishAsync("s-1")).Sweep.Status);
        Assert.Equal(9, runner.Started.Count);
        await again.Queries.CaughtUpAsync(default);
        Assert.True(await CountAsync(again, "select count(*) from journal where sequence_number = 1", n => n == 1), "events outlive snapshots");
    }

    [Fact]
    public async Task The_meter_tells_workers_queue_and_durations()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        var figures = new System.Collections.Concurrent.ConcurrentDictionary<string, double>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, l) =>
            {
                if (instrument.Meter.Name == FarmMetrics.MeterName)
                {
                    l.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((i, value, tags, _) => figures[Name(i, tags)] = value);
        listener.SetMeasurementEventCallback<double>((i, value, tags, _) => figures[Name(i, tags)] = value);
        listener.Start();
        _ = farm.Services.GetRequiredService<FarmMetrics>();
        await farm.Farm.SubmitAsync(Submission("s-1"), default);
        await Wait.UntilAsync(
            () =>
            {
                listener.RecordObservableInstruments();
                return figures.Any(f => f.Key.StartsWith("edgefarm.jobs state=waiting", StringComparison.Ordinal) && f.Value == 1);
            },
            "the import is counted as waiting");

        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        await farm.FinishAsync("s-1");
        await Wait.UntilAsync(
            () =>
            {
                listener.RecordObservableInstruments();
                return figures.ContainsKey("edgefarm.workers os=linux arch=x64 device_class=cpu-x64 draining=False");
            },
            "the worker is counted");
        Assert.Contains("edgefarm.job.duration kind=Benchmark result=Success", figures.Keys);
        Assert.Contains("edgefarm.jobs.ended kind=Optimize result=Success", figures.Keys);
    }

    private static string Name(Instrument instrument, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var name = instrument.Name;
        foreach (var (key, value) in tags)
        {
            name += $" {key}={value}";
        }

        return name;
    }

    private static async Task<bool> CountAsync(TestFarm farm, string sql, Func<long, bool> condition)
    {
        await using var connection = await farm.Services.GetRequiredService<FarmDatabase>().OpenAsync(default);
        await using var command = connection.Command(sql);
        return condition((long)(await command.ExecuteScalarAsync())!);
    }
}
