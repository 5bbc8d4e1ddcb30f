using System.Collections.Immutable;
using System.Data.Common;
using System.Globalization;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Measurements;

namespace EdgeFarm.Actors.Projections;

/// <summary>
/// One query of the leaderboard. Sorted by a metric it walks that metric's index; rows without the metric follow. Without a sweep
/// it shows of each series the newest measurement alone.
/// </summary>
/// <param name="database">The farm's database.</param>
/// <param name="query">What to return.</param>
internal sealed class LeaderboardSql(FarmDatabase database, LeaderboardQuery query)
{
    private readonly List<string> _conditions = [];
    private readonly List<(string Name, object? Value)> _parameters = [];

    public async Task<Page<LeaderboardEntry>> ReadAsync(CancellationToken cancellationToken)
    {
        AddFilters();
        await using var connection = await database.OpenRowsAsync(cancellationToken);
        var page = query.Sort is { } metric
            ? await ReadSortedAsync(connection, metric, cancellationToken)
            : await ReadInOrderAsync(connection, cancellationToken);
        return query.Full ? page : new Page<LeaderboardEntry>([.. page.Items.Select(Strip)], page.NextPageToken);
    }

    private static LeaderboardEntry Strip(LeaderboardEntry entry) => entry with
    {
        Environment = ImmutableSortedDictionary<string, PropertyValue>.Empty,
        Reports = ImmutableSortedDictionary<string, string>.Empty,
        Metrics = entry.Metrics.ToImmutableSortedDictionary(m => m.Key, m => m.Value with { Samples = [] }),
    };

    private async Task<Page<LeaderboardEntry>> ReadInOrderAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        if (PageToken.Read(query.PageToken, 3) is { } after)
        {
            _conditions.Add("(e.sweep_created_at, e.sweep, e.ordinal) > (@created, @afterSweep, @ordinal)");
            _parameters.AddRange([("created", Number(after[0])), ("afterSweep", after[1]), ("ordinal", Number(after[2]))]);
        }

        var rows = await Command(connection, "farm_entries e", "e.sweep_created_at, e.sweep, e.ordinal")
            .ReadAsync(r => (Json: r.GetString(0), Created: r.GetInt64(1), Sweep: r.GetString(2), Ordinal: r.GetInt64(3)), cancellationToken);
        var page = SqlFarmQueries.ToPage(rows, query.PageSize, r => PageToken.Write(r.Created.Invariant(), r.Sweep, r.Ordinal.Invariant()));
        return new Page<LeaderboardEntry>([.. page.Items.Select(r => Parse(r.Json))], page.NextPageToken);
    }

    private async Task<Page<LeaderboardEntry>> ReadSortedAsync(DbConnection connection, string metric, CancellationToken cancellationToken)
    {
        var limit = SqlFarmQueries.Limit(query.PageSize);
        var after = PageToken.Read(query.PageToken, 2);
        var items = new List<(string Json, string Value, string Id)>();
        _parameters.Add(("metric", metric));
        if (after is null || after[0].Length > 0)
        {
            items = await ReadWithMetricAsync(connection, Metrics.Find(metric)?.Better == Better.Lower, after, cancellationToken);
            after = null;
        }

        if (items.Count <= limit)
        {
            items.AddRange(await ReadWithoutMetricAsync(connection, after?[1] ?? "", cancellationToken));
        }

        var page = SqlFarmQueries.ToPage(items, query.PageSize, i => PageToken.Write(i.Value, i.Id));
        return new Page<LeaderboardEntry>([.. page.Items.Select(i => Parse(i.Json))], page.NextPageToken);
    }

    private async Task<List<(string Json, string Value, string Id)>> ReadWithMetricAsync(
        DbConnection connection, bool ascending, string[]? after, CancellationToken cancellationToken)
    {
        var (beyond, order) = ascending ? (">", "asc") : ("<", "desc");
        var conditions = _conditions.Append("m.name = @metric").ToList();
        var parameters = _parameters.ToList();
        if (after is not null)
        {
            conditions.Add($"(m.value {beyond} @value or (m.value = @value and m.entry {beyond} @id))");
            var value = double.TryParse(after[0], NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                ? number
                : throw PageToken.Invalid(query.PageToken);
            parameters.AddRange([("value", value), ("id", after[1])]);
        }

        return await Command(
            connection, "farm_metrics m join farm_entries e on e.id = m.entry", $"m.value {order}, m.entry {order}", "m.value, e.id", conditions, parameters)
            .ReadAsync(r => (r.GetString(0), r.GetDouble(1).ToString("R", CultureInfo.InvariantCulture), r.GetString(2)), cancellationToken);
    }

    private async Task<List<(string Json, string Value, string Id)>> ReadWithoutMetricAsync(
        DbConnection connection, string after, CancellationToken cancellationToken)
    {
        var conditions = _conditions.Append("not exists (select 1 from farm_metrics m where m.entry = e.id and m.name = @metric)").Append("e.id > @id");
        return await Command(connection, "farm_entries e", "e.id", "e.id", [.. conditions], [.. _parameters, ("id", after)])
            .ReadAsync(r => (r.GetString(0), "", r.GetString(1)), cancellationToken);
    }

    private DbCommand Command(DbConnection connection, string from, string order) =>
        Command(connection, from, order, order, _conditions, _parameters);

    private DbCommand Command(
        DbConnection connection, string from, string order, string key, List<string> conditions, List<(string Name, object? Value)> parameters)
    {
        var where = conditions.Count == 0 ? "" : $"where {string.Join(" and ", conditions)}";
        var command = connection.Command($"select e.document, {key} from {from} {where} order by {order} limit @limit");
        foreach (var (name, value) in parameters)
        {
            command.With(name, value);
        }

        return command.With("limit", SqlFarmQueries.Limit(query.PageSize) + 1);
    }

    private void AddFilters()
    {
        Add("sweep", query.Sweep);
        Add("model", query.Model);
        Add("toolchain", query.Toolchain);
        Add("runtime", query.Runtime);
        Add("form", query.Form);
        if (query.Device is { } device)
        {
            _conditions.Add("(e.device = @device or e.device_class = @device or e.target = @device)");
            _parameters.Add(("device", device));
        }

        foreach (var (label, index) in query.Labels.Select((l, i) => (l, i)))
        {
            _conditions.Add($"exists (select 1 from farm_sweep_labels l where l.sweep = e.sweep and l.name = @label{index} and l.value = @labelValue{index})");
            _parameters.AddRange([($"label{index}", label.Key), ($"labelValue{index}", label.Value)]);
        }

        if (query.ParetoOnly)
        {
            _conditions.Add("e.pareto = 1");
        }

        if (query.Sweep is null)
        {
            _conditions.Add(
                "(e.series = '' or not exists (select 1 from farm_entries n where n.series = e.series and (n.measured_at, n.id) > (e.measured_at, e.id)))");
        }
    }

    private void Add(string column, string? value)
    {
        if (value is not null)
        {
            _conditions.Add($"e.{column} = @{column}");
            _parameters.Add((column, value));
        }
    }

    private static LeaderboardEntry Parse(string json) => ReadModelJson.Read<LeaderboardEntry>(json);

    private long Number(string text) =>
        long.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out var number) ? number : throw PageToken.Invalid(query.PageToken);
}
