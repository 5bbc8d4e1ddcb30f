using CsCheck;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Artifacts.Local;
using EdgeFarm.Artifacts.Tests.Trees;
using EdgeFarm.Artifacts.Transfer;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Tests.Transfer;

public sealed class ArtifactTransferTests : IDisposable
{
    private readonly TestFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Any_tree_arrives_by_pull_and_by_push_whatever_the_receiver_has() => await Gen.Select(RandomTrees.Files, Gen.Int[0, 12], Gen.Bool).SampleAsync(
        async (files, held, push) =>
        {
            using var folder = new TestFolder();
            RandomTrees.Write(folder["in"], files);
            var source = (await LocalArtifact.HashAsync(folder["in"], TestFolder.Token)).Value;
            var receiver = folder.Store("receiver");
            foreach (var file in files.Take(held))
            {
                await receiver.ImportAsync(Path.Combine(folder["in"], file.Path), ImportMode.Copy, TestFolder.Token);
            }

            var arrived = push ? await PushAsync(source, receiver, source.Artifact) : await PullAsync(source, receiver, source.Artifact);
            await receiver.MaterializeAsync(source.Artifact.Digest, folder["out"], MaterializeMode.Link, TestFolder.Token);

            Assert.Equal(source.Artifact, arrived.Value);
            Assert.Equal(RandomTrees.Read(folder["in"]), RandomTrees.Read(folder["out"]));
        },
        iter: 40);

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 1)]
    [InlineData(ArtifactTransfer.MaxChunkBytes, 1)]
    [InlineData(ArtifactTransfer.MaxChunkBytes + 1, 2)]
    public async Task A_file_is_cut_into_pieces_of_bounded_size(int size, int pieces)
    {
        var (source, file) = await SourceAsync(size);
        var chunks = await CollectAsync(ArtifactTransfer.ReadAsync(source, [new BlobNeed(file.Digest, 0)], TestFolder.Token));

        Assert.Equal(pieces, chunks.Count);
        Assert.All(chunks, c => Assert.InRange(c.Data.Length, 0, ArtifactTransfer.MaxChunkBytes));
        Assert.Equal(size, chunks.Sum(c => c.Data.Length));
        Assert.Equal(file, (await ArtifactTransfer.WriteAsync(_folder.Store("r"), file.Digest, file.Kind, ReplayAsync(chunks), TestFolder.Token)).Value.Stored);
    }

    [Fact]
    public async Task An_interrupted_transfer_goes_on_where_it_stopped()
    {
        var (source, file) = await SourceAsync(3 * ArtifactTransfer.MaxChunkBytes);
        var receiver = _folder.Store("r");
        var broken = new Failure(FailureType.Internal, "the connection broke");
        var cut = await ArtifactTransfer.PullAsync(receiver, file.Digest, file.Kind, (needs, ct) => CutAsync(ArtifactTransfer.ReadAsync(source, needs, ct), 2, broken), TestFolder.Token);
        Assert.Same(broken, cut.Failure);

        var status = (await ArtifactTransfer.StatusAsync(receiver, file.Digest, file.Kind, TestFolder.Token)).Value;
        Assert.Equal([new BlobNeed(file.Digest, 2 * ArtifactTransfer.MaxChunkBytes)], status.Needs);
        long sent = 0;
        var arrived = await ArtifactTransfer.PullAsync(
            receiver, file.Digest, file.Kind, (needs, ct) => CountAsync(ArtifactTransfer.ReadAsync(source, needs, ct), c => sent += c.Data.Length), TestFolder.Token);
        Assert.Equal(file, arrived.Value);
        Assert.Equal(ArtifactTransfer.MaxChunkBytes, sent);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Bad_bytes_of_an_earlier_transfer_are_dropped_and_sent_again(bool push)
    {
        var (source, file) = await SourceAsync(500_000);
        var receiver = _folder.Store("r");
        await using (var writer = (await receiver.BeginWriteAsync(file.Digest, file.Size, TestFolder.Token)).Value)
        {
            await writer.WriteAsync(new byte[1000], TestFolder.Token);
        }

        Assert.Equal(file, (push ? await PushAsync(source, receiver, file) : await PullAsync(source, receiver, file)).Value);
    }

    [Fact]
    public async Task A_sender_that_damages_bytes_is_found_out_and_not_blamed_on_the_input()
    {
        var (source, file) = await SourceAsync(1000);
        var receiver = _folder.Store("r");
        var arrived = await ArtifactTransfer.PullAsync(
            receiver, file.Digest, file.Kind, (needs, ct) => MapAsync(ArtifactTransfer.ReadAsync(source, needs, ct), c => c with { Data = new byte[c.Data.Length] }), TestFolder.Token);

        arrived.ShouldFail(FailureType.Internal, "hash to");
        Assert.Null((await receiver.StatAsync(file.Digest, TestFolder.Token)).Value);
    }

    [Fact]
    public async Task Hostile_pieces_are_refused()
    {
        var bytes = TestFolder.Bytes(100);
        var digest = Digest.Of(bytes);
        ArtifactChunk[] hostile =
        [
            new(Digest.OfText("other"), 100, 0, bytes),
            new(default, 100, 0, bytes),
            new(digest, -1, 0, bytes),
            new(digest, 100, -1, bytes),
            new(digest, 100, 1, bytes),
            new(digest, 100, 101, bytes),
            new(digest, 99, 0, bytes),
            new(digest, ArtifactTransfer.MaxChunkBytes + 1, 0, new byte[ArtifactTransfer.MaxChunkBytes + 1]),
        ];
        foreach (var chunk in hostile)
        {
            (await ArtifactTransfer.WriteAsync(_folder.Store("r"), digest, ArtifactKind.File, ReplayAsync([chunk]), TestFolder.Token)).ShouldFail(FailureType.InvalidInput);
        }

        ArtifactChunk half = new(digest, 100, 0, bytes.AsMemory(0, 50));
        ArtifactChunk[][] sequences = [[half, half], [half, half with { Offset = 60 }], [half, half with { BlobSize = 120, Offset = 50 }], [half]];
        foreach (var sequence in sequences)
        {
            using var folder = new TestFolder();
            (await ArtifactTransfer.WriteAsync(folder.Store(), digest, ArtifactKind.File, ReplayAsync(sequence), TestFolder.Token)).ShouldFail(FailureType.InvalidInput);
        }
    }

    [Fact]
    public async Task A_hostile_manifest_is_refused_before_its_contents()
    {
        var manifest = System.Text.Encoding.UTF8.GetBytes($"edgefarm-tree/1\n{Digest.OfText("x").Hex} 1 - ../../etc/cron.d/x\n");
        var digest = Digest.Of(manifest);
        var outcome = await ArtifactTransfer.WriteAsync(
            _folder.Store("r"), digest, ArtifactKind.Tree, ReplayAsync([new(digest, manifest.Length, 0, manifest)]), TestFolder.Token);
        outcome.ShouldFail(FailureType.InvalidInput, "'..'");

        var tree = TreeManifest.Create([new TreeEntry("a", 1, Digest.OfText("x"), false)]).Value;
        ArtifactChunk content = new(Digest.OfText("x"), 1, 0, "x"u8.ToArray()), stranger = new(Digest.OfText("y"), 1, 0, "y"u8.ToArray());
        ArtifactChunk head = new(tree.Digest, tree.Bytes.Length, 0, tree.Bytes);
        (await ArtifactTransfer.WriteAsync(_folder.Store("r"), tree.Digest, ArtifactKind.Tree, ReplayAsync([content]), TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "before");
        (await ArtifactTransfer.WriteAsync(_folder.Store("r"), tree.Digest, ArtifactKind.Tree, ReplayAsync([head, stranger]), TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "belong");
        Assert.True((await ArtifactTransfer.WriteAsync(_folder.Store("r"), tree.Digest, ArtifactKind.Tree, ReplayAsync([content]), TestFolder.Token)).Value.IsComplete);
    }

    [Fact]
    public async Task Manifest_and_contents_may_come_in_one_sequence_and_what_is_held_is_passed_over()
    {
        _folder.Write("tree/a", TestFolder.Bytes(10));
        _folder.Write("tree/b", TestFolder.Bytes(10));
        var source = _folder.Store("s");
        var tree = (await source.ImportAsync(_folder["tree"], ImportMode.Copy, TestFolder.Token)).Value;
        BlobNeed[] all = [new(tree.Digest, 0), new(Digest.Of(TestFolder.Bytes(10)), 0)];
        var chunks = await CollectAsync(ArtifactTransfer.ReadAsync(source, all, TestFolder.Token));

        var receiver = _folder.Store("r");
        Assert.Equal(tree, (await ArtifactTransfer.WriteAsync(receiver, tree.Digest, tree.Kind, ReplayAsync(chunks), TestFolder.Token)).Value.Stored);
        Assert.Equal(tree, (await ArtifactTransfer.WriteAsync(receiver, tree.Digest, tree.Kind, ReplayAsync(chunks), TestFolder.Token)).Value.Stored);
    }

    [Fact]
    public async Task A_source_that_lacks_the_artifact_says_so()
    {
        var file = new StoredArtifact(Digest.OfText("absent"), ArtifactKind.File, 6);
        (await PullAsync(_folder.Store("s"), _folder.Store("r"), file)).ShouldFail(FailureType.Internal, file.Digest.ToString());
    }

    [Fact]
    public async Task A_file_that_is_asked_for_as_a_tree_is_refused()
    {
        var (source, file) = await SourceAsync(1000);
        (await ArtifactTransfer.StatusAsync(source, file.Digest, ArtifactKind.Tree, TestFolder.Token)).ShouldFail(FailureType.InvalidInput, "is no tree");
    }

    private static Task<Outcome<StoredArtifact>> PullAsync(IBlobSource source, DiskArtifactStore receiver, StoredArtifact artifact) =>
        ArtifactTransfer.PullAsync(receiver, artifact.Digest, artifact.Kind, (needs, ct) => ArtifactTransfer.ReadAsync(source, needs, ct), TestFolder.Token);

    private static Task<Outcome<StoredArtifact>> PushAsync(IBlobSource source, DiskArtifactStore receiver, StoredArtifact artifact) =>
        ArtifactTransfer.PushAsync(
            source,
            ct => ArtifactTransfer.StatusAsync(receiver, artifact.Digest, artifact.Kind, ct),
            (chunks, ct) => ArtifactTransfer.WriteAsync(receiver, artifact.Digest, artifact.Kind, chunks, ct),
            TestFolder.Token);

    private async Task<(DiskArtifactStore Source, StoredArtifact File)> SourceAsync(int size)
    {
        var store = _folder.Store("source");
        return (store, (await store.ImportAsync(_folder.Write("in.bin", TestFolder.Bytes(size)), ImportMode.Copy, TestFolder.Token)).Value);
    }

    private static async Task<List<ArtifactChunk>> CollectAsync(IAsyncEnumerable<Outcome<ArtifactChunk>> chunks)
    {
        var list = new List<ArtifactChunk>();
        await foreach (var chunk in chunks)
        {
            list.Add(chunk.Value with { Data = chunk.Value.Data.ToArray() });
        }

        return list;
    }

    private static async IAsyncEnumerable<Outcome<ArtifactChunk>> ReplayAsync(IEnumerable<ArtifactChunk> chunks)
    {
        foreach (var chunk in chunks)
        {
            await Task.Yield();
            yield return chunk;
        }
    }

    private static async IAsyncEnumerable<Outcome<ArtifactChunk>> CutAsync(IAsyncEnumerable<Outcome<ArtifactChunk>> chunks, int after, Failure failure)
    {
        await foreach (var chunk in chunks)
        {
            if (after-- == 0)
            {
                yield return failure;
                yield break;
            }

            yield return chunk;
        }
    }

    private static IAsyncEnumerable<Outcome<ArtifactChunk>> CountAsync(IAsyncEnumerable<Outcome<ArtifactChunk>> chunks, Action<ArtifactChunk> seen) =>
        MapAsync(chunks, c =>
        {
            seen(c);
            return c;
        });

    private static async IAsyncEnumerable<Outcome<ArtifactChunk>> MapAsync(IAsyncEnumerable<Outcome<ArtifactChunk>> chunks, Func<ArtifactChunk, ArtifactChunk> map)
    {
        await foreach (var chunk in chunks)
        {
            yield return chunk.IsOk ? map(chunk.Value) : chunk;
        }
    }
}
