using Akka.Actor;
using Akka.Hosting;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Contracts.Keda;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Deployment.Tests.Support;
using EdgeFarm.Server;
using Grpc.Core;
using YamlDotNet.Serialization;

namespace EdgeFarm.Deployment.Tests.Scaling;

/// <summary>Workers of a Deployment come and go as the scaler says: real coordinator, real links, jobs that the test holds.</summary>
public sealed class KedaScenarios : IAsyncLifetime
{
    private readonly GatedRunner _runner = new();
    private ScaledFarm _farm = null!;

    public async Task InitializeAsync() => _farm = await ScaledFarm.StartAsync();

    public async Task DisposeAsync() => await _farm.DisposeAsync();

    [Fact]
    public async Task Workers_come_from_none_while_a_sweep_waits_and_go_when_it_is_done()
    {
        await using var keda = Keda(TimeSpan.FromMinutes(5), maximum: 3);
        await keda.UntilAsync(replicas => replicas == 0, "nothing waits and nobody runs");

        await _farm.SubmitAsync("s-1", [.. Enumerable.Repeat<Func<string, int, JobSpec>>(TestSweeps.Pass, 5)]);
        await keda.UntilAsync(_ => keda.Pods.Count == 3 && _runner.Started.Count == 3, "three pods run a job each");
        Assert.Contains(5.0, keda.Told);

        // The queue empties; the leases alone keep the workers.
        var since = keda.Told.Count;
        var opened = new HashSet<string>();
        for (var left = 5; left > 0; left--)
        {
            var next = _runner.Started.First(j => !opened.Contains(j));
            opened.Add(next);
            _runner.Open(next);
            await keda.UntilAsync(_ => keda.Told[^1] == left - 1 && _runner.Started.Distinct().Count() >= Math.Min(5, opened.Count + Math.Min(3, left - 1)), $"{left - 1} jobs are left");
            Assert.Equal(Math.Min(3, left - 1), keda.Pods.Count);
        }

        Assert.All(keda.Told.Skip(since).SkipLast(1), jobs => Assert.True(jobs > 0));
        await keda.UntilAsync(replicas => replicas == 0, "nobody runs any more");
        await keda.StoppedAsync();
        await AllDoneAsync("s-1", 5);
    }

    [Fact]
    public async Task A_scale_in_that_takes_a_benchmarks_pod_waits_for_the_benchmark()
    {
        await using var keda = Keda(TimeSpan.FromMinutes(30), maximum: 2);
        await _farm.SubmitAsync("s-1", [(id, n) => TestSweeps.Benchmark(id, n, "a"), (id, n) => TestSweeps.Benchmark(id, n, "b")]);
        await keda.UntilAsync(_ => _runner.Started.Count == 2, "two pods run a benchmark each");

        // One ends; one pod is too many, and Kubernetes takes the one that measures.
        var (measuring, ended) = (_runner.Started.Last(), _runner.Started.First());
        var holder = (await _farm.Farm.FleetAsync(default)).Workers.Single(w => w.Held.Any(h => h.Key.JobId == measuring)).Capability.Worker;
        keda.Victim = pods => pods.SingleOrDefault(p => p.Name == holder);
        _runner.Open(ended);
        await keda.UntilAsync(_ => keda.Pods.All(p => p.Name != holder), "the pod that measures is asked to stop");

        Assert.Equal(1, await keda.PollAsync());
        keda.Victim = pods => pods[^1];
        _runner.Open(measuring);
        await keda.StoppedAsync();
        await keda.UntilAsync(replicas => replicas == 0, "all is done");
        Assert.Equal(2, _runner.Started.Count);
        await AllDoneAsync("s-1", 2);
    }

    [Fact]
    public async Task A_benchmark_that_outlasts_the_grace_is_handed_back_and_measured_by_another_pod()
    {
        await using var keda = Keda(TimeSpan.Zero, maximum: 1);
        await _farm.SubmitAsync("s-1", [(id, n) => TestSweeps.Benchmark(id, n, "a")]);
        await keda.UntilAsync(_ => _runner.Started.Count == 1, "a pod measures");

        keda.Delete(keda.Pods.Single());
        await keda.StoppedAsync();
        await keda.UntilAsync(_ => _runner.Started.Count == 2, "another pod measures it again");
        _runner.Open("s-1/0");
        await keda.UntilAsync(replicas => replicas == 0, "all is done");
        var done = await AllDoneAsync("s-1", 1);

        // The attempt shows as handed back; that is no failure of the job and no loss of a worker.
        Assert.All(done.Jobs.Single().Attempts.Where(a => a.Failure is not null), a => Assert.Equal(FailureType.HandedBack, a.Failure!.Type));
        Assert.Null(done.Jobs.Single().Attempts[^1].Failure);
    }

    [Fact]
    public async Task Without_a_dispatcher_nothing_is_told_and_the_pods_stay()
    {
        // Nobody will acknowledge the job's result, so a pod that waited for that would take its whole grace to stop.
        await using var keda = Keda(TimeSpan.Zero, maximum: 1);
        await _farm.SubmitAsync("s-1", [TestSweeps.Pass]);
        await keda.UntilAsync(_ => _runner.Started.Count == 1, "a pod runs the job");

        var dispatcher = await _farm.Services.GetRequiredService<IRequiredActor<DispatcherKey>>().GetAsync();
        await dispatcher.GracefulStop(TimeSpan.FromMinutes(1));
        var error = await Assert.ThrowsAsync<RpcException>(async () => await keda.Scaler.IsActiveAsync(Scaled));
        Assert.Equal(StatusCode.Unavailable, error.StatusCode);
        Assert.Null(await keda.PollAsync());
        Assert.Single(keda.Pods);
        _runner.Open("s-1/0");
    }

    [Fact]
    public async Task The_health_check_of_the_compose_file_tells_a_coordinator_that_is_ready_from_one_that_is_not()
    {
        var compose = new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build()
            .Deserialize<Dictionary<string, object>>(await File.ReadAllTextAsync(Checkout.Find("docker-compose.cluster.yml")));
        var test = ((List<object>)((Dictionary<object, object>)((Dictionary<object, object>)compose["x-coordinator"])["healthcheck"])["test"]).Cast<string>().ToArray();
        Assert.Equal("CMD", test[0]);
        async Task<int> CheckAsync(int port) => (await Tool.RunAsync(test[1], test[2..^1].Append(test[^1].Replace("/5081 ", $"/{port} ", StringComparison.Ordinal)))).ExitCode;

        Assert.Equal(0, await CheckAsync(_farm.Http.Port));
        Assert.NotEqual(0, await CheckAsync(1));
    }

    private static ScaledObjectRef Scaled
    {
        get
        {
            var scaled = new ScaledObjectRef { Name = "edgefarm-worker-cpu-x64", Namespace = "edgefarm" };
            scaled.ScalerMetadata["deviceClass"] = "cpu-x64";
            scaled.ScalerMetadata["workers"] = "cpu-x64: os=linux arch=x64 device.kind=cpu\ncuda: os=linux arch=x64 device.kind=gpu gpu.vendor=nvidia";
            return scaled;
        }
    }

    private Keda Keda(TimeSpan drain, int maximum)
    {
        var template = WorkerTemplate.ParseAll(Scaled.ScalerMetadata["workers"], BuiltInToolchains.Catalog).Value[0];
        return new Keda(_farm, template, Scaled, _runner, drain, maximum);
    }

    private async Task<SweepChange> AllDoneAsync(string sweep, int jobs)
    {
        var snapshot = (await _farm.Farm.SnapshotAsync(sweep, default)).Value;
        Assert.Equal(SweepStatus.Completed, snapshot.Sweep.Status);
        Assert.Equal(jobs, snapshot.Jobs.Length);
        Assert.All(snapshot.Jobs, j => Assert.Equal(JobStatus.Succeeded, j.Status));
        return snapshot;
    }
}
