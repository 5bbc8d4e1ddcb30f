using System.Runtime.CompilerServices;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Transfer;

/// <summary>
/// Moves artifacts between stores as sequences of pieces, whatever carries them. The receiver says what it lacks
/// (<see cref="StatusAsync"/>), the sender reads that (<see cref="ReadAsync"/>), the receiver writes it (<see cref="WriteAsync"/>); a tree takes two rounds, manifest and
/// contents. <see cref="PushAsync"/> and <see cref="PullAsync"/> are those rounds with retries for either side that knows both ends.
/// </summary>
public static class ArtifactTransfer
{
    /// <summary>Most bytes of one piece: 256 KiB, well below the 1 MiB that a message may have.</summary>
    public const int MaxChunkBytes = 256 * 1024;

    /// <summary>Rounds after which a transfer gives up: manifest, contents, and two more for what was damaged or interrupted.</summary>
    private const int MaxRounds = 4;

    /// <summary>
    /// What a receiver holds and lacks of an artifact. A tree whose last content has arrived is completed on the way.
    /// <see cref="FailureType.InvalidInput"/> when <paramref name="kind"/> is <see cref="ArtifactKind.Tree"/> and the digest names something else.
    /// </summary>
    public static async Task<Outcome<ArtifactStatus>> StatusAsync(
        IArtifactStore store, Digest digest, ArtifactKind kind, CancellationToken cancellationToken)
    {
        var whole = await store.StatAsync(digest, cancellationToken);
        if (whole is { IsOk: true, Value: { } held } && held.Kind == kind)
        {
            return new ArtifactStatus(held, []);
        }

        var blob = await store.StatBlobAsync(digest, cancellationToken);
        if (!blob.IsOk)
        {
            return blob.Failure!;
        }

        if (blob.Value is not { } size)
        {
            return await NeedsAsync(store, [digest], cancellationToken);
        }

        if (kind != ArtifactKind.Tree)
        {
            return new ArtifactStatus(new StoredArtifact(digest, ArtifactKind.File, size), []);
        }

        var manifest = await store.ReadManifestAsync(digest, cancellationToken);
        if (!manifest.IsOk)
        {
            return manifest.Failure!;
        }

        var missing = new List<Digest>();
        foreach (var (content, contentSize) in manifest.Value.Blobs)
        {
            var stat = await store.StatBlobAsync(content, cancellationToken);
            if (!stat.IsOk)
            {
                return stat.Failure!;
            }

            if (stat.Value is { } actual && actual != contentSize)
            {
                return Failure.InvalidInput($"the tree {digest} gives {content} {contentSize} bytes, but it has {actual}");
            }

            if (stat.Value is null)
            {
                missing.Add(content);
            }
        }

        if (missing.Count > 0)
        {
            return await NeedsAsync(store, missing, cancellationToken);
        }

        var tree = await store.CommitTreeAsync(manifest.Value, cancellationToken);
        return tree.IsOk ? new ArtifactStatus(tree.Value, []) : tree.Failure!;
    }

    /// <summary>
    /// Reads what a receiver needs, piece by piece, in the order of <paramref name="needs"/>. The sequence ends after a failure: <see cref="FailureType.Internal"/> for a content
    /// that the source lacks, <see cref="FailureType.InvalidInput"/> for an offset outside of it.
    /// </summary>
    public static async IAsyncEnumerable<Outcome<ArtifactChunk>> ReadAsync(
        IBlobSource source, IEnumerable<BlobNeed> needs, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var buffer = new byte[MaxChunkBytes];
        foreach (var need in needs)
        {
            var opened = await source.OpenReadAsync(need.Blob, need.Offset, cancellationToken);
            if (!opened.IsOk)
            {
                yield return opened.Failure!;
                yield break;
            }

            await using var stream = opened.Value;
            var size = stream.Length;
            var offset = need.Offset;
            do
            {
                var piece = buffer.AsMemory(0, (int)Math.Min(buffer.Length, size - offset));
                var read = await StoreFailures.CatchAsync(
                    $"read {need.Blob}", () => stream.ReadAtLeastAsync(piece, piece.Length, throwOnEndOfStream: false, cancellationToken).AsTask());
                if (!read.IsOk || (read.Value == 0 && offset < size))
                {
                    yield return read.Failure ?? new Failure(FailureType.Internal, $"{need.Blob} ended at offset {offset} of {size} while it was read");
                    yield break;
                }

                yield return new ArtifactChunk(need.Blob, size, offset, piece[..read.Value]);
                offset += read.Value;
            }
            while (offset < size);
        }
    }

    /// <summary>
    /// Writes the pieces of an artifact and says what is still lacking. Pieces of contents that the store holds already are passed over;
    /// pieces that do not belong to the artifact, leave a gap or exceed their content are <see cref="FailureType.InvalidInput"/>, and so is a content that does not hash to its
    /// digest. What arrived before a failure is kept for a resumption.
    /// </summary>
    public static async Task<Outcome<ArtifactStatus>> WriteAsync(
        IArtifactStore store, Digest digest, ArtifactKind kind, IAsyncEnumerable<Outcome<ArtifactChunk>> chunks, CancellationToken cancellationToken)
    {
        await using var session = new ReceivingSession(store, digest, kind);
        await foreach (var chunk in chunks.WithCancellation(cancellationToken))
        {
            var failure = chunk.IsOk ? await session.AcceptAsync(chunk.Value, cancellationToken) : chunk.Failure;
            if (failure is not null)
            {
                return failure;
            }
        }

        return await session.EndAsync(cancellationToken) is { } incomplete ? incomplete : await StatusAsync(store, digest, kind, cancellationToken);
    }

    /// <summary>Sends an artifact to a receiver elsewhere, as often as it takes.</summary>
    /// <param name="source">Holds the artifact.</param>
    /// <param name="status">Asks the receiver for its <see cref="StatusAsync"/>.</param>
    /// <param name="send">Carries pieces to the receiver's <see cref="WriteAsync"/> and gives its answer.</param>
    /// <param name="cancellationToken">Ends the transfer; what arrived is kept.</param>
    public static async Task<Outcome<StoredArtifact>> PushAsync(
        IBlobSource source,
        Func<CancellationToken, Task<Outcome<ArtifactStatus>>> status,
        Func<IAsyncEnumerable<Outcome<ArtifactChunk>>, CancellationToken, Task<Outcome<ArtifactStatus>>> send,
        CancellationToken cancellationToken)
    {
        var at = await status(cancellationToken);
        for (var round = 0; round < MaxRounds && at is { IsOk: true, Value.IsComplete: false }; round++)
        {
            var sent = await send(ReadAsync(source, at.Value.Needs, cancellationToken), cancellationToken);
            at = sent.IsOk ? sent : await AfterFailureAsync(at.Value, sent.Failure!, () => status(cancellationToken));
        }

        return Finish(at, "the receiver");
    }

    /// <summary>Fetches an artifact from a sender elsewhere into a store, only what the store lacks.</summary>
    /// <param name="store">Receives the artifact.</param>
    /// <param name="digest">Its name.</param>
    /// <param name="kind">File or tree.</param>
    /// <param name="fetch">Asks the sender to <see cref="ReadAsync"/> what is needed.</param>
    /// <param name="cancellationToken">Ends the transfer; what arrived is kept.</param>
    /// <returns>The artifact, or a failure, which is never <see cref="FailureType.InvalidInput"/>: whoever asks for a digest is not to blame for what a sender sends.</returns>
    public static async Task<Outcome<StoredArtifact>> PullAsync(
        IArtifactStore store,
        Digest digest,
        ArtifactKind kind,
        Func<IReadOnlyList<BlobNeed>, CancellationToken, IAsyncEnumerable<Outcome<ArtifactChunk>>> fetch,
        CancellationToken cancellationToken)
    {
        Task<Outcome<ArtifactStatus>> Status() => StatusAsync(store, digest, kind, cancellationToken);

        var at = await Status();
        for (var round = 0; round < MaxRounds && at is { IsOk: true, Value.IsComplete: false }; round++)
        {
            var written = await WriteAsync(store, digest, kind, fetch(at.Value.Needs, cancellationToken), cancellationToken);
            at = written.IsOk ? written : await AfterFailureAsync(at.Value, written.Failure!, Status);
        }

        var outcome = Finish(at, "the sender");
        return outcome.Failure is { Type: FailureType.InvalidInput } failure ? failure with { Type = FailureType.Internal } : outcome;
    }

    /// <summary>A failure is final unless bytes were to be resumed: they may have been bad (and are dropped now) or in another writer's hands.</summary>
    private static async Task<Outcome<ArtifactStatus>> AfterFailureAsync(
        ArtifactStatus before, Failure failure, Func<Task<Outcome<ArtifactStatus>>> status)
    {
        var after = await status();
        return after.IsOk && before.Needs.Any(n => n.Offset > 0) ? after : failure;
    }

    private static Outcome<StoredArtifact> Finish(Outcome<ArtifactStatus> at, string peer) =>
        !at.IsOk ? at.Failure!
        : at.Value.Stored is { } stored ? stored
        : new Failure(FailureType.Internal, $"{peer} is still short of {at.Value.Needs.Count} contents after {MaxRounds} rounds, first {at.Value.Needs[0].Blob}");

    private static async Task<ArtifactStatus> NeedsAsync(IArtifactStore store, List<Digest> missing, CancellationToken cancellationToken)
    {
        var needs = new List<BlobNeed>(missing.Count);
        foreach (var blob in missing)
        {
            needs.Add(new BlobNeed(blob, await store.ResumeOffsetAsync(blob, cancellationToken)));
        }

        return new ArtifactStatus(null, needs);
    }
}
