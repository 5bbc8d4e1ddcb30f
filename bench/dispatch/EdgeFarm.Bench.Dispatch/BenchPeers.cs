using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Persistence;

namespace EdgeFarm.Bench.Dispatch;

/// <summary>The coordinators beside the one that measures, each in a process of its own.</summary>
internal sealed class BenchPeers : IAsyncDisposable
{
    private const string Answer = "answer ";

    private readonly List<Process> _processes = [];

    /// <summary>How this process joins them; null for a farm of one.</summary>
    public FarmClusterOptions? Cluster { get; private set; }

    /// <summary>Where workers link to them.</summary>
    public List<Uri> Urls { get; } = [];

    public static async Task<BenchPeers> StartAsync(string? connection, int coordinators)
    {
        var peers = new BenchPeers();
        if (coordinators < 2)
        {
            return peers;
        }

        var ports = FreePorts(coordinators);
        peers.Cluster = Options(ports[0], ports);
        foreach (var port in ports[1..])
        {
            var info = new ProcessStartInfo("dotnet") { RedirectStandardInput = true, RedirectStandardOutput = true };
            string[] arguments =
            [
                Assembly.GetExecutingAssembly().Location, "coordinator", connection ?? throw new ArgumentException("several coordinators need --postgres"),
                port.ToString(CultureInfo.InvariantCulture), string.Join(',', ports),
            ];
            Array.ForEach(arguments, info.ArgumentList.Add);
            var process = Process.Start(info)!;
            peers._processes.Add(process);
            peers.Urls.Add(new Uri(await AnswerAsync(process)));
        }

        return peers;
    }

    /// <summary>One of them: says where it listens, then its CPU seconds for each line, until stdin closes.</summary>
    public static async Task<int> RunAsync(string connection, int port, int[] ports)
    {
        await using var farm = await BenchFarm.StartAsync(FarmDatabaseOptions.PostgreSql(connection), Options(port, ports));
        Console.Out.WriteLine(Answer + farm.Url);
        using var self = Process.GetCurrentProcess();
        while (await Console.In.ReadLineAsync() is not null)
        {
            self.Refresh();
            Console.Out.WriteLine(Answer + self.TotalProcessorTime.TotalSeconds.ToString("R", CultureInfo.InvariantCulture));
        }

        return 0;
    }

    /// <summary>CPU seconds of them all.</summary>
    public async Task<double> CpuAsync()
    {
        var sum = 0.0;
        foreach (var process in _processes)
        {
            await process.StandardInput.WriteLineAsync("cpu");
            await process.StandardInput.FlushAsync();
            sum += double.Parse(await AnswerAsync(process), CultureInfo.InvariantCulture);
        }

        return sum;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            process.StandardInput.Close();
            await process.WaitForExitAsync();
            process.Dispose();
        }
    }

    private static FarmClusterOptions Options(int port, int[] ports) =>
        new("127.0.0.1", port) { Seeds = [.. ports.Select(p => ("127.0.0.1", p))], MinimumPeers = (ports.Length / 2) + 1 };

    /// <summary>The next line that is an answer; the log stands between them.</summary>
    private static async Task<string> AnswerAsync(Process process)
    {
        while (await process.StandardOutput.ReadLineAsync() is { } line)
        {
            if (line.StartsWith(Answer, StringComparison.Ordinal))
            {
                return line[Answer.Length..];
            }
        }

        throw new InvalidOperationException("a coordinator ended");
    }

    private static int[] FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToList();
        listeners.ForEach(l => l.Start());
        int[] ports = [.. listeners.Select(l => ((IPEndPoint)l.LocalEndpoint).Port)];
        listeners.ForEach(l => l.Stop());
        return ports;
    }
}
