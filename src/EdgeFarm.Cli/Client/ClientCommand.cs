using System.CommandLine;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Cli.Client;

/// <summary>What a client verb works with.</summary>
/// <param name="Farm">The farm.</param>
/// <param name="Terminal">Where to write.</param>
/// <param name="Json">One document on stdout is wanted.</param>
/// <param name="Arguments">The parsed command line.</param>
/// <param name="Cancellation">Ctrl+C.</param>
internal sealed record ClientContext(EdgeFarmClient Farm, Terminal Terminal, bool Json, ParseResult Arguments, CancellationToken Cancellation)
{
    /// <summary>Writes the document of this call.</summary>
    public void WriteDocument(JsonObject members) => JsonDocuments.Write(Terminal.Out, members);
}

/// <summary>What every client verb has: <c>--farm</c>, <c>--json</c>, and errors as text, document and exit code.</summary>
internal static class ClientCommand
{
    /// <summary>Makes a verb.</summary>
    /// <param name="terminal">Where it writes.</param>
    /// <param name="name">The verb.</param>
    /// <param name="description">One line of help.</param>
    /// <param name="symbols">Its arguments and options.</param>
    /// <param name="run">What it does; gives its exit code.</param>
    public static Command Create(Terminal terminal, string name, string description, IEnumerable<Symbol> symbols, Func<ClientContext, Task<int>> run)
    {
        var farm = new Option<string?>("--farm")
        {
            Description = $"address of the farm (default: {EdgeFarmClient.UrlVariable}, then {EdgeFarmClient.DefaultUrl})",
            HelpName = "URL",
        };
        var token = new Option<string?>("--token") { Description = $"file with a token of the farm (default: {FarmAccess.TokenVariable})", HelpName = "FILE" };
        var ca = new Option<string?>("--ca") { Description = $"PEM file with certificate authorities to trust beside the system's (default: {FarmAccess.AuthorityVariable})", HelpName = "FILE" };
        var json = CommandParts.JsonOption();
        var command = new Command(name, description);
        command.AddAll(symbols);
        command.Add(farm);
        command.Add(token);
        command.Add(ca);
        command.Add(json);
        command.SetAction((arguments, cancellation) => RunAsync(
            terminal, arguments, arguments.GetValue(farm), (arguments.GetValue(token), arguments.GetValue(ca)), arguments.GetValue(json), run, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(
        Terminal terminal,
        ParseResult arguments,
        string? farm,
        (string? Token, string? Authority) files,
        bool json,
        Func<ClientContext, Task<int>> run,
        CancellationToken cancellation)
    {
        if (EdgeFarmClient.ResolveAddress(farm) is not { } address)
        {
            return Failures.Tell(terminal, json, "invalid_argument", $"'{farm ?? Environment.GetEnvironmentVariable(EdgeFarmClient.UrlVariable)}' is no address of a farm; use http://HOST:PORT", ExitCodes.BadInput);
        }

        FarmAccess access;
        try
        {
            access = FarmAccess.Load(files.Token, files.Authority);
        }
        catch (InvalidDataException e)
        {
            return Failures.Tell(terminal, json, "invalid_argument", e.Message, ExitCodes.BadInput);
        }

        using var client = new EdgeFarmClient(address, access);
        try
        {
            return await run(new ClientContext(client, terminal, json, arguments, cancellation));
        }
        catch (BadInputException e)
        {
            return Failures.Tell(terminal, json, e);
        }
        catch (FailureException e)
        {
            return Failures.Tell(terminal, json, e.Failure);
        }
        catch (FarmCallException e) when (!cancellation.IsCancellationRequested)
        {
            return Failures.Tell(terminal, json, Code(e.Kind), Explain(e, address), ExitCode(e.Kind));
        }
        catch (Exception e) when (e is FarmCallException or OperationCanceledException && cancellation.IsCancellationRequested)
        {
            return Failures.Stopped(terminal, json);
        }
    }

    private static string Explain(FarmCallException e, Uri address) => e.Kind switch
    {
        FarmErrorKind.Unreachable =>
            $"{e.Message}; start a farm with './edgefarm up', or name another with --farm URL or {EdgeFarmClient.UrlVariable}",
        FarmErrorKind.Unavailable => $"the farm at {address.Authority} cannot answer now ({e.Message}); try again",
        _ => e.Message,
    };

    private static string Code(FarmErrorKind kind) => kind switch
    {
        FarmErrorKind.Unreachable => "unreachable",
        FarmErrorKind.Unavailable => "unavailable",
        FarmErrorKind.NotFound => "not_found",
        FarmErrorKind.InvalidArgument => "invalid_argument",
        FarmErrorKind.AlreadyExists => "already_exists",
        FarmErrorKind.FailedPrecondition => "failed_precondition",
        FarmErrorKind.Cancelled => "cancelled",
        FarmErrorKind.Refused => "refused",
        _ => "internal",
    };

    private static int ExitCode(FarmErrorKind kind) => kind switch
    {
        FarmErrorKind.Unreachable or FarmErrorKind.Unavailable => ExitCodes.Unreachable,
        FarmErrorKind.NotFound or FarmErrorKind.InvalidArgument or FarmErrorKind.AlreadyExists or FarmErrorKind.FailedPrecondition or FarmErrorKind.Refused => ExitCodes.BadInput,
        _ => ExitCodes.Failed,
    };
}
