using System.Diagnostics;
using EdgeFarm.Actors;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Server.Services.Mapping;
using EdgeFarm.Server.Submissions;
using Grpc.Core;
using CoreFailureType = EdgeFarm.Core.Jobs.FailureType;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services;

/// <summary>Sweeps over gRPC.</summary>
internal sealed partial class SweepsService(
    IFarm farm, IFarmQueries queries, SweepIntake intake, SubmissionPreview preview, IHostApplicationLifetime lifetime, ILogger<SweepsService> logger) : Wire.Sweeps.SweepsBase
{
    private const string Hint = "'sweeps' lists them";

    public override async Task<Sweep> Submit(SubmitRequest request, ServerCallContext context)
    {
        var given = context.RequestHeaders.GetValue("traceparent") ?? "";
        using var span = FarmTraces.StartSubmit(given);
        var submission = await intake.PrepareAsync(request, needUploads: true, context.CancellationToken);
        submission = submission with { TraceParent = span?.Id ?? FarmTraces.Checked(given) };
        span?.SetTag(FarmTraces.SweepTag, submission.Id);
        var submitted = await farm.SubmitAsync(submission, context.CancellationToken);
        if (submitted.Failure is { } failure)
        {
            span?.SetStatus(ActivityStatusCode.Error, failure.Message);
        }
        else
        {
            LogSubmitted(logger, submitted.Value.Id, submission.Plan.Jobs.Length, FarmTraces.TraceIdOf(submission.TraceParent));
        }

        return submitted switch
        {
            { IsOk: true } => submitted.Value.ToWire(),
            { Failure.Type: CoreFailureType.InvalidInput } => throw RpcErrors.AlreadyExists(request.RequestId, submitted.Failure.Message),
            _ => throw RpcErrors.From(submitted.Failure!),
        };
    }

    public override async Task<DryRunResponse> DryRun(SubmitRequest request, ServerCallContext context)
    {
        var submission = await intake.PrepareAsync(request, needUploads: false, context.CancellationToken);
        return await preview.MakeAsync(submission, context.CancellationToken);
    }

    public override async Task<Sweep> GetSweep(GetSweepRequest request, ServerCallContext context)
    {
        await queries.CaughtUpAsync(context.CancellationToken);
        var sweep = await queries.FindSweepAsync(request.Id, context.CancellationToken);
        return sweep?.ToWire() ?? throw RpcErrors.NotFound("sweep", request.Id, Hint);
    }

    public override async Task<Wire.SweepFile> GetSweepFile(GetSweepRequest request, ServerCallContext context)
    {
        await queries.CaughtUpAsync(context.CancellationToken);
        var yaml = await queries.FindYamlAsync(request.Id, context.CancellationToken);
        var file = new Wire.SweepFile { Yaml = yaml ?? throw RpcErrors.NotFound("sweep", request.Id, Hint) };
        foreach (var (id, artifact) in await queries.FindSourcesAsync(request.Id, context.CancellationToken))
        {
            file.Sources[id] = artifact.ToWire();
        }

        return file;
    }

    public override async Task<ListSweepsResponse> ListSweeps(ListSweepsRequest request, ServerCallContext context)
    {
        await queries.CaughtUpAsync(context.CancellationToken);
        var (rows, next) = await Paging.FitAsync(Paging.Size(request.PageSize), async size =>
        {
            var page = await queries.ListSweepsAsync(size, request.PageToken, context.CancellationToken);
            return (page.Items.Select(s => s.ToWire()), page.NextPageToken);
        });
        return new ListSweepsResponse { Sweeps = { rows }, NextPageToken = next };
    }

    public override async Task<Sweep> Cancel(CancelRequest request, ServerCallContext context)
    {
        await RequireAsync(request.Id, context.CancellationToken);
        var cancelled = await farm.CancelAsync(request.Id, request.Reason.Length == 0 ? "cancelled by a client" : request.Reason, context.CancellationToken);
        return cancelled.IsOk ? cancelled.Value.ToWire() : throw RpcErrors.From(cancelled.Failure!);
    }

    public override async Task<RetryResponse> Retry(RetryRequest request, ServerCallContext context)
    {
        await RequireAsync(request.Id, context.CancellationToken);
        var type = request.Type is Wire.FailureType.Unspecified ? (CoreFailureType?)null : (CoreFailureType)request.Type;
        if (type is { } given && !Enum.IsDefined(given))
        {
            throw RpcErrors.Invalid("type", $"{(int)given} is no failure type");
        }

        var retried = await farm.RetryAsync(request.Id, type, context.CancellationToken);
        return retried.IsOk ? new RetryResponse { Jobs = retried.Value } : throw RpcErrors.From(retried.Failure!);
    }

    public override Task Watch(WatchRequest request, IServerStreamWriter<SweepChange> responseStream, ServerCallContext context) =>
        Watching.RunAsync(context, lifetime, token => WatchAsync(request, responseStream, token));

    private async Task WatchAsync(WatchRequest request, IServerStreamWriter<SweepChange> responseStream, CancellationToken cancellationToken)
    {
        await RequireAsync(request.Id, cancellationToken);
        await foreach (var change in farm.WatchAsync(request.Id, request.HasAfter ? request.After : null, cancellationToken))
        {
            var groups = Paging.Split(change.Jobs.Select(j => j.ToWire())).ToArray();
            for (var i = 0; i < groups.Length; i++)
            {
                await responseStream.WriteAsync(
                    new SweepChange
                    {
                        Sequence = change.Sequence,
                        Sweep = change.Sweep.ToWire(),
                        Jobs = { groups[i] },
                        Snapshot = change.IsSnapshot,
                        More = i < groups.Length - 1,
                    },
                    cancellationToken);
            }
        }
    }

    [LoggerMessage(LogLevel.Information, "sweep {Sweep} submitted with {Jobs} jobs; trace {TraceId}")]
    private static partial void LogSubmitted(ILogger logger, string sweep, int jobs, string traceId);

    private async Task RequireAsync(string id, CancellationToken cancellationToken)
    {
        await queries.CaughtUpAsync(cancellationToken);
        if (await queries.FindSweepAsync(id, cancellationToken) is null)
        {
            throw RpcErrors.NotFound("sweep", id, Hint);
        }
    }
}
