using System.Globalization;
using Spectre.Console;

namespace EdgeFarm.Cli.Local;

/// <summary>Shows how far a local verb is, on stderr: a bar where there is a terminal, else a line for each step and tenth.</summary>
internal static class LocalProgress
{
    /// <summary>Runs what reports progress.</summary>
    public static async Task<T> ShowAsync<T>(Terminal terminal, Func<IProgress<LocalStep>, Task<T>> run)
    {
        var capabilities = terminal.ErrorConsole.Profile.Capabilities;
        if (!capabilities.Interactive || !capabilities.Ansi)
        {
            return await run(new Lines(terminal.Error));
        }

        return await terminal.ErrorConsole.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn())
            .StartAsync(context => run(new Bars(context)));
    }

    private static string Title(LocalStep step) => step.Count > 1 ? $"[{step.Number}/{step.Count}] {step.Operation}" : step.Operation;

    private sealed class Lines(TextWriter writer) : IProgress<LocalStep>
    {
        private (int Number, int Tenth, string Text) _last = (0, -1, "");

        public void Report(LocalStep value)
        {
            // Texts that name a tensor change all the time; the line is due when the step or the tenth does.
            var now = (value.Number, (int)(value.Fraction * 10), value.Text);
            lock (writer)
            {
                if (now.Number == _last.Number && now.Item2 <= _last.Tenth)
                {
                    return;
                }

                _last = now;
                writer.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Title(value)} {value.Fraction * 100:0} % {value.Text}").TrimEnd());
            }
        }
    }

    private sealed class Bars(ProgressContext context) : IProgress<LocalStep>
    {
        private const int MaxText = 60;
        private readonly Dictionary<int, ProgressTask> _tasks = [];

        public void Report(LocalStep value)
        {
            lock (_tasks)
            {
                if (!_tasks.TryGetValue(value.Number, out var task))
                {
                    foreach (var earlier in _tasks.Values)
                    {
                        earlier.Value = earlier.MaxValue;
                    }

                    _tasks[value.Number] = task = context.AddTask(Markup.Escape(Title(value)), maxValue: 1);
                }

                var text = value.Text.Length > MaxText ? value.Text[..MaxText] : value.Text;
                task.Description = Markup.Escape($"{Title(value)} {text}".TrimEnd());
                task.Value = value.Fraction;
            }
        }
    }
}
