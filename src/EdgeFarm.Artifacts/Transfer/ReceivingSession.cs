using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Transfer;

/// <summary>The receiving end of one sequence of pieces: one open content at a time.</summary>
internal sealed class ReceivingSession(IArtifactStore store, Digest artifact, ArtifactKind kind) : IAsyncDisposable
{
    private Digest _blob;
    private long _size;
    private long _offset;
    private IBlobWriter? _writer;
    private Dictionary<Digest, long>? _contents;

    public ValueTask DisposeAsync() => _writer?.DisposeAsync() ?? ValueTask.CompletedTask;

    /// <summary>Takes one piece; the failure that makes the sequence worthless, or null.</summary>
    public async Task<Failure?> AcceptAsync(ArtifactChunk chunk, CancellationToken cancellationToken)
    {
        if (chunk.Data.Length > ArtifactTransfer.MaxChunkBytes)
        {
            return Failure.InvalidInput($"a piece of {chunk.Data.Length} bytes of {chunk.Blob}; at most {ArtifactTransfer.MaxChunkBytes} are allowed");
        }

        if ((chunk.Blob.IsEmpty || chunk.Blob != _blob) && (await EndAsync(cancellationToken) ?? await BeginAsync(chunk, cancellationToken)) is { } failure)
        {
            return failure;
        }

        if (chunk.BlobSize != _size || chunk.Offset != _offset || chunk.Data.Length > _size - _offset)
        {
            return Failure.InvalidInput(
                $"a piece of {chunk.Blob} with {chunk.Data.Length} bytes at offset {chunk.Offset} of {chunk.BlobSize}, where offset {_offset} of {_size} was due");
        }

        _offset += chunk.Data.Length;
        return _writer is null ? null : (await _writer.WriteAsync(chunk.Data, cancellationToken)).Failure;
    }

    /// <summary>Completes the content that is open, if one is.</summary>
    public async Task<Failure?> EndAsync(CancellationToken cancellationToken)
    {
        var failure = _writer is null ? null : (await _writer.CommitAsync(cancellationToken)).Failure;
        await DisposeAsync();
        _writer = null;
        _blob = default;
        return failure;
    }

    private async Task<Failure?> BeginAsync(ArtifactChunk chunk, CancellationToken cancellationToken)
    {
        if (await RefusalAsync(chunk, cancellationToken) is { } refusal)
        {
            return refusal;
        }

        var held = await store.StatBlobAsync(chunk.Blob, cancellationToken);
        if (!held.IsOk)
        {
            return held.Failure;
        }

        (_blob, _size, _offset) = (chunk.Blob, chunk.BlobSize, chunk.Offset);
        if (held.Value is { } size)
        {
            return size == chunk.BlobSize ? null : Failure.InvalidInput($"{chunk.Blob} has {size} bytes, not {chunk.BlobSize}");
        }

        var writer = await store.BeginWriteAsync(chunk.Blob, chunk.BlobSize, cancellationToken);
        if (!writer.IsOk)
        {
            return writer.Failure;
        }

        // Another sender may be at the same content, or what was kept may be gone: the right offset is the writer's, not the sender's.
        _writer = writer.Value;
        _offset = writer.Value.Offset;
        return null;
    }

    private async Task<Failure?> RefusalAsync(ArtifactChunk chunk, CancellationToken cancellationToken)
    {
        if (chunk.Blob.IsEmpty || chunk.BlobSize < 0 || chunk.Offset < 0 || chunk.Offset > chunk.BlobSize)
        {
            return Failure.InvalidInput($"a piece of '{chunk.Blob}' with the impossible size {chunk.BlobSize} or offset {chunk.Offset}");
        }

        if (chunk.Blob == artifact)
        {
            return kind == ArtifactKind.Tree && chunk.BlobSize > TreeManifest.MaxBytes
                ? Failure.InvalidInput($"the manifest of {artifact} has {chunk.BlobSize} bytes; at most {TreeManifest.MaxBytes} are allowed")
                : null;
        }

        if (kind != ArtifactKind.Tree)
        {
            return Failure.InvalidInput($"{chunk.Blob} does not belong to the file {artifact}");
        }

        if (_contents is null)
        {
            var manifest = await store.ReadManifestAsync(artifact, cancellationToken);
            if (!manifest.IsOk)
            {
                return Failure.InvalidInput($"contents of the tree {artifact} came before a sound manifest: {manifest.Failure!.Message}");
            }

            _contents = manifest.Value.Blobs.ToDictionary(b => b.Digest, b => b.Size);
        }

        return _contents.TryGetValue(chunk.Blob, out var size) && size == chunk.BlobSize
            ? null
            : Failure.InvalidInput($"{chunk.Blob} with {chunk.BlobSize} bytes does not belong to the tree {artifact}");
    }
}
