using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Tests;

/// <summary>A directory of its own for one test, gone afterwards.</summary>
internal sealed class TestFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("edgefarm-artifacts-").FullName;

    public static CancellationToken Token => CancellationToken.None;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public DiskArtifactStore Store(string name = "store") => DiskArtifactStore.Open(this[name], TimeProvider.System).Value;

    public string Write(string name, byte[] bytes)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(this[name])!);
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);

    public static byte[] Bytes(int count, int seed = 1)
    {
        var bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Where a disk store of this folder keeps a content: the tests damage it there.</summary>
    public string BlobPath(Digest digest, string store = "store") => new StoreLayout(this[store]).Blob(digest);
}

internal static class OutcomeAssertions
{
    public static Failure ShouldFail<T>(this Outcome<T> outcome, FailureType type, params string[] parts)
    {
        Assert.False(outcome.IsOk, "a failure was expected");
        Assert.Equal(type, outcome.Failure!.Type);
        Assert.All(parts, part => Assert.Contains(part, outcome.Failure.Message, StringComparison.Ordinal));
        return outcome.Failure;
    }
}
