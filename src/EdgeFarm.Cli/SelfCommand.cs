namespace EdgeFarm.Cli;

/// <summary>How this program is called, for commands that a user pastes.</summary>
internal static class SelfCommand
{
    private const string Script = "edgefarm";

    /// <summary>The script of the checkout when the user stands beside it, else this program by its path.</summary>
    public static string Text
    {
        get
        {
            if (File.Exists(Path.Combine(Environment.CurrentDirectory, Script)) && Directory.Exists(Path.Combine(Environment.CurrentDirectory, "src", "EdgeFarm.Cli")))
            {
                return $"./{Script}";
            }

            var executable = Path.Combine(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? $"{Script}.exe" : Script);
            return File.Exists(executable) ? Quote(executable) : $"dotnet {Quote(Path.Combine(AppContext.BaseDirectory, $"{Script}.dll"))}";
        }
    }

    /// <summary>A word of a command line, quoted where the shell would split it.</summary>
    public static string Quote(string word) => word.All(c => char.IsLetterOrDigit(c) || c is '/' or '\\' or '.' or '-' or '_' or ':') ? word : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
