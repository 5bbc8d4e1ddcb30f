using EdgeFarm.Core.Artifacts;

namespace EdgeFarm.Artifacts.Disk;

/// <summary>
/// Where a disk store keeps what. All folders lie in one file system, because everything appears by a rename:
/// <c>blobs/ab/ab..</c> contents (manifests too), <c>trees/ab/ab..</c> empty marks of complete trees, <c>partial/ab..</c> interrupted writes,
/// <c>tmp/</c> writes without a known digest, <c>quarantine/</c> contents that did not hash to their name.
/// </summary>
internal sealed class StoreLayout(string root)
{
    public string Root { get; } = Path.GetFullPath(root);

    public string Blobs => Path.Combine(Root, "blobs");

    public string Trees => Path.Combine(Root, "trees");

    public string Partials => Path.Combine(Root, "partial");

    public string Temp => Path.Combine(Root, "tmp");

    public string Quarantine => Path.Combine(Root, "quarantine");

    public string Blob(Digest digest) => Path.Combine(Blobs, digest.Hex[..2], digest.Hex);

    public string TreeMark(Digest digest) => Path.Combine(Trees, digest.Hex[..2], digest.Hex);

    public string Partial(Digest digest) => Path.Combine(Partials, digest.Hex);

    public string NewTemp() => Path.Combine(Temp, Guid.NewGuid().ToString("N"));

    public string NewQuarantine(Digest digest) => Path.Combine(Quarantine, $"{digest.Hex}.{Guid.NewGuid():N}");

    public void Create()
    {
        foreach (var folder in new[] { Blobs, Trees, Partials, Temp, Quarantine })
        {
            Directory.CreateDirectory(folder);
        }
    }

    /// <summary>Removes what crashed writers have left: partial and temporary files that nobody has written to since.</summary>
    public void RemoveLeftovers(DateTime olderThanUtc)
    {
        foreach (var path in Directory.EnumerateFileSystemEntries(Temp).Concat(Directory.EnumerateFileSystemEntries(Partials)))
        {
            if (File.GetLastWriteTimeUtc(path) < olderThanUtc)
            {
                DurableFiles.TryDelete(path);
            }
        }
    }

    /// <summary>The digests that the two-level folder <paramref name="folder"/> holds; strange names are passed over.</summary>
    public static IEnumerable<(Digest Digest, FileInfo File)> Enumerate(string folder)
    {
        foreach (var fan in new DirectoryInfo(folder).EnumerateDirectories())
        {
            foreach (var file in fan.EnumerateFiles())
            {
                if (Digest.TryParse(file.Name, out var digest))
                {
                    yield return (digest, file);
                }
            }
        }
    }
}
