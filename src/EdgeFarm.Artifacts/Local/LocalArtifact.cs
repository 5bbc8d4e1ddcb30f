using System.Security.Cryptography;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Local;

/// <summary>
/// A file or directory of this machine, hashed in place: what a client uploads from without a store of its own. A source that changes
/// after it was hashed is found by the receiver, whose digest differs then.
/// </summary>
public sealed class LocalArtifact : IBlobSource
{
    private readonly Dictionary<Digest, string> _files;
    private readonly TreeManifest? _manifest;

    private LocalArtifact(StoredArtifact artifact, Dictionary<Digest, string> files, TreeManifest? manifest)
    {
        Artifact = artifact;
        _files = files;
        _manifest = manifest;
    }

    /// <summary>What the file or directory is as an artifact.</summary>
    public StoredArtifact Artifact { get; }

    /// <summary>
    /// Hashes a file or all files of a directory. <see cref="FailureType.InvalidInput"/> for what <see cref="IArtifactStore.ImportAsync"/> refuses.
    /// </summary>
    public static Task<Outcome<LocalArtifact>> HashAsync(string path, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"read '{path}'", async () =>
        {
            var files = new Dictionary<Digest, string>();
            if (File.Exists(path))
            {
                var (digest, size) = await HashFileAsync(path, cancellationToken);
                files[digest] = path;
                return new LocalArtifact(new StoredArtifact(digest, ArtifactKind.File, size), files, null);
            }

            if (!Directory.Exists(path))
            {
                throw StoreFailures.InvalidInput($"there is no file or directory '{path}'");
            }

            var entries = new List<TreeEntry>();
            foreach (var file in LocalFiles.Walk(path))
            {
                var (digest, size) = await HashFileAsync(file.FullPath, cancellationToken);
                files[digest] = file.FullPath;
                entries.Add(new TreeEntry(file.Path, size, digest, DurableFiles.IsExecutable(file.FullPath)));
            }

            var manifest = TreeManifest.Create(entries);
            return manifest.IsOk
                ? new LocalArtifact(new StoredArtifact(manifest.Value.Digest, ArtifactKind.Tree, manifest.Value.Size), files, manifest.Value)
                : throw new FailureException(manifest.Failure!);
        });

    /// <inheritdoc/>
    public Task<Outcome<Stream>> OpenReadAsync(Digest blob, long offset, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"read {blob}", () =>
        {
            Stream stream = blob == _manifest?.Digest ? new MemoryStream(_manifest.Bytes.ToArray(), writable: false)
                : _files.TryGetValue(blob, out var path) ? DurableFiles.OpenRegular(path)
                : throw StoreFailures.Internal($"{blob} is not part of {Artifact.Digest}");
            if (offset < 0 || offset > stream.Length)
            {
                stream.Dispose();
                throw StoreFailures.InvalidInput($"cannot read {blob} from offset {offset}: that is outside");
            }

            stream.Position = offset;
            return Task.FromResult(stream);
        });

    private static async Task<(Digest Digest, long Size)> HashFileAsync(string path, CancellationToken cancellationToken)
    {
        await using var stream = DurableFiles.OpenRegular(path);
        var hash = await SHA256.HashDataAsync(stream, cancellationToken);
        return (Digest.FromHash(hash), stream.Position);
    }
}
