using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Server;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Submissions;
using EdgeFarm.Server.SweepFiles;
using EdgeFarm.Server.Workers;
using LocalSweepFile = EdgeFarm.Server.SweepFiles.SweepFile;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm demo</c>: the sample sweep on an embedded farm, start to leaderboard.</summary>
internal static class DemoCommand
{
    private const int Workers = 2;

    private static readonly Option<string?> Data = new("--data")
    {
        Description = "data directory (default: a fresh one below .edgefarm)",
        HelpName = "DIR",
    };
    private static readonly Option<bool> Json = CommandParts.JsonOption();

    private static string SamplePath => Path.Combine(BundledContent.DefaultFolder, "sweeps", "sample.yaml");

    public static Command Create(Terminal terminal)
    {
        var command = new Command("demo", "run the sample sweep on a farm in this process and print its leaderboard") { Data, Json };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, ParseResult arguments, CancellationToken cancellation)
    {
        var json = arguments.GetValue(Json);
        var data = Path.GetFullPath(arguments.GetValue(Data) ?? Path.Combine(".edgefarm", $"demo-{DateTime.UtcNow.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture)}"));
        terminal.Error.WriteLine($"starting a farm in {data}: looking at this machine and its toolchains...");
        var loopback = new ListenAddress("127.0.0.1", 0);
        try
        {
            var started = await EmbeddedFarm.StartAsync(new EmbeddedFarmOptions(data, loopback, loopback, Workers), cancellation);
            if (!started.IsOk)
            {
                return Failures.Tell(terminal, json, started.Failure!);
            }

            await using var farm = started.Value;
            foreach (var line in UpCommand.Describe(farm.Findings))
            {
                terminal.Error.WriteLine($"  {line}");
            }

            using var client = new EdgeFarmClient(farm.Address);
            var exitCode = await RunSweepAsync(terminal, client, farm, json, cancellation);
            await farm.StopAsync(CancellationToken.None);
            return exitCode;
        }
        catch (Exception e) when (cancellation.IsCancellationRequested && e is OperationCanceledException or FarmCallException)
        {
            return Failures.Tell(terminal, json, "cancelled", $"stopped; the sweep goes on when a farm starts on this directory: {Up(data)}", ExitCodes.Failed);
        }
        catch (FarmCallException e)
        {
            var lines = e.FileErrors.Count > 0 ? e.FileErrors.Select(f => $"{SamplePath}:{f.Line}: {f.Field}: {f.Message}") : [e.Message];
            return Failures.Tell(terminal, json, "internal", string.Join('\n', lines), ExitCodes.Failed);
        }
    }

    private static async Task<int> RunSweepAsync(Terminal terminal, EdgeFarmClient client, EmbeddedFarm farm, bool json, CancellationToken cancellation)
    {
        var yaml = ForThisMachine(await File.ReadAllTextAsync(SamplePath, cancellation), farm.Findings, terminal.Error);
        var request = new SubmitRequest { RequestId = Guid.NewGuid().ToString("N"), Yaml = yaml };
        var submitted = await client.AwaitAsync(client.Sweeps.SubmitAsync(request, cancellationToken: cancellation));
        terminal.Error.WriteLine($"sweep {submitted.Id} submitted: {submitted.Counts.Sum(c => c.Count)} jobs");

        var watcher = new SweepWatcher(client, terminal.Error);
        var sweep = await SweepProgress.ShowAsync(watcher, submitted.Id, terminal, cancellation);
        SweepProgress.Conclude(sweep, watcher.Jobs.Values, terminal.Error);
        var query = new QueryRequest { Sweep = sweep.Id, View = EntryView.Full };
        var entries = await LeaderboardCommand.QueryAllAsync(client, query, int.MaxValue, cancellation);
        string[] commands =
        [
            Up(farm.DataDirectory),
            $"{SelfCommand.Text} submit {SelfCommand.Quote(SampleForUser())} --watch",
            $"{SelfCommand.Text} leaderboard --sort tg --pareto",
        ];
        if (json)
        {
            JsonDocuments.Write(terminal.Out, new JsonObject
            {
                ["data"] = farm.DataDirectory,
                ["sweep"] = JsonDocuments.Of(sweep),
                ["leaderboard"] = Versioned(JsonDocuments.Leaderboard(LeaderboardCommand.ForDocument(entries, samples: false))),
                ["commands"] = new JsonArray([.. commands.Select(c => JsonValue.Create(c))]),
            });
        }
        else
        {
            LeaderboardTable.Write(terminal.OutConsole, entries);
            terminal.Out.WriteLine();
            terminal.Out.WriteLine("go on, each in a terminal: a farm on this demo's data, a sweep of your own (edit a copy of the file), the leaderboard");
            foreach (var command in commands)
            {
                terminal.Out.WriteLine($"    {command}");
            }
        }

        return SubmitCommand.ExitCode(sweep, allowPartial: false);
    }

    /// <summary>The sample without the recipes whose toolchain this machine has not, so that the demo runs its other half.</summary>
    private static string ForThisMachine(string yaml, WorkerFindings findings, TextWriter notes)
    {
        var missing = findings.Engines.Where(e => e.Probe?.Toolchain is null).ToArray();
        var spec = LocalSweepFile.Parse(yaml, BuiltInToolchains.Catalog).Spec;
        if (missing.Length == 0 || spec is null)
        {
            return yaml;
        }

        foreach (var engine in missing)
        {
            notes.WriteLine($"the demo goes without {engine.Engine}: {engine.Failure?.Message}");
        }

        var recipes = spec.Recipes.Where(r => missing.All(m => m.Engine != r.Toolchain)).ToArray();
        var models = spec.Models.Where(m => recipes.Any(r => r.Models.IsEmpty || r.Models.Contains(m.Id))).ToArray();
        return SweepFileWriter.Write(spec with
        {
            Recipes = [.. recipes],
            Models = [.. models],
            Quality = [.. spec.Quality.Where(q => q.Models.IsEmpty || models.Any(m => q.Models.Contains(m.Id))).Select(q => q with { Models = [.. q.Models.Where(id => models.Any(m => m.Id == id))] })],
        });
    }

    private static string Up(string data) => $"{SelfCommand.Text} up --data {SelfCommand.Quote(data)}";

    /// <summary>The sample as a path that a user can open: the checkout's own where he stands in it.</summary>
    private static string SampleForUser()
    {
        var inCheckout = Path.Combine("src", "EdgeFarm.Samples", "sweeps", "sample.yaml");
        return File.Exists(inCheckout) ? inCheckout : SamplePath;
    }

    private static JsonObject Versioned(JsonObject document)
    {
        document.Insert(0, "version", 1);
        return document;
    }
}
