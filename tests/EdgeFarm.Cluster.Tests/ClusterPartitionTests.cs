using System.Diagnostics;
using EdgeFarm.Cluster.Tests.Harness;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Tests.Shared;
using Xunit.Abstractions;

namespace EdgeFarm.Cluster.Tests;

/// <summary>Six hosts, one of which loses the others for a while: no connection is reset, packets just go nowhere.</summary>
[Collection(ClusterCollection.Name)]
public sealed class ClusterPartitionTests(ITestOutputHelper output)
{
    [SkippableFact]
    public Task A_worker_that_is_cut_off_comes_back_and_nothing_is_lost() => RunAsync(AWorkerIsCutOff);

    [SkippableFact]
    public Task A_coordinator_that_is_cut_off_comes_back_and_nothing_is_lost() => RunAsync(TheCoordinatorWithTheDispatcherIsCutOff);

    private static async Task RunAsync(Func<ClusterFarm, NetworkHosts, Task> scenario)
    {
        Skip.If(PostgresServer.Missing is not null, PostgresServer.Missing);
        var (network, reason) = NetworkHosts.TryCreate();
        Skip.If(network is null, reason);
        using (network)
        {
            await using var farm = await ClusterFarm.StartAsync(network);
            await scenario(farm, network);
        }
    }

    /// <summary>The farm gives its job to another; what it finishes meanwhile is worth nothing more, or is taken as the one result.</summary>
    private async Task AWorkerIsCutOff(ClusterFarm farm, NetworkHosts network)
    {
        await farm.SubmitHeldAsync("worker-cut");
        network.Cut(4);
        var clock = Stopwatch.StartNew();
        await farm.Until(async () => (await farm.WorkersAsync()).All(w => w.Name != "w1"), "the farm has noticed");
        output.WriteLine($"a cut-off worker is gone {clock.Elapsed.TotalSeconds:0.0} s after the cut");
        farm.Gate.Open();
        await farm.Until(() => Task.FromResult(farm.Gate.Started(GatedJobs.Pass).Length == 4), "its job runs elsewhere");
        output.WriteLine($"its job runs elsewhere {clock.Elapsed.TotalSeconds:0.0} s after the cut");
        network.Heal(4);
        await farm.CompletedAsync("worker-cut");
        AssertSucceeded(await farm.JobsAsync("worker-cut"));
        await farm.Until(async () => (await farm.WorkersAsync()).Length == 3, "the worker is back");
        await farm.Until(() => Task.FromResult(!farm.Workers[0].KeepsResults), "its result was settled");
    }

    /// <summary>The majority goes on; the one that was cut off gives up, starts anew and joins again. No job starts twice.</summary>
    private async Task TheCoordinatorWithTheDispatcherIsCutOff(ClusterFarm farm, NetworkHosts network)
    {
        await farm.SubmitHeldAsync("coordinator-cut");
        var victim = await farm.DispatcherAsync();
        var host = 1 + Array.IndexOf(farm.Coordinators, victim);
        network.Cut(host);
        victim.IsCutOff = true;
        var clock = Stopwatch.StartNew();
        await farm.Until(
            async () => (await Task.WhenAll(farm.Coordinators.Where(c => c != victim).Select(c => c.ViewAsync()))).Any(v => v is { Dispatcher: true }),
            "another has the dispatcher");
        await farm.Until(async () => (await farm.WorkersAsync()).Sum(w => w.Held.Count) == 3, "it has adopted what the workers hold");
        output.WriteLine($"another coordinator has adopted every lease {clock.Elapsed.TotalSeconds:0.0} s after the cut");
        farm.Gate.Open();
        await farm.Until(() => Task.FromResult(farm.Gate.Started(GatedJobs.Benchmark).Length > 0), "dispatch goes on");
        output.WriteLine($"dispatch goes on {clock.Elapsed.TotalSeconds:0.0} s after the cut");
        await farm.CompletedAsync("coordinator-cut");
        network.Heal(host);
        victim.IsCutOff = false;
        await farm.UpAsync();
        output.WriteLine($"the coordinator that was cut off is back {clock.Elapsed.TotalSeconds:0.0} s after the cut");

        var jobs = await farm.JobsAsync("coordinator-cut");
        AssertSucceeded(jobs);
        Assert.All(jobs, j => Assert.True(j.Attempts.Count == 1, j.ToString()));
        Assert.Equal(3, farm.Gate.Started(GatedJobs.Pass).Length);
    }

    private static void AssertSucceeded(Job[] jobs)
    {
        Assert.NotEmpty(jobs);
        Assert.All(jobs, job =>
        {
            Assert.Equal(JobStatus.Succeeded, job.Status);
            Assert.Single(job.Attempts, a => a.Failure is null);
        });
    }
}
