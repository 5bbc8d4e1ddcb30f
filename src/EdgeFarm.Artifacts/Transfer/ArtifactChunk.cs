using EdgeFarm.Core.Artifacts;

namespace EdgeFarm.Artifacts.Transfer;

/// <summary>A piece of one content on its way. The pieces of a content come in order, without gaps; an empty content is one empty piece.</summary>
/// <param name="Blob">The content that the bytes belong to; a tree's digest stands for its manifest.</param>
/// <param name="BlobSize">Bytes of the whole content.</param>
/// <param name="Offset">Where the bytes belong in it.</param>
/// <param name="Data">At most <see cref="ArtifactTransfer.MaxChunkBytes"/> bytes. Valid until the next piece is asked for.</param>
public readonly record struct ArtifactChunk(Digest Blob, long BlobSize, long Offset, ReadOnlyMemory<byte> Data);

/// <summary>A content that a receiver lacks.</summary>
/// <param name="Blob">Its digest.</param>
/// <param name="Offset">Bytes of it that the receiver has kept from an interrupted transfer: where to go on.</param>
public readonly record struct BlobNeed(Digest Blob, long Offset);

/// <summary>How far a receiver is with an artifact.</summary>
/// <param name="Stored">The artifact, once it is held completely; else null.</param>
/// <param name="Needs">
/// What to send next, in order. A tree needs its manifest first; what else it needs is known only then, so ask again after sending.
/// </param>
public sealed record ArtifactStatus(StoredArtifact? Stored, IReadOnlyList<BlobNeed> Needs)
{
    /// <summary>Whether the artifact is held completely.</summary>
    public bool IsComplete => Stored is not null;
}
