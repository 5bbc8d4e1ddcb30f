using System.Globalization;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Leaderboard;
using Spectre.Console;
using Better = EdgeFarm.Contracts.V1.Better;

namespace EdgeFarm.Cli.Output;

/// <summary>The leaderboard as a person reads it: what to take, then one table for each model, runtime and device.</summary>
internal static class LeaderboardTable
{
    private static readonly string[] Speed = ["pp", "tg", "latency", "throughput"];

    /// <summary>Metrics that are shown, in order; the rest is in <c>show</c> and the document.</summary>
    private static readonly string[] Shown = ["size", .. Speed, "load_time", "peak_memory", "perplexity", "kld_mean", "cosine", "sqnr", "accuracy"];

    /// <summary>What a newcomer should take of each model.</summary>
    public static IReadOnlyList<Recommendation> Recommend(IEnumerable<Entry> entries) => Recommendation.Of([.. entries.Select(e => e.ToCore())]);

    /// <summary>Writes the whole leaderboard.</summary>
    public static void Write(IAnsiConsole console, IReadOnlyList<Entry> entries)
    {
        foreach (var recommendation in Recommend(entries))
        {
            // One line, however narrow the terminal is: it is what a newcomer reads first, and what scripts cut out.
            console.Profile.Out.Writer.WriteLine(recommendation.Text);
        }

        // A row that is not measured yet stands with those that were measured for its target.
        var places = entries.Where(e => e.Host.Length > 0).ToLookup(e => (e.Sweep, e.Model, e.Runtime, e.Target), Place);
        foreach (var group in entries.GroupBy(e => (e.Model, e.Runtime, Place: e.Host.Length > 0 ? Place(e) : places[(e.Sweep, e.Model, e.Runtime, e.Target)].FirstOrDefault(""))))
        {
            console.WriteLine();
            console.WriteLine($"{group.Key.Model}, {group.Key.Runtime}{(group.Key.Place.Length > 0 ? $" on {group.Key.Place}" : "")}");
            console.Write(Table([.. group]));
        }

        console.WriteLine();
        console.WriteLine("* no other row beats it in speed, size and quality; (x) relative to the baseline (b); ± standard deviation");
        foreach (var entry in entries.Where(e => e.Failure is not null))
        {
            console.WriteLine($"{entry.Model} {entry.Form}: {entry.Failure.Type}: {entry.Failure.Message}");
        }
    }

    private static string Place(Entry entry) => $"{entry.Device} ({entry.DeviceClass}) of host {entry.Host[..Math.Min(12, entry.Host.Length)]}";

    private static Table Table(IReadOnlyList<Entry> entries)
    {
        var metrics = Shown.Where(m => entries.Any(e => e.Metrics.ContainsKey(m))).ToArray();
        var table = new Table().Border(TableBorder.Simple).AddColumn("").AddColumn(new TableColumn("form").NoWrap());
        foreach (var metric in metrics)
        {
            var (unit, better) = entries.Select(e => e.Metrics.GetValueOrDefault(metric)).Where(m => m is not null).Select(m => (m!.Unit, m.Better)).First();
            var head = unit is "bytes" or "s" or "1" ? metric : $"{metric} {unit}";
            table.AddColumn(new TableColumn(Markup.Escape($"{head} {(better is Better.Higher ? "↑" : "↓")}")).RightAligned());
        }

        table.AddColumn("flags");

        // An id that is cut in two cannot be pasted.
        table.AddColumn(new TableColumn("entry").NoWrap());
        foreach (var entry in entries)
        {
            var mark = (entry.Pareto ? "*" : " ") + (entry.Baseline ? "b" : "");
            string[] cells = [mark, entry.Form, .. metrics.Select(m => Cell(entry, m)), Flags(entry), entry.Id];
            table.AddRow(cells.Select(Markup.Escape).ToArray());
        }

        return table;
    }

    private static string Cell(Entry entry, string name)
    {
        if (!entry.Metrics.TryGetValue(name, out var metric))
        {
            return "-";
        }

        var spread = Speed.Contains(name) ? Figures.Spread(metric) : "";
        var relative = !entry.Baseline && entry.Relative.TryGetValue(name, out var ratio)
            ? string.Create(CultureInfo.InvariantCulture, $" ({ratio:0.00}x)")
            : "";
        return Figures.Value(metric) + spread + relative;
    }

    private static string Flags(Entry entry)
    {
        IEnumerable<string> flags = entry.Flags;
        if (entry.Failure is not null)
        {
            flags = flags.Prepend("FAILED");
        }

        return string.Join(" ", entry.Cached ? flags.Append("cached") : flags);
    }
}

/// <summary>Rows of the public API as the domain's, as far as a recommendation looks at them.</summary>
internal static class EntryReading
{
    public static LeaderboardEntry ToCore(this Entry entry) => new()
    {
        Id = entry.Id,
        Sweep = entry.Sweep,
        Labels = System.Collections.Immutable.ImmutableSortedDictionary<string, string>.Empty,
        Model = entry.Model,
        Toolchain = entry.Toolchain,
        Runtime = entry.Runtime,
        Form = entry.Form,
        Recipe = [],
        Baseline = entry.Baseline,
        BaselineId = entry.BaselineId,
        Target = entry.Target,
        Host = entry.Host,
        Worker = entry.Worker,
        Device = entry.Device,
        DeviceClass = entry.DeviceClass,
        RuntimeVersion = entry.RuntimeVersion,
        LibraryVariant = entry.Library?.Variant ?? "",
        LibraryDigest = entry.Library?.Digest ?? "",
        Flags = [.. entry.Flags],
        Failure = entry.Failure is { } failure ? new Core.Jobs.Failure((Core.Jobs.FailureType)failure.Type, failure.Message) : null,
        Metrics = System.Collections.Immutable.ImmutableSortedDictionary.CreateRange(
            StringComparer.Ordinal, entry.Metrics.Select(m => KeyValuePair.Create(m.Key, m.Value.ToCore(m.Key)))),
        Relative = System.Collections.Immutable.ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, entry.Relative),
        Pareto = entry.Pareto,
    };

    private static MetricValue ToCore(this Metric metric, string name) =>
        new(name, metric.Value, metric.Unit, (Core.Measurements.Better)metric.Better, metric.N, metric.By)
        {
            Ci95Low = metric.Ci95.Count == 2 ? metric.Ci95[0] : null,
            Ci95High = metric.Ci95.Count == 2 ? metric.Ci95[1] : null,
        };
}
