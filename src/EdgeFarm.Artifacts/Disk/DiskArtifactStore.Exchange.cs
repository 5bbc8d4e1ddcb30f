using System.Security.Cryptography;
using EdgeFarm.Artifacts.Local;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Disk;

/// <summary>Taking in files from outside, and laying artifacts out.</summary>
public sealed partial class DiskArtifactStore
{
    /// <inheritdoc/>
    public Task<Outcome<StoredArtifact>> ImportAsync(string path, ImportMode mode, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"import '{path}'", async () =>
        {
            if (File.Exists(path))
            {
                return await ImportFileAsync(path, mode, cancellationToken);
            }

            if (!Directory.Exists(path))
            {
                throw StoreFailures.InvalidInput($"cannot import '{path}': there is no such file or directory");
            }

            var entries = new List<TreeEntry>();
            foreach (var file in LocalFiles.Walk(path))
            {
                var executable = DurableFiles.IsExecutable(file.FullPath);
                var stored = await ImportFileAsync(file.FullPath, file.IsLink ? ImportMode.Copy : mode, cancellationToken);
                entries.Add(new TreeEntry(file.Path, stored.Size, stored.Digest, executable));
            }

            var tree = Take(await CommitTreeAsync(Take(TreeManifest.Create(entries)), cancellationToken));
            if (mode == ImportMode.Take)
            {
                Directory.Delete(path, recursive: true);
            }

            return tree;
        });

    /// <inheritdoc/>
    public Task<Outcome<StoredArtifact>> MaterializeAsync(Digest digest, string path, MaterializeMode mode, CancellationToken cancellationToken) =>
        StoreFailures.CatchAsync($"lay out {digest} at '{path}'", async () =>
        {
            var artifact = Take(await StatAsync(digest, cancellationToken))
                ?? throw StoreFailures.Internal($"cannot lay out {digest}: the store '{Root}' does not hold it completely");
            var target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
            if (Path.Exists(target) || !Directory.Exists(Path.GetDirectoryName(target)))
            {
                throw StoreFailures.InvalidInput(
                    $"cannot lay out {digest} at '{path}': {(Path.Exists(target) ? "something is there already" : "the directory that should hold it does not exist")}");
            }

            // A sibling, so that the rename stays in one file system.
            var temp = $"{target}.{Guid.NewGuid():N}.tmp";
            try
            {
                if (artifact.Kind == ArtifactKind.Tree)
                {
                    await LayOutTreeAsync(await ManifestAsync(digest, cancellationToken), temp, mode, cancellationToken);
                    Directory.Move(temp, target);
                }
                else
                {
                    await LayOutFileAsync(digest, temp, executable: false, mode, cancellationToken);
                    File.Move(temp, target);
                }
            }
            catch
            {
                DurableFiles.TryDelete(temp);
                throw;
            }

            return artifact;
        });

    private async Task<StoredArtifact> ImportFileAsync(string path, ImportMode mode, CancellationToken cancellationToken)
    {
        if (mode == ImportMode.Take && new FileInfo(path).LinkTarget is null)
        {
            return await TakeFileAsync(path, cancellationToken);
        }

        StoredArtifact stored;
        await using (var source = DurableFiles.OpenRegular(path))
        await using (var writer = Take(await BeginWriteAsync(null, source.Length, cancellationToken)))
        {
            var buffer = new byte[DurableFiles.BufferBytes];
            for (int read; (read = await source.ReadAsync(buffer, cancellationToken)) > 0;)
            {
                Take(await writer.WriteAsync(buffer.AsMemory(0, read), cancellationToken));
            }

            stored = Take(await writer.CommitAsync(cancellationToken));
        }

        if (mode == ImportMode.Take)
        {
            File.Delete(path);
        }

        return stored;
    }

    private async Task<StoredArtifact> TakeFileAsync(string path, CancellationToken cancellationToken)
    {
        var temp = _layout.NewTemp();
        DurableFiles.OpenRegular(path).Dispose();
        File.Move(path, temp);
        try
        {
            // Opened for writing: flushing needs that on Windows.
            DurableFiles.SetMode(temp, writable: true, executable: false);
            await using var writer = await DiskBlobWriter.AdoptAsync(_layout, temp, cancellationToken);
            return Take(await writer.CommitAsync(cancellationToken));
        }
        catch (OperationCanceledException) when (!File.Exists(path))
        {
            File.Move(temp, path);
            throw;
        }
    }

    private async Task LayOutTreeAsync(TreeManifest manifest, string directory, MaterializeMode mode, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(directory);
        foreach (var entry in manifest.Entries)
        {
            // The manifest admits only names that stay below the root and are separated by '/', which every system takes.
            var target = Path.Combine(directory, entry.Path);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            await LayOutFileAsync(entry.Digest, target, entry.Executable, mode, cancellationToken);
        }
    }

    private async Task LayOutFileAsync(Digest digest, string target, bool executable, MaterializeMode mode, CancellationToken cancellationToken)
    {
        // A hard link shares the mode too, so an executable needs a file of its own.
        if (mode == MaterializeMode.Link && !executable && DurableFiles.TryHardLink(_layout.Blob(digest), target))
        {
            return;
        }

        await using (var source = OpenBlob(digest))
        await using (var copy = DurableFiles.CreateNew(target))
        {
            if (await CopyAndHashAsync(source, copy, cancellationToken) != digest)
            {
                Quarantine(digest);
                throw StoreFailures.Internal($"{digest} is corrupt in the store '{Root}' and was set aside; fetch it or make it again");
            }
        }

        DurableFiles.SetMode(target, writable: mode == MaterializeMode.Copy, executable);
    }

    private static async Task<Digest> CopyAndHashAsync(Stream source, Stream target, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[DurableFiles.BufferBytes];
        for (int read; (read = await source.ReadAsync(buffer, cancellationToken)) > 0;)
        {
            hash.AppendData(buffer, 0, read);
            await target.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }

        return Digest.FromHash(hash.GetCurrentHash());
    }
}
