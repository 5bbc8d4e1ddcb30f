using EdgeFarm.Actors;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Server.Services.Mapping;
using Grpc.Core;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services;

/// <summary>The linked workers over gRPC.</summary>
internal sealed class FleetService(IFarm farm, TimeProvider time, IHostApplicationLifetime lifetime) : Wire.Fleet.FleetBase
{
    private const int MaxWatchedWorkers = 1000;

    /// <summary>How often a watch looks: the fleet has no change feed, and a person who watches it sees no difference below a second.</summary>
    private static readonly TimeSpan WatchInterval = TimeSpan.FromSeconds(1);

    public override async Task<ListWorkersResponse> ListWorkers(ListWorkersRequest request, ServerCallContext context)
    {
        var fleet = await farm.FleetAsync(context.CancellationToken);
        var workers = fleet.Workers.OrderBy(w => w.Capability.Worker, StringComparer.Ordinal)
            .Where(w => string.CompareOrdinal(w.Capability.Worker, request.PageToken) > 0)
            .ToArray();
        var (rows, next) = await Paging.FitAsync(Paging.Size(request.PageSize), size =>
        {
            var page = workers.Take(size).ToArray();
            return Task.FromResult((page.Select(w => w.ToWire()), page.Length < workers.Length ? page[^1].Capability.Worker : ""));
        });
        return new ListWorkersResponse { Workers = { rows }, NextPageToken = next, Queue = fleet.ToWireQueue() };
    }

    public override Task WatchFleet(WatchFleetRequest request, IServerStreamWriter<FleetChange> responseStream, ServerCallContext context) =>
        Watching.RunAsync(context, lifetime, token => WatchAsync(responseStream, token));

    private async Task WatchAsync(IServerStreamWriter<FleetChange> responseStream, CancellationToken cancellationToken)
    {
        var last = new FleetChange();
        using var timer = new PeriodicTimer(WatchInterval, time);
        for (var sequence = 1L; ;)
        {
            var fleet = await farm.FleetAsync(cancellationToken);
            var now = new FleetChange { Queue = fleet.ToWireQueue() };
            now.Workers.Add(Paging.Split(fleet.Workers.OrderBy(w => w.Capability.Worker, StringComparer.Ordinal).Take(MaxWatchedWorkers).Select(w => w.ToWire())).First());

            // The age of a lease grows all the time; it alone is no change.
            var (age, lastAge) = (now.Queue.OldestLease, last.Queue?.OldestLease);
            now.Queue.OldestLease = lastAge;
            now.Sequence = last.Sequence;
            if (!now.Equals(last))
            {
                now.Queue.OldestLease = age;
                now.Sequence = sequence++;
                await responseStream.WriteAsync(now, cancellationToken);
                last = now;
            }

            await timer.WaitForNextTickAsync(cancellationToken);
        }
    }
}
