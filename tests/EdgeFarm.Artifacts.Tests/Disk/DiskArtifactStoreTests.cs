using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Tests.Disk;

public sealed class DiskArtifactStoreTests : IDisposable
{
    private readonly TestFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(700_000)]
    public async Task Holds_a_file_that_was_imported_and_leaves_the_source(int size)
    {
        var bytes = TestFolder.Bytes(size);
        var store = _folder.Store();
        var stored = (await store.ImportAsync(_folder.Write("in.bin", bytes), ImportMode.Copy, TestFolder.Token)).Value;

        Assert.Equal(new StoredArtifact(Digest.Of(bytes), ArtifactKind.File, size), stored);
        Assert.Equal(stored, (await store.StatAsync(stored.Digest, TestFolder.Token)).Value);
        Assert.Equal(bytes, await ReadAsync(store, stored.Digest, 0));
        Assert.Equal(bytes, await File.ReadAllBytesAsync(_folder["in.bin"]));
        Assert.Equal(BlobState.Sound, (await store.VerifyAsync(stored.Digest, TestFolder.Token)).Value);
    }

    [Fact]
    public async Task Takes_a_file_that_is_gone_afterwards()
    {
        var bytes = TestFolder.Bytes(100_000);
        var store = _folder.Store();
        var stored = (await store.ImportAsync(_folder.Write("in.bin", bytes), ImportMode.Take, TestFolder.Token)).Value;

        Assert.False(File.Exists(_folder["in.bin"]));
        Assert.Equal(bytes, await ReadAsync(store, stored.Digest, 0));
        AssertNoLeftovers();
    }

    [Fact]
    public async Task Reads_from_an_offset_and_refuses_one_outside()
    {
        var bytes = TestFolder.Bytes(1000);
        var store = _folder.Store();
        var digest = (await store.ImportAsync(_folder.Write("in.bin", bytes), ImportMode.Copy, TestFolder.Token)).Value.Digest;

        Assert.Equal(bytes[400..], await ReadAsync(store, digest, 400));
        Assert.Empty(await ReadAsync(store, digest, 1000));
        (await store.OpenReadAsync(digest, 1001, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "1001", "1000");
        (await store.OpenReadAsync(digest, -1, TestFolder.Token)).ShouldFail(FailureType.InvalidInput);
    }

    [Fact]
    public async Task Says_that_an_absent_artifact_is_absent()
    {
        var store = _folder.Store();
        var digest = Digest.OfText("nothing");

        Assert.Null((await store.StatAsync(digest, TestFolder.Token)).Value);
        Assert.Null((await store.StatBlobAsync(digest, TestFolder.Token)).Value);
        Assert.Equal(BlobState.Missing, (await store.VerifyAsync(digest, TestFolder.Token)).Value);
        Assert.False((await store.DeleteAsync(digest, TestFolder.Token)).Value);
        (await store.OpenReadAsync(digest, 0, TestFolder.Token)).ShouldFail(FailureType.Internal, digest.ToString());
        (await store.MaterializeAsync(digest, _folder["out"], MaterializeMode.Link, TestFolder.Token)).ShouldFail(FailureType.Internal, digest.ToString());
        (await store.ImportAsync(_folder["absent"], ImportMode.Copy, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "absent");
    }

    [Fact]
    public async Task Refuses_bytes_that_do_not_hash_to_what_was_announced()
    {
        var store = _folder.Store();
        await using (var writer = (await store.BeginWriteAsync(Digest.OfText("right"), 5, TestFolder.Token)).Value)
        {
            Assert.Equal(5, (await writer.WriteAsync("wrong"u8.ToArray(), TestFolder.Token)).Value);
            (await writer.CommitAsync(TestFolder.Token)).ShouldFail(FailureType.InvalidInput, Digest.OfText("right").ToString(), Digest.OfText("wrong").ToString());
        }

        Assert.Equal(0, (await store.UsageAsync(TestFolder.Token)).Value.Blobs);
        AssertNoLeftovers();
    }

    [Fact]
    public async Task Refuses_more_bytes_than_announced()
    {
        await using var writer = (await _folder.Store().BeginWriteAsync(Digest.OfText("right"), 5, TestFolder.Token)).Value;
        (await writer.WriteAsync("rightful"u8.ToArray(), TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "8 bytes at offset 0", "size of 5");
        await Assert.ThrowsAsync<InvalidOperationException>(() => writer.CommitAsync(TestFolder.Token));
    }

    [Fact]
    public async Task Resumes_an_interrupted_write_also_after_a_restart()
    {
        var bytes = TestFolder.Bytes(600_000);
        var digest = Digest.Of(bytes);
        await using (var writer = (await _folder.Store().BeginWriteAsync(digest, bytes.Length, TestFolder.Token)).Value)
        {
            await writer.WriteAsync(bytes.AsMemory(0, 250_000), TestFolder.Token);
            (await writer.CommitAsync(TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "250000 of 600000");
        }

        var store = _folder.Store();
        Assert.Equal(250_000, await store.ResumeOffsetAsync(digest, TestFolder.Token));
        await using (var writer = (await store.BeginWriteAsync(digest, bytes.Length, TestFolder.Token)).Value)
        {
            Assert.Equal(250_000, writer.Offset);
            await writer.WriteAsync(bytes.AsMemory(250_000), TestFolder.Token);
            Assert.True((await writer.CommitAsync(TestFolder.Token)).IsOk);
        }

        Assert.Equal(bytes, await ReadAsync(store, digest, 0));
        Assert.Equal(0, await store.ResumeOffsetAsync(digest, TestFolder.Token));
        AssertNoLeftovers();
    }

    [Fact]
    public async Task Concurrent_writers_of_one_digest_all_succeed()
    {
        var bytes = TestFolder.Bytes(300_000);
        var digest = Digest.Of(bytes);
        DiskArtifactStore[] stores = [_folder.Store(), _folder.Store()];
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 12).Select(i => Task.Run(async () =>
        {
            await using var writer = (await stores[i % 2].BeginWriteAsync(i % 3 == 0 ? null : digest, bytes.Length, TestFolder.Token)).Value;
            for (var at = (int)writer.Offset; at < bytes.Length; at += 50_000)
            {
                Assert.True((await writer.WriteAsync(bytes.AsMemory(at, Math.Min(50_000, bytes.Length - at)), TestFolder.Token)).IsOk);
                await Task.Yield();
            }

            return await writer.CommitAsync(TestFolder.Token);
        })));

        Assert.All(outcomes, o => Assert.Equal(digest, o.Value.Digest));
        Assert.Equal(BlobState.Sound, (await stores[0].VerifyAsync(digest, TestFolder.Token)).Value);
        Assert.Equal(1, (await stores[0].UsageAsync(TestFolder.Token)).Value.Blobs);
    }

    [Fact]
    public async Task A_second_writer_does_not_resume_what_the_first_is_writing()
    {
        var store = _folder.Store();
        var digest = Digest.OfText("abc");
        await using var first = (await store.BeginWriteAsync(digest, 3, TestFolder.Token)).Value;
        await first.WriteAsync("ab"u8.ToArray(), TestFolder.Token);

        Assert.Equal(0, await store.ResumeOffsetAsync(digest, TestFolder.Token));
        await using var second = (await store.BeginWriteAsync(digest, 3, TestFolder.Token)).Value;
        Assert.Equal(0, second.Offset);
        await second.WriteAsync("abc"u8.ToArray(), TestFolder.Token);
        Assert.True((await second.CommitAsync(TestFolder.Token)).IsOk);
        await first.WriteAsync("c"u8.ToArray(), TestFolder.Token);
        Assert.True((await first.CommitAsync(TestFolder.Token)).IsOk);
        Assert.Equal(BlobState.Sound, (await store.VerifyAsync(digest, TestFolder.Token)).Value);
    }

    [Fact]
    public async Task A_crash_before_the_rename_leaves_no_name_and_the_next_start_cleans_up()
    {
        var layout = new StoreLayout(_folder["store"]);
        _folder.Store();
        var bytes = TestFolder.Bytes(1000);
        var old = DateTime.UtcNow - TimeSpan.FromHours(30);
        foreach (var path in new[] { layout.NewTemp(), layout.Partial(Digest.OfText("old")) })
        {
            await File.WriteAllBytesAsync(path, bytes);
            File.SetLastWriteTimeUtc(path, old);
        }

        var young = layout.Partial(Digest.Of(bytes));
        await File.WriteAllBytesAsync(young, bytes);

        var store = _folder.Store();
        Assert.Equal(0, (await store.UsageAsync(TestFolder.Token)).Value.Blobs);
        Assert.Null((await store.StatAsync(Digest.Of(bytes), TestFolder.Token)).Value);
        Assert.Equal([young], Directory.EnumerateFiles(layout.Temp).Concat(Directory.EnumerateFiles(layout.Partials)));

        // Every byte was there when the process died: nothing is sent again.
        await using var writer = (await store.BeginWriteAsync(Digest.Of(bytes), bytes.Length, TestFolder.Token)).Value;
        Assert.Equal(bytes.Length, writer.Offset);
        Assert.True((await writer.CommitAsync(TestFolder.Token)).IsOk);
    }

    [Fact]
    public async Task A_corrupt_content_is_found_set_aside_and_can_be_stored_again()
    {
        var bytes = TestFolder.Bytes(5000);
        var store = _folder.Store();
        var digest = (await store.ImportAsync(_folder.Write("in.bin", bytes), ImportMode.Copy, TestFolder.Token)).Value.Digest;
        Damage(digest);

        Assert.Equal(BlobState.Corrupt, (await store.VerifyAsync(digest, TestFolder.Token)).Value);
        Assert.Null((await store.StatAsync(digest, TestFolder.Token)).Value);
        Assert.Equal(1, (await store.UsageAsync(TestFolder.Token)).Value.Quarantined);

        await store.ImportAsync(_folder["in.bin"], ImportMode.Copy, TestFolder.Token);
        Assert.Equal(BlobState.Sound, (await store.VerifyAsync(digest, TestFolder.Token)).Value);
    }

    [Fact]
    public async Task A_truncated_content_is_healed_by_storing_it_again()
    {
        var bytes = TestFolder.Bytes(5000);
        var store = _folder.Store();
        var digest = (await store.ImportAsync(_folder.Write("in.bin", bytes), ImportMode.Copy, TestFolder.Token)).Value.Digest;
        MakeWritable(_folder.BlobPath(digest));
        await File.WriteAllBytesAsync(_folder.BlobPath(digest), bytes[..100]);

        await store.ImportAsync(_folder["in.bin"], ImportMode.Copy, TestFolder.Token);
        Assert.Equal(bytes, await ReadAsync(store, digest, 0));
    }

    [Fact]
    public async Task A_copy_of_a_corrupt_content_fails_and_leaves_nothing()
    {
        var store = _folder.Store();
        var digest = (await store.ImportAsync(_folder.Write("in.bin", TestFolder.Bytes(5000)), ImportMode.Copy, TestFolder.Token)).Value.Digest;
        Damage(digest);

        (await store.MaterializeAsync(digest, _folder["out.bin"], MaterializeMode.Copy, TestFolder.Token)).ShouldFail(FailureType.Internal, "corrupt");
        Assert.Equal(["in.bin", "store"], Directory.EnumerateFileSystemEntries(_folder.Path).Select(Path.GetFileName).Order());
    }

    [Fact]
    public async Task A_tree_with_a_corrupt_manifest_is_not_served()
    {
        var store = _folder.Store();
        _folder.Write("tree/a", [1]);
        var tree = (await store.ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).Value.Digest;
        Damage(tree);

        (await store.StatAsync(tree, TestFolder.Token)).ShouldFail(FailureType.Internal, "corrupt");
        Assert.Null((await store.StatAsync(tree, TestFolder.Token)).Value);
    }

    [Fact]
    public async Task Refuses_a_tree_whose_contents_it_lacks()
    {
        var manifest = TreeManifest.Create([new TreeEntry("a", 3, Digest.OfText("abc"), false)]).Value;
        (await _folder.Store().CommitTreeAsync(manifest, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, Digest.OfText("abc").ToString());
    }

    [Fact]
    public async Task Deleting_a_tree_keeps_its_contents_and_deleting_a_content_ends_the_tree()
    {
        var store = _folder.Store();
        _folder.Write("tree/a", [1]);
        var tree = (await store.ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).Value;

        Assert.True((await store.DeleteAsync(tree.Digest, TestFolder.Token)).Value);
        Assert.NotNull((await store.StatAsync(Digest.Of([1]), TestFolder.Token)).Value);
        Assert.Equal(tree, (await store.ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).Value);
        Assert.True((await store.DeleteAsync(Digest.Of([1]), TestFolder.Token)).Value);
        Assert.Null((await store.StatAsync(tree.Digest, TestFolder.Token)).Value);
    }

    [Fact]
    public async Task Lists_and_counts_what_it_holds()
    {
        var store = _folder.Store();
        _folder.Write("tree/a", TestFolder.Bytes(10, 1));
        _folder.Write("tree/b/c", TestFolder.Bytes(20, 2));
        var tree = (await store.ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).Value;
        var file = (await store.ImportAsync(_folder.Write("f", TestFolder.Bytes(30, 3)), ImportMode.Copy, TestFolder.Token)).Value;

        var listed = new List<StoredArtifact>();
        await foreach (var artifact in store.ListAsync(TestFolder.Token))
        {
            listed.Add(artifact);
        }

        Assert.Equal(4, listed.Count);
        Assert.Contains(tree, listed);
        Assert.Contains(file, listed);
        Assert.Equal(30, tree.Size);
        var usage = (await store.UsageAsync(TestFolder.Token)).Value;
        var manifest = (await store.StatBlobAsync(tree.Digest, TestFolder.Token)).Value;
        Assert.Equal(new StoreUsage(4, 60 + manifest!.Value, 1, 0, usage.FreeBytes), usage);
        Assert.True(usage.FreeBytes > 0);
        Assert.Null(await store.ProbeAsync(TestFolder.Token));
    }

    [Fact]
    public async Task An_announced_size_beyond_the_free_space_fails_before_a_byte_is_sent() =>
        (await _folder.Store().BeginWriteAsync(Digest.OfText("x"), long.MaxValue, TestFolder.Token)).ShouldFail(FailureType.Internal, "the disk is full", "free space");

    [Fact]
    public void A_root_that_cannot_be_a_directory_is_a_failure()
    {
        _folder.Write("file", [1]);
        DiskArtifactStore.Open(_folder["file"], TimeProvider.System).ShouldFail(FailureType.Internal, "open the artifact store");
    }

    private static async Task<byte[]> ReadAsync(DiskArtifactStore store, Digest digest, long offset)
    {
        await using var stream = (await store.OpenReadAsync(digest, offset, TestFolder.Token)).Value;
        using var memory = new MemoryStream();
        await stream.CopyToAsync(memory);
        return memory.ToArray();
    }

    private static void MakeWritable(string path)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
    }

    private void Damage(Digest digest)
    {
        var path = _folder.BlobPath(digest);
        MakeWritable(path);
        var bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
    }

    private void AssertNoLeftovers()
    {
        var layout = new StoreLayout(_folder["store"]);
        Assert.Empty(Directory.EnumerateFileSystemEntries(layout.Temp).Concat(Directory.EnumerateFileSystemEntries(layout.Partials)));
    }
}
