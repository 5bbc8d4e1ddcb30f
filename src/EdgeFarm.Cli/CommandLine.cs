using System.CommandLine;
using System.CommandLine.Invocation;
using EdgeFarm.Cli.Commands;
using EdgeFarm.Cli.Output;

namespace EdgeFarm.Cli;

/// <summary>The command line: its verbs, and how it starts and ends.</summary>
internal static class CommandLine
{
    /// <summary>Runs one command line to its exit code.</summary>
    public static async Task<int> RunAsync(string[] args, Terminal terminal)
    {
        using var signals = new StopSignals();
        var parsed = Build(terminal).Parse(args);

        // Whatever goes wrong, who asked for a document gets one.
        var json = args.Contains("--json");
        if (parsed.Action is ParseErrorAction)
        {
            Failures.Tell(terminal, json, "invalid_argument", string.Join('\n', parsed.Errors.Select(e => e.Message)), ExitCodes.BadInput);
            terminal.Error.WriteLine($"'{CommandPath(parsed.CommandResult)} --help' tells what is accepted");
            return ExitCodes.BadInput;
        }

        var configuration = new InvocationConfiguration
        {
            Output = terminal.Out,
            Error = terminal.Error,
            EnableDefaultExceptionHandler = false,

            // Its own handler would end the process two seconds after Ctrl+C, while a farm still stops.
            ProcessTerminationTimeout = null,
        };
        try
        {
            return await parsed.InvokeAsync(configuration, signals.Token);
        }
        catch (OperationCanceledException) when (signals.Token.IsCancellationRequested)
        {
            return Failures.Stopped(terminal, json);
        }
        catch (Exception e)
        {
            // Expected failures were told where they arose; what comes here still ends as an exit code and one line, not as a crash.
            return Failures.Tell(terminal, json, "internal", $"{e.GetType().Name}: {e.Message}", ExitCodes.Failed);
        }
    }

    private static RootCommand Build(Terminal terminal) => new("EdgeFarm: which quantized form of a model, in which framework, on which device, meets your limits?")
    {
        DemoCommand.Create(terminal),
        UpCommand.Create(terminal),
        CoordinatorCommand.Create(terminal),
        WorkerCommand.Create(terminal),
        SubmitCommand.Create(terminal),
        SweepCommands.Sweeps(terminal),
        SweepCommands.Watch(terminal),
        SweepCommands.Cancel(terminal),
        JobCommands.Jobs(terminal),
        JobCommands.Logs(terminal),
        JobCommands.Why(terminal),
        SweepCommands.Retry(terminal),
        LeaderboardCommand.Create(terminal),
        ShowCommand.Create(terminal),
        FleetCommands.Workers(terminal),
        PullCommand.Create(terminal),
        InspectCommand.Create(terminal),
        ConvertCommand.Create(terminal),
        QuantizeCommand.Create(terminal),
        DoctorCommand.Create(terminal),
        CheckCommand.Create(terminal),
        RebuildCommand.Create(terminal),
    };

    private static string CommandPath(System.CommandLine.Parsing.CommandResult result)
    {
        var names = new List<string>();
        for (System.CommandLine.Parsing.SymbolResult? at = result; at is System.CommandLine.Parsing.CommandResult { Command: var command }; at = at.Parent)
        {
            names.Insert(0, command is RootCommand ? "edgefarm" : command.Name);
        }

        return string.Join(' ', names);
    }
}
