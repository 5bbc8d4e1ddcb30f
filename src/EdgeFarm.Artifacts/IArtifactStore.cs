using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts;

/// <summary>An artifact that a store holds completely.</summary>
/// <param name="Digest">Its name.</param>
/// <param name="Kind">File or tree.</param>
/// <param name="Size">Bytes: of the file, or of all files of the tree.</param>
public sealed record StoredArtifact(Digest Digest, ArtifactKind Kind, long Size)
{
    /// <summary>The artifact with what only its maker knows: its format and a name to show.</summary>
    public ArtifactRef ToRef(string format, string fileName) => new(Digest, Kind, Size, format, fileName);
}

/// <summary>What a store holds.</summary>
/// <param name="Blobs">Contents, manifests of trees included.</param>
/// <param name="Bytes">Bytes of all contents.</param>
/// <param name="Trees">Complete trees.</param>
/// <param name="Quarantined">Contents that did not hash to their name and were set aside.</param>
/// <param name="FreeBytes">Bytes that can still be written; null where the store has no such limit.</param>
public sealed record StoreUsage(long Blobs, long Bytes, long Trees, long Quarantined, long? FreeBytes);

/// <summary>The outcome of hashing one content of a store.</summary>
public enum BlobState
{
    /// <summary>Never set.</summary>
    Unspecified = 0,

    /// <summary>It is there and hashes to its name.</summary>
    Sound = 1,

    /// <summary>It is not there.</summary>
    Missing = 2,

    /// <summary>It did not hash to its name; it is in quarantine now, and the store no longer serves it.</summary>
    Corrupt = 3,
}

/// <summary>How an import treats its source.</summary>
public enum ImportMode
{
    /// <summary>The source stays as it is.</summary>
    Copy = 0,

    /// <summary>
    /// The source is moved into the store where the file system allows, and is gone afterwards. Only for files that nobody writes any
    /// more, such as the outputs of a job whose process has ended.
    /// </summary>
    Take = 1,
}

/// <summary>How an artifact is laid out outside the store.</summary>
public enum MaterializeMode
{
    /// <summary>
    /// Read-only files that share the store's bytes (hard links) where the file system allows, copies elsewhere. For consumers that do
    /// not write: what is written through a link is written into the store.
    /// </summary>
    Link = 0,

    /// <summary>Writable copies, hashed while they are copied, so that a corrupt content is found.</summary>
    Copy = 1,
}

/// <summary>Where contents can be read from: a store, or files that have been hashed in place.</summary>
public interface IBlobSource
{
    /// <summary>
    /// Opens a content (a tree's digest opens its manifest) for reading from an offset, 0 up to its size. <see cref="FailureType.Internal"/> when it is
    /// absent or unreadable, <see cref="FailureType.InvalidInput"/> when the offset is outside. The caller disposes the stream.
    /// </summary>
    Task<Outcome<Stream>> OpenReadAsync(Digest blob, long offset, CancellationToken cancellationToken);
}

/// <summary>
/// A content that is being written. One writer is used by one caller at a time. Disposing without a commit keeps the bytes for a later
/// resumption when the digest was given at the start, and drops them otherwise.
/// </summary>
public interface IBlobWriter : IAsyncDisposable
{
    /// <summary>Bytes held so far: where the next write goes. Above 0 at the start when an interrupted write is being resumed.</summary>
    long Offset { get; }

    /// <summary>Appends bytes and gives the new offset. A failure leaves the writer unusable.</summary>
    Task<Outcome<long>> WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>
    /// Makes the content durable and visible under its digest. <see cref="FailureType.InvalidInput"/> when size or digest are not the expected ones;
    /// the bytes are dropped then.
    /// </summary>
    Task<Outcome<StoredArtifact>> CommitAsync(CancellationToken cancellationToken);
}

/// <summary>
/// A content-addressed store of files and trees. Everything in it is immutable and named by SHA-256; what has a name is complete and was
/// hashed when it was written. All members are safe to call concurrently, also from several processes on one store, and equal contents
/// may be written at the same time. Failures: <see cref="FailureType.InvalidInput"/> blames the caller's data, <see cref="FailureType.Internal"/> the store
/// (absent content, full disk, corrupt content).
/// </summary>
public interface IArtifactStore : IBlobSource
{
    /// <summary>What the store holds under a digest, or null. A tree is held when its manifest and all its contents are.</summary>
    Task<Outcome<StoredArtifact?>> StatAsync(Digest digest, CancellationToken cancellationToken);

    /// <summary>The size in bytes of one content (of the manifest, for a tree's digest, complete or not), or null when it is absent.</summary>
    Task<Outcome<long?>> StatBlobAsync(Digest blob, CancellationToken cancellationToken);

    /// <summary>The manifest of a tree, complete or not.</summary>
    Task<Outcome<TreeManifest>> ReadManifestAsync(Digest tree, CancellationToken cancellationToken);

    /// <summary>
    /// Begins to write one content. With <paramref name="expected"/> an interrupted write of the same digest is resumed (see
    /// <see cref="IBlobWriter.Offset"/>), unless another writer is at it. <paramref name="size"/>, in bytes, lets a lack of space and a surplus of data show early.
    /// </summary>
    Task<Outcome<IBlobWriter>> BeginWriteAsync(Digest? expected, long? size, CancellationToken cancellationToken);

    /// <summary>Bytes that an interrupted write of this digest has left, where it can be resumed; else 0.</summary>
    Task<long> ResumeOffsetAsync(Digest blob, CancellationToken cancellationToken);

    /// <summary>Makes a tree visible under its digest. <see cref="FailureType.InvalidInput"/> when the store lacks one of its contents.</summary>
    Task<Outcome<StoredArtifact>> CommitTreeAsync(TreeManifest manifest, CancellationToken cancellationToken);

    /// <summary>
    /// Takes in a file or a directory (as a tree). Nothing about it is trusted: it is hashed on the way in, special files are refused,
    /// and so are links that leave the directory and names that a tree cannot hold (<see cref="FailureType.InvalidInput"/>).
    /// </summary>
    Task<Outcome<StoredArtifact>> ImportAsync(string path, ImportMode mode, CancellationToken cancellationToken);

    /// <summary>
    /// Lays an artifact out: a file at <paramref name="path"/>, or a tree as the directory <paramref name="path"/>. It appears there complete or not at all. The path must
    /// not exist and its parent must (<see cref="FailureType.InvalidInput"/>).
    /// </summary>
    Task<Outcome<StoredArtifact>> MaterializeAsync(Digest digest, string path, MaterializeMode mode, CancellationToken cancellationToken);

    /// <summary>Hashes one content. A corrupt one is moved to quarantine, so that it can be fetched or made again.</summary>
    Task<Outcome<BlobState>> VerifyAsync(Digest blob, CancellationToken cancellationToken);

    /// <summary>Everything that the store holds, in no order: trees, and every content that is not a tree's manifest.</summary>
    IAsyncEnumerable<StoredArtifact> ListAsync(CancellationToken cancellationToken);

    /// <summary>Counts what the store holds; reads every entry of it.</summary>
    Task<Outcome<StoreUsage>> UsageAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Removes a name and tells whether it was there. Of a tree the manifest goes and its contents stay, because other trees may hold
    /// them; whoever knows that none does removes them one by one.
    /// </summary>
    Task<Outcome<bool>> DeleteAsync(Digest digest, CancellationToken cancellationToken);

    /// <summary>Writes and removes a small file: null when that works. For readiness checks.</summary>
    Task<Failure?> ProbeAsync(CancellationToken cancellationToken);
}
