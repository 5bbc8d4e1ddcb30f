using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace EdgeFarm.Cluster.Tests.Harness;

/// <summary>One coordinator or worker of a cluster: a process that can be started, killed and started again.</summary>
internal abstract class ClusterNode(string name, string directory, string address, string? networkNamespace) : IAsyncDisposable
{
    /// <summary>The network namespace that it runs in, or null for the machine's.</summary>
    protected string? NetworkNamespace { get; } = networkNamespace;

    public string Name { get; } = name;

    public string Address { get; } = address;

    public string Directory { get; } = directory;

    public CliProcess? Process { get; private set; }

    public bool IsRunning => Process is { HasExited: false };

    /// <summary>Whether nothing reaches it now, so that asking it would only take time.</summary>
    public bool IsCutOff { get; set; }

    public void Start() => Process = CliProcess.Start(Directory, Environment, NetworkNamespace, [.. Arguments]);

    /// <summary>SIGKILL.</summary>
    public async Task KillAsync() => await Process!.KillAsync();

    public async ValueTask DisposeAsync()
    {
        if (Process is not null)
        {
            await Process.DisposeAsync();
        }
    }

    protected abstract IReadOnlyDictionary<string, string> Environment { get; }

    protected abstract IEnumerable<string> Arguments { get; }

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}

/// <summary>What /cluster tells.</summary>
internal sealed record ClusterView(bool Dispatcher, string[] Sweeps, int Up);

/// <summary>A coordinator.</summary>
internal sealed class CoordinatorNode(string name, string directory, string address, string? networkNamespace, string database)
    : ClusterNode(name, directory, address, networkNamespace)
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(5) };

    public int GrpcPort { get; } = FreePort();

    public int HttpPort { get; } = FreePort();

    public int ClusterPort { get; } = FreePort();

    public Uri Url => new($"http://{Address}:{GrpcPort}");

    public string Seeds { get; set; } = "";

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>
    {
        ["EDGEFARM__DATABASE__PROVIDER"] = "postgresql",
        ["EDGEFARM__DATABASE__CONNECTIONSTRING"] = database,
        ["EDGEFARM__ARTIFACTS__DIRECTORY"] = Path.Combine(Directory, "artifacts"),
        ["EDGEFARM__CLUSTER__HOST"] = Address,
        ["EDGEFARM__CLUSTER__PORT"] = $"{ClusterPort}",
        ["EDGEFARM__CLUSTER__SEEDS"] = Seeds,
    };

    protected override IEnumerable<string> Arguments =>
    [
        "coordinator", "--listen", Url.GetLeftPart(UriPartial.Authority), "--http", $"http://{Address}:{HttpPort}", "--data", Path.Combine(Directory, Name), "--verbose", "--insecure",
    ];

    /// <summary>What it sees; null when it does not answer.</summary>
    public async Task<ClusterView?> ViewAsync()
    {
        try
        {
            var json = JsonDocument.Parse(await Http.GetStringAsync($"http://{Address}:{HttpPort}/cluster")).RootElement;
            return new ClusterView(
                json.GetProperty("dispatcher").GetBoolean(),
                [.. json.GetProperty("sweeps").EnumerateArray().Select(s => s.GetString()!)],
                json.GetProperty("members").EnumerateArray().Count(m => m.GetProperty("status").GetString() == "Up" && m.GetProperty("reachable").GetBoolean()));
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or IOException)
        {
            return null;
        }
    }

    /// <summary>Whether its readiness endpoint says so.</summary>
    public async Task<bool> IsReadyAsync()
    {
        try
        {
            using var answer = await Http.GetAsync(new Uri($"http://{Address}:{HttpPort}/health/ready"));
            return answer.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or IOException)
        {
            return false;
        }
    }
}

/// <summary>A worker of one slot, with the gated job host.</summary>
internal sealed class WorkerNode(string name, string directory, string address, string? networkNamespace, string gate, int drainSeconds)
    : ClusterNode(name, directory, address, networkNamespace)
{
    public string Farm { get; set; } = "";

    /// <summary>Whether results are on its disk that nobody has acknowledged.</summary>
    public bool KeepsResults => new FileInfo(Path.Combine(Directory, Name, "results", "results.log")) is { Exists: true, Length: > 0 };

    protected override IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>
    {
        ["EDGEFARM_JOBHOST"] = Checkout.GateHostDll,
        ["EDGEFARM_TEST_GATE"] = gate,

        // Hosts of their own have locks of their own: a cut-off one keeps its machine's while it tries to upload.
        ["EDGEFARM_MACHINE_LOCK"] = Path.Combine(Directory, NetworkNamespace is null ? "machine" : $"machine-{Name}"),
    };

    protected override IEnumerable<string> Arguments =>
        ["worker", "--farm", Farm, "--name", Name, "--slots", "1", "--drain", $"{drainSeconds}", "--data", Path.Combine(Directory, Name), "--verbose"];
}
