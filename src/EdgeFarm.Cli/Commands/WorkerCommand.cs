using System.CommandLine;
using EdgeFarm.Cli.Client;
using EdgeFarm.Contracts;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Hosting.Settings;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm worker</c>: a worker in a process of its own.</summary>
internal static class WorkerCommand
{
    private static readonly Option<string?> Config = new("--config") { Description = "settings file (JSON); EDGEFARM__ variables and options win over it", HelpName = "FILE" };
    private static readonly Option<string?> Farm = new("--farm")
    {
        Description = $"addresses of coordinators, tried in turn (default: {EdgeFarmClient.UrlVariable}, then {EdgeFarmClient.DefaultUrl})",
        HelpName = "URL[,URL...]",
    };
    private static readonly Option<string?> Name = new("--name") { Description = "name of the worker, unique in the farm (default: the machine's)", HelpName = "N" };
    private static readonly Option<string[]> Label = new("--label") { Description = "label that sweeps can require as label.K; may stand several times", HelpName = "K=V" };
    private static readonly Option<string?> Slots = new("--slots") { Description = "jobs at once, other than benchmarks (default: 1)", HelpName = "N" };
    private static readonly Option<string?> Data = new("--data") { Description = "data directory: artifacts and results not yet acknowledged (default: .edgefarm/worker)", HelpName = "DIR" };
    private static readonly Option<string?> Http = new("--http") { Description = "where /health/live and /health/ready listen (default: nowhere)", HelpName = "URL" };
    private static readonly Option<string?> Drain = new("--drain") { Description = "seconds that running jobs may go on when it is asked to stop (default: 300)", HelpName = "S" };
    private static readonly Option<string?> Token = new("--token") { Description = "file with the token of this worker", HelpName = "FILE" };
    private static readonly Option<string?> Ca = new("--ca") { Description = "PEM file with certificate authorities to trust beside the system's", HelpName = "FILE" };
    private static readonly Option<bool> Verbose = new("--verbose") { Description = "log what the worker does, on stderr" };

    public static Command Create(Terminal terminal)
    {
        var command = new Command("worker", "run a worker that links to a farm, until it is stopped") { Config, Farm, Name, Label, Slots, Data, Http, Drain, Token, Ca, Verbose };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, ParseResult arguments, CancellationToken cancellation)
    {
        var labels = new Dictionary<string, string>(StringComparer.Ordinal);
        try
        {
            foreach (var (key, value) in (arguments.GetValue(Label) ?? []).Select(LeaderboardCommand.ReadLabel))
            {
                labels[key] = value;
            }
        }
        catch (BadInputException e)
        {
            terminal.Complain(e.Message);
            return ExitCodes.BadInput;
        }

        var farm = Environment.GetEnvironmentVariable(EdgeFarmClient.UrlVariable) is { Length: > 0 } named ? named : EdgeFarmClient.DefaultUrl;
        var read = WorkerSettings.Read(
            arguments.GetValue(Config),
            Environment.GetEnvironmentVariables(),
            farm,
            [
                ("Farm", arguments.GetValue(Farm), "--farm"),
                ("Name", arguments.GetValue(Name), "--name"),
                ("Slots", arguments.GetValue(Slots), "--slots"),
                ("Data", arguments.GetValue(Data), "--data"),
                ("Http", arguments.GetValue(Http), "--http"),
                ("DrainSeconds", arguments.GetValue(Drain), "--drain"),
                ("Token", arguments.GetValue(Token), "--token"),
                ("Ca", arguments.GetValue(Ca), "--ca"),
            ],
            labels);
        var opened = read.IsOk ? DataDirectory.Open(read.Value.Data) : read.Failure!;
        if (!opened.IsOk)
        {
            terminal.Complain(opened.Failure!.Message);
            return ExitCodes.BadInput;
        }

        using var data = opened.Value;
        var settings = read.Value;
        var started = await WorkerHost.StartAsync(settings, data, arguments.GetValue(Verbose) ? LogLevel.Information : LogLevel.Warning, cancellation);
        if (!started.IsOk)
        {
            terminal.Complain(started.Failure!.Message);
            return ExitCodes.BadInput;
        }

        await using var host = started.Value;
        var addresses = string.Join(", ", settings.Farm.Select(f => f.GetLeftPart(UriPartial.Authority)));
        terminal.Out.WriteLine($"worker {settings.Name} of host {host.Findings.Host.HostId} links to {addresses}; data: {data.Root}");
        foreach (var line in UpCommand.Describe(host.Findings))
        {
            terminal.Out.WriteLine($"  {line}");
        }

        await terminal.Out.FlushAsync(cancellation);
        await UpCommand.WaitForStopAsync(cancellation, host.Stopping);
        terminal.Error.WriteLine($"stopping: running jobs may go on for {settings.Drain.TotalSeconds:0} s; Ctrl+C again ends at once");
        await host.StopAsync();
        return ExitCodes.Done;
    }
}
