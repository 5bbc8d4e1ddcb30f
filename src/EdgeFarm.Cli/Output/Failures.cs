using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Cli.Output;

/// <summary>How a command that fails says so: a line on stderr, with <c>--json</c> a document on stdout, and an exit code.</summary>
internal static class Failures
{
    private const int LogLines = 20;

    /// <summary>Tells what the user gave wrong.</summary>
    public static int Tell(Terminal terminal, bool json, BadInputException wrong)
    {
        var error = Error("invalid_argument", wrong.Message);
        if (wrong.Errors.Count > 0)
        {
            error["errors"] = new JsonArray([.. wrong.Errors.Select(e => e.ToJson())]);
        }

        return Tell(terminal, json, error, wrong.Errors.Count > 0 ? wrong.Errors.Select(e => e.Line) : [wrong.Message], ExitCodes.BadInput);
    }

    /// <summary>Tells a typed failure; its log's last lines come first, so that the reason stands last.</summary>
    public static int Tell(Terminal terminal, bool json, Failure failure)
    {
        if (failure.Type is FailureType.Cancelled)
        {
            return Stopped(terminal, json);
        }

        if (failure.Type is not (FailureType.InvalidInput or FailureType.Unsupported) && failure.LogTail.Length > 0)
        {
            foreach (var line in failure.LogTail.TrimEnd().Split('\n').TakeLast(LogLines))
            {
                terminal.Error.WriteLine($"  {line}");
            }
        }

        var error = Error(Code(failure.Type), failure.Message);
        error["type"] = failure.Type.ToString();
        error["log_tail"] = failure.LogTail.Length > 0 ? failure.LogTail : null;
        return Tell(terminal, json, error, [failure.Message], ExitCode(failure.Type));
    }

    /// <summary>Tells anything else.</summary>
    public static int Tell(Terminal terminal, bool json, string code, string message, int exitCode) =>
        Tell(terminal, json, Error(code, message), [message], exitCode);

    /// <summary>Tells that the user ended the command.</summary>
    public static int Stopped(Terminal terminal, bool json) => Tell(terminal, json, "cancelled", "stopped", ExitCodes.Failed);

    /// <summary>The exit code of a failure: what the user gave is 2, all else 1.</summary>
    public static int ExitCode(FailureType type) => type is FailureType.InvalidInput ? ExitCodes.BadInput : ExitCodes.Failed;

    private static string Code(FailureType type) => type switch
    {
        FailureType.InvalidInput => "invalid_argument",
        FailureType.Unsupported => "unsupported",
        FailureType.OutOfMemory => "out_of_memory",
        FailureType.Crashed => "crashed",
        FailureType.TimedOut => "timed_out",
        FailureType.WorkerLost or FailureType.HandedBack => "unavailable",
        _ => "internal",
    };

    private static JsonObject Error(string code, string message) => new() { ["code"] = code, ["message"] = message };

    private static int Tell(Terminal terminal, bool json, JsonObject error, IEnumerable<string> lines, int exitCode)
    {
        foreach (var line in lines)
        {
            terminal.Complain(line);
        }

        if (json)
        {
            JsonDocuments.Write(terminal.Out, new JsonObject { ["error"] = error });
        }

        return exitCode;
    }
}
