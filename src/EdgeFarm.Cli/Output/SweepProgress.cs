using EdgeFarm.Cli.Client;
using EdgeFarm.Contracts.V1;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace EdgeFarm.Cli.Output;

/// <summary>Shows a sweep while it runs: a live table where there is a terminal, else one line for each job that ends.</summary>
internal static class SweepProgress
{
    private const int MaxLines = 12;

    /// <summary>Watches a sweep to its end with progress on the error stream.</summary>
    public static async Task<Sweep> ShowAsync(SweepWatcher watcher, string id, Terminal terminal, CancellationToken cancellationToken)
    {
        if (!terminal.ErrorConsole.Profile.Capabilities.Interactive || !terminal.ErrorConsole.Profile.Capabilities.Ansi)
        {
            return await watcher.RunAsync(id, (sweep, changed) => WriteLines(terminal.Error, sweep, changed), cancellationToken);
        }

        Sweep? ended = null;
        await terminal.ErrorConsole.Live(new Text("")).AutoClear(true).StartAsync(async live =>
        {
            ended = await watcher.RunAsync(id, (sweep, _) => live.UpdateTarget(Draw(sweep, watcher.Jobs.Values)), cancellationToken);
        });
        return ended!;
    }

    /// <summary>Says how a sweep ended and what to look at next.</summary>
    public static void Conclude(Sweep sweep, IEnumerable<Job> jobs, TextWriter writer)
    {
        var took = sweep.EndedAt is null ? "" : $" in {Figures.Duration(sweep.EndedAt.ToDateTimeOffset() - sweep.CreatedAt.ToDateTimeOffset())}";
        writer.WriteLine($"sweep {sweep.Id} {Words.Of(sweep.Status)}{took}: {Words.Counts(sweep)}");
        foreach (var job in jobs.Where(j => j.Status is JobStatus.Failed).Take(MaxLines))
        {
            var failure = job.Attempts.LastOrDefault()?.Failure;
            writer.WriteLine($"  {job.Id} {Words.Of(job)}: {(failure is null ? "failed" : $"{failure.Type}: {failure.Message}")}");
        }

        if (sweep.Status is SweepStatus.Partial or SweepStatus.Failed)
        {
            writer.WriteLine($"'edgefarm jobs {sweep.Id} --failed' lists all that failed, 'edgefarm logs JOB' shows what a job wrote, 'edgefarm retry {sweep.Id}' runs them again");
        }
    }

    private static void WriteLines(TextWriter writer, Sweep sweep, IReadOnlyList<Job> changed)
    {
        var done = sweep.Counts.Where(c => c.Status is JobStatus.Succeeded or JobStatus.Failed or JobStatus.Skipped or JobStatus.Cancelled).Sum(c => c.Count);
        var all = sweep.Counts.Sum(c => c.Count);
        foreach (var job in changed.Where(j => j.Status is JobStatus.Succeeded or JobStatus.Failed))
        {
            var how = job.Status is JobStatus.Failed ? $"failed: {job.Attempts.LastOrDefault()?.Failure?.Message}" : job.Cached ? "from the cache" : "done";
            writer.WriteLine($"[{done}/{all}] {Words.Of(job)}: {how}");
        }
    }

    private static IRenderable Draw(Sweep sweep, IEnumerable<Job> jobs)
    {
        var rows = new List<IRenderable> { new Markup($"sweep [bold]{Markup.Escape(sweep.Id)}[/] {Words.Of(sweep.Status)}: {Markup.Escape(Words.Counts(sweep))}") };
        var known = jobs.ToArray();
        var running = known.Where(j => j.Status is JobStatus.Running).ToArray();
        foreach (var job in running.Take(MaxLines))
        {
            var worker = job.Attempts.LastOrDefault()?.Worker ?? "";
            rows.Add(new Markup($"  {Bar(job.Progress)} {Markup.Escape($"{Words.Of(job)} {job.ProgressText}")} [grey]{Markup.Escape(worker)}[/]"));
        }

        if (running.Length == 0 && known.FirstOrDefault(j => j.Status is JobStatus.Waiting) is { } waiting)
        {
            rows.Add(new Markup($"  [yellow]nothing runs; {Markup.Escape($"'edgefarm why {waiting.Id}'")} tells what the next job waits for[/]"));
        }

        return new Rows(rows);
    }

    private static string Bar(double progress)
    {
        const int Width = 10;
        var full = (int)Math.Round(Math.Clamp(progress, 0, 1) * Width);
        return new string('█', full) + new string('░', Width - full);
    }
}
