using System.CommandLine;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Hosting.Settings;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm coordinator</c>: one of a farm's coordinators.</summary>
internal static class CoordinatorCommand
{
    private static readonly TimeSpan RestartDelay = TimeSpan.FromSeconds(5);

    private static readonly Option<string?> Config = new("--config") { Description = "settings file (JSON); EDGEFARM__ variables and options win over it", HelpName = "FILE" };
    private static readonly Option<string?> Listen = new("--listen") { Description = "where gRPC listens (default: http://127.0.0.1:5080)", HelpName = "URL" };
    private static readonly Option<string?> Http = new("--http") { Description = "where /metrics and /health listen, HTTP/1.1 (default: http://127.0.0.1:5081)", HelpName = "URL" };
    private static readonly Option<string?> Data = new("--data") { Description = "directory of this coordinator alone", HelpName = "DIR" };
    private static readonly Option<bool> Insecure = new("--insecure") { Description = "listen off loopback without TLS and tokens, in a network that you trust" };
    private static readonly Option<bool> Verbose = new("--verbose") { Description = "log what the coordinator does, on stderr" };

    public static Command Create(Terminal terminal)
    {
        var command = new Command("coordinator", "run a coordinator: alone, or as one of a cluster on PostgreSQL") { Config, Listen, Http, Data, Insecure, Verbose };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, ParseResult arguments, CancellationToken cancellation)
    {
        var read = CoordinatorSettings.Read(
            arguments.GetValue(Config),
            Environment.GetEnvironmentVariables(),
            arguments.GetValue(Listen),
            arguments.GetValue(Http),
            arguments.GetValue(Data),
            arguments.GetValue(Insecure));
        var opened = read.IsOk ? DataDirectory.Open(read.Value.Data) : read.Failure!;
        if (!opened.IsOk)
        {
            terminal.Complain(opened.Failure!.Message);
            return ExitCodes.BadInput;
        }

        using var data = opened.Value;
        var settings = read.Value;
        var level = arguments.GetValue(Verbose) ? LogLevel.Information : LogLevel.Warning;
        for (var first = true; ; first = false)
        {
            var started = await CoordinatorHost.StartAsync(settings, data, level, cancellation);
            if (!started.IsOk && !first && started.Failure!.Type is not Core.Jobs.FailureType.InvalidInput && !cancellation.IsCancellationRequested)
            {
                // It was cut off, perhaps from its database as well.
                terminal.Error.WriteLine($"{started.Failure.Message}; trying again in {RestartDelay.TotalSeconds:0} s");
                await Task.Delay(RestartDelay, cancellation).ContinueWith(_ => { }, TaskScheduler.Default);
                continue;
            }

            if (!started.IsOk)
            {
                terminal.Complain(started.Failure!.Message);
                return started.Failure.Type == Core.Jobs.FailureType.InvalidInput ? ExitCodes.BadInput : ExitCodes.Failed;
            }

            await using var host = started.Value;
            if (first)
            {
                Introduce(terminal, settings, data);
            }

            await UpCommand.WaitForStopAsync(cancellation, host.Stopping);
            if (cancellation.IsCancellationRequested)
            {
                terminal.Error.WriteLine("stopping: leaving the farm...");
                await host.StopAsync();
                return ExitCodes.Done;
            }

            // The others have removed this one, or it saw no majority: what it knew may be stale, so it begins anew.
            terminal.Error.WriteLine("this coordinator was cut off from the others; it starts anew and joins them again");
            await host.StopAsync();
        }
    }

    private static void Introduce(Terminal terminal, CoordinatorSettings settings, DataDirectory data)
    {
        terminal.Out.WriteLine($"EdgeFarm coordinator listens at {settings.Grpc.Url} (metrics and health: {settings.Http.Url}); data: {data.Root}");
        if (settings.Cluster is { } cluster)
        {
            terminal.Out.WriteLine($"cluster: {cluster.Host}:{cluster.Port}, joins when {cluster.MinimumPeers} coordinators listen");
        }

        if (settings.Insecure && !settings.Grpc.IsLoopback)
        {
            terminal.Error.WriteLine("warning: --insecure: whoever reaches this port may use the farm");
        }

        terminal.Out.Flush();
    }
}
