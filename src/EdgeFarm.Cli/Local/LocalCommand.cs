using System.CommandLine;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Cli.Local;

/// <summary>What a verb that works on this machine has.</summary>
/// <param name="Terminal">Where to write.</param>
/// <param name="Json">One document on stdout is wanted.</param>
/// <param name="Arguments">The parsed command line.</param>
/// <param name="Cancellation">Ctrl+C and SIGTERM.</param>
internal sealed record LocalContext(Terminal Terminal, bool Json, ParseResult Arguments, CancellationToken Cancellation)
{
    /// <summary>Writes the document of this call.</summary>
    public void WriteDocument(JsonObject members) => JsonDocuments.Write(Terminal.Out, members);
}

/// <summary>Verbs that need no farm: <c>--json</c>, and failures as text, document and exit code.</summary>
internal static class LocalCommand
{
    /// <summary>Makes a verb.</summary>
    public static Command Create(Terminal terminal, string name, string description, IEnumerable<Symbol> symbols, Func<LocalContext, Task<int>> run)
    {
        var json = CommandParts.JsonOption();
        var command = new Command(name, description);
        command.AddAll(symbols);
        command.Add(json);
        command.SetAction((arguments, cancellation) => RunAsync(new LocalContext(terminal, arguments.GetValue(json), arguments, cancellation), run));
        return command;
    }

    private static async Task<int> RunAsync(LocalContext context, Func<LocalContext, Task<int>> run)
    {
        try
        {
            return await run(context);
        }
        catch (BadInputException e)
        {
            return Failures.Tell(context.Terminal, context.Json, e);
        }
        catch (FailureException e)
        {
            return Failures.Tell(context.Terminal, context.Json, e.Failure);
        }
        catch (OperationCanceledException) when (context.Cancellation.IsCancellationRequested)
        {
            return Failures.Stopped(context.Terminal, context.Json);
        }
    }
}
