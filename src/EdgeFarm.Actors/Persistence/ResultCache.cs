using System.Buffers;
using System.Collections.Immutable;
using System.Data.Common;
using System.Text.Json;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using Google.Protobuf;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace EdgeFarm.Actors.Persistence;

/// <summary>A result that goes into the cache.</summary>
/// <param name="Job">The job with its inputs; its action digest is the key.</param>
/// <param name="Outcome">A success or a deterministic failure.</param>
internal sealed record CacheFill(ReadyJob Job, JobOutcome Outcome);

/// <summary>Outcomes by action digest: each pass runs at most once in the whole farm, whoever asks.</summary>
public interface IResultCache
{
    /// <summary>What is known of these actions; the others are absent. A result whose artifacts are gone is not known.</summary>
    Task<ImmutableDictionary<Digest, JobOutcome>> LookupAsync(IReadOnlyCollection<Digest> actions, CancellationToken cancellationToken);

    /// <summary>
    /// Of the known results of the same operation and engine the one whose components differ least from a job's, as
    /// (component, here, there); empty when there is none. It explains a miss.
    /// </summary>
    Task<ImmutableArray<(string Component, string Here, string There)>> NearestAsync(
        ImmutableArray<KeyValuePair<string, string>> components, CancellationToken cancellationToken);
}

/// <summary>The cache in the farm's database; each result's components stand beside it in readable form.</summary>
/// <param name="database">The farm's database.</param>
/// <param name="exists">Tells whether an artifact is in the store; null takes that for granted.</param>
public sealed class SqlResultCache(FarmDatabase database, Func<ArtifactRef, CancellationToken, Task<bool>>? exists = null) : IResultCache
{
    private const int NearestCandidates = 200;

    private static readonly RowStatement Results = new(
        "farm_results",
        "action",
        [
            ("action", ColumnType.Text), ("kind", ColumnType.Text), ("operation", ColumnType.Text), ("engine", ColumnType.Text),
            ("components", ColumnType.Text), ("outcome", ColumnType.Bytes), ("job", ColumnType.Text), ("created_at", ColumnType.Bigint),
        ],
        ["outcome", "job", "created_at"]);

    /// <inheritdoc/>
    public async Task<ImmutableDictionary<Digest, JobOutcome>> LookupAsync(IReadOnlyCollection<Digest> actions, CancellationToken cancellationToken)
    {
        var found = ImmutableDictionary.CreateBuilder<Digest, JobOutcome>();
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        foreach (var (action, bytes) in await FindAsync(connection, [.. actions.Distinct()], cancellationToken))
        {
            var outcome = Serialization.Wire.Outcome.Parser.ParseFrom(bytes).ToCore();
            if (await ArtifactsExistAsync(outcome, cancellationToken))
            {
                found[action] = outcome;
            }
        }

        return found.ToImmutable();
    }

    private static async Task<List<(Digest Action, byte[] Outcome)>> FindAsync(DbConnection connection, Digest[] actions, CancellationToken cancellationToken)
    {
        if (connection is SqliteConnection sqlite)
        {
            return Find(sqlite, actions);
        }

        return await connection.Command("select action, outcome from farm_results where action = any(@actions)", ("actions", actions.Select(a => a.Hex).ToArray()))
            .ReadAsync(r => (Digest.Parse(r.GetString(0)), (byte[])r.GetValue(1)), cancellationToken);
    }

    /// <summary>One prepared statement for all: a list of parameters is looked up by name, in a time that grows with its square.</summary>
    private static List<(Digest Action, byte[] Outcome)> Find(SqliteConnection connection, Digest[] actions)
    {
        var found = new List<(Digest, byte[])>();
        Check(raw.sqlite3_prepare_v2(connection.Handle!, "select outcome from farm_results where action = ?1", out var statement));
        using (statement)
        {
            foreach (var action in actions)
            {
                Check(raw.sqlite3_bind_text(statement, 1, action.Hex));
                var code = raw.sqlite3_step(statement);
                if (code == raw.SQLITE_ROW)
                {
                    found.Add((action, raw.sqlite3_column_blob(statement, 0).ToArray()));
                }

                raw.sqlite3_reset(statement);
                Check(code is raw.SQLITE_ROW or raw.SQLITE_DONE ? raw.SQLITE_OK : code);
            }
        }

        return found;

        void Check(int code) => SqliteException.ThrowExceptionForRC(code, connection.Handle);
    }

    /// <summary>
    /// Adds outcomes in the transaction that makes them visible. A second fill of one action means that the first one's artifacts
    /// were gone (else it would have been a hit) or that two sweeps ran at once: the newer is better in the first case and as good
    /// in the second.
    /// </summary>
    internal static async Task FillAsync(
        DbConnection connection, DbTransaction transaction, IReadOnlyCollection<CacheFill> fills, DateTimeOffset now, CancellationToken cancellationToken)
    {
        using var rows = RowWriter.Open(connection, transaction, Results);
        var components = new ArrayBufferWriter<byte>(1024);
        await using var json = new Utf8JsonWriter(components);
        foreach (var (job, outcome) in Last(fills))
        {
            var spec = job.Spec;
            components.ResetWrittenCount();
            json.Reset();
            json.WriteStartArray();
            foreach (var (name, text) in ActionDigest.Components(spec.Kind, spec.Operation, spec.Engine, spec.Parameters, job.Inputs))
            {
                json.WriteStartArray();
                json.WriteStringValue(name);
                json.WriteStringValue(text);
                json.WriteEndArray();
            }

            json.WriteEndArray();
            json.Flush();
            rows.Set(0, job.Action.Hex);
            rows.Set(1, spec.Kind.ToString());
            rows.Set(2, spec.Operation);
            rows.Set(3, spec.Engine.Id);
            rows.Set(4, components.WrittenSpan);
            rows.Set(5, outcome.Wire().ToByteArray());
            rows.Set(6, spec.Id);
            rows.Set(7, now.UnixMilliseconds());
            rows.Add();
        }

        await rows.FlushAsync(cancellationToken);
    }

    /// <summary>The last fill of each action.</summary>
    private static IEnumerable<CacheFill> Last(IReadOnlyCollection<CacheFill> fills)
    {
        var last = new Dictionary<Digest, CacheFill>(fills.Count);
        foreach (var fill in fills)
        {
            last[fill.Job.Action] = fill;
        }

        return last.Values;
    }

    /// <inheritdoc/>
    public async Task<ImmutableArray<(string Component, string Here, string There)>> NearestAsync(
        ImmutableArray<KeyValuePair<string, string>> components, CancellationToken cancellationToken)
    {
        var here = components.ToDictionary(c => c.Key, c => c.Value, StringComparer.Ordinal);
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var rows = await connection.Command(
            "select components from farm_results where operation = @operation and engine = @engine order by created_at desc limit @limit",
            ("operation", here.GetValueOrDefault("operation", "")),
            ("engine", here.GetValueOrDefault("engine", "")),
            ("limit", NearestCandidates)).ReadAsync(r => r.GetString(0), cancellationToken);
        ImmutableArray<(string, string, string)>? best = null;
        foreach (var row in rows)
        {
            var there = JsonSerializer.Deserialize<string[][]>(row)!.ToDictionary(c => c[0], c => c[1], StringComparer.Ordinal);
            ImmutableArray<(string, string, string)> differences =
            [
                .. here.Keys.Union(there.Keys)
                    .Where(k => here.GetValueOrDefault(k) != there.GetValueOrDefault(k))
                    .Order(StringComparer.Ordinal)
                    .Select(k => (k, here.GetValueOrDefault(k, ""), there.GetValueOrDefault(k, ""))),
            ];
            if (best is null || differences.Length < best.Value.Length)
            {
                best = differences;
            }
        }

        return best ?? [];
    }

    private async Task<bool> ArtifactsExistAsync(JobOutcome outcome, CancellationToken cancellationToken)
    {
        if (exists is not null && outcome.Result is { } result)
        {
            foreach (var artifact in result.Outputs.Values)
            {
                if (!await exists(artifact, cancellationToken))
                {
                    return false;
                }
            }
        }

        return true;
    }
}
