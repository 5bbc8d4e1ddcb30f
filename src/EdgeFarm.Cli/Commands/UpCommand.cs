using System.CommandLine;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Workers;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm up</c>: an embedded farm that stays up.</summary>
internal static class UpCommand
{
    private const string DefaultHttp = "http://127.0.0.1:5081";
    private const int MaxWorkers = 64;

    private static readonly Option<string> Data = new("--data")
    {
        Description = "data directory",
        HelpName = "DIR",
        DefaultValueFactory = _ => ".edgefarm",
    };
    private static readonly Option<int> Workers = new("--workers")
    {
        Description = "workers in this process; 0 for none",
        HelpName = "N",
        DefaultValueFactory = _ => 2,
    };
    private static readonly Option<string> Listen = new("--listen")
    {
        Description = "where gRPC listens",
        HelpName = "URL",
        DefaultValueFactory = _ => Contracts.EdgeFarmClient.DefaultUrl,
    };
    private static readonly Option<string> Http = new("--http")
    {
        Description = "where /metrics and /health listen (HTTP/1.1)",
        HelpName = "URL",
        DefaultValueFactory = _ => DefaultHttp,
    };
    private static readonly Option<bool> Insecure = new("--insecure") { Description = "listen off loopback, where anybody who reaches the port may use the farm" };
    private static readonly Option<bool> Verbose = new("--verbose") { Description = "log what the farm does, on stderr" };

    public static Command Create(Terminal terminal)
    {
        var command = new Command("up", "run a farm in this process until it is stopped") { Data, Workers, Listen, Http, Insecure, Verbose };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments, cancellation));
        return command;
    }

    /// <summary>What a machine can do, as lines for people.</summary>
    public static IEnumerable<string> Describe(WorkerFindings findings)
    {
        foreach (var engine in findings.Engines)
        {
            var runtime = engine.Probe?.Runtime;
            yield return runtime is not null
                ? $"{engine.Engine} {runtime.Identity.Release}{(runtime.LibraryVariant.Length > 0 ? $" ({runtime.LibraryVariant})" : "")} on {string.Join(", ", runtime.Devices)}"
                : $"{engine.Engine} cannot be used here: {engine.Failure?.Message ?? "it brings no runtime"}";
        }
    }

    private static async Task<int> RunAsync(Terminal terminal, ParseResult arguments, CancellationToken cancellation)
    {
        var (grpc, http) = (ListenAddress.Parse(arguments.GetValue(Listen)!), ListenAddress.Parse(arguments.GetValue(Http)!));
        if ((grpc.Failure ?? http.Failure) is { } wrong)
        {
            terminal.Complain(wrong.Message);
            return ExitCodes.BadInput;
        }

        if (grpc.Value.IsTls || http.Value.IsTls)
        {
            terminal.Complain("'up' is without TLS; use 'coordinator' and 'worker' for a farm that other machines reach");
            return ExitCodes.BadInput;
        }

        if (!grpc.Value.IsLoopback && !arguments.GetValue(Insecure))
        {
            terminal.Complain($"{grpc.Value.Url} is reached from other machines, and 'up' has neither TLS nor tokens; use 'coordinator' and 'worker', or --insecure in a network that you trust");
            return ExitCodes.BadInput;
        }

        var workers = arguments.GetValue(Workers);
        if (workers is < 0 or > MaxWorkers)
        {
            terminal.Complain($"--workers must be 0 to {MaxWorkers}, not {workers}");
            return ExitCodes.BadInput;
        }

        terminal.Error.WriteLine("starting: looking at this machine and its toolchains...");
        var options = new EmbeddedFarmOptions(arguments.GetValue(Data)!, grpc.Value, http.Value, workers)
        {
            LogLevel = arguments.GetValue(Verbose) ? LogLevel.Information : LogLevel.Warning,
        };
        var started = await EmbeddedFarm.StartAsync(options, cancellation);
        if (!started.IsOk)
        {
            terminal.Complain(started.Failure!.Message);
            return ExitCodes.BadInput;
        }

        await using var farm = started.Value;
        var write = terminal.Out;
        write.WriteLine($"EdgeFarm listens at {farm.Address.GetLeftPart(UriPartial.Authority)} (metrics and health: {farm.HttpAddress.GetLeftPart(UriPartial.Authority)})");
        write.WriteLine($"data: {farm.DataDirectory}");
        write.WriteLine($"workers: {workers}");
        foreach (var line in Describe(farm.Findings))
        {
            write.WriteLine($"  {line}");
        }

        var url = farm.Address.GetLeftPart(UriPartial.Authority) == Contracts.EdgeFarmClient.DefaultUrl ? "" : $" --farm {farm.Address.GetLeftPart(UriPartial.Authority)}";
        write.WriteLine($"submit a sweep: {SelfCommand.Text} submit FILE --watch{url}");
        write.WriteLine("Ctrl+C stops it; unfinished sweeps go on at the next start");
        await write.FlushAsync(cancellation);

        await WaitForStopAsync(cancellation, farm.Stopping);
        terminal.Error.WriteLine("stopping...");
        await farm.StopAsync(CancellationToken.None);
        return ExitCodes.Done;
    }

    /// <summary>Completes when one of the tokens is cancelled.</summary>
    public static async Task WaitForStopAsync(CancellationToken first, CancellationToken second)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(first, second);
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = either.Token.Register(() => stopped.TrySetResult());
        await stopped.Task;
    }
}
