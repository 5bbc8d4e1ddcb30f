using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using static EdgeFarm.Core.Tests.TestFarm;

namespace EdgeFarm.Core.Tests.Dispatch;

public sealed class DemandTests
{
    private static readonly ImmutableArray<WorkerTemplate> Templates = WorkerTemplate.ParseAll(
        """
        cpu-x64: os=linux arch=x64 device.kind=cpu
        cpu-arm64: os=linux arch=arm64 device.kind=cpu
        cuda: os=linux arch=x64 device.kind=gpu gpu.vendor=nvidia
        """,
        new ToolchainCatalog([TestCatalog.LlamaCpp])).Value;

    private readonly Harness _farm = new();

    [Fact]
    public void Jobs_count_while_no_worker_is_there()
    {
        _farm.Queue(Job("s/0"), Job("s/1"), Needs("s/2", "arch", "arm64"), Needs("s/3", "gpu.vendor", "nvidia"), Needs("s/4", "os", "macos"));

        Assert.Equal([("cpu-x64", 2, 0), ("cpu-arm64", 1, 0), ("cuda", 1, 0)], Demand());
        Assert.Equal(1, _farm.State.Demand(Templates).Unserved);
    }

    [Fact]
    public void A_job_counts_for_the_first_class_that_could_run_it_only()
    {
        _farm.Queue(Job("s/0"), Needs("s/1", "os", "linux"), Needs("s/2", "arch", "x64"));
        Assert.Equal([("cpu-x64", 3, 0), ("cpu-arm64", 0, 0), ("cuda", 0, 0)], Demand());

        ImmutableArray<WorkerTemplate> reversed = [.. Templates.Reverse()];
        Assert.Equal([("cuda", 3), ("cpu-arm64", 0), ("cpu-x64", 0)], _farm.State.Demand(reversed).Classes.Select(c => (c.DeviceClass, c.Waiting)));
    }

    [Fact]
    public void A_leased_job_counts_for_the_class_of_its_worker_until_its_result_is_durable()
    {
        _farm.Queue(Job("s/0"), Job("s/1"), Job("s/2"));

        // A GPU worker takes a job that a CPU worker would have served: it must not be scaled away under it.
        _farm.Link(Of("cuda", "w", "h"));
        Assert.Equal([("cpu-x64", 2, 0), ("cpu-arm64", 0, 0), ("cuda", 0, 1)], Demand());

        var given = _farm.Leases.Single();
        _farm.Report(given);
        Assert.Equal([("cpu-x64", 2, 0), ("cpu-arm64", 0, 0), ("cuda", 0, 1)], Demand());

        _farm.Do(new DispatchInput.ResultsStored("s", [given.Lease.Key]));
        Assert.Equal([("cpu-x64", 2, 0), ("cpu-arm64", 0, 0), ("cuda", 0, 0)], Demand());
    }

    [Fact]
    public void A_worker_without_a_class_of_its_own_counts_for_that_of_its_device()
    {
        _farm.Link(Capability("lab", "h"));
        _farm.Queue(Job("s/0"), Job("s/1"), Job("s/2"));
        Assert.Equal([("cpu-x64", 1, 2), ("cpu-arm64", 0, 0), ("cuda", 0, 0)], Demand());
    }

    [Fact]
    public void A_lost_link_does_not_take_its_leases_out_of_the_count()
    {
        _farm.Link(Of("cuda", "w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Do(new DispatchInput.LinkLost("w"));
        Assert.Equal(1, _farm.State.Demand(Templates).Find("cuda")!.Jobs);
    }

    [Fact]
    public void A_job_that_was_handed_back_waits_though_its_sweep_has_not_queued_it_again()
    {
        _farm.Link(Of("cpu-x64", "w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Do(new DispatchInput.LeaseReturned("w", _farm.Leases.Single().Lease.Key));
        Assert.Equal(("cpu-x64", 1, 0), Demand()[0]);
    }

    [Fact]
    public void Benchmarks_bound_to_a_device_count_for_the_class_that_has_it()
    {
        // Both classes could run them, and the GPU machine was there first.
        var group = "tiny|llama.cpp|any|0";
        _farm.Link(Of("cuda", "w", "h"));
        _farm.Queue(Benchmark("s/0", group), Benchmark("s/1", group), Benchmark("s/2", group));
        Assert.Equal([("cpu-x64", 0, 0), ("cpu-arm64", 0, 0), ("cuda", 2, 1)], Demand());
    }

    [Fact]
    public void Jobs_that_wait_for_equal_work_need_no_worker()
    {
        var twin = Job("t/0") with { Parameters = Job("s/0").Parameters };
        _farm.Queue(Job("s/0"));
        _farm.Queue(twin);
        Assert.Equal(Ready(Job("s/0")).Action, Ready(twin).Action);
        Assert.Equal(("cpu-x64", 1, 0), Demand()[0]);
    }

    private (string Class, int Waiting, int Leased)[] Demand() =>
        [.. _farm.State.Demand(Templates).Classes.Select(c => (c.DeviceClass, c.Waiting, c.Leased))];

    private static JobSpec Needs(string id, string property, string value) =>
        Job(id) with { Requirements = Job(id).Requirements with { Properties = [new(property, value)] } };

    /// <summary>A worker as its class's template says, with one slot.</summary>
    private static WorkerCapability Of(string deviceClass, string worker, string host) =>
        Templates.Single(t => t.DeviceClass == deviceClass).Worker with { Worker = worker, HostId = host, Slots = 1 };
}
