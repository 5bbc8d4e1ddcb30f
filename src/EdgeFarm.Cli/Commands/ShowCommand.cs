using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Measurements;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm show</c>.</summary>
internal static class ShowCommand
{
    private static readonly string[] HistoryMetrics = ["tg", "pp", "latency"];

    private static readonly Argument<string> Id = new("entry") { Description = "id of a leaderboard row; a unique prefix will do" };

    public static Command Create(Terminal terminal) => ClientCommand.Create(
        terminal, "show", "show everything about one row of the leaderboard, and the command that reproduces it", [Id], RunAsync);

    private static async Task<int> RunAsync(ClientContext context)
    {
        var request = new GetEntryRequest { Id = context.Arguments.GetValue(Id) };
        var entry = await context.Farm.AwaitAsync(context.Farm.Leaderboard.GetEntryAsync(request, cancellationToken: context.Cancellation));
        var history = await context.Farm.AwaitAsync(
            context.Farm.Leaderboard.GetHistoryAsync(new GetEntryRequest { Id = entry.Id }, cancellationToken: context.Cancellation));
        var file = await context.Farm.AwaitAsync(
            context.Farm.Sweeps.GetSweepFileAsync(new GetSweepRequest { Id = entry.Sweep }, cancellationToken: context.Cancellation));
        var reproduce = Reproduction.Command(entry, file);
        if (context.Json)
        {
            context.WriteDocument(new JsonObject
            {
                ["entry"] = JsonDocuments.Of(entry),
                ["history"] = JsonDocuments.Array(history.Entries),
                ["reproduce"] = reproduce,
            });
            return ExitCodes.Done;
        }

        Write(context.Terminal.Out, entry, history.Entries);
        context.Terminal.Out.WriteLine("\nreproduce it:\n");
        context.Terminal.Out.WriteLine(reproduce);
        return ExitCodes.Done;
    }

    private static void Write(TextWriter write, Entry entry, IReadOnlyList<Entry> history)
    {
        write.WriteLine($"{entry.Id}: {entry.Form} of {entry.Model}{(entry.Baseline ? ", the baseline" : "")}{(entry.Pareto ? ", on the Pareto front" : "")}");
        Line(write, "sweep", entry.Sweep + string.Concat(entry.Labels.Select(l => $" {l.Key}={l.Value}")));
        Line(write, "made by", Build(entry.Toolchain, entry.ToolchainVersion));
        Line(write, "measured by", $"{Build(entry.Runtime, entry.RuntimeVersion)}, library {entry.Library?.Variant} {Short(entry.Library?.Digest)}".TrimEnd());
        Line(write, "on", entry.Host.Length == 0 ? "" : $"{entry.Device} ({entry.DeviceClass}) of host {entry.Host}, worker {entry.Worker}, target {entry.Target}");
        Line(write, "at", entry.MeasuredAt?.ToDateTimeOffset().ToString("u", CultureInfo.InvariantCulture) ?? "");
        Line(write, "artifact", entry.ArtifactInfo is { } a ? $"{a.FileName}, {Figures.Bytes(a.Size)}, {a.Format}, {a.Digest}" : "");
        Line(write, "bits per weight", entry.HasBitsPerWeight ? Figures.Digits(entry.BitsPerWeight) : "");
        Line(write, "precision", entry.PrecisionClass);
        Line(write, "flags", string.Join(", ", entry.Flags));
        Line(write, "attempts", $"{entry.Attempts}{(entry.Cached ? ", form and evaluations from the cache" : "")}");
        if (entry.Failure is { } failure)
        {
            Line(write, "failure", $"{failure.Type}: {failure.Message}");
            write.WriteLine(failure.LogTail);
        }

        Section(write, "recipe", entry.Recipe.Select((p, i) => ($"{i + 1}. {p.Type}", string.Join(", ", p.Parameters.OrderBy(x => x.Key, StringComparer.Ordinal).Select(x => $"{x.Key}={x.Value}")))));
        Section(write, "settings", entry.Settings.OrderBy(s => s.Key, StringComparer.Ordinal).Select(s => (s.Key, s.Value)));
        Section(write, "metrics", Metrics.Order(entry.Metrics.Keys).Select(m => (m, Describe(entry, m))));
        Section(write, "environment", entry.Environment.OrderBy(e => e.Key, StringComparer.Ordinal).Select(e => (e.Key, JsonDocuments.Of(e.Value)?.ToJsonString().Trim('"') ?? "")));
        Section(write, "warnings", entry.Warnings.Select(w => ("", w)));
        Section(write, "explanation", entry.Reports.OrderBy(r => r.Key, StringComparer.Ordinal).SelectMany(r => JsonDocuments.Explanation(r.Value)).Select(line => ("", line)));
        Section(write, "reports", entry.Reports.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => (r.Key, r.Value)));
        if (history.Count > 1)
        {
            Section(write, "history", history.Select(h => (
                h.MeasuredAt?.ToDateTimeOffset().ToString("u", CultureInfo.InvariantCulture) ?? "",
                string.Join(", ", HistoryMetrics.Where(h.Metrics.ContainsKey).Select(m => $"{m} {Figures.Value(h.Metrics[m])}{Figures.Spread(h.Metrics[m])}")))));
        }
    }

    private static string Describe(Entry entry, string name)
    {
        var metric = entry.Metrics[name];
        var unit = metric.Unit is "bytes" or "s" or "1" ? "" : $" {metric.Unit}";
        var text = $"{Figures.Value(metric)}{unit}{Figures.Spread(metric)}";
        if (metric.Ci95.Count == 2)
        {
            text += $", 95 % within [{Figures.Digits(metric.Ci95[0])}, {Figures.Digits(metric.Ci95[1])}]";
        }

        if (entry.Relative.TryGetValue(name, out var relative) && !entry.Baseline)
        {
            text += string.Create(CultureInfo.InvariantCulture, $", {relative:0.000}x the baseline");
        }

        if (metric.Samples.Count > 1)
        {
            text += $", {metric.N} samples: {string.Join(' ', metric.Samples.Take(10).Select(Figures.Digits))}{(metric.Samples.Count > 10 ? " ..." : "")}";
        }

        return text;
    }

    private static void Section(TextWriter write, string title, IEnumerable<(string Name, string Value)> rows)
    {
        var all = rows.ToArray();
        if (all.Length == 0)
        {
            return;
        }

        write.WriteLine($"\n{title}:");
        var width = all.Max(r => r.Name.Length);
        foreach (var (name, value) in all)
        {
            write.WriteLine($"  {name.PadRight(width)}  {value}".TrimEnd());
        }
    }

    private static void Line(TextWriter write, string name, string value)
    {
        if (value.Trim().Length > 0)
        {
            write.WriteLine($"  {name,-15} {value}");
        }
    }

    private static string Build(string engine, string version) =>
        version.StartsWith(engine, StringComparison.Ordinal) ? version : $"{engine} {version}".TrimEnd();

    private static string Short(string? digest) => digest is { Length: > 12 } ? digest[..12] : digest ?? "";
}
