using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Tests;

public sealed class ArtifactAuditTests : IDisposable
{
    private readonly TestFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Finds_what_is_missing_and_what_is_corrupt()
    {
        var store = _folder.Store();
        _folder.Write("tree/kept", [1]);
        _folder.Write("tree/lost", [2]);
        _folder.Write("tree/bad", [3]);
        var tree = (await store.ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).Value;
        await store.DeleteAsync(Digest.Of([2]), TestFolder.Token);
        File.Delete(_folder.BlobPath(Digest.Of([3])));
        await File.WriteAllBytesAsync(_folder.BlobPath(Digest.Of([3])), [4]);

        var findings = new List<AuditFinding>();
        (Digest, ArtifactKind)[] asked =
        [
            (tree.Digest, ArtifactKind.Tree),
            (Digest.Of([1]), ArtifactKind.File),
            (Digest.OfText("never"), ArtifactKind.Unspecified),
            (Digest.Of([1]), ArtifactKind.Tree),
            (tree.Digest, ArtifactKind.Tree),
        ];
        await foreach (var finding in ArtifactAudit.RunAsync(store, asked, TestFolder.Token))
        {
            findings.Add(finding);
        }

        Assert.Equal(4, findings.Count);
        Assert.Equal([Digest.Of([2])], findings[0].Missing);
        Assert.Equal([Digest.Of([3])], findings[0].Corrupt);
        Assert.True(findings[1].IsSound);
        Assert.Equal([Digest.OfText("never")], findings[2].Missing);
        Assert.Equal(FailureType.InvalidInput, findings[3].Failure!.Type);
        Assert.All([findings[0], findings[2], findings[3]], f => Assert.False(f.IsSound));
    }
}
