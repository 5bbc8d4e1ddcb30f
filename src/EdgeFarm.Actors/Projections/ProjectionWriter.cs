using System.Buffers;
using System.Data.Common;
using System.Text.Json;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Projections;

/// <summary>Another projection moved the offset: this one starts again from there.</summary>
internal sealed class ProjectionConflictException(long expected)
    : Exception($"the projection's offset is not {expected} any more: another projection runs on this database");

/// <summary>Writes rows and offset in one transaction, so that each event shows exactly once whatever dies when.</summary>
/// <param name="database">The farm's database.</param>
/// <param name="time">The clock.</param>
internal sealed class ProjectionWriter(FarmDatabase database, TimeProvider time)
{
    private const string Name = "sweeps";

    private static readonly RowStatement Jobs = new(
        "farm_jobs",
        "id",
        [("id", ColumnType.Text), ("sweep", ColumnType.Text), ("ordinal", ColumnType.Integer), ("status", ColumnType.Integer), ("document", ColumnType.Text)],
        ["status", "document"]);

    /// <summary>For the crash test: runs when the rows are written and the offset is not.</summary>
    internal Func<Task>? RowsWritten { get; set; }

    /// <summary>Up to where the events are in the rows.</summary>
    public async Task<long> ReadOffsetAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var rows = await connection.Command("select position from farm_offsets where name = @name", ("name", Name))
            .ReadAsync(r => r.GetInt64(0), cancellationToken);
        return rows.Count == 0 ? 0 : rows[0];
    }

    /// <summary>Brings the rows of some sweeps up to date and moves the offset.</summary>
    public async Task WriteAsync(IReadOnlyCollection<FoldedSweep> sweeps, long from, long to, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        foreach (var sweep in sweeps)
        {
            await WriteSweepAsync(connection, transaction, sweep, cancellationToken);
            await WriteJobsAsync(connection, transaction, sweep, cancellationToken);
            await EntryRows.WriteAsync(connection, transaction, sweep, cancellationToken);
            await SqlResultCache.FillAsync(connection, transaction, sweep.Fills, time.GetUtcNow(), cancellationToken);
        }

        if (RowsWritten is { } hook)
        {
            await hook();
        }

        await MoveOffsetAsync(connection, transaction, from, to, cancellationToken);
        await transaction.CommitAsync(cancellationToken);
        foreach (var sweep in sweeps)
        {
            sweep.Written();
        }
    }

    /// <summary>Empties the read model; the projection then fills it again from the first event.</summary>
    public async Task TruncateAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        foreach (var table in FarmSchema.ReadModelTables)
        {
            await connection.Command($"delete from {table}").RunAsync(transaction, cancellationToken);
        }

        await transaction.CommitAsync(cancellationToken);
    }

    private static async Task MoveOffsetAsync(DbConnection connection, DbTransaction transaction, long from, long to, CancellationToken cancellationToken)
    {
        var sql = from == 0
            ? "insert into farm_offsets (name, position) values (@name, @to) on conflict (name) do nothing"
            : "update farm_offsets set position = @to where name = @name and position = @from";
        var moved = await connection.Command(sql, ("name", Name), ("to", to), ("from", from)).RunAsync(transaction, cancellationToken);
        if (moved != 1)
        {
            throw new ProjectionConflictException(from);
        }
    }

    private static async Task WriteSweepAsync(DbConnection connection, DbTransaction transaction, FoldedSweep sweep, CancellationToken cancellationToken)
    {
        var view = sweep.State.View();
        await connection.Command(
            """
            insert into farm_sweeps (id, status, created_at, document, yaml) values (@id, @status, @created, @document, @yaml)
            on conflict (id) do update set status = excluded.status, document = excluded.document
            """,
            ("id", sweep.Id),
            ("status", (int)view.Status),
            ("created", view.CreatedAt.UnixMilliseconds()),
            ("document", ReadModelJson.Write(view)),
            ("yaml", sweep.State.Submission!.Yaml)).RunAsync(transaction, cancellationToken);
        if (sweep.IsNew)
        {
            foreach (var (name, value) in view.Labels)
            {
                await connection.Command(
                    "insert into farm_sweep_labels (sweep, name, value) values (@sweep, @name, @value)",
                    ("sweep", sweep.Id),
                    ("name", name),
                    ("value", value)).RunAsync(transaction, cancellationToken);
            }

            foreach (var (source, artifact) in sweep.State.Submission!.Sources)
            {
                await connection.Command(
                    "insert into farm_sweep_sources (sweep, id, artifact) values (@sweep, @id, @artifact)",
                    ("sweep", sweep.Id),
                    ("id", source),
                    ("artifact", ReadModelJson.Write(artifact))).RunAsync(transaction, cancellationToken);
            }
        }
    }

    private static async Task WriteJobsAsync(DbConnection connection, DbTransaction transaction, FoldedSweep sweep, CancellationToken cancellationToken)
    {
        using var rows = RowWriter.Open(connection, transaction, Jobs);
        var document = new ArrayBufferWriter<byte>(1024);
        await using var json = new Utf8JsonWriter(document);
        foreach (var job in sweep.Changed.Select(sweep.State.View).OfType<JobView>())
        {
            document.ResetWrittenCount();
            json.Reset();
            JobDocument.Write(json, job);
            rows.Set(0, job.Id);
            rows.Set(1, sweep.Id);
            rows.Set(2, sweep.Ordinal(job.Id));
            rows.Set(3, (int)job.Status);
            rows.Set(4, document.WrittenSpan);
            rows.Add();
        }

        await rows.FlushAsync(cancellationToken);
    }
}
