using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Reflection;
using Akka.Hosting;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace EdgeFarm.Bench.Dispatch;

/// <summary>A coordinator in this process, as production wires it, and its workers in another.</summary>
internal sealed class BenchFarm : IAsyncDisposable
{
    private readonly WebApplication _app;
    private Process? _workers;

    private BenchFarm(WebApplication app) => _app = app;

    public IFarm Farm => _app.Services.GetRequiredService<IFarm>();

    public IFarmQueries Queries => _app.Services.GetRequiredService<IFarmQueries>();

    /// <summary>Where workers link to it.</summary>
    public Uri Url => new(_app.Urls.Single());

    public static async Task<BenchFarm> StartAsync(FarmDatabaseOptions database, FarmClusterOptions? cluster = null)
    {
        var options = new FarmCoordinatorOptions(database)
        {
            Cluster = cluster,
            Limits = cluster is null ? DispatchLimits.Embedded : DispatchLimits.Cluster,
        };
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0, l => l.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddFarmCoordinator(options);
        builder.Services.AddAkka("edgefarm", (akka, _) =>
            akka.AddHocon("akka.loglevel = WARNING\nakka.stdout-loglevel = WARNING", HoconAddMode.Prepend).WithFarmCoordinator(options));
        var app = builder.Build();
        app.MapGrpcService<WorkerLinkService>();
        await app.StartAsync();
        return new BenchFarm(app);
    }

    public async Task StartWorkersAsync(IEnumerable<Uri> peers, int workers, int slots, string directory)
    {
        var info = new ProcessStartInfo("dotnet") { RedirectStandardInput = true, RedirectStandardOutput = true };
        string[] arguments =
        [
            Assembly.GetExecutingAssembly().Location, "worker", string.Join(',', peers.Prepend(Url)),
            workers.ToString(CultureInfo.InvariantCulture), slots.ToString(CultureInfo.InvariantCulture), directory,
        ];
        Array.ForEach(arguments, info.ArgumentList.Add);
        _workers = Process.Start(info)!;
        while (await LinkedAsync() < workers)
        {
            await Task.Delay(50);
        }
    }

    private async Task<int> LinkedAsync()
    {
        try
        {
            return (await Farm.FleetAsync(CancellationToken.None)).Workers.Length;
        }
        catch (FarmUnavailableException)
        {
            // The cluster forms.
            return 0;
        }
    }

    /// <summary>CPU seconds of the workers' process.</summary>
    public async Task<double> WorkerSecondsAsync() => (await AskWorkersAsync("cpu")).Cpu;

    /// <summary>When each job started at its worker, since the last call.</summary>
    public async Task<Dictionary<string, long>> StartsAsync() => (await AskWorkersAsync("starts")).Starts;

    public async Task FinishAsync(string sweep)
    {
        await foreach (var _ in Farm.WatchAsync(sweep, null, CancellationToken.None))
        {
        }
    }

    public async Task<SweepView> ViewAsync(string sweep)
    {
        while (true)
        {
            try
            {
                await Queries.CaughtUpAsync(CancellationToken.None);
                break;
            }
            catch (FarmUnavailableException)
            {
                // The rows of a large sweep come later than its last result.
            }
        }

        return (await Queries.FindSweepAsync(sweep, CancellationToken.None))!;
    }

    public async ValueTask DisposeAsync()
    {
        if (_workers is { } workers)
        {
            workers.StandardInput.Close();
            await workers.WaitForExitAsync();
            workers.Dispose();
        }

        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private async Task<(Dictionary<string, long> Starts, double Cpu)> AskWorkersAsync(string question)
    {
        var starts = new Dictionary<string, long>(StringComparer.Ordinal);
        await _workers!.StandardInput.WriteLineAsync(question);
        await _workers.StandardInput.FlushAsync();
        while (await _workers.StandardOutput.ReadLineAsync() is { } line)
        {
            var (key, value, _) = line.Split(' ') switch { [var k, var v] => (k, v, 0), _ => throw new InvalidOperationException(line) };
            if (key == ".")
            {
                return (starts, double.Parse(value, CultureInfo.InvariantCulture));
            }

            if (!starts.TryAdd(key, long.Parse(value, CultureInfo.InvariantCulture)))
            {
                throw new InvalidOperationException($"job {key} was started twice");
            }
        }

        throw new InvalidOperationException("the workers ended");
    }
}
