using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Server.Workers;

/// <summary>How a worker is to appear in the farm.</summary>
/// <param name="Worker">Its name, unique in the farm.</param>
/// <param name="Labels">Labels of its owner.</param>
/// <param name="Slots">Shared jobs that it runs at once, at least 1.</param>
/// <param name="ScratchDirectory">Directory of this worker alone.</param>
public sealed record WorkerIdentity(string Worker, ImmutableSortedDictionary<string, string> Labels, int Slots, string ScratchDirectory);

/// <summary>What one engine said of itself on this machine.</summary>
/// <param name="Engine">Its id.</param>
/// <param name="Probe">What it found, or null.</param>
/// <param name="Failure">Why it cannot be used here and how to get it, or null.</param>
public sealed record EngineFinding(string Engine, EngineProbe? Probe, Failure? Failure);

/// <summary>A worker's capability and how it was found.</summary>
/// <param name="Capability">What it advertises.</param>
/// <param name="Host">The machine.</param>
/// <param name="Engines">Every engine that was asked, in order.</param>
public sealed record WorkerFindings(WorkerCapability Capability, HostReport Host, ImmutableArray<EngineFinding> Engines);

/// <summary>Finds out what a worker can do: the machine, and each engine asked in a child process of its own.</summary>
public static class WorkerProbe
{
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(2);

    /// <summary>Probes the engines. An engine that cannot be used, crashes or hangs is left out of the capability and listed with its failure.</summary>
    /// <param name="identity">How the worker is to appear.</param>
    /// <param name="host">The machine.</param>
    /// <param name="engines">Ids of the engines to ask.</param>
    /// <param name="hosts">Starts children.</param>
    /// <param name="cancellationToken">Ends the probing.</param>
    public static async Task<WorkerFindings> RunAsync(
        WorkerIdentity identity, HostReport host, IEnumerable<string> engines, JobHostRunner hosts, CancellationToken cancellationToken)
    {
        using var scratch = ScratchSpace.Create(identity.ScratchDirectory);
        var findings = ImmutableArray.CreateBuilder<EngineFinding>();
        foreach (var engine in engines)
        {
            var run = await hosts.ProbeAsync(engine, new JobHostLimits(Timeout, scratch.Work), cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
            var probe = run.Probe;
            foreach (var device in probe?.Unproven ?? [])
            {
                if (await ProveAsync(engine, device, host, hosts, identity.ScratchDirectory, cancellationToken) is { } failure)
                {
                    probe = Without(probe!, device, failure);
                }
            }

            findings.Add(new EngineFinding(engine, probe, run.Failure));
        }

        return new WorkerFindings(Combine(identity, host, [.. findings.Select(f => f.Probe).OfType<EngineProbe>()]), host, findings.ToImmutable());
    }

    private static async Task<Failure?> ProveAsync(
        string engine, UnprovenDevice device, HostReport host, JobHostRunner hosts, string scratchDirectory, CancellationToken cancellationToken)
    {
        using var scratch = ScratchSpace.Create(scratchDirectory);
        var job = new JobHostJob
        {
            Kind = JobKind.Benchmark,
            Operation = UnprovenDevice.Proof,
            Parameters = ImmutableSortedDictionary<string, string>.Empty,
            Inputs = ImmutableSortedDictionary<string, InputFile>.Empty,
            OutputDirectory = scratch.Output,
            DeviceId = device.Id,
            AutoThreads = host.AutoThreads,
        };
        var run = await hosts.RunAsync(engine, job, new JobHostLimits(Timeout, scratch.Work), null, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        return run.Failure;
    }

    /// <summary>The probe without a device that did not compute, with a note that tells why and what to do.</summary>
    internal static EngineProbe Without(EngineProbe probe, UnprovenDevice device, Failure failure)
    {
        // A process that its driver ended says why in the last lines that it wrote.
        var lines = failure.LogTail.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        var said = lines.FirstOrDefault(line => line.Contains("error", StringComparison.OrdinalIgnoreCase)) ?? lines.LastOrDefault();
        var why = failure.Type == FailureType.Crashed && said is not null ? said : failure.Message;
        return probe with
        {
            Runtime = probe.Runtime is { } runtime ? runtime with { Devices = [.. runtime.Devices.Where(id => id != device.Id)] } : null,
            Devices = [.. probe.Devices.Where(d => d.Id != device.Id)],
            Notes = [.. probe.Notes, $"{device.Id} is here and does not compute: {why.TrimEnd('.')}. {device.Advice}"],
        };
    }

    /// <summary>One capability of what the machine and its engines told. A device that both found is one: the engine's properties add to the host's.</summary>
    internal static WorkerCapability Combine(WorkerIdentity identity, HostReport host, ImmutableArray<EngineProbe> probes)
    {
        var devices = host.Devices.ToList();
        foreach (var found in probes.SelectMany(p => p.Devices))
        {
            var at = devices.FindIndex(d => d.Id == found.Id);
            if (at < 0)
            {
                devices.Add(found);
            }
            else
            {
                var known = devices[at];
                devices[at] = known with
                {
                    Properties = found.Properties.SetItems(known.Properties),
                    MemoryBytes = known.MemoryBytes > 0 ? known.MemoryBytes : found.MemoryBytes,
                };
            }
        }

        var ids = devices.Select(d => d.Id).ToHashSet();
        return new WorkerCapability(
            host.HostId,
            identity.Worker,
            host.Properties,
            identity.Labels,
            [.. devices],
            [.. probes.Select(p => p.Runtime).OfType<RuntimeInfo>().Select(r => r with { Devices = [.. r.Devices.Where(ids.Contains)] })],
            [.. probes.Select(p => p.Toolchain).OfType<ToolchainInfo>()],
            identity.Slots);
    }
}
