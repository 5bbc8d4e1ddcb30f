using System.Diagnostics;
using EdgeFarm.Cluster.Tests.Harness;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Tests.Shared;
using Xunit.Abstractions;

namespace EdgeFarm.Cluster.Tests;

/// <summary>Heartbeats need a machine that is not busy with other tests.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class ClusterCollection
{
    public const string Name = "cluster";
}

/// <summary>One cluster for all tests of the class, because six processes take a while to start.</summary>
public sealed class ClusterFixture : IAsyncLifetime
{
    internal ClusterFarm? Farm { get; private set; }

    internal string? Missing { get; } = OperatingSystem.IsLinux() ? PostgresServer.Missing : "needs Linux";

    public async Task InitializeAsync()
    {
        if (Missing is null)
        {
            Farm = await ClusterFarm.StartAsync();
        }
    }

    public async Task DisposeAsync()
    {
        if (Farm is not null)
        {
            await Farm.DisposeAsync();
        }
    }
}

/// <summary>
/// What a cluster of processes does when one of them dies while three workers hold a job each: the sweep goes on without a client's
/// call, every job has one result, and what a living worker runs is not started again.
/// </summary>
[Collection(ClusterCollection.Name)]
public sealed class ClusterFaultTests(ClusterFixture fixture, ITestOutputHelper output) : IClassFixture<ClusterFixture>
{
    private ClusterFarm Farm => fixture.Farm!;

    [SkippableFact]
    public async Task A_killed_worker_loses_its_job_to_another_and_the_others_go_on()
    {
        await ReadyAsync();
        await Farm.SubmitHeldAsync("worker");
        var victim = Farm.Workers[0];
        await victim.KillAsync();
        var clock = Stopwatch.StartNew();
        Farm.Gate.Open();
        await ResumedAsync(clock, "SIGKILL of a worker", () => Farm.Gate.Started(GatedJobs.Pass).Length == 4);
        await Farm.CompletedAsync("worker");

        var jobs = await Farm.JobsAsync("worker");
        AssertOneResultEach(jobs);
        var passes = jobs.Where(j => j.Operation == GatedJobs.Pass).ToArray();
        var lost = Assert.Single(passes, p => p.Attempts.Count > 1);
        Assert.Equal([victim.Name], lost.Attempts.Where(a => a.Failure is not null).Select(a => a.Worker));
        Assert.All(passes.Except([lost]), p => Assert.NotEqual(victim.Name, Assert.Single(p.Attempts).Worker));
    }

    [SkippableFact]
    public async Task When_the_coordinator_with_the_dispatcher_is_killed_another_takes_over()
    {
        await ReadyAsync();
        await Farm.SubmitHeldAsync("dispatcher");
        var victim = await Farm.DispatcherAsync();
        await victim.KillAsync();
        await NothingIsLostAsync("dispatcher", "SIGKILL of the coordinator with the dispatcher");
        Assert.NotSame(victim, await Farm.DispatcherAsync());
    }

    [SkippableFact]
    public async Task When_the_coordinator_that_holds_the_sweep_is_killed_the_sweep_goes_on_elsewhere()
    {
        await ReadyAsync();
        var dispatcher = await Farm.DispatcherAsync();
        string sweep;
        CoordinatorNode holder;
        for (var i = 1; ; i++)
        {
            sweep = $"held-{i}";
            await Farm.SubmitHeldAsync(sweep);
            holder = await Farm.HolderAsync(sweep);
            if (holder != dispatcher)
            {
                break;
            }

            // This one lives beside the dispatcher, which is another test's.
            Farm.Gate.Open();
            await Farm.CompletedAsync(sweep);
        }

        await holder.KillAsync();
        await NothingIsLostAsync(sweep, "SIGKILL of the coordinator that holds the sweep");
        Assert.NotSame(holder, await Farm.HolderAsync(sweep));
        Assert.Same(dispatcher, await Farm.DispatcherAsync());
    }

    [SkippableFact]
    public async Task A_restart_of_the_database_delays_and_loses_nothing()
    {
        await ReadyAsync();
        await Farm.SubmitHeldAsync("database");
        await Farm.Database.StopAsync();
        Farm.Gate.Open();
        await Farm.Until(() => Task.FromResult(Farm.Workers.All(w => w.KeepsResults)), "three results wait on disk");
        await Farm.Until(async () => !await Farm.Coordinators[0].IsReadyAsync(), "a coordinator without its database is not ready");
        await Farm.Database.StartAgainAsync();
        await NothingIsLostAsync("database", "restart of PostgreSQL");
        await Farm.Until(() => Task.FromResult(Farm.Workers.All(w => !w.KeepsResults)), "every kept result was acknowledged");
    }

    [SkippableFact]
    public async Task A_coordinator_that_is_asked_to_stop_hands_over_and_exits_0()
    {
        await ReadyAsync();
        await Farm.SubmitHeldAsync("handover");
        var leaving = await Farm.DispatcherAsync();
        var clock = Stopwatch.StartNew();
        Assert.Equal(0, await leaving.Process!.TerminateAsync());
        output.WriteLine($"a coordinator left in {clock.Elapsed.TotalSeconds:0.0} s");
        await NothingIsLostAsync("handover", "SIGTERM of the coordinator with the dispatcher");
    }

    [SkippableFact]
    public async Task A_worker_that_is_asked_to_stop_hands_back_what_does_not_end_in_time_and_exits_0()
    {
        await ReadyAsync();
        await Farm.SubmitHeldAsync("drain");
        var leaving = Farm.Workers[1];
        Assert.Equal(0, await leaving.Process!.TerminateAsync());
        Farm.Gate.Open();
        await Farm.CompletedAsync("drain");
        var jobs = await Farm.JobsAsync("drain");
        AssertOneResultEach(jobs);
        var returned = Assert.Single(jobs, j => j.Attempts.Count > 1);
        Assert.Equal(FailureType.HandedBack, returned.Attempts[0].Failure.Type);
    }

    private async Task ReadyAsync()
    {
        Skip.If(fixture.Missing is not null, fixture.Missing);
        Farm.Gate.Open();
        await Farm.EnsureAsync();
    }

    /// <summary>Opens the gate; what the workers finish while nobody answers is delivered, and nothing starts twice.</summary>
    private async Task NothingIsLostAsync(string sweep, string fault)
    {
        var clock = Stopwatch.StartNew();
        Farm.Gate.Open();
        await ResumedAsync(clock, fault, () => Farm.Gate.Started(GatedJobs.Benchmark).Length > 0);
        await Farm.CompletedAsync(sweep);
        var jobs = await Farm.JobsAsync(sweep);
        AssertOneResultEach(jobs);
        Assert.All(jobs, j => Assert.True(j.Attempts.Count == 1, j.ToString()));
        Assert.Equal(3, Farm.Gate.Started(GatedJobs.Pass).Length);
    }

    private async Task ResumedAsync(Stopwatch clock, string fault, Func<bool> resumed)
    {
        await Farm.Until(() => Task.FromResult(resumed()), $"dispatch goes on after {fault}");
        output.WriteLine($"dispatch goes on {clock.Elapsed.TotalSeconds:0.0} s after {fault}");
    }

    private static void AssertOneResultEach(Job[] jobs)
    {
        Assert.NotEmpty(jobs);
        Assert.All(jobs, job =>
        {
            Assert.Equal(JobStatus.Succeeded, job.Status);
            Assert.Single(job.Attempts, a => a.Failure is null);
        });
    }
}
