using System.Collections.Immutable;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Artifacts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.Services.Mapping;
using Google.Protobuf;
using Grpc.Core;
using FailureType = EdgeFarm.Core.Jobs.FailureType;
using JobStatus = EdgeFarm.Core.Sweeps.JobStatus;
using SweepStatus = EdgeFarm.Core.Sweeps.SweepStatus;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services;

/// <summary>Jobs over gRPC: rows for what is over, the sweep itself for what waits or runs.</summary>
internal sealed class JobsService(IFarm farm, IFarmQueries queries, IArtifactStore store, IResultCache cache) : Wire.Jobs.JobsBase
{
    private const int LogChunkBytes = 64 * 1024;

    public override async Task<Job> GetJob(GetJobRequest request, ServerCallContext context) =>
        (await FindAsync(request.Id, context.CancellationToken)).ToWire();

    public override async Task<ListJobsResponse> ListJobs(ListJobsRequest request, ServerCallContext context)
    {
        var pageSize = Paging.Size(request.PageSize);
        await queries.CaughtUpAsync(context.CancellationToken);
        var sweep = await queries.FindSweepAsync(request.Sweep, context.CancellationToken)
            ?? throw RpcErrors.NotFound("sweep", request.Sweep, "'sweeps' lists them");

        var (rows, next) = await Paging.FitAsync(pageSize, async size =>
        {
            var page = await queries.ListJobsAsync(request.Sweep, request.FailedOnly, size, request.PageToken, context.CancellationToken);

            // Rows know what ended; what waits and runs, only the sweep does.
            var live = sweep.Status is SweepStatus.Running ? await LiveAsync(sweep.Id, page.Items, context.CancellationToken) : [];
            return (page.Items.Select(j => live.GetValueOrDefault(j.Id, j).ToWire()), page.NextPageToken);
        });
        return new ListJobsResponse { Jobs = { rows }, NextPageToken = next };
    }

    public override async Task GetLog(GetLogRequest request, IServerStreamWriter<LogChunk> responseStream, ServerCallContext context)
    {
        var job = await FindAsync(request.Id, context.CancellationToken);
        var attempt = job.Attempts.LastOrDefault(a => !a.Log.IsEmpty && (request.Attempt == 0 || a.Number == request.Attempt));
        if (attempt is null)
        {
            var which = request.Attempt == 0 ? "" : $" for attempt {request.Attempt}";
            var why = job.Cached ? "its result came from the cache" : "a log is kept when an attempt has ended";
            throw RpcErrors.NotFound("log of job", request.Id, $"none is kept{which}: {why}");
        }

        var opened = await store.OpenReadAsync(attempt.Log, 0, context.CancellationToken);
        if (!opened.IsOk)
        {
            throw RpcErrors.From(opened.Failure!);
        }

        await using var stream = opened.Value;
        var buffer = new byte[LogChunkBytes];
        int read;
        while ((read = await stream.ReadAsync(buffer, context.CancellationToken)) > 0)
        {
            await responseStream.WriteAsync(new LogChunk { Data = ByteString.CopyFrom(buffer.AsSpan(0, read)) }, context.CancellationToken);
        }
    }

    public override async Task<Wire.JobExplanation> ExplainJob(ExplainJobRequest request, ServerCallContext context)
    {
        if (JobSpec.SweepOf(request.Id) is null)
        {
            throw NotFound(request.Id);
        }

        var explained = await farm.ExplainAsync(request.Id, context.CancellationToken);
        if (!explained.IsOk)
        {
            throw explained.Failure!.Type is FailureType.InvalidInput ? NotFound(request.Id) : RpcErrors.From(explained.Failure);
        }

        var wire = explained.Value.ToWire();
        if (explained.Value is { Digest.IsEmpty: false, Job.Cached: false })
        {
            var nearest = await cache.NearestAsync(explained.Value.Digest, context.CancellationToken);
            wire.NearestCached.Add(nearest.Select(d => new DigestDifference { Name = d.Component, Here = d.Here, There = d.There }));
        }

        return wire;
    }

    private static RpcException NotFound(string id) => RpcErrors.NotFound("job", id, "'jobs SWEEP' lists the ids (SWEEP/NUMBER)");

    private async Task<JobView> FindAsync(string id, CancellationToken cancellationToken)
    {
        if (JobSpec.SweepOf(id) is not { } sweep)
        {
            throw NotFound(id);
        }

        await queries.CaughtUpAsync(cancellationToken);
        var row = await queries.FindJobAsync(id, cancellationToken) ?? throw NotFound(id);
        return (await LiveAsync(sweep, [row], cancellationToken)).GetValueOrDefault(id, row);
    }

    /// <summary>Those of some rows that have not ended, as the sweep knows them now.</summary>
    private async Task<Dictionary<string, JobView>> LiveAsync(string sweep, ImmutableArray<JobView> rows, CancellationToken cancellationToken)
    {
        ImmutableArray<string> open = [.. rows.Where(r => r.Status is JobStatus.Blocked or JobStatus.Waiting or JobStatus.Running).Select(r => r.Id)];
        if (open.IsEmpty)
        {
            return [];
        }

        var snapshot = await farm.SnapshotAsync(sweep, open, cancellationToken);
        return snapshot.IsOk ? snapshot.Value.Jobs.ToDictionary(j => j.Id, StringComparer.Ordinal) : [];
    }
}
