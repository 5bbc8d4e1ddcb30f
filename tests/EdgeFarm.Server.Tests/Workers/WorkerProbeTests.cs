using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Server.Workers;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.Hosts;

namespace EdgeFarm.Server.Tests.Workers;

public sealed class WorkerProbeTests : IDisposable
{
    private readonly WorkerFixture _worker = new();

    public void Dispose() => _worker.Dispose();

    [Fact]
    public async Task It_advertises_the_machine_and_what_engines_answered_in_a_child_process()
    {
        var labels = ImmutableSortedDictionary<string, string>.Empty.Add("rack", "7");
        var identity = new WorkerIdentity("w1", labels, 3, _worker.Scratch);

        var found = await WorkerProbe.RunAsync(identity, await WorkerFixture.HostAsync(), ["hostile", "nothing"], WorkerFixture.Hosts, default);

        var worker = found.Capability;
        Assert.Equal(("w1", 3, "7"), (worker.Worker, worker.Slots, worker.Labels["rack"]));
        Assert.Equal("hostile", Assert.Single(worker.Toolchains).Identity.Id);
        Assert.Equal("cpu", worker.Devices[0].Id);

        // gpu:1 is listed by its driver, and ends the process that computes on it.
        Assert.Equal<string>(["cpu", "gpu:0"], Assert.Single(worker.Runtimes).Devices);
        Assert.Contains(worker.Devices, d => d.Id == "gpu:0");
        Assert.DoesNotContain(worker.Devices, d => d.Id == "gpu:1");
        Assert.Equal(
            "gpu:1 is here and does not compute: driver error: the kernel was made by a newer toolchain. Update the driver.",
            found.Engines.Single(e => e.Engine == "hostile").Probe!.Notes[^1]);
        Assert.Equal(FailureType.Unsupported, found.Engines.Single(e => e.Engine == "nothing").Failure!.Type);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_worker.Scratch));
    }

    [Fact]
    public void A_device_that_host_and_engine_both_found_is_one_device()
    {
        var none = ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal);
        var host = new HostReport(
            "h", none, [new Device("cuda:0", "gpu", none.Add("driver", PropertyValue.Of("1")), 0, "card; driver 1")], 1, []);
        var identity = new EngineIdentity("e", "1", "");
        var probe = new EngineProbe(
            null,
            new RuntimeInfo(identity, "", "", ["gguf"], ["cuda:0", "cuda:9"]),
            [new Device("cuda:0", "gpu", none.Add("driver", PropertyValue.Of("2")).Add("backend", PropertyValue.Of("b")), 99, "other")],
            []);

        var worker = WorkerProbe.Combine(new WorkerIdentity("w", ImmutableSortedDictionary<string, string>.Empty, 1, ""), host, [probe]);

        var device = Assert.Single(worker.Devices);
        Assert.Equal(("1", "b", 99L, "card; driver 1"), (device.Properties["driver"].Text, device.Properties["backend"].Text, device.MemoryBytes, device.Fingerprint));

        // A device that nobody found cannot be leased.
        Assert.Equal<string>(["cuda:0"], worker.Runtimes[0].Devices);
    }
}
