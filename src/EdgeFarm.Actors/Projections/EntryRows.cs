using System.Data.Common;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Leaderboard;

namespace EdgeFarm.Actors.Projections;

/// <summary>Rows of the leaderboard. A model's entries are assembled together, because ratios and the front need them all.</summary>
internal static class EntryRows
{
    /// <summary>Writes the entries whose figures changed.</summary>
    public static async Task WriteAsync(DbConnection connection, DbTransaction transaction, FoldedSweep sweep, CancellationToken cancellationToken)
    {
        if (sweep.ChangedModels.Count == 0)
        {
            return;
        }

        var submission = sweep.State.Submission!;
        var planned = sweep.State.Entries.Select((entry, ordinal) => (entry, ordinal)).Where(e => sweep.ChangedModels.Contains(e.entry.Model)).ToList();
        var ordinals = planned.ToDictionary(e => e.entry.Id, e => e.ordinal, StringComparer.Ordinal);
        var rows = Pareto.Mark(Relative.Fill(
            [.. planned.Select(e => EntryAssembler.Assemble(sweep.Id, submission.Spec.Labels, e.entry, sweep.State.Job, sweep.EndOf))]));
        foreach (var row in rows)
        {
            var document = ReadModelJson.Write(row);
            if (sweep.Entries.TryGetValue(row.Id, out var written) && written == document)
            {
                continue;
            }

            var source = submission.Sources.TryGetValue(row.Model, out var artifact) ? artifact.Digest : default;
            await WriteAsync(connection, transaction, row, document, ordinals[row.Id], sweep.State.View().CreatedAt, Series(row, source), cancellationToken);
            sweep.Entries[row.Id] = document;
        }
    }

    /// <summary>
    /// What is the same measurement at another time: the same source, form, runtime, device and settings. Empty until it was measured.
    /// The artifact's digest is left out, so that a series goes on over a new release of the toolchain.
    /// </summary>
    private static string Series(LeaderboardEntry row, Digest source) => row.MeasuredAt is null || row.Host.Length == 0
        ? ""
        : Digest.OfText(string.Join('\n', [
            row.Model, source.Hex, row.Toolchain, row.Runtime, row.Form, row.Host, row.Device,
            .. row.Settings.Select(s => $"{s.Key}={s.Value}"),
        ])).Hex;

    private static async Task WriteAsync(
        DbConnection connection,
        DbTransaction transaction,
        LeaderboardEntry row,
        string document,
        int ordinal,
        DateTimeOffset sweepCreatedAt,
        string series,
        CancellationToken cancellationToken)
    {
        await connection.Command(
            """
            insert into farm_entries (id, sweep, sweep_created_at, ordinal, model, toolchain, runtime, form, target, device, device_class,
              baseline, pareto, series, measured_at, document)
            values (@id, @sweep, @created, @ordinal, @model, @toolchain, @runtime, @form, @target, @device, @class,
              @baseline, @pareto, @series, @measured, @document)
            on conflict (id) do update set device = excluded.device, device_class = excluded.device_class, pareto = excluded.pareto,
              series = excluded.series, measured_at = excluded.measured_at, document = excluded.document
            """,
            ("id", row.Id),
            ("sweep", row.Sweep),
            ("created", sweepCreatedAt.UnixMilliseconds()),
            ("ordinal", ordinal),
            ("model", row.Model),
            ("toolchain", row.Toolchain),
            ("runtime", row.Runtime),
            ("form", row.Form),
            ("target", row.Target),
            ("device", row.Device),
            ("class", row.DeviceClass),
            ("baseline", row.Baseline ? 1 : 0),
            ("pareto", row.Pareto ? 1 : 0),
            ("series", series),
            ("measured", row.MeasuredAt is { } measured ? measured.UnixMilliseconds() : null),
            ("document", document)).RunAsync(transaction, cancellationToken);
        await connection.Command("delete from farm_metrics where entry = @entry", ("entry", row.Id)).RunAsync(transaction, cancellationToken);
        foreach (var metric in row.Metrics.Values)
        {
            await connection.Command(
                "insert into farm_metrics (entry, name, value) values (@entry, @name, @value)",
                ("entry", row.Id),
                ("name", metric.Name),
                ("value", metric.Value)).RunAsync(transaction, cancellationToken);
        }
    }
}
