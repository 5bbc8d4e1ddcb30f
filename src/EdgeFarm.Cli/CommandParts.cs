using System.CommandLine;

namespace EdgeFarm.Cli;

/// <summary>What verbs of all kinds are made of.</summary>
internal static class CommandParts
{
    /// <summary>The option for a document in the place of text.</summary>
    public static Option<bool> JsonOption() => new("--json") { Description = "one JSON document on stdout, everything else on stderr" };

    /// <summary>Adds arguments and options in their order.</summary>
    public static void AddAll(this Command command, IEnumerable<Symbol> symbols)
    {
        foreach (var symbol in symbols)
        {
            if (symbol is Argument argument)
            {
                command.Add(argument);
            }
            else
            {
                command.Add((Option)symbol);
            }
        }
    }
}
