using Spectre.Console;

namespace EdgeFarm.Cli;

/// <summary>Where the command line writes: results on one writer, everything else on the other.</summary>
internal sealed class Terminal
{
    // Wide enough for a leaderboard: whoever pipes a table cuts it himself.
    private const int RedirectedWidth = 400;

    public Terminal(TextWriter output, TextWriter error, bool interactive)
    {
        (Out, Error) = (output, error);
        OutConsole = Make(output, interactive && !Console.IsOutputRedirected);
        ErrorConsole = Make(error, interactive && !Console.IsErrorRedirected);
    }

    /// <summary>Results.</summary>
    public TextWriter Out { get; }

    /// <summary>Progress, hints and errors.</summary>
    public TextWriter Error { get; }

    /// <summary>Tables and colours on <see cref="Out"/>.</summary>
    public IAnsiConsole OutConsole { get; }

    /// <summary>Live progress on <see cref="Error"/>.</summary>
    public IAnsiConsole ErrorConsole { get; }

    /// <summary>The process's own streams.</summary>
    public static Terminal OfProcess() => new(Console.Out, Console.Error, interactive: true);

    /// <summary>Writes one line that tells what went wrong.</summary>
    public void Complain(string message) => Error.WriteLine($"error: {message}");

    private static IAnsiConsole Make(TextWriter writer, bool interactive)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = interactive ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = interactive ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = interactive ? InteractionSupport.Detect : InteractionSupport.No,
        });
        if (!interactive)
        {
            console.Profile.Width = RedirectedWidth;
        }

        return console;
    }
}
