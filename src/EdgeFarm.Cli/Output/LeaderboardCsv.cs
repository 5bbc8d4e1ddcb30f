using System.Globalization;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Measurements;

namespace EdgeFarm.Cli.Output;

/// <summary>The leaderboard as comma-separated values (RFC 4180): one line an entry, three columns a metric that any row has.</summary>
internal static class LeaderboardCsv
{
    private static readonly (string Name, Func<Entry, string> Value)[] Columns =
    [
        ("id", e => e.Id), ("sweep", e => e.Sweep), ("model", e => e.Model), ("toolchain", e => e.Toolchain), ("runtime", e => e.Runtime),
        ("form", e => e.Form), ("baseline", e => Flag(e.Baseline)), ("target", e => e.Target), ("host", e => e.Host), ("worker", e => e.Worker),
        ("device", e => e.Device), ("device_class", e => e.DeviceClass), ("artifact", e => e.Artifact),
        ("bits_per_weight", e => e.HasBitsPerWeight ? Number(e.BitsPerWeight) : ""), ("pareto", e => Flag(e.Pareto)),
        ("flags", e => string.Join(' ', e.Flags)), ("failure", e => e.Failure is null ? "" : e.Failure.Type.ToString()),
        ("measured_at", e => e.MeasuredAt is null ? "" : e.MeasuredAt.ToDateTimeOffset().ToString("O", CultureInfo.InvariantCulture)),
    ];

    public static void Write(TextWriter writer, IReadOnlyList<Entry> entries)
    {
        var metrics = Metrics.Order(entries.SelectMany(e => e.Metrics.Keys)).ToArray();
        Line(writer, Columns.Select(c => c.Name).Concat(metrics.SelectMany(m => new[] { m, $"{m}_stddev", $"{m}_relative" })));
        foreach (var entry in entries)
        {
            Line(writer, Columns.Select(c => c.Value(entry)).Concat(metrics.SelectMany(m => Cells(entry, m))));
        }
    }

    private static string[] Cells(Entry entry, string name)
    {
        var metric = entry.Metrics.GetValueOrDefault(name);
        return
        [
            metric is null ? "" : Number(metric.Value),
            metric is { HasStddev: true } ? Number(metric.Stddev) : "",
            entry.Relative.TryGetValue(name, out var relative) ? Number(relative) : "",
        ];
    }

    private static void Line(TextWriter writer, IEnumerable<string> cells) =>
        writer.Write(string.Join(',', cells.Select(Quote)) + "\r\n");

    private static string Quote(string cell) =>
        cell.AsSpan().IndexOfAny(",\"\r\n") < 0 ? cell : $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    private static string Flag(bool value) => value ? "true" : "false";

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
