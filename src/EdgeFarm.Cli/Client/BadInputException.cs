using System.Text.Json.Nodes;
using EdgeFarm.Server.SweepFiles;

namespace EdgeFarm.Cli.Client;

/// <summary>One error of a sweep file, with the file's name.</summary>
/// <param name="File">Path as the user gave it.</param>
/// <param name="Error">What is wrong.</param>
internal sealed record InputError(string File, SweepFileError Error)
{
    /// <summary>The error as compilers write it.</summary>
    public string Line => Error.ToLine(File);

    /// <summary>The error as a document's member.</summary>
    public JsonObject ToJson() => new()
    {
        ["file"] = File,
        ["line"] = Error.Position.Line,
        ["column"] = Error.Position.Column,
        ["field"] = Error.Field,
        ["message"] = Error.Message,
        ["accepted"] = new JsonArray([.. Error.Accepted.Select(a => JsonValue.Create(a))]),
        ["suggestion"] = Error.Suggestion.Length == 0 ? null : Error.Suggestion,
    };
}

/// <summary>What the user gave is wrong: exit code 2.</summary>
internal sealed class BadInputException : Exception
{
    public BadInputException(string message)
        : base(message)
    {
    }

    public BadInputException(IReadOnlyList<InputError> errors)
        : base(errors[0].Line) => Errors = errors;

    /// <summary>Errors of a sweep file; empty for others.</summary>
    public IReadOnlyList<InputError> Errors { get; } = [];
}
