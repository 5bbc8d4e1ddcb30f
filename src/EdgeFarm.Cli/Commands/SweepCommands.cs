using System.CommandLine;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts.V1;
using Spectre.Console;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm sweeps</c>, <c>watch</c>, <c>cancel</c>, <c>retry</c>.</summary>
internal static class SweepCommands
{
    /// <summary>Sweeps whose best form is looked up: each costs a query.</summary>
    private const int MaxListed = 50;

    public static Command Sweeps(Terminal terminal) =>
        ClientCommand.Create(terminal, "sweeps", "list the newest sweeps with the best form of each", [], ListAsync);

    public static Command Watch(Terminal terminal)
    {
        var id = SweepArgument();
        var timeout = new Option<string?>("--timeout") { Description = "give up after T (90, 90s, 5m, 2h); exit code 7", HelpName = "T" };
        var allow = new Option<bool>("--allow-partial") { Description = "exit code 0 though some forms failed" };
        return ClientCommand.Create(terminal, "watch", "follow a sweep to its end", [id, timeout, allow], context => SubmitCommand.EndAsync(
            context,
            context.Arguments.GetValue(id)!,
            show: true,
            SubmitCommand.ReadTimeout(context.Arguments.GetValue(timeout)),
            context.Arguments.GetValue(allow)));
    }

    public static Command Cancel(Terminal terminal)
    {
        var id = SweepArgument();
        return ClientCommand.Create(terminal, "cancel", "stop a sweep: nothing new starts, what runs is killed", [id], async context =>
        {
            var request = new CancelRequest { Id = context.Arguments.GetValue(id), Reason = "cancelled on the command line" };
            var sweep = await context.Farm.AwaitAsync(context.Farm.Sweeps.CancelAsync(request, cancellationToken: context.Cancellation));
            if (context.Json)
            {
                context.WriteDocument(new JsonObject { ["sweep"] = JsonDocuments.Of(sweep) });
            }
            else
            {
                context.Terminal.Out.WriteLine(sweep.Status is SweepStatus.Cancelled or SweepStatus.Running
                    ? $"sweep {sweep.Id} is cancelled"
                    : $"sweep {sweep.Id} had ended already: {Words.Of(sweep.Status)}");
            }

            return ExitCodes.Done;
        });
    }

    public static Command Retry(Terminal terminal)
    {
        var id = SweepArgument();
        var type = new Option<string?>("--type")
        {
            Description = "only jobs that failed so: InvalidInput, Unsupported, OutOfMemory, Crashed, TimedOut, WorkerLost, Internal",
            HelpName = "FAILURE",
        };
        return ClientCommand.Create(terminal, "retry", "run a sweep's failed jobs again, as new attempts", [id, type], async context =>
        {
            var request = new RetryRequest { Id = context.Arguments.GetValue(id) };
            if (context.Arguments.GetValue(type) is { } word)
            {
                request.Type = Words.FailureTypeOf(word)
                    ?? throw new BadInputException($"'{word}' is no failure type; accepted: {string.Join(", ", Enum.GetNames<FailureType>().Skip(1))}");
            }

            var retried = await context.Farm.AwaitAsync(context.Farm.Sweeps.RetryAsync(request, cancellationToken: context.Cancellation));
            if (context.Json)
            {
                context.WriteDocument(new JsonObject { ["sweep"] = request.Id, ["retried"] = retried.Jobs });
            }
            else
            {
                context.Terminal.Out.WriteLine(retried.Jobs == 0
                    ? $"nothing to retry: sweep {request.Id} has no failed job{(request.Type is FailureType.Unspecified ? "" : $" of type {request.Type}")}"
                    : $"{retried.Jobs} jobs of sweep {request.Id} run again; 'edgefarm watch {request.Id}' follows them");
            }

            return ExitCodes.Done;
        });
    }

    private static Argument<string> SweepArgument() => new("sweep") { Description = "id of the sweep" };

    private static async Task<int> ListAsync(ClientContext context)
    {
        var page = await context.Farm.AwaitAsync(
            context.Farm.Sweeps.ListSweepsAsync(new ListSweepsRequest { PageSize = MaxListed }, cancellationToken: context.Cancellation));
        var best = new Dictionary<string, IReadOnlyList<EdgeFarm.Core.Leaderboard.Recommendation>>(StringComparer.Ordinal);
        foreach (var sweep in page.Sweeps)
        {
            var entries = await LeaderboardCommand.QueryAllAsync(context.Farm, new QueryRequest { Sweep = sweep.Id }, 1000, context.Cancellation);
            best[sweep.Id] = LeaderboardTable.Recommend(entries);
        }

        if (context.Json)
        {
            var sweeps = new JsonArray([.. page.Sweeps.Select(sweep =>
            {
                var json = (JsonObject)JsonDocuments.Of(sweep)!;
                json["best"] = new JsonArray([.. best[sweep.Id].Select(r => new JsonObject { ["model"] = r.Model, ["form"] = r.Pick.Form, ["entry"] = r.Pick.Id, ["text"] = r.Text })]);
                return (JsonNode)json;
            })]);
            context.WriteDocument(new JsonObject { ["sweeps"] = sweeps });
            return ExitCodes.Done;
        }

        if (page.Sweeps.Count == 0)
        {
            context.Terminal.Error.WriteLine("no sweeps yet; 'edgefarm submit FILE' makes one");
            return ExitCodes.Done;
        }

        var table = new Table().Border(TableBorder.None).AddColumns("SWEEP", "STATUS", "JOBS", "SUBMITTED", "BEST FORM");
        foreach (var sweep in page.Sweeps)
        {
            table.AddRow(
                Markup.Escape(sweep.Id),
                Words.Of(sweep.Status),
                Markup.Escape(Words.Counts(sweep)),
                sweep.CreatedAt.ToDateTimeOffset().ToLocalTime().ToString("yyyy-MM-dd HH:mm", System.Globalization.CultureInfo.InvariantCulture),
                Markup.Escape(string.Join(", ", best[sweep.Id].Select(r => $"{r.Model}: {r.Pick.Form}"))));
        }

        context.Terminal.OutConsole.Write(table);
        return ExitCodes.Done;
    }
}
