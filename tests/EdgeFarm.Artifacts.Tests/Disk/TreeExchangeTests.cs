using System.Diagnostics;
using System.Runtime.Versioning;
using CsCheck;
using EdgeFarm.Artifacts.Tests.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Tests.Disk;

public sealed class TreeExchangeTests : IDisposable
{
    private readonly TestFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Any_tree_comes_out_as_it_went_in() => await Gen.Select(RandomTrees.Files, Gen.Bool, Gen.Bool).SampleAsync(
        async (files, take, link) =>
        {
            using var folder = new TestFolder();
            var store = folder.Store();
            RandomTrees.Write(folder["in"], files);
            var expected = RandomTrees.Read(folder["in"]);
            var tree = (await store.ImportAsync(folder["in"], take ? ImportMode.Take : ImportMode.Copy, TestFolder.Token)).Value;
            await store.MaterializeAsync(tree.Digest, folder["out"], link ? MaterializeMode.Link : MaterializeMode.Copy, TestFolder.Token);

            Assert.Equal(ArtifactKind.Tree, tree.Kind);
            Assert.Equal(files.Sum(f => (long)f.Content.Length), tree.Size);
            Assert.Equal(expected, RandomTrees.Read(folder["out"]));
            Assert.Equal(!take, Directory.Exists(folder["in"]));
            Assert.Equal(tree, (await store.ImportAsync(folder["out"], ImportMode.Copy, TestFolder.Token)).Value);
        },
        iter: 60);

    [SkippableFact]
    [UnsupportedOSPlatform("windows")]
    public async Task Links_are_read_only_and_copies_are_writable()
    {
        Skip.If(OperatingSystem.IsWindows(), "Windows has no modes");
        var store = _folder.Store();
        var file = (await store.ImportAsync(_folder.Write("f", [1]), ImportMode.Copy, TestFolder.Token)).Value.Digest;
        await store.MaterializeAsync(file, _folder["link"], MaterializeMode.Link, TestFolder.Token);
        await store.MaterializeAsync(file, _folder["copy"], MaterializeMode.Copy, TestFolder.Token);

        Assert.False(File.GetUnixFileMode(_folder["link"]).HasFlag(UnixFileMode.UserWrite));
        Assert.True(File.GetUnixFileMode(_folder["copy"]).HasFlag(UnixFileMode.UserWrite));
        await File.WriteAllBytesAsync(_folder["copy"], [2]);
        Assert.Equal(BlobState.Sound, (await store.VerifyAsync(file, TestFolder.Token)).Value);
    }

    [Fact]
    public async Task Never_overwrites_and_never_makes_parents()
    {
        var store = _folder.Store();
        var file = (await store.ImportAsync(_folder.Write("f", [1]), ImportMode.Copy, TestFolder.Token)).Value.Digest;

        (await store.MaterializeAsync(file, _folder["f"], MaterializeMode.Link, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "already");
        (await store.MaterializeAsync(file, _folder["no/such"], MaterializeMode.Link, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "does not exist");
    }

    [SkippableFact]
    public async Task A_link_inside_the_directory_is_followed()
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege on Windows");
        _folder.Write("tree/a", [7]);
        Directory.CreateDirectory(_folder["tree/sub"]);
        File.CreateSymbolicLink(_folder["tree/sub/b"], "../a");
        var store = _folder.Store();
        var tree = (await store.ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).Value;

        var manifest = (await store.ReadManifestAsync(tree.Digest, TestFolder.Token)).Value;
        Assert.Equal(["a", "sub/b"], manifest.Entries.Select(e => e.Path));
        Assert.All(manifest.Entries, e => Assert.Equal(Digest.Of([7]), e.Digest));
    }

    [SkippableTheory]
    [InlineData("/etc/passwd", "leaves")]
    [InlineData("../secret", "leaves")]
    [InlineData("sub/../../secret", "leaves")]
    [InlineData(".", "leaves")]
    [InlineData("sub", "a directory")]
    [InlineData("absent", "not there")]
    public async Task A_link_that_leaves_or_leads_nowhere_is_refused(string target, string reason)
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege on Windows");
        _folder.Write("secret", [1]);
        _folder.Write("tree/sub/x", [2]);
        File.CreateSymbolicLink(_folder["tree/link"], target);

        var failure = (await _folder.Store().ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "link");
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task A_link_through_a_linked_directory_is_refused()
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege on Windows");
        _folder.Write("outside/secret", [1]);
        Directory.CreateDirectory(_folder["tree"]);
        Directory.CreateSymbolicLink(_folder["tree/dir"], _folder["outside"]);
        File.CreateSymbolicLink(_folder["tree/link"], "dir/secret");

        (await _folder.Store().ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "link");
    }

    [SkippableFact]
    public async Task A_loop_of_links_is_a_failure()
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege on Windows");
        Directory.CreateDirectory(_folder["tree"]);
        File.CreateSymbolicLink(_folder["tree/a"], "b");
        File.CreateSymbolicLink(_folder["tree/b"], "a");
        Assert.False((await _folder.Store().ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).IsOk);
    }

    [SkippableTheory]
    [InlineData(ImportMode.Copy)]
    [InlineData(ImportMode.Take)]
    public async Task A_named_pipe_is_refused_and_does_not_block(ImportMode mode)
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "mkfifo is needed");
        Directory.CreateDirectory(_folder["tree"]);
        using var mkfifo = Process.Start("mkfifo", _folder["tree/pipe"]);
        await mkfifo.WaitForExitAsync();

        var import = _folder.Store().ImportAsync(_folder["tree"], mode, TestFolder.Token);
        (await import.WaitAsync(TimeSpan.FromMinutes(5))).ShouldFail(FailureType.Internal, "not a regular file");
    }

    [SkippableFact]
    public async Task A_name_that_a_tree_cannot_hold_is_refused()
    {
        Skip.If(OperatingSystem.IsWindows(), "such a name cannot exist there");
        _folder.Write("tree/a:b", [1]);
        (await _folder.Store().ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "a:b", "rename");
    }
}
