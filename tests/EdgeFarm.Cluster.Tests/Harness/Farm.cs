using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace EdgeFarm.Cluster.Tests.Harness;

/// <summary>An embedded farm as a process of its own, in a directory of its own.</summary>
internal sealed class Farm : IAsyncDisposable
{
    private readonly int _workers;

    private readonly IReadOnlyDictionary<string, string> _environment;

    private Farm(string directory, int workers, IReadOnlyDictionary<string, string> environment)
    {
        _environment = environment;
        Directory = directory;
        _workers = workers;
        (Port, HttpPort) = (FreePort(), FreePort());
    }

    public string Directory { get; }

    public int Port { get; }

    public int HttpPort { get; }

    public string Url => $"http://127.0.0.1:{Port}";

    public string DataDirectory => Path.Combine(Directory, "data");

    public CliProcess Up { get; private set; } = null!;

    public static async Task<Farm> StartAsync(int workers = 1, IReadOnlyDictionary<string, string>? environment = null)
    {
        var farm = new Farm(
            System.IO.Directory.CreateTempSubdirectory("edgefarm-test-").FullName, workers, environment ?? new Dictionary<string, string>());
        await farm.StartUpAsync();
        return farm;
    }

    /// <summary>Starts <c>up</c> on the data directory, for the first time or again, and waits until its workers are linked.</summary>
    public async Task StartUpAsync()
    {
        Up = CliProcess.Start(
            Directory, _environment, null, "up", "--data", DataDirectory, "--workers", $"{_workers}", "--listen", Url, "--http", $"http://127.0.0.1:{HttpPort}");
        await Until(async () => await TryWorkersAsync() is { } linked && linked.Length >= _workers, "the farm is up and its workers are linked");
    }

    public Task<CliRun> RunAsync(params string[] arguments) => Cli.RunAsync(Directory, [.. arguments, "--farm", Url]);

    public async Task<JsonElement> JsonAsync(params string[] arguments) => (await RunAsync([.. arguments, "--json"])).Expect(0).Json();

    public async Task<JsonElement[]> EntriesAsync(string sweep) =>
        [.. (await JsonAsync("leaderboard", "--sweep", sweep)).GetProperty("entries").EnumerateArray()];

    public async Task<JsonElement[]> JobsAsync(string sweep) => [.. (await JsonAsync("jobs", sweep)).GetProperty("jobs").EnumerateArray()];

    public async Task<JsonElement> SweepAsync(string sweep) =>
        (await JsonAsync("sweeps")).GetProperty("sweeps").EnumerateArray().Single(s => s.GetProperty("id").GetString() == sweep);

    public async Task<JsonElement[]> WorkersAsync() => await TryWorkersAsync() ?? throw new InvalidOperationException($"the farm does not answer\n{Up.Log}");

    public string Write(string name, string content)
    {
        var path = Path.Combine(Directory, name);
        File.WriteAllText(path, content);
        return path;
    }

    private async Task<JsonElement[]?> TryWorkersAsync()
    {
        var run = await RunAsync("workers", "--json");
        return run.ExitCode == 0 ? [.. run.Json().GetProperty("workers").EnumerateArray()] : null;
    }

    /// <summary>Waits for a condition; the bound is there so that a broken farm fails the test instead of hanging it.</summary>
    public async Task Until(Func<Task<bool>> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            if (Up.HasExited)
            {
                throw new InvalidOperationException($"the farm ended with {Up.ExitCode} while waiting until {what}\n{Up.Log}");
            }

            if (clock.Elapsed > Cli.Patience)
            {
                throw new TimeoutException($"not within {Cli.Patience}: {what}\n{Up.Log}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50));
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Up.DisposeAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
