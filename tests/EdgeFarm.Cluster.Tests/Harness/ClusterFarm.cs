using System.Diagnostics;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Tests.Shared;
using Grpc.Core;

namespace EdgeFarm.Cluster.Tests.Harness;

/// <summary>
/// Three coordinators, three workers and a PostgreSQL, each a process of its own; passes of their sweeps wait at a gate that the test
/// opens. With a network, each of the six is a host of its own.
/// </summary>
internal sealed class ClusterFarm : IAsyncDisposable
{
    private const int DrainSeconds = 2;

    private readonly Dictionary<CoordinatorNode, EdgeFarmClient> _clients = [];

    private ClusterFarm(string directory, PostgresServer database, NetworkHosts? network)
    {
        Directory = directory;
        Database = database;
        Gate = new Gate(Path.Combine(directory, "gate"));
        Coordinators = [.. Enumerable.Range(1, 3).Select(i => new CoordinatorNode(
            $"c{i}", directory, network?.Address(i) ?? "127.0.0.1", network?.Namespace(i), database.ConnectionString))];
        Workers = [.. Enumerable.Range(1, 3).Select(i => new WorkerNode(
            $"w{i}", directory, network?.Address(i + 3) ?? "127.0.0.1", network?.Namespace(i + 3), Gate.Directory, DrainSeconds))];
        foreach (var (coordinator, i) in Coordinators.Select((c, i) => (c, i)))
        {
            coordinator.Seeds = string.Join(",", Coordinators.Select(c => $"{c.Address}:{c.ClusterPort}"));
            _clients[coordinator] = new EdgeFarmClient(coordinator.Url);

            // Each begins with another coordinator.
            Workers[i].Farm = string.Join(",", Enumerable.Range(0, 3).Select(n => Coordinators[(i + n) % 3].Url.GetLeftPart(UriPartial.Authority)));
        }
    }

    public string Directory { get; }

    public PostgresServer Database { get; }

    public Gate Gate { get; }

    public CoordinatorNode[] Coordinators { get; }

    public WorkerNode[] Workers { get; }

    public static async Task<ClusterFarm> StartAsync(NetworkHosts? network = null)
    {
        var directory = System.IO.Directory.CreateTempSubdirectory("edgefarm-cluster-").FullName;
        var database = network is null
            ? await PostgresServer.StartAsync(directory)
            : await PostgresServer.StartAsync(directory, network.Gateway, network.Subnet);
        var farm = new ClusterFarm(directory, database, network);
        await farm.EnsureAsync();
        return farm;
    }

    /// <summary>Starts what does not run, and waits until three coordinators are Up and three workers linked.</summary>
    public async Task EnsureAsync()
    {
        foreach (var node in Coordinators.Concat<ClusterNode>(Workers).Where(n => !n.IsRunning))
        {
            node.Start();
        }

        await UpAsync();
    }

    /// <summary>Waits until three coordinators are Up and three workers linked; none is started for that.</summary>
    public async Task UpAsync()
    {
        await Until(async () => (await Task.WhenAll(Coordinators.Select(c => c.ViewAsync()))).All(v => v?.Up == 3), "three coordinators are Up");
        await Until(async () => (await WorkersAsync()).Length == 3, "three workers are linked");
    }

    /// <summary>Submits a sweep of three passes (two forms and the baseline), and waits until each of three workers holds one at the gate.</summary>
    public async Task SubmitHeldAsync(string id)
    {
        Gate.Close();
        await SubmitAsync(id, Coordinators[0]);
        await Until(() => Task.FromResult(Gate.Started(GatedJobs.Pass).Length == 3), "three passes wait at the gate");
    }

    public async Task SubmitAsync(string id, CoordinatorNode coordinator)
    {
        var path = Path.Combine(Directory, "sweep.yaml");
        await File.WriteAllTextAsync(path, SweepFiles.Llama("bundled:edgefarm-tiny", "Q8_0, Q4_K_M", "gated"));
        (await Cli.RunAsync(Directory, "submit", path, "--id", id, "--fresh", "--farm", coordinator.Url.GetLeftPart(UriPartial.Authority))).Expect(0);
    }

    /// <summary>The coordinator with the dispatcher.</summary>
    public async Task<CoordinatorNode> DispatcherAsync()
    {
        CoordinatorNode? found = null;
        await Until(async () => (found = (await FindAsync(v => v.Dispatcher)).FirstOrDefault()) is not null, "a coordinator has the dispatcher");
        return found!;
    }

    /// <summary>The coordinator that holds a sweep.</summary>
    public async Task<CoordinatorNode> HolderAsync(string sweep)
    {
        CoordinatorNode? found = null;
        await Until(async () => (found = (await FindAsync(v => v.Sweeps.Contains(sweep))).FirstOrDefault()) is not null, $"a coordinator holds sweep {sweep}");
        return found!;
    }

    /// <summary>Linked workers, by whichever coordinator answers; empty when none does.</summary>
    public async Task<Worker[]> WorkersAsync() =>
        await TryAsync(async c => (await c.Fleet.ListWorkersAsync(new ListWorkersRequest(), deadline: Soon)).Workers.ToArray()) ?? [];

    /// <summary>Jobs as the rows have them.</summary>
    public async Task<Job[]> JobsAsync(string sweep)
    {
        Job[]? jobs = null;
        await Until(
            async () => (jobs = await TryAsync(async c => (await c.Jobs.ListJobsAsync(new ListJobsRequest { Sweep = sweep }, deadline: Soon)).Jobs.ToArray())) is not null,
            "the jobs are listed");
        return jobs!;
    }

    /// <summary>Waits until the rows say that a sweep has completed; nothing asks the sweep itself.</summary>
    public Task CompletedAsync(string sweep) => Until(
        async () => (await TryAsync(async c => await c.Sweeps.GetSweepAsync(new GetSweepRequest { Id = sweep }, deadline: Soon)))?.Status == SweepStatus.Completed,
        $"sweep {sweep} completed");

    /// <summary>Waits for a condition; the bound is there so that a broken cluster fails the test instead of hanging it.</summary>
    public async Task Until(Func<Task<bool>> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            if (clock.Elapsed > TimeSpan.FromMinutes(6))
            {
                throw new TimeoutException($"not within {clock.Elapsed}: {what}\n{Logs()}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100));
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients.Values)
        {
            client.Dispose();
        }

        foreach (var node in Workers.Concat<ClusterNode>(Coordinators))
        {
            await node.DisposeAsync();
        }

        if (Environment.GetEnvironmentVariable("EDGEFARM_TEST_LOGS") is { } logs)
        {
            foreach (var node in Coordinators.Concat<ClusterNode>(Workers))
            {
                await File.WriteAllTextAsync(Path.Combine(logs, node.Name + ".log"), node.Process?.Log);
            }
        }

        await Database.DisposeAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private static DateTime Soon => DateTime.UtcNow.AddSeconds(20);

    private async Task<IEnumerable<CoordinatorNode>> FindAsync(Func<ClusterView, bool> condition)
    {
        var views = await Task.WhenAll(Coordinators.Where(c => c.IsRunning).Select(async c => (Node: c, View: await c.ViewAsync())));
        return views.Where(v => v.View is not null && condition(v.View)).Select(v => v.Node);
    }

    private async Task<T?> TryAsync<T>(Func<EdgeFarmClient, Task<T>> ask)
        where T : class
    {
        foreach (var coordinator in Coordinators.Where(c => c is { IsRunning: true, IsCutOff: false }))
        {
            try
            {
                return await ask(_clients[coordinator]);
            }
            catch (RpcException)
            {
                // Another may answer.
            }
        }

        return null;
    }

    private string Logs() => string.Join("\n", Coordinators.Concat<ClusterNode>(Workers).Select(n =>
    {
        var log = n.Process?.Log ?? "";
        return $"--- {n.Name}{(n.IsRunning ? "" : " (ended)")}\n{log[^Math.Min(log.Length, 6000)..]}";
    }));
}

/// <summary>Operations of jobs as the gated job host writes them.</summary>
internal static class GatedJobs
{
    public const string Pass = "GgufQuantization";
    public const string Benchmark = "Benchmark";
}

/// <summary>The gate at which passes wait, and what has started.</summary>
internal sealed class Gate
{
    private readonly string _hold;
    private readonly string _started;
    private readonly HashSet<string> _earlier = [];

    public Gate(string directory)
    {
        Directory = directory;
        (_hold, _started) = (Path.Combine(directory, "hold"), Path.Combine(directory, "started"));
        System.IO.Directory.CreateDirectory(_started);
    }

    public string Directory { get; }

    /// <summary>From now on passes wait; what has started before is forgotten.</summary>
    public void Close()
    {
        _earlier.UnionWith(Files());
        File.WriteAllText(_hold, "");
    }

    public void Open() => File.Delete(_hold);

    /// <summary>Jobs of an operation that started since it was closed, as parameters and output directory.</summary>
    public (string Parameters, string Output)[] Started(string operation) =>
        [.. Files().Except(_earlier).Select(f => File.ReadAllText(f).Split('\t')).Where(w => w[0] == operation).Select(w => (w[1], w[2]))];

    private string[] Files() => System.IO.Directory.GetFiles(_started);
}
