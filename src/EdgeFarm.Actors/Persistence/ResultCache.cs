using System.Collections.Immutable;
using System.Data.Common;
using System.Text.Json;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using Google.Protobuf;

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

    /// <inheritdoc/>
    public async Task<ImmutableDictionary<Digest, JobOutcome>> LookupAsync(IReadOnlyCollection<Digest> actions, CancellationToken cancellationToken)
    {
        var found = ImmutableDictionary.CreateBuilder<Digest, JobOutcome>();
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        foreach (var chunk in actions.Distinct().Chunk(500))
        {
            var names = string.Join(",", chunk.Select((_, i) => $"@a{i}"));
            var command = connection.Command($"select action, outcome from farm_results where action in ({names})");
            for (var i = 0; i < chunk.Length; i++)
            {
                command.With($"a{i}", chunk[i].Hex);
            }

            var rows = await command.ReadAsync(r => (Digest.Parse(r.GetString(0)), (byte[])r.GetValue(1)), cancellationToken);
            foreach (var (action, bytes) in rows)
            {
                var outcome = Serialization.Wire.Outcome.Parser.ParseFrom(bytes).ToCore();
                if (await ArtifactsExistAsync(outcome, cancellationToken))
                {
                    found[action] = outcome;
                }
            }
        }

        return found.ToImmutable();
    }

    /// <summary>
    /// Adds outcomes in the transaction that makes them visible. A second fill of one action means that the first one's artifacts
    /// were gone (else it would have been a hit) or that two sweeps ran at once: the newer is better in the first case and as good
    /// in the second.
    /// </summary>
    internal static async Task FillAsync(
        DbConnection connection, DbTransaction transaction, IEnumerable<CacheFill> fills, DateTimeOffset now, CancellationToken cancellationToken)
    {
        await using var command = connection.Command(
            """
            insert into farm_results (action, kind, operation, engine, components, outcome, job, created_at)
            values (@action, @kind, @operation, @engine, @components, @outcome, @job, @created)
            on conflict (action) do update set outcome = excluded.outcome, job = excluded.job, created_at = excluded.created_at
            """,
            ("action", ""),
            ("kind", ""),
            ("operation", ""),
            ("engine", ""),
            ("components", ""),
            ("outcome", Array.Empty<byte>()),
            ("job", ""),
            ("created", now.UnixMilliseconds()));
        command.Transaction = transaction;
        foreach (var (job, outcome) in fills)
        {
            var spec = job.Spec;
            var components = ActionDigest.Components(spec.Kind, spec.Operation, spec.Engine, spec.Parameters, job.Inputs);
            command.Parameters["action"].Value = job.Action.Hex;
            command.Parameters["kind"].Value = spec.Kind.ToString();
            command.Parameters["operation"].Value = spec.Operation;
            command.Parameters["engine"].Value = spec.Engine.Id;
            command.Parameters["components"].Value = JsonSerializer.Serialize(components.Select(c => new[] { c.Key, c.Value }));
            command.Parameters["outcome"].Value = outcome.Wire().ToByteArray();
            command.Parameters["job"].Value = spec.Id;
            await command.ExecuteNonQueryAsync(cancellationToken);
        }
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
