using System.Runtime.InteropServices;
using EdgeFarm.Toolchains.Hosts;

namespace EdgeFarm.Toolchains.Tests.Hosts;

/// <summary>The prober on the machine that runs the tests.</summary>
public sealed class LiveHostTests : IDisposable
{
    private readonly string _state = Directory.CreateTempSubdirectory("edgefarm-state-").FullName;

    public void Dispose() => Directory.Delete(_state, recursive: true);

    [Fact]
    public async Task Describes_this_machine()
    {
        var report = await HostProber.ProbeAsync(new HostProbeOptions(_state), CancellationToken.None);

        Assert.Equal(RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant(), report.Text(HostPropertyNames.Arch));
        Assert.InRange(report.AutoThreads, 1, Environment.ProcessorCount);
        Assert.Equal("cpu", report.Devices[0].Id);
        Assert.True(report.Devices[0].MemoryBytes > 0);
        Assert.True(report.Number(HostPropertyNames.PhysicalCores) >= 1);
        Assert.True(report.Number(HostPropertyNames.LogicalCores) >= report.Number(HostPropertyNames.PhysicalCores));
        Assert.True(report.Number(HostPropertyNames.MemoryTotal) >= report.Number(HostPropertyNames.MemoryLimit));
        Assert.NotEmpty(report.Text(HostPropertyNames.CpuModel)!);
        Assert.NotEmpty(report.Features());
        Assert.Equal(report.Devices.Length, report.Devices.Select(d => d.Id).Distinct().Count());

        // Stable from one start to the next: the same id, the same fingerprint.
        var again = await HostProber.ProbeAsync(new HostProbeOptions(_state), CancellationToken.None);
        Assert.Equal(report.HostId, again.HostId);
        Assert.Equal(report.Devices.Select(d => d.Fingerprint), again.Devices.Select(d => d.Fingerprint));
    }

    [SkippableFact]
    public void Snapshots_of_this_machine_see_time_pass()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "the changing part is read on Linux");
        var before = EnvironmentSnapshot.Capture(TimeProvider.System);
        var started = Environment.CpuUsage.TotalTime;
        var deadline = Environment.TickCount64 + 30_000;
        EnvironmentSnapshot after;
        do
        {
            after = EnvironmentSnapshot.Capture(TimeProvider.System, before.Properties);
        }
        while (!EnvironmentSnapshot.Describe(before, after, TimeSpan.Zero).ContainsKey("cpu.others") && Environment.TickCount64 < deadline);

        var described = EnvironmentSnapshot.Describe(before, after, Environment.CpuUsage.TotalTime - started);
        Assert.True(described["load"].Number >= 0);
        Assert.True(described["cpu.others"].Number >= 0);
        Assert.InRange(described["cpu.steal"].Number!.Value, 0, 1);
    }

    [SkippableFact]
    public async Task Tools_that_are_missing_or_fail_are_values()
    {
        var source = new HostSource();
        Assert.False((await source.RunAsync("edgefarm-no-such-tool", [], CancellationToken.None)).IsInstalled);
        Skip.If(OperatingSystem.IsWindows(), "needs sh");
        var output = await source.RunAsync("sh", ["-c", "echo out; echo err >&2; exit 3"], CancellationToken.None);
        Assert.Equal((3, "out\n", "err\n"), (output.ExitCode, output.Output, output.Error));
    }

    [Fact]
    public async Task A_stored_id_is_one_for_all_workers_that_start_at_once()
    {
        var ids = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => MachineIdentity.Stored(_state))));
        Assert.Single(ids.Distinct());
        Assert.Equal(ids[0], MachineIdentity.Stored(_state));

        await File.WriteAllTextAsync(Path.Combine(_state, "machine-id"), "broken");
        Assert.Equal(32, MachineIdentity.Stored(_state).Length);
    }
}
