using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Projections;

/// <summary>The read side in SQL. Every list is paged by key.</summary>
/// <param name="database">The farm's database.</param>
/// <param name="signal">Tells when this process's projection committed.</param>
/// <param name="time">The clock.</param>
internal sealed class SqlFarmQueries(FarmDatabase database, ProjectionSignal signal, TimeProvider time) : IFarmQueries
{
    private const int MaxPage = 1000;
    private static readonly TimeSpan CaughtUpTimeout = TimeSpan.FromSeconds(15);

    // The list of unfinished sweeps is read again and again; sweeps that the rows have must not wait for a projection that lags.
    private static readonly TimeSpan ListPatience = TimeSpan.FromSeconds(3);

    // Without a projection in this process the rows are looked at this often.
    private static readonly TimeSpan CaughtUpPoll = TimeSpan.FromMilliseconds(100);

    private bool _journalExists;

    public async Task<Page<SweepView>> ListSweepsAsync(int pageSize, string pageToken, CancellationToken cancellationToken)
    {
        var after = PageToken.Read(pageToken, 2);
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var rows = await connection.Command(
            $"""
            select document from farm_sweeps
            {(after is null ? "" : "where created_at < @created or (created_at = @created and id < @id)")}
            order by created_at desc, id desc limit @limit
            """,
            ("created", after is null ? null : Number(after[0], pageToken)),
            ("id", after?[1]),
            ("limit", Limit(pageSize) + 1)).ReadAsync(r => ReadModelJson.Read<SweepView>(r.GetString(0)), cancellationToken);
        return ToPage(rows, pageSize, s => PageToken.Write(s.CreatedAt.UnixMilliseconds().Invariant(), s.Id));
    }

    public async Task<SweepView?> FindSweepAsync(string id, CancellationToken cancellationToken) =>
        await FindAsync("select document from farm_sweeps where id = @id", id, cancellationToken) is { } json ? ReadModelJson.Read<SweepView>(json) : null;

    public Task<string?> FindYamlAsync(string sweepId, CancellationToken cancellationToken) =>
        FindAsync("select yaml from farm_sweeps where id = @id", sweepId, cancellationToken);

    public async Task<IReadOnlyDictionary<string, ArtifactRef>> FindSourcesAsync(string sweepId, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var rows = await connection.Command("select id, artifact from farm_sweep_sources where sweep = @sweep", ("sweep", sweepId))
            .ReadAsync(r => (Id: r.GetString(0), Artifact: ReadModelJson.Read<ArtifactRef>(r.GetString(1))), cancellationToken);
        return rows.ToDictionary(r => r.Id, r => r.Artifact, StringComparer.Ordinal);
    }

    public async Task<Page<JobView>> ListJobsAsync(string sweep, bool failedOnly, int pageSize, string pageToken, CancellationToken cancellationToken)
    {
        var after = PageToken.Read(pageToken, 1);
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var rows = await connection.Command(
            $"""
            select document, ordinal from farm_jobs where sweep = @sweep and ordinal > @after {(failedOnly ? $"and status = {FarmSchema.FailedJob}" : "")}
            order by ordinal limit @limit
            """,
            ("sweep", sweep),
            ("after", after is null ? -1 : Number(after[0], pageToken)),
            ("limit", Limit(pageSize) + 1)).ReadAsync(r => (View: ReadModelJson.Read<JobView>(r.GetString(0)), Ordinal: r.GetInt64(1)), cancellationToken);
        var page = ToPage(rows, pageSize, r => PageToken.Write(r.Ordinal.Invariant()));
        return new Page<JobView>([.. page.Items.Select(r => r.View)], page.NextPageToken);
    }

    public async Task<JobView?> FindJobAsync(string jobId, CancellationToken cancellationToken) =>
        await FindAsync("select document from farm_jobs where id = @id", jobId, cancellationToken) is { } json ? ReadModelJson.Read<JobView>(json) : null;

    public Task<Page<LeaderboardEntry>> QueryLeaderboardAsync(LeaderboardQuery query, CancellationToken cancellationToken) =>
        new LeaderboardSql(database, query).ReadAsync(cancellationToken);

    public async Task<LeaderboardEntry?> FindEntryAsync(string id, CancellationToken cancellationToken)
    {
        var json = await FindAsync("select document from farm_entries where id = @id", id, cancellationToken);
        if (json is null && id.Length > 0)
        {
            await using var connection = await database.OpenRowsAsync(cancellationToken);
            var rows = await connection.Command(
                "select document from farm_entries where substr(id, 1, @length) = @id limit 2", ("length", id.Length), ("id", id))
                .ReadAsync(r => r.GetString(0), cancellationToken);
            json = rows.Count == 1 ? rows[0] : null;
        }

        return json is null ? null : ReadModelJson.Read<LeaderboardEntry>(json);
    }

    public async Task<ImmutableArray<LeaderboardEntry>> EntryHistoryAsync(string id, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var rows = await connection.Command(
            """
            select document from farm_entries where id = @id
              or (series <> '' and series = (select series from farm_entries where id = @id))
            order by measured_at, sweep_created_at, id
            """,
            ("id", id)).ReadAsync(r => ReadModelJson.Read<LeaderboardEntry>(r.GetString(0)), cancellationToken);
        return [.. rows];
    }

    public Task CaughtUpAsync(CancellationToken cancellationToken) => CaughtUpAsync(CaughtUpTimeout, cancellationToken);

    private async Task CaughtUpAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        var newest = await NewestEventAsync(cancellationToken);
        var writer = new ProjectionWriter(database, time);
        var deadline = time.GetUtcNow() + patience;
        while (true)
        {
            var next = signal.Next;
            if (await writer.ReadOffsetAsync(cancellationToken) >= newest)
            {
                return;
            }

            if (time.GetUtcNow() > deadline)
            {
                throw new FarmUnavailableException($"the rows are behind the journal for more than {patience.TotalSeconds:0} s");
            }

            await Task.WhenAny(next, Task.Delay(CaughtUpPoll, time, cancellationToken));
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Sweeps that have not ended, as far as the rows tell; the dispatcher wakes them.</summary>
    internal async Task<ImmutableArray<string>> UnfinishedAsync(CancellationToken cancellationToken)
    {
        try
        {
            await CaughtUpAsync(ListPatience, cancellationToken);
        }
        catch (FarmUnavailableException)
        {
            // What the rows lack now, the next round finds.
        }

        await using var connection = await database.OpenRowsAsync(cancellationToken);
        return
        [
            .. await connection.Command("select id from farm_sweeps where status = @running order by created_at, id", ("running", (int)SweepStatus.Running))
                .ReadAsync(r => r.GetString(0), cancellationToken),
        ];
    }

    /// <summary>Number of the newest durable event; 0 when there is none.</summary>
    internal async Task<long> NewestEventAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenAsync(cancellationToken);
        if (!_journalExists)
        {
            // Made by its plugin on first use; before that nothing is durable.
            var sql = database.Options.Kind == DatabaseKind.Sqlite
                ? "select count(*) from sqlite_master where type = 'table' and name = 'journal'"
                : "select count(*) from pg_tables where tablename = 'journal'";
            var tables = await connection.Command(sql).ReadAsync(r => r.GetInt64(0), cancellationToken);
            if (tables[0] == 0)
            {
                return 0;
            }

            _journalExists = true;
        }

        return (await connection.Command("select coalesce(max(ordering), 0) from journal").ReadAsync(r => r.GetInt64(0), cancellationToken))[0];
    }

    private async Task<string?> FindAsync(string sql, string id, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var rows = await connection.Command(sql, ("id", id)).ReadAsync(r => r.GetString(0), cancellationToken);
        return rows.Count == 0 ? null : rows[0];
    }

    internal static int Limit(int pageSize) => pageSize <= 0 ? 100 : Math.Min(pageSize, MaxPage);

    internal static Page<T> ToPage<T>(List<T> rows, int pageSize, Func<T, string> token)
    {
        var limit = Limit(pageSize);
        return rows.Count > limit ? new Page<T>([.. rows.Take(limit)], token(rows[limit - 1])) : new Page<T>([.. rows], "");
    }

    private static long Number(string text, string token) =>
        long.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out var number) ? number : throw PageToken.Invalid(token);
}
