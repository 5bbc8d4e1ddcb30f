using System.CommandLine;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts.V1;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm submit</c>.</summary>
internal static class SubmitCommand
{
    private static readonly Argument<string> File = new("file") { Description = "sweep file; - reads stdin" };
    private static readonly Option<string?> Id = new("--id")
    {
        Description = "id of the sweep; submitting the same file again under it returns the same sweep",
        HelpName = "ID",
    };
    private static readonly Option<bool> Watch = new("--watch")
    {
        Description = "show progress until the sweep has ended, then its leaderboard",
    };
    private static readonly Option<bool> Wait = new("--wait") { Description = "wait silently until the sweep has ended" };
    private static readonly Option<string?> Timeout = new("--timeout")
    {
        Description = "with --watch or --wait: give up waiting after T (90, 90s, 5m, 2h); the sweep goes on; exit code 7",
        HelpName = "T",
    };
    private static readonly Option<bool> Fresh = new("--fresh")
    {
        Description = "compute everything again instead of taking results from the cache",
    };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "show what would run, without running it" };
    private static readonly Option<bool> AllowPartial = new("--allow-partial") { Description = "exit code 0 though some forms failed" };

    public static Command Create(Terminal terminal) =>
        ClientCommand.Create(terminal, "submit", "submit a sweep file", [File, Id, Watch, Wait, Timeout, Fresh, DryRun, AllowPartial], RunAsync);

    /// <summary>Waits for a sweep; gives its end, or null when the time is over.</summary>
    public static async Task<(Sweep? Sweep, IReadOnlyCollection<Job> Jobs)> AwaitEndAsync(ClientContext context, string id, bool show, TimeSpan? timeout)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(context.Cancellation);
        if (timeout is { } time)
        {
            deadline.CancelAfter(time);
        }

        var watcher = new SweepWatcher(context.Farm, context.Terminal.Error);
        try
        {
            var sweep = show
                ? await SweepProgress.ShowAsync(watcher, id, context.Terminal, deadline.Token)
                : await watcher.RunAsync(id, (_, _) => { }, deadline.Token);
            return (sweep, [.. watcher.Jobs.Values]);
        }
        catch (Exception e) when (e is OperationCanceledException or Contracts.FarmCallException && deadline.IsCancellationRequested && !context.Cancellation.IsCancellationRequested)
        {
            return (null, []);
        }
    }

    /// <summary>The exit code of an ended sweep.</summary>
    public static int ExitCode(Sweep sweep, bool allowPartial) => sweep.Status switch
    {
        SweepStatus.Completed => ExitCodes.Done,
        SweepStatus.Partial => allowPartial ? ExitCodes.Done : ExitCodes.Partial,
        _ => ExitCodes.Failed,
    };

    /// <summary>The duration of an option, or an error.</summary>
    public static TimeSpan? ReadTimeout(string? text) =>
        text is null ? null : Figures.ReadDuration(text) ?? throw new BadInputException($"'{text}' is no duration; use seconds or e.g. 90s, 5m, 2h");

    private static async Task<int> RunAsync(ClientContext context)
    {
        var arguments = context.Arguments;
        var timeout = ReadTimeout(arguments.GetValue(Timeout));
        var file = arguments.GetValue(File)!;
        var sources = await SweepSources.ReadAsync(file, context.Cancellation);
        SubmitRequest Request() => sources.ToRequest(arguments.GetValue(Id), arguments.GetValue(Fresh));
        try
        {
            if (arguments.GetValue(DryRun))
            {
                var plan = await context.Farm.AwaitAsync(context.Farm.Sweeps.DryRunAsync(Request(), cancellationToken: context.Cancellation));
                WritePlan(context, plan);
                return ExitCodes.Done;
            }

            await sources.UploadAsync(context.Farm, context.Terminal, context.Cancellation);
            await sources.FetchAsync(context.Farm, context.Terminal, context.Cancellation);
            var sweep = await context.Farm.AwaitAsync(context.Farm.Sweeps.SubmitAsync(Request(), cancellationToken: context.Cancellation));
            return await FollowAsync(context, sweep, timeout);
        }
        catch (Contracts.FarmCallException e) when (e.Kind is Contracts.FarmErrorKind.AlreadyExists && arguments.GetValue(Id) is { } id)
        {
            throw new BadInputException($"the id '{id}' stands for another sweep already; choose another with --id, or leave it out");
        }
        catch (Contracts.FarmCallException e) when (e.FileErrors.Count > 0)
        {
            throw new BadInputException([.. e.FileErrors.Select(error => new InputError(file, new Server.SweepFiles.SweepFileError(
                new Server.SweepFiles.SweepFilePosition(error.Line, error.Column), error.Field, error.Message, [.. error.Accepted], error.Suggestion)))]);
        }
    }

    private static async Task<int> FollowAsync(ClientContext context, Sweep sweep, TimeSpan? timeout)
    {
        var (watch, wait) = (context.Arguments.GetValue(Watch), context.Arguments.GetValue(Wait));
        if (!watch && !wait)
        {
            if (context.Json)
            {
                context.WriteDocument(new JsonObject { ["sweep"] = JsonDocuments.Of(sweep) });
            }
            else
            {
                context.Terminal.Out.WriteLine($"sweep {sweep.Id} submitted: {Words.Counts(sweep)}");
                context.Terminal.Out.WriteLine($"'edgefarm watch {sweep.Id}' follows it, 'edgefarm leaderboard --sweep {sweep.Id}' shows what it has measured");
            }

            return ExitCodes.Done;
        }

        context.Terminal.Error.WriteLine($"sweep {sweep.Id} submitted");
        return await EndAsync(context, sweep.Id, watch, timeout, context.Arguments.GetValue(AllowPartial));
    }

    /// <summary>Waits for a sweep's end and tells it: text or document, and exit code.</summary>
    public static async Task<int> EndAsync(ClientContext context, string id, bool show, TimeSpan? timeout, bool allowPartial)
    {
        var (ended, jobs) = await AwaitEndAsync(context, id, show, timeout);
        var sweep = ended ?? await context.Farm.AwaitAsync(
            context.Farm.Sweeps.GetSweepAsync(new GetSweepRequest { Id = id }, cancellationToken: context.Cancellation));
        if (context.Json)
        {
            context.WriteDocument(new JsonObject { ["sweep"] = JsonDocuments.Of(sweep) });
        }

        if (ended is null)
        {
            context.Terminal.Error.WriteLine($"the time is over, sweep {id} goes on: {Words.Counts(sweep)}; 'edgefarm watch {id}' follows it");
            return ExitCodes.TimedOut;
        }

        SweepProgress.Conclude(sweep, jobs, context.Terminal.Error);
        if (show && !context.Json)
        {
            var entries = await LeaderboardCommand.QueryAllAsync(context.Farm, new QueryRequest { Sweep = id }, int.MaxValue, context.Cancellation);
            LeaderboardTable.Write(context.Terminal.OutConsole, entries);
        }

        return ExitCode(sweep, allowPartial);
    }

    private static void WritePlan(ClientContext context, DryRunResponse plan)
    {
        if (context.Json)
        {
            context.WriteDocument(new JsonObject { ["plan"] = JsonDocuments.Of(plan) });
            return;
        }

        var write = context.Terminal.Out;
        var kinds = string.Join(", ", plan.Kinds.Select(k => $"{k.Count} {k.Kind.ToString().ToLowerInvariant()}"));
        write.WriteLine($"{plan.Jobs} jobs for {plan.Entries} entries: {kinds}");
        write.WriteLine($"{plan.CacheHits} results are in the cache");
        var free = plan.HasFreeBytes ? $" of {Figures.Bytes(plan.FreeBytes)} free" : "";
        var tooMuch = plan.HasFreeBytes && plan.EstimatedBytes > plan.FreeBytes ? " - more than there is" : "";
        write.WriteLine($"about {Figures.Bytes(plan.EstimatedBytes)} of new artifacts{free}{tooMuch}");
        foreach (var device in plan.Devices)
        {
            write.WriteLine($"  {device.Host}/{device.Device} ({device.DeviceClass}): can take {device.Jobs} jobs, {device.Benchmarks} of them benchmarks, through {string.Join(", ", device.Workers)}");
        }

        foreach (var unplaceable in plan.Unplaceable)
        {
            write.WriteLine($"  nobody can take {unplaceable.Jobs} jobs: {unplaceable.What}");
            foreach (var near in unplaceable.Nearest)
            {
                write.WriteLine($"    {JobCommands.Near(near)}");
            }
        }

        foreach (var left in plan.LeftOut)
        {
            write.WriteLine($"  left out: {left.What}: {left.Reason}");
        }
    }
}
