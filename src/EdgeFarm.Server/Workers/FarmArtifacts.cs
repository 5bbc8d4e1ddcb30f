using System.Runtime.CompilerServices;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.Transfer;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using Google.Protobuf;
using Grpc.Core;
using V1 = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Workers;

/// <summary>The artifacts of a farm elsewhere, over gRPC, moved between its store and one here.</summary>
public sealed class FarmArtifacts : IArtifactExchange
{
    // The service's own bound on one request.
    private const int MaxNeeds = 10_000;
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(5);

    private readonly IReadOnlyList<V1.Artifacts.ArtifactsClient> _farm;
    private readonly IArtifactStore _store;
    private readonly TimeProvider? _time;
    private int _current;

    /// <summary>Of a client: a broken stream ends a transfer.</summary>
    /// <param name="client">The farm's service.</param>
    /// <param name="store">The store here.</param>
    public FarmArtifacts(V1.Artifacts.ArtifactsClient client, IArtifactStore store) => (_farm, _store) = ([client], store);

    /// <summary>
    /// Of a worker: while streams break or nobody answers, a transfer goes on with the next coordinator from where it was, until its
    /// token is cancelled.
    /// </summary>
    /// <param name="farm">The service of each coordinator.</param>
    /// <param name="store">The store here.</param>
    /// <param name="time">The clock.</param>
    public FarmArtifacts(IReadOnlyList<V1.Artifacts.ArtifactsClient> farm, IArtifactStore store, TimeProvider time) => (_farm, _store, _time) = (farm, store, time);

    /// <summary>Told the error of a call that ended a transfer, for callers that must know whether the farm itself is gone; may be null.</summary>
    public Action<RpcException>? OnError { get; init; }

    /// <summary>The next transfer begins with this coordinator.</summary>
    /// <param name="coordinator">Its place among those that were given.</param>
    public void Prefer(int coordinator)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(coordinator);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(coordinator, _farm.Count);
        Volatile.Write(ref _current, coordinator);
    }

    /// <inheritdoc/>
    public Task<Failure?> FetchAsync(ArtifactRef artifact, CancellationToken cancellationToken) => RepeatAsync(
        async (client, broken) => (await ArtifactTransfer.PullAsync(
            _store, artifact.Digest, artifact.Kind, (needs, token) => DownloadAsync(client, needs, broken, token), cancellationToken)).Failure,
        cancellationToken);

    /// <inheritdoc/>
    public Task<Failure?> UploadAsync(StoredArtifact artifact, CancellationToken cancellationToken) => RepeatAsync(
        (client, broken) => PushAsync(client, _store, artifact.Digest, artifact.Kind, broken, cancellationToken), cancellationToken);

    /// <summary>Brings an artifact to the farm from any source, e.g. a client's own files. Null when the farm has it.</summary>
    /// <param name="client">The farm's service.</param>
    /// <param name="source">Holds the artifact.</param>
    /// <param name="digest">Its name.</param>
    /// <param name="kind">File or tree.</param>
    /// <param name="cancellationToken">Ends the transfer; what arrived is kept.</param>
    /// <param name="onError">Told the error of a call that ended the transfer; may be null.</param>
    public static Task<Failure?> PushAsync(
        V1.Artifacts.ArtifactsClient client, IBlobSource source, Digest digest, ArtifactKind kind, CancellationToken cancellationToken, Action<RpcException>? onError = null) =>
        PushAsync(client, source, digest, kind, onError ?? (_ => { }), cancellationToken);

    private static async Task<Failure?> PushAsync(
        V1.Artifacts.ArtifactsClient client, IBlobSource source, Digest digest, ArtifactKind kind, Action<RpcException> broken, CancellationToken cancellationToken) =>
        (await ArtifactTransfer.PushAsync(
            source,
            token => StatusAsync(client, digest, kind, broken, token),
            (chunks, token) => SendAsync(client, digest, kind, chunks, broken, token),
            cancellationToken)).Failure;

    private async Task<Failure?> RepeatAsync(Func<V1.Artifacts.ArtifactsClient, Action<RpcException>, Task<Failure?>> transfer, CancellationToken cancellationToken)
    {
        var delay = FirstDelay;
        while (true)
        {
            var current = Volatile.Read(ref _current);
            var isBroken = false;
            var failure = await transfer(_farm[current], e =>
            {
                isBroken |= IsBroken(e);
                OnError?.Invoke(e);
            });
            if (failure is null || !isBroken || _time is null)
            {
                return failure;
            }

            Interlocked.CompareExchange(ref _current, (current + 1) % _farm.Count, current);
            await Task.Delay(delay, _time, cancellationToken);
            delay = delay * 2 < LongestDelay ? delay * 2 : LongestDelay;
        }
    }

    /// <summary>Whether the way to the farm failed, and not what was asked.</summary>
    private static bool IsBroken(RpcException e) => e.StatusCode switch
    {
        StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Aborted => true,
        StatusCode.Internal or StatusCode.Unknown or StatusCode.Cancelled => e.Status.DebugException is HttpRequestException or IOException,
        _ => false,
    };

    private static async Task<Outcome<ArtifactStatus>> StatusAsync(
        V1.Artifacts.ArtifactsClient client, Digest digest, ArtifactKind kind, Action<RpcException> broken, CancellationToken cancellationToken)
    {
        try
        {
            var needs = new List<BlobNeed>();
            var pageToken = "";
            do
            {
                var request = new V1.StatRequest { Digest = digest.ToString(), Kind = ToProto(kind), PageToken = pageToken };
                var page = await client.StatAsync(request, cancellationToken: cancellationToken);
                if (page.Complete)
                {
                    return new ArtifactStatus(new StoredArtifact(digest, kind, page.Artifact?.Size ?? 0), []);
                }

                needs.AddRange(page.Needs.Select(ToNeed));
                pageToken = page.NextPageToken;
            }
            while (pageToken.Length > 0);
            return new ArtifactStatus(null, needs);
        }
        catch (RpcException e)
        {
            broken(e);
            return Translate(e, $"ask the farm for {digest}", cancellationToken);
        }
    }

    private static async Task<Outcome<ArtifactStatus>> SendAsync(
        V1.Artifacts.ArtifactsClient client,
        Digest digest,
        ArtifactKind kind,
        IAsyncEnumerable<Outcome<ArtifactChunk>> chunks,
        Action<RpcException> broken,
        CancellationToken cancellationToken)
    {
        try
        {
            using var call = client.Upload(cancellationToken: cancellationToken);
            var isOpen = await TryWriteAsync(call, new V1.UploadRequest { Header = new V1.UploadHeader { Digest = digest.ToString(), Kind = ToProto(kind) } }, cancellationToken);
            await foreach (var chunk in chunks.WithCancellation(cancellationToken))
            {
                if (!isOpen)
                {
                    break;
                }

                if (!chunk.IsOk)
                {
                    return chunk.Failure!;
                }

                var piece = chunk.Value;
                var message = new V1.Chunk { Digest = piece.Blob.ToString(), Size = piece.BlobSize, Offset = piece.Offset, Data = ByteString.CopyFrom(piece.Data.Span) };
                isOpen = await TryWriteAsync(call, new V1.UploadRequest { Chunk = message }, cancellationToken);
            }

            if (isOpen)
            {
                await call.RequestStream.CompleteAsync();
            }

            await call.ResponseAsync;
        }
        catch (RpcException e)
        {
            broken(e);
            return Translate(e, $"send {digest} to the farm", cancellationToken);
        }

        // The answer holds one page of needs only.
        return await StatusAsync(client, digest, kind, broken, cancellationToken);
    }

    /// <summary>Writes one message. False when the call has ended: its response then says why, which the write's own exception does not.</summary>
    private static async Task<bool> TryWriteAsync(
        AsyncClientStreamingCall<V1.UploadRequest, V1.StatResponse> call, V1.UploadRequest message, CancellationToken cancellationToken)
    {
        try
        {
            await call.RequestStream.WriteAsync(message, cancellationToken);
            return true;
        }
        catch (Exception e) when (e is IOException or HttpRequestException or InvalidOperationException)
        {
            return false;
        }
    }

    private static async IAsyncEnumerable<Outcome<ArtifactChunk>> DownloadAsync(
        V1.Artifacts.ArtifactsClient client, IReadOnlyList<BlobNeed> needs, Action<RpcException> broken, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach (var part in needs.Chunk(MaxNeeds))
        {
            var request = new V1.DownloadRequest { Needs = { part.Select(n => new V1.Need { Digest = n.Blob.ToString(), Offset = n.Offset }) } };
            using var call = client.Download(request, cancellationToken: cancellationToken);
            while (true)
            {
                Outcome<ArtifactChunk> chunk;
                try
                {
                    if (!await call.ResponseStream.MoveNext(cancellationToken))
                    {
                        break;
                    }

                    var message = call.ResponseStream.Current;
                    chunk = Digest.TryParse(message.Digest, out var blob)
                        ? new ArtifactChunk(blob, message.Size, message.Offset, message.Data.Memory)
                        : new Failure(FailureType.Internal, $"the farm sent a piece of '{message.Digest}', which is no digest");
                }
                catch (RpcException e)
                {
                    broken(e);
                    chunk = Translate(e, $"fetch {part[0].Blob} from the farm", cancellationToken);
                }

                yield return chunk;
                if (!chunk.IsOk)
                {
                    yield break;
                }
            }
        }
    }

    private static BlobNeed ToNeed(V1.Need need) => Digest.TryParse(need.Digest, out var blob)
        ? new BlobNeed(blob, need.Offset)
        : throw new FailureException(new Failure(FailureType.Internal, $"the farm needs '{need.Digest}', which is no digest"));

    private static V1.ArtifactKind ToProto(ArtifactKind kind) => kind == ArtifactKind.Tree ? V1.ArtifactKind.Tree : V1.ArtifactKind.File;

    private static Failure Translate(RpcException e, string what, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return new Failure(FailureType.Internal, $"cannot {what}: {e.Status.StatusCode}, {e.Status.Detail}");
    }
}
