using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Disk;

/// <summary>
/// An <see cref="IArtifactStore"/> in one directory of one file system. Contents are written to a temporary file, flushed, and renamed
/// to their digest, so that a crash at any moment leaves a name complete or absent. Several processes may share the directory.
/// </summary>
public sealed partial class DiskArtifactStore : IArtifactStore
{
    /// <summary>How old a leftover of a crashed writer must be before it is removed, unless stated otherwise.</summary>
    public static readonly TimeSpan DefaultLeftoverAge = TimeSpan.FromHours(24);

    private readonly StoreLayout _layout;

    private DiskArtifactStore(StoreLayout layout) => _layout = layout;

    /// <summary>The directory of the store, absolute.</summary>
    public string Root => _layout.Root;

    /// <summary>Opens or creates a store, and removes the leftovers of crashed writers.</summary>
    /// <param name="root">Its directory; created where it is missing.</param>
    /// <param name="time">The clock that the age of leftovers is judged by.</param>
    /// <param name="leftoverAge">Age from which a partial or temporary file is a leftover; null for <see cref="DefaultLeftoverAge"/>. Shorter than the longest pause of a living writer, it would cut that off.</param>
    public static Outcome<DiskArtifactStore> Open(string root, TimeProvider time, TimeSpan? leftoverAge = null)
    {
        try
        {
            var layout = new StoreLayout(root);
            layout.Create();
            layout.RemoveLeftovers((time.GetUtcNow() - (leftoverAge ?? DefaultLeftoverAge)).UtcDateTime);
            return new DiskArtifactStore(layout);
        }
        catch (Exception e) when (StoreFailures.From(e, "") is not null)
        {
            return StoreFailures.From(e, $"open the artifact store '{root}'")!;
        }
    }

    /// <inheritdoc/>
    public Task<Outcome<StoredArtifact?>> StatAsync(Digest digest, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"look up {digest}", async () =>
        {
            var blob = new FileInfo(_layout.Blob(Named(digest)));
            if (!blob.Exists)
            {
                return null;
            }

            if (!File.Exists(_layout.TreeMark(digest)))
            {
                return new StoredArtifact(digest, ArtifactKind.File, blob.Length);
            }

            var manifest = await ManifestAsync(digest, cancellationToken);
            return manifest.Blobs.All(b => HasBlob(b.Digest, b.Size)) ? new StoredArtifact(digest, ArtifactKind.Tree, manifest.Size) : null;
        });

    /// <inheritdoc/>
    public Task<Outcome<long?>> StatBlobAsync(Digest blob, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"look up {blob}", () =>
        {
            var file = new FileInfo(_layout.Blob(Named(blob)));
            return Task.FromResult<long?>(file.Exists ? file.Length : null);
        });

    /// <inheritdoc/>
    public Task<Outcome<TreeManifest>> ReadManifestAsync(Digest tree, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"read the tree {tree}", () => ManifestAsync(tree, cancellationToken));

    /// <inheritdoc/>
    public Task<Outcome<Stream>> OpenReadAsync(Digest blob, long offset, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"read {blob}", () =>
        {
            Stream stream = OpenBlob(blob);
            if (offset < 0 || offset > stream.Length)
            {
                var length = stream.Length;
                stream.Dispose();
                throw StoreFailures.InvalidInput($"cannot read {blob} from offset {offset}: it has {length} bytes");
            }

            stream.Position = offset;
            return Task.FromResult(stream);
        });

    /// <inheritdoc/>
    public Task<Outcome<IBlobWriter>> BeginWriteAsync(Digest? expected, long? size, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync<IBlobWriter>($"store {expected?.ToString() ?? "a new artifact"}", async () =>
        {
            if (size < 0)
            {
                throw StoreFailures.InvalidInput($"the impossible size {size}");
            }

            var writer = await DiskBlobWriter.OpenAsync(_layout, expected is { } digest ? Named(digest) : null, size, cancellationToken);
            if (size - writer.Offset > FreeBytes())
            {
                await writer.DisposeAsync();
                throw new FailureException(StoreFailures.DiskFull(
                    $"store {size} bytes in '{Root}'", $" ({FreeBytes()} bytes are free)"));
            }

            return writer;
        });

    /// <inheritdoc/>
    public Task<long> ResumeOffsetAsync(Digest blob, CancellationToken cancellationToken)
    {
        try
        {
            // Opened as a writer opens it, so that what another writer is at counts for nothing.
            using var partial = new FileStream(_layout.Partial(Named(blob)), FileMode.Open, FileAccess.ReadWrite, FileShare.None, 0);
            return Task.FromResult(partial.Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Task.FromResult(0L);
        }
    }

    /// <inheritdoc/>
    public Task<Outcome<StoredArtifact>> CommitTreeAsync(TreeManifest manifest, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"store the tree {manifest.Digest}", async () =>
        {
            foreach (var (digest, size) in manifest.Blobs)
            {
                if (!HasBlob(digest, size))
                {
                    throw StoreFailures.InvalidInput($"the tree {manifest.Digest} names {digest} ({size} bytes), which the store lacks; send it first");
                }
            }

            await using (var writer = await DiskBlobWriter.OpenAsync(_layout, null, manifest.Bytes.Length, cancellationToken))
            {
                Take(await writer.WriteAsync(manifest.Bytes, cancellationToken));
                Take(await writer.CommitAsync(cancellationToken));
            }

            var mark = _layout.TreeMark(manifest.Digest);
            Directory.CreateDirectory(Path.GetDirectoryName(mark)!);
            await using (File.Open(mark, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete))
            {
                // Its existence is all that counts.
            }

            DurableFiles.SyncDirectory(Path.GetDirectoryName(mark)!);
            return new StoredArtifact(manifest.Digest, ArtifactKind.Tree, manifest.Size);
        });

    /// <inheritdoc/>
    public Task<Outcome<BlobState>> VerifyAsync(Digest blob, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"verify {blob}", async () =>
        {
            if (!File.Exists(_layout.Blob(Named(blob))))
            {
                return BlobState.Missing;
            }

            await using var stream = OpenBlob(blob);
            if (Digest.FromHash(await SHA256.HashDataAsync(stream, cancellationToken)) == blob)
            {
                return BlobState.Sound;
            }

            Quarantine(blob);
            return BlobState.Corrupt;
        });

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredArtifact> ListAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach (var (digest, _) in StoreLayout.Enumerate(_layout.Blobs))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (await StatAsync(digest, cancellationToken) is { IsOk: true, Value: { } artifact })
            {
                yield return artifact;
            }
        }
    }

    /// <inheritdoc/>
    public Task<Outcome<StoreUsage>> UsageAsync(CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"measure the store '{Root}'", () =>
        {
            long blobs = 0, bytes = 0;
            foreach (var (_, file) in StoreLayout.Enumerate(_layout.Blobs))
            {
                cancellationToken.ThrowIfCancellationRequested();
                blobs++;
                bytes += file.Length;
            }

            var trees = StoreLayout.Enumerate(_layout.Trees).LongCount();
            var quarantined = Directory.EnumerateFiles(_layout.Quarantine).LongCount();
            return Task.FromResult(new StoreUsage(blobs, bytes, trees, quarantined, FreeBytes()));
        });

    /// <inheritdoc/>
    public Task<Outcome<bool>> DeleteAsync(Digest digest, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"delete {digest}", () =>
        {
            var blob = _layout.Blob(Named(digest));
            var existed = File.Exists(blob);
            if (existed)
            {
                File.Delete(blob);
            }

            DeleteTreeMark(digest);
            return Task.FromResult(existed);
        });

    /// <inheritdoc/>
    public async Task<Failure?> ProbeAsync(CancellationToken cancellationToken)
    {
        var path = _layout.NewTemp();
        var outcome = await StoreFailures.CatchAsync($"write to the artifact store '{Root}'", async () =>
        {
            await File.WriteAllBytesAsync(path, new byte[1], cancellationToken);
            File.Delete(path);
            return true;
        });
        return outcome.Failure;
    }

    private static Digest Named(Digest digest) =>
        digest.IsEmpty ? throw new ArgumentException("an empty digest names nothing", nameof(digest)) : digest;

    private static T Take<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);

    private bool HasBlob(Digest digest, long size) => new FileInfo(_layout.Blob(digest)) is { Exists: true } file && file.Length == size;

    private long FreeBytes() => new DriveInfo(Root).AvailableFreeSpace;

    private FileStream OpenBlob(Digest blob)
    {
        try
        {
            return DurableFiles.OpenRegular(_layout.Blob(Named(blob)));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw StoreFailures.Internal($"the artifact store '{Root}' has no {blob}; it was never stored or has been deleted");
        }
    }

    private async Task<TreeManifest> ManifestAsync(Digest tree, CancellationToken cancellationToken)
    {
        await using var stream = OpenBlob(tree);
        if (stream.Length > TreeManifest.MaxBytes)
        {
            throw StoreFailures.InvalidInput($"{tree} is no tree: it has {stream.Length} bytes, a manifest at most {TreeManifest.MaxBytes}");
        }

        var bytes = new byte[stream.Length];
        await stream.ReadExactlyAsync(bytes, cancellationToken);
        if (Digest.Of(bytes) != tree)
        {
            Quarantine(tree);
            throw StoreFailures.Internal($"the manifest of {tree} is corrupt in the store '{Root}' and was set aside; store the tree again");
        }

        var manifest = TreeManifest.Parse(bytes);
        return manifest.IsOk ? manifest.Value : throw StoreFailures.InvalidInput($"{tree} is no tree: {manifest.Failure!.Message}");
    }

    private void Quarantine(Digest digest)
    {
        try
        {
            File.Move(_layout.Blob(digest), _layout.NewQuarantine(digest));
        }
        catch (FileNotFoundException)
        {
            // Another reader found the damage first.
        }

        DeleteTreeMark(digest);
    }

    private void DeleteTreeMark(Digest digest)
    {
        var mark = _layout.TreeMark(digest);
        if (File.Exists(mark))
        {
            File.Delete(mark);
        }
    }
}
