using System.Collections.Immutable;
using System.Globalization;

namespace EdgeFarm.Server.SweepFiles;

/// <summary>A place in a sweep file.</summary>
/// <param name="Line">From 1; 0 when there is none.</param>
/// <param name="Column">From 1; 0 when there is none.</param>
public readonly record struct SweepFilePosition(int Line, int Column);

/// <summary>One thing that is wrong with a sweep file.</summary>
/// <param name="Position">Where.</param>
/// <param name="Field">Path of the field, e.g. <c>spec.recipes[1].types[0]</c>; empty for the file as a whole.</param>
/// <param name="Message">What is wrong, as a clause without a final stop.</param>
/// <param name="Accepted">Accepted values; empty when they cannot be listed.</param>
/// <param name="Suggestion">The accepted value that was probably meant, or empty.</param>
public sealed record SweepFileError(
    SweepFilePosition Position,
    string Field,
    string Message,
    ImmutableArray<string> Accepted,
    string Suggestion = "")
{
    /// <summary>Most accepted values that a text lists; the rest is counted.</summary>
    private const int MaxListed = 40;

    /// <summary>The error without its place: what is wrong, what was probably meant, what is accepted.</summary>
    public string Describe()
    {
        var text = Message;
        if (Suggestion.Length > 0)
        {
            text += $"; did you mean '{Suggestion}'?";
        }

        if (Accepted.Length > 0)
        {
            var more = Accepted.Length > MaxListed ? $" and {Accepted.Length - MaxListed} more" : "";
            text += $"{(Suggestion.Length > 0 ? " Accepted" : "; accepted")}: {string.Join(", ", Accepted.Take(MaxListed))}{more}";
        }

        return text;
    }

    /// <summary>The whole error as one line, the way that compilers write it: <c>file:line:column: field: what</c>.</summary>
    public string ToLine(string file)
    {
        var place = Position.Line == 0 ? file : string.Create(CultureInfo.InvariantCulture, $"{file}:{Position.Line}:{Position.Column}");
        return Field.Length == 0 ? $"{place}: {Describe()}" : $"{place}: {Field}: {Describe()}";
    }
}
