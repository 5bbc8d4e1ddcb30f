using System.Collections.Immutable;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Artifacts;
using EdgeFarm.Contracts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Workers;
using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.JobHosts;
using EdgeFarm.Toolchains.OnnxRuntime;

namespace EdgeFarm.Server.Hosting;

/// <summary>How a worker is to be.</summary>
/// <param name="Name">Unique in the farm.</param>
/// <param name="Directory">Directory of this worker alone.</param>
/// <param name="Farm">Addresses of coordinators.</param>
public sealed record EdgeFarmWorkerOptions(string Name, string Directory, ImmutableArray<Uri> Farm)
{
    /// <summary>Labels of its owner.</summary>
    public ImmutableSortedDictionary<string, string> Labels { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>Shared jobs that it runs at once, at least 1.</summary>
    public int Slots { get; init; } = 1;

    /// <summary>Token and authorities for the link.</summary>
    public FarmAccess Access { get; init; } = FarmAccess.None;

    /// <summary>How long running jobs may go on when the process is asked to stop.</summary>
    public TimeSpan Drain { get; init; } = TimeSpan.Zero;

    /// <summary>Whether it takes only jobs whose time limit is within <see cref="Drain"/>.</summary>
    public bool OnlyWhatFits { get; init; }

    /// <summary>Told the coordinator that the worker is linked to, and null when the link is lost.</summary>
    public Action<Uri?>? LinkChanged { get; init; }

    /// <summary>Workers of this machine, this one included, that run shared jobs at the same time.</summary>
    public int WorkersOnMachine { get; init; } = 1;
}

/// <summary>A worker that is ready to link.</summary>
/// <param name="Options">What its actor needs.</param>
/// <param name="Runner">Runs its leases.</param>
/// <param name="Results">Keeps its results.</param>
public sealed record PreparedWorker(FarmWorkerOptions Options, IJobRunner Runner, IResultStore Results);

/// <summary>Probes a machine once and makes workers of what was found.</summary>
public sealed class WorkerSetup
{
    private const string HostDirectory = "host";

    private readonly JobHostRunner _hosts;

    private WorkerSetup(WorkerFindings findings, JobHostRunner hosts) => (Findings, _hosts) = (findings, hosts);

    /// <summary>The machine and what each engine said of itself.</summary>
    public WorkerFindings Findings { get; }

    /// <summary>As <see cref="ProbeAsync(string, IReadOnlyDictionary{string, string}, CancellationToken)"/>, with no execution providers but those of the environment.</summary>
    /// <param name="directory">Directory for the probe and, on a machine without an id, for one.</param>
    /// <param name="cancellationToken">Ends the probing.</param>
    public static Task<Outcome<WorkerSetup>> ProbeAsync(string directory, CancellationToken cancellationToken) =>
        ProbeAsync(directory, ImmutableSortedDictionary<string, string>.Empty, cancellationToken);

    /// <summary>
    /// Probes the machine and its engines, each in a job host. Internal when there is no job host.
    /// </summary>
    /// <param name="directory">Directory for the probe and, on a machine without an id, for one.</param>
    /// <param name="executionProviders">Libraries of plug-in execution providers of ONNX Runtime, by name.</param>
    /// <param name="cancellationToken">Ends the probing.</param>
    public static async Task<Outcome<WorkerSetup>> ProbeAsync(
        string directory, IReadOnlyDictionary<string, string> executionProviders, CancellationToken cancellationToken)
    {
        var command = JobHostCommand.Locate();
        if (!command.IsOk)
        {
            return command.Failure!;
        }

        var state = Path.Combine(directory, HostDirectory);
        Directory.CreateDirectory(state);
        var host = await HostProber.ProbeAsync(new HostProbeOptions(state), cancellationToken);
        var hosts = new JobHostRunner(WithProviders(command.Value, executionProviders), TimeProvider.System);
        var identity = new WorkerIdentity("probe", ImmutableSortedDictionary<string, string>.Empty, 1, Path.Combine(state, "probe"));
        var findings = await WorkerProbe.RunAsync(
            identity, host, BuiltInToolchains.Catalog.Toolchains.Select(t => t.Identity.Id), hosts, cancellationToken);
        return new WorkerSetup(findings, hosts);
    }

    /// <summary>The command with these libraries beside those that the environment names.</summary>
    internal static JobHostCommand WithProviders(JobHostCommand command, IReadOnlyDictionary<string, string> providers)
    {
        const string Variable = OnnxRuntimeDescriptor.ProvidersVariable;
        var named = providers.Select(p => $"{p.Key}={p.Value}").Prepend(Environment.GetEnvironmentVariable(Variable) ?? "").Where(p => p.Length > 0);
        return providers.Count == 0 ? command : command with { Environment = command.Environment.SetItem(Variable, string.Join(';', named)) };
    }

    /// <summary>A worker of this machine.</summary>
    /// <param name="options">How it is to be.</param>
    /// <param name="store">Its artifact store.</param>
    /// <param name="exchange">How it reaches the farm's artifacts.</param>
    public PreparedWorker Prepare(EdgeFarmWorkerOptions options, IArtifactStore store, IArtifactExchange exchange)
    {
        WorkerCapability capability = Findings.Capability with { Worker = options.Name, Labels = options.Labels, Slots = options.Slots, DrainTime = options.OnlyWhatFits ? options.Drain : null };
        var settings = new JobRunnerSettings(
            Path.Combine(options.Directory, "scratch"), Findings.Host, JobRunnerSettings.DefaultMemoryLimit(Findings.Host))
        {
            SharedJobs = options.Slots * options.WorkersOnMachine,
        };
        var runner = new JobRunner(settings, store, exchange, _hosts, MachineLock.OfThisMachine(TimeProvider.System), TimeProvider.System);
        var linked = new FarmWorkerOptions(capability, options.Farm)
        {
            OpenChannel = url => EdgeFarmClient.CreateChannel(url, options.Access, LinkProtocol.KeepAliveInterval),
            DrainGrace = options.Drain,
            LinkChanged = options.LinkChanged,
        };
        return new PreparedWorker(linked, runner, new DiskResultStore(Path.Combine(options.Directory, "results")));
    }
}
