using System.CommandLine;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm leaderboard</c>.</summary>
internal static class LeaderboardCommand
{
    private static readonly Option<string?> Sweep = Filter("--sweep", "ID", "only rows of this sweep");
    private static readonly Option<string?> Model = Filter("--model", "M", "only rows of this model");
    private static readonly Option<string?> Toolchain = Filter("--toolchain", "T", "only forms that this toolchain made");
    private static readonly Option<string?> Runtime = Filter("--runtime", "R", "only rows that this runtime measured");
    private static readonly Option<string?> Form = Filter("--form", "F", "only rows of this form");
    private static readonly Option<string?> Device = Filter("--device", "D", "only rows of this device, device class or target");
    private static readonly Option<string[]> Label = new("--label")
    {
        Description = "only rows of sweeps with this label; may stand several times",
        HelpName = "K=V",
    };
    private static readonly Option<string?> Sort = Filter("--sort", "METRIC", "best first by a metric: tg, latency, size, perplexity, ...");
    private static readonly Option<int?> Top = new("--top") { Description = "only the first N rows", HelpName = "N" };
    private static readonly Option<bool> Pareto = new("--pareto")
    {
        Description = "only rows that no other beats in speed, size and quality",
    };
    private static readonly Option<bool> Csv = new("--csv") { Description = "comma-separated values on stdout" };
    private static readonly Option<bool> Samples = new("--samples") { Description = "with --json: the samples of every metric" };

    public static Command Create(Terminal terminal) => ClientCommand.Create(
        terminal,
        "leaderboard",
        "show what was measured",
        [Sweep, Model, Toolchain, Runtime, Form, Device, Label, Sort, Top, Pareto, Csv, Samples],
        RunAsync);

    /// <summary>All entries that match, page by page, up to a number.</summary>
    public static async Task<IReadOnlyList<Entry>> QueryAllAsync(EdgeFarmClient farm, QueryRequest query, int limit, CancellationToken cancellationToken)
    {
        var entries = new List<Entry>();
        query = query.Clone();
        do
        {
            query.PageSize = Math.Min(1000, limit - entries.Count);
            var page = await farm.AwaitAsync(farm.Leaderboard.QueryAsync(query, cancellationToken: cancellationToken));
            entries.AddRange(page.Entries);
            query.PageToken = page.NextPageToken;
        }
        while (query.PageToken.Length > 0 && entries.Count < limit);
        return entries;
    }

    /// <summary>Entries as the document shows them: samples only on request.</summary>
    public static IEnumerable<Entry> ForDocument(IEnumerable<Entry> entries, bool samples)
    {
        foreach (var entry in entries)
        {
            if (!samples)
            {
                foreach (var metric in entry.Metrics.Values)
                {
                    metric.Samples.Clear();
                }
            }

            yield return entry;
        }
    }

    private static Option<string?> Filter(string name, string value, string description) => new(name) { Description = description, HelpName = value };

    private static async Task<int> RunAsync(ClientContext context)
    {
        var arguments = context.Arguments;
        var top = arguments.GetValue(Top);
        if (top is < 1)
        {
            throw new BadInputException($"--top must be at least 1, not {top}");
        }

        var query = new QueryRequest
        {
            Sweep = arguments.GetValue(Sweep) ?? "",
            Model = arguments.GetValue(Model) ?? "",
            Toolchain = arguments.GetValue(Toolchain) ?? "",
            Runtime = arguments.GetValue(Runtime) ?? "",
            Form = arguments.GetValue(Form) ?? "",
            Device = arguments.GetValue(Device) ?? "",
            Sort = arguments.GetValue(Sort) ?? "",
            ParetoOnly = arguments.GetValue(Pareto),
            View = context.Json ? EntryView.Full : EntryView.Basic,
        };
        foreach (var label in arguments.GetValue(Label) ?? [])
        {
            var (key, value) = ReadLabel(label);
            query.Labels[key] = value;
        }

        var entries = await QueryAllAsync(context.Farm, query, top ?? int.MaxValue, context.Cancellation);
        if (context.Json)
        {
            context.WriteDocument(JsonDocuments.Leaderboard(ForDocument(entries, arguments.GetValue(Samples))));
        }
        else if (arguments.GetValue(Csv))
        {
            LeaderboardCsv.Write(context.Terminal.Out, entries);
        }
        else if (entries.Count == 0)
        {
            context.Terminal.Error.WriteLine("no row matches; 'edgefarm sweeps' lists what was submitted");
        }
        else
        {
            LeaderboardTable.Write(context.Terminal.OutConsole, entries);
        }

        return ExitCodes.Done;
    }

    /// <summary>Reads <c>K=V</c>.</summary>
    public static (string Key, string Value) ReadLabel(string text)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        return equals > 0 ? (text[..equals], text[(equals + 1)..]) : throw new BadInputException($"'{text}' is no label; use KEY=VALUE");
    }
}
