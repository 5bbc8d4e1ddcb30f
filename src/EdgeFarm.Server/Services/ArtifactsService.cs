using System.Runtime.CompilerServices;
using System.Threading.Channels;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Artifacts.Transfer;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Services.Mapping;
using EdgeFarm.Server.Submissions;
using Google.Protobuf;
using Grpc.Core;
using ArtifactKind = EdgeFarm.Core.Artifacts.ArtifactKind;
using Failure = EdgeFarm.Core.Jobs.Failure;
using FailureType = EdgeFarm.Core.Jobs.FailureType;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services;

/// <summary>The artifact store over gRPC.</summary>
internal sealed class ArtifactsService(IArtifactStore store, HubFetcher hub) : Wire.Artifacts.ArtifactsBase
{
    /// <summary>Needs in one message: 75 bytes each, so that 10 000 stay below 1 MiB.</summary>
    private const int MaxNeeds = 10_000;

    public override async Task<StatResponse> Stat(StatRequest request, ServerCallContext context)
    {
        var digest = ParseDigest("digest", request.Digest);
        var skip = 0;
        if (request.PageToken.Length > 0 && (!int.TryParse(request.PageToken, out skip) || skip < 0))
        {
            throw RpcErrors.Invalid("page_token", "is none that this call gave");
        }

        var kind = (ArtifactKind)request.Kind;
        if (kind is ArtifactKind.Unspecified)
        {
            var held = await store.StatAsync(digest, context.CancellationToken);
            return held switch
            {
                { IsOk: false } => throw RpcErrors.From(held.Failure!),
                { Value: { } found } => ToWire(new ArtifactStatus(found, []), 0),
                _ => new StatResponse(),
            };
        }

        var status = await ArtifactTransfer.StatusAsync(store, digest, kind, context.CancellationToken);
        return status.IsOk ? ToWire(status.Value, skip) : throw RpcErrors.From(status.Failure!);
    }

    public override async Task<StatResponse> Upload(IAsyncStreamReader<UploadRequest> requestStream, ServerCallContext context)
    {
        if (!await requestStream.MoveNext(context.CancellationToken) || requestStream.Current.Header is not { } header)
        {
            throw RpcErrors.Invalid("header", "must be the first message of an upload");
        }

        if ((ArtifactKind)header.Kind is not (ArtifactKind.File or ArtifactKind.Tree))
        {
            throw RpcErrors.Invalid("header.kind", "must be FILE or TREE");
        }

        var digest = ParseDigest("header.digest", header.Digest);
        var status = await ArtifactTransfer.WriteAsync(
            store, digest, (ArtifactKind)header.Kind, Chunks(requestStream, context.CancellationToken), context.CancellationToken);
        return status.IsOk ? ToWire(status.Value, 0) : throw RpcErrors.From(status.Failure!);
    }

    public override async Task Download(DownloadRequest request, IServerStreamWriter<Chunk> responseStream, ServerCallContext context)
    {
        if (request.Needs.Count is 0 or > MaxNeeds)
        {
            throw RpcErrors.Invalid("needs", $"must name 1 to {MaxNeeds} contents; got {request.Needs.Count}");
        }

        var needs = new List<BlobNeed>(request.Needs.Count);
        for (var i = 0; i < request.Needs.Count; i++)
        {
            var digest = ParseDigest($"needs[{i}].digest", request.Needs[i].Digest);
            needs.Add(new BlobNeed(digest, request.Needs[i].Offset));
            var size = await store.StatBlobAsync(digest, context.CancellationToken);
            if (size is { IsOk: true, Value: null })
            {
                throw RpcErrors.NotFound("artifact", digest.ToString(), "the leaderboard and 'jobs' name the artifacts that the farm holds");
            }
        }

        await foreach (var chunk in ArtifactTransfer.ReadAsync(store, needs, context.CancellationToken))
        {
            if (!chunk.IsOk)
            {
                throw RpcErrors.From(chunk.Failure!);
            }

            await responseStream.WriteAsync(
                new Chunk
                {
                    Digest = chunk.Value.Blob.ToString(),
                    Size = chunk.Value.BlobSize,
                    Offset = chunk.Value.Offset,
                    Data = ByteString.CopyFrom(chunk.Value.Data.Span),
                },
                context.CancellationToken);
        }
    }

    public override async Task Fetch(FetchRequest request, IServerStreamWriter<FetchProgress> responseStream, ServerCallContext context)
    {
        if (!HubSource.TryParse(request.Source, out var source))
        {
            throw RpcErrors.Invalid("source", $"'{Shorten(request.Source)}' is no model of the Hub; write hf:ORG/NAME or hf:ORG/NAME@REVISION");
        }

        // A slow client sees fewer steps; the download does not wait for it.
        var steps = Channel.CreateBounded<HubProgress>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest });
        var fetching = FetchAsync();
        await foreach (var step in steps.Reader.ReadAllAsync(context.CancellationToken))
        {
            await responseStream.WriteAsync(new FetchProgress { File = step.File, Done = step.Done, Total = step.Total }, context.CancellationToken);
        }

        var outcome = await fetching;
        if (!outcome.IsOk)
        {
            throw outcome.Failure!.Type is FailureType.InvalidInput or FailureType.Unsupported
                ? RpcErrors.Invalid("source", outcome.Failure.Message)
                : RpcErrors.From(outcome.Failure);
        }

        var (artifact, commit) = outcome.Value;
        await responseStream.WriteAsync(
            new FetchProgress { Done = artifact.Size, Total = artifact.Size, Artifact = artifact.ToWire(), Revision = commit }, context.CancellationToken);

        async Task<Outcome<(ArtifactRef Artifact, string Commit)>> FetchAsync()
        {
            try
            {
                return await hub.FetchAsync(source, new Steps(steps.Writer), context.CancellationToken);
            }
            finally
            {
                steps.Writer.Complete();
            }
        }
    }

    private static async IAsyncEnumerable<Outcome<ArtifactChunk>> Chunks(
        IAsyncStreamReader<UploadRequest> requests, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (await requests.MoveNext(cancellationToken))
        {
            if (requests.Current.Chunk is not { } chunk)
            {
                yield return Failure.InvalidInput("a second header in one upload; only chunks may follow the first");
                yield break;
            }

            if (!Digest.TryParse(chunk.Digest, out var digest))
            {
                yield return Failure.InvalidInput($"a chunk of '{Shorten(chunk.Digest)}', which is no SHA-256 digest");
                yield break;
            }

            yield return new ArtifactChunk(digest, chunk.Size, chunk.Offset, chunk.Data.Memory);
        }
    }

    private static StatResponse ToWire(ArtifactStatus status, int skip)
    {
        var wire = new StatResponse { Complete = status.IsComplete };
        if (status.Stored is { } stored)
        {
            wire.Artifact = new Artifact { Digest = stored.Digest.ToString(), Kind = (Wire.ArtifactKind)stored.Kind, Size = stored.Size };
        }

        wire.Needs.Add(status.Needs.Skip(skip).Take(MaxNeeds).Select(n => new Need { Digest = n.Blob.ToString(), Offset = n.Offset }));
        if (skip + wire.Needs.Count < status.Needs.Count)
        {
            wire.NextPageToken = $"{skip + wire.Needs.Count}";
        }

        return wire;
    }

    private static Digest ParseDigest(string field, string text) =>
        Digest.TryParse(text, out var digest)
            ? digest
            : throw RpcErrors.Invalid(field, $"'{Shorten(text)}' is no SHA-256 digest of 64 hexadecimal characters");

    private static string Shorten(string text) => text.Length <= 80 ? text : text[..80] + "...";

    private sealed class Steps(ChannelWriter<HubProgress> writer) : IProgress<HubProgress>
    {
        public void Report(HubProgress value) => writer.TryWrite(value);
    }
}
