using EdgeFarm.Actors;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Server.Services.Mapping;
using EdgeFarm.Server.SweepFiles;
using Grpc.Core;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services;

/// <summary>The leaderboard over gRPC: indexed rows, never an actor.</summary>
internal sealed class LeaderboardService(IFarmQueries queries, TimeProvider time, IHostApplicationLifetime lifetime) : Wire.Leaderboard.LeaderboardBase
{
    private const int MaxHistory = 100;
    private const int MaxWatchedEntries = 10_000;
    private const int WatchPage = 1000;

    /// <summary>How often a watch looks: rows change when a job ends, which is seconds to minutes apart.</summary>
    private static readonly TimeSpan WatchInterval = TimeSpan.FromSeconds(1);

    public override async Task<QueryResponse> Query(QueryRequest request, ServerCallContext context)
    {
        var query = ToQuery(request);
        await queries.CaughtUpAsync(context.CancellationToken);
        var (rows, next) = await Paging.FitAsync(query.PageSize, async size =>
        {
            var page = await queries.QueryLeaderboardAsync(query with { PageSize = size }, context.CancellationToken);
            return (page.Items.Select(e => e.ToWire(query.Full)), page.NextPageToken);
        });
        return new QueryResponse { Entries = { rows }, NextPageToken = next };
    }

    public override async Task<Entry> GetEntry(GetEntryRequest request, ServerCallContext context)
    {
        await queries.CaughtUpAsync(context.CancellationToken);
        var entry = await queries.FindEntryAsync(request.Id, context.CancellationToken);
        return entry?.ToWire(full: true) ?? throw RpcErrors.NotFound("entry", request.Id, "'leaderboard' lists the ids");
    }

    public override async Task<HistoryResponse> GetHistory(GetEntryRequest request, ServerCallContext context)
    {
        await queries.CaughtUpAsync(context.CancellationToken);
        var entry = await queries.FindEntryAsync(request.Id, context.CancellationToken)
            ?? throw RpcErrors.NotFound("entry", request.Id, "'leaderboard' lists the ids");
        var history = await queries.EntryHistoryAsync(entry.Id, context.CancellationToken);

        // The newest are kept, in order, as far as one message goes.
        var newest = Paging.Split(history.Reverse().Take(MaxHistory).Select(e => e.ToWire(full: false))).First();
        newest.Reverse();
        return new HistoryResponse { Entries = { newest } };
    }

    public override Task WatchEntries(WatchEntriesRequest request, IServerStreamWriter<EntriesChange> responseStream, ServerCallContext context) =>
        Watching.RunAsync(context, lifetime, token => WatchAsync(request, responseStream, token));

    private async Task WatchAsync(WatchEntriesRequest request, IServerStreamWriter<EntriesChange> responseStream, CancellationToken cancellationToken)
    {
        var query = ToQuery(request.Query ?? new QueryRequest()) with { Sort = null, PageToken = "", PageSize = WatchPage };
        var known = new Dictionary<string, Entry>(StringComparer.Ordinal);
        using var timer = new PeriodicTimer(WatchInterval, time);
        for (var (sequence, first) = (1L, true); ; first = false)
        {
            await queries.CaughtUpAsync(cancellationToken);
            var changed = new List<Entry>();
            await foreach (var entry in AllAsync(query, cancellationToken))
            {
                if (!known.TryGetValue(entry.Id, out var before) || !before.Equals(entry))
                {
                    known[entry.Id] = entry;
                    changed.Add(entry);
                }
            }

            if (first || changed.Count > 0)
            {
                var groups = Paging.Split(changed).ToArray();
                for (var i = 0; i < groups.Length; i++)
                {
                    await responseStream.WriteAsync(
                        new EntriesChange { Sequence = sequence, Entries = { groups[i] }, Snapshot = first, More = i < groups.Length - 1 }, cancellationToken);
                }

                sequence++;
            }

            await timer.WaitForNextTickAsync(cancellationToken);
        }
    }

    private async IAsyncEnumerable<Entry> AllAsync(LeaderboardQuery query, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var count = 0;
        do
        {
            var page = await queries.QueryLeaderboardAsync(query, cancellationToken);
            foreach (var entry in page.Items)
            {
                count++;
                yield return entry.ToWire(query.Full);
            }

            query = query with { PageToken = page.NextPageToken };
        }
        while (query.PageToken.Length > 0 && count < MaxWatchedEntries);
    }

    private static LeaderboardQuery ToQuery(QueryRequest request)
    {
        if (request.Sort.Length > 0 && Metrics.Find(request.Sort) is null)
        {
            var names = Metrics.All.Select(m => m.Name).ToArray();
            var near = Suggestions.Nearest(request.Sort, names);
            var meant = near.Length > 0 ? $"; did you mean '{near}'?" : "";
            throw RpcErrors.Invalid("sort", $"there is no metric '{request.Sort}'{meant} Accepted: {string.Join(", ", names)}");
        }

        return new LeaderboardQuery
        {
            Sweep = NullIfEmpty(request.Sweep),
            Model = NullIfEmpty(request.Model),
            Toolchain = NullIfEmpty(request.Toolchain),
            Runtime = NullIfEmpty(request.Runtime),
            Form = NullIfEmpty(request.Form),
            Device = NullIfEmpty(request.Device),
            Labels = System.Collections.Immutable.ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, request.Labels),
            Sort = NullIfEmpty(request.Sort),
            ParetoOnly = request.ParetoOnly,
            Full = request.View is EntryView.Full,
            PageSize = Paging.Size(request.PageSize),
            PageToken = request.PageToken,
        };
    }

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;
}
