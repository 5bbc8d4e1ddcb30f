using System.Collections.Immutable;
using System.CommandLine;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Cli.Client;
using EdgeFarm.Contracts;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Workers;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm worker</c>: a worker in a process of its own.</summary>
internal static class WorkerCommand
{
    private const int MaxSlots = 256;

    private static readonly Option<string?> Farm = new("--farm") { Description = $"address of the coordinator (default: {EdgeFarmClient.UrlVariable}, then {EdgeFarmClient.DefaultUrl})", HelpName = "URL" };
    private static readonly Option<string> Name = new("--name") { Description = "name of the worker, unique in the farm", HelpName = "N", DefaultValueFactory = _ => Environment.MachineName.ToLowerInvariant() };
    private static readonly Option<string[]> Label = new("--label") { Description = "label that sweeps can require as label.K; may stand several times", HelpName = "K=V" };
    private static readonly Option<int> Slots = new("--slots") { Description = "jobs at once, other than benchmarks", HelpName = "N", DefaultValueFactory = _ => 1 };
    private static readonly Option<string> Data = new("--data") { Description = "data directory: artifacts and results not yet acknowledged", HelpName = "DIR", DefaultValueFactory = _ => Path.Combine(".edgefarm", "worker") };
    private static readonly Option<bool> Verbose = new("--verbose") { Description = "log what the worker does, on stderr" };

    public static Command Create(Terminal terminal)
    {
        var command = new Command("worker", "run a worker that links to a farm, until it is stopped") { Farm, Name, Label, Slots, Data, Verbose };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, ParseResult arguments, CancellationToken cancellation)
    {
        var slots = arguments.GetValue(Slots);
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        try
        {
            foreach (var (key, value) in (arguments.GetValue(Label) ?? []).Select(LeaderboardCommand.ReadLabel))
            {
                labels[key] = value;
            }

            if (slots is < 1 or > MaxSlots)
            {
                throw new BadInputException($"--slots must be 1 to {MaxSlots}, not {slots}");
            }
        }
        catch (BadInputException e)
        {
            terminal.Complain(e.Message);
            return ExitCodes.BadInput;
        }

        if (EdgeFarmClient.ResolveAddress(arguments.GetValue(Farm)) is not { } address)
        {
            terminal.Complain("the farm's address is no URL; use http://HOST:PORT");
            return ExitCodes.BadInput;
        }

        var opened = DataDirectory.Open(arguments.GetValue(Data)!);
        if (!opened.IsOk)
        {
            terminal.Complain(opened.Failure!.Message);
            return ExitCodes.BadInput;
        }

        using var data = opened.Value;
        var store = DiskArtifactStore.Open(data.Artifacts, TimeProvider.System);
        var setup = await WorkerSetup.ProbeAsync(data.Root, cancellation);
        if ((store.Failure ?? setup.Failure) is { } failure)
        {
            terminal.Complain(failure.Message);
            return ExitCodes.BadInput;
        }

        using var farm = new EdgeFarmClient(address);
        var name = arguments.GetValue(Name)!;
        var options = new EdgeFarmWorkerOptions(name, data.Root, [address]) { Labels = labels.ToImmutable(), Slots = slots };
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        builder.Logging.SetMinimumLevel(arguments.GetValue(Verbose) ? LogLevel.Information : LogLevel.Warning);
        builder.Services.AddEdgeFarmWorker(setup.Value.Prepare(options, store.Value, new FarmArtifacts(farm.Artifacts, store.Value)));
        using var host = builder.Build();
        await host.StartAsync(cancellation);
        terminal.Out.WriteLine($"worker {name} of host {setup.Value.Findings.Host.HostId} links to {address.GetLeftPart(UriPartial.Authority)}; data: {data.Root}");
        foreach (var line in UpCommand.Describe(setup.Value.Findings))
        {
            terminal.Out.WriteLine($"  {line}");
        }

        await terminal.Out.FlushAsync(cancellation);
        await UpCommand.WaitForStopAsync(cancellation, host.Services.GetService(typeof(IHostApplicationLifetime)) is IHostApplicationLifetime life ? life.ApplicationStopping : CancellationToken.None);
        terminal.Error.WriteLine("stopping...");
        await host.StopAsync(CancellationToken.None);
        return ExitCodes.Done;
    }
}
