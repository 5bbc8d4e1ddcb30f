using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts.V1;
using Spectre.Console;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm jobs</c>, <c>logs</c>, <c>why</c>.</summary>
internal static class JobCommands
{
    public static Command Jobs(Terminal terminal)
    {
        var sweep = new Argument<string>("sweep") { Description = "id of the sweep" };
        var failed = new Option<bool>("--failed") { Description = "only jobs that failed for good" };
        return ClientCommand.Create(terminal, "jobs", "list a sweep's jobs", [sweep, failed], async context =>
        {
            var jobs = await ListAsync(context, context.Arguments.GetValue(sweep)!, context.Arguments.GetValue(failed));
            if (context.Json)
            {
                context.WriteDocument(new JsonObject { ["jobs"] = JsonDocuments.Array(jobs) });
                return ExitCodes.Done;
            }

            var table = new Table().Border(TableBorder.None).AddColumns("JOB", "STATUS", "WHAT", "WORKER", "TOOK", "NOTE");
            foreach (var job in jobs)
            {
                var last = job.Attempts.LastOrDefault();
                var took = last is { StartedAt: not null, FinishedAt: not null } && !job.Cached
                    ? Figures.Duration(last.FinishedAt.ToDateTimeOffset() - last.StartedAt.ToDateTimeOffset())
                    : "";
                table.AddRow(new[] { job.Id, Words.Of(job.Status), Words.Of(job), last?.Worker ?? "", took, Note(job, last) }.Select(Markup.Escape).ToArray());
            }

            context.Terminal.OutConsole.Write(table);
            return ExitCodes.Done;
        });
    }

    public static Command Logs(Terminal terminal)
    {
        var id = new Argument<string>("job") { Description = "id of the job, SWEEP/NUMBER" };
        var attempt = new Option<int>("--attempt")
        {
            Description = "number of the attempt, from 1 (default: the newest with a log)",
            HelpName = "N",
        };
        return ClientCommand.Create(terminal, "logs", "show what a job wrote", [id, attempt], async context =>
        {
            var request = new GetLogRequest { Id = context.Arguments.GetValue(id), Attempt = context.Arguments.GetValue(attempt) };
            using var log = new MemoryStream();
            await foreach (var chunk in context.Farm.ReadAsync(context.Farm.Jobs.GetLog(request, cancellationToken: context.Cancellation), context.Cancellation))
            {
                chunk.Data.WriteTo(log);
            }

            var text = Encoding.UTF8.GetString(log.GetBuffer().AsSpan(0, (int)log.Length));
            if (context.Json)
            {
                context.WriteDocument(new JsonObject { ["job"] = request.Id, ["log"] = text });
            }
            else
            {
                context.Terminal.Out.Write(text);
            }

            return ExitCodes.Done;
        });
    }

    public static Command Why(Terminal terminal)
    {
        var id = new Argument<string>("job") { Description = "id of the job, SWEEP/NUMBER" };
        var cache = new Option<bool>("--cache") { Description = "show what its result is cached under" };
        return ClientCommand.Create(terminal, "why", "tell why a job waits or failed", [id, cache], async context =>
        {
            var request = new ExplainJobRequest { Id = context.Arguments.GetValue(id) };
            var explanation = await context.Farm.AwaitAsync(
                context.Farm.Jobs.ExplainJobAsync(request, cancellationToken: context.Cancellation));
            if (context.Json)
            {
                context.WriteDocument(new JsonObject { ["explanation"] = JsonDocuments.Of(explanation) });
            }
            else
            {
                Explain(context.Terminal.Out, explanation, context.Arguments.GetValue(cache));
            }

            return ExitCodes.Done;
        });
    }

    /// <summary>A worker that comes near, and what it lacks.</summary>
    public static string Near(NearWorker near) => near.Lacks.Count == 0
        ? $"{near.Worker}: {(near.Busy.Length > 0 ? near.Busy : "could take it")}"
        : $"{near.Worker}: {string.Join("; ", near.Lacks.Select(l => l.Has.Length == 0 ? $"needs {l.What}" : $"needs {l.What}, has {l.Has}"))}";

    private static void Explain(TextWriter write, JobExplanation explanation, bool cache)
    {
        var job = explanation.Job;
        write.WriteLine($"{job.Id} ({Words.Of(job)}) is {Words.Of(job.Status)}");
        if (explanation.BlockedBy.Count > 0)
        {
            write.WriteLine($"it needs what these make first: {string.Join(", ", explanation.BlockedBy)}");
        }

        if (explanation.Wait is { } wait)
        {
            write.WriteLine(wait.Position > 0 ? $"place {wait.Position} in the queue: {wait.Reason}" : wait.Reason);
            foreach (var near in wait.Nearest)
            {
                write.WriteLine($"  {Near(near)}");
            }
        }

        foreach (var attempt in job.Attempts.Where(a => a.Failure is not null))
        {
            write.WriteLine($"attempt {attempt.Number} on {attempt.Worker}: {attempt.Failure.Type}: {attempt.Failure.Message}");
            if (attempt.Failure.LogTail.Length > 0)
            {
                write.WriteLine("  " + attempt.Failure.LogTail.TrimEnd().Replace("\n", "\n  ", StringComparison.Ordinal));
            }
        }

        if (job.Cached)
        {
            write.WriteLine("its result came from the cache");
        }

        if (!cache)
        {
            return;
        }

        if (explanation.Digest.Count == 0)
        {
            write.WriteLine("its cache key is not known yet: inputs are missing");
            return;
        }

        write.WriteLine($"its result is cached under {job.Action}, made of:");
        foreach (var component in explanation.Digest)
        {
            write.WriteLine($"  {component.Name} = {component.Value}");
        }

        if (job.Kind is JobKind.Benchmark)
        {
            write.WriteLine("benchmarks are measured anew each time");
        }
        else if (explanation.NearestCached.Count > 0)
        {
            write.WriteLine("the most similar result in the cache has");
            foreach (var difference in explanation.NearestCached)
            {
                write.WriteLine($"  {difference.Name} = {(difference.There.Length > 0 ? difference.There : "nothing")} instead of {(difference.Here.Length > 0 ? difference.Here : "nothing")}");
            }
        }
    }

    private static string Note(Job job, Attempt? last) => job switch
    {
        { Cached: true } => "from the cache",
        { Status: JobStatus.Running } => $"{job.Progress:P0} {job.ProgressText}",
        { Status: JobStatus.Waiting, MemoryBytes: > 0 } => $"takes about {Figures.Bytes(job.MemoryBytes)} of memory",
        { Status: JobStatus.Failed } when last?.Failure is { } failure => $"{failure.Type}: {failure.Message}",
        _ when job.Attempts.Count > 1 => $"{job.Attempts.Count} attempts",
        _ => "",
    };

    private static async Task<List<Job>> ListAsync(ClientContext context, string sweep, bool failedOnly)
    {
        var jobs = new List<Job>();
        var request = new ListJobsRequest { Sweep = sweep, FailedOnly = failedOnly, PageSize = 1000 };
        do
        {
            var page = await context.Farm.AwaitAsync(context.Farm.Jobs.ListJobsAsync(request, cancellationToken: context.Cancellation));
            jobs.AddRange(page.Jobs);
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        return jobs;
    }
}
