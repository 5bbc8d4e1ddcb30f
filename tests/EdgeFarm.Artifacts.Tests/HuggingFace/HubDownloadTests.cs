using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Tests.HuggingFace;

namespace EdgeFarm.Artifacts.Tests.HuggingFace;

public sealed class HubDownloadTests : IAsyncLifetime, IDisposable
{
    private static readonly string[] Needed =
    [
        "README.md", "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    ];

    private static readonly HubSource Source = new(HubServer.Repository, "main");
    private static readonly TimeSpan Bound = TimeSpan.FromMinutes(5);

    private readonly TestFolder _folder = new();
    private HubServer _server = null!;
    private DiskArtifactStore _store = null!;

    public async Task InitializeAsync()
    {
        _server = await HubServer.StartAsync();
        _server.AddCheckpoint();
        _store = DiskArtifactStore.Open(_folder["store"], TimeProvider.System).Value;
    }

    public async Task DisposeAsync() => await _server.DisposeAsync();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_checkpoint_comes_with_the_files_that_it_needs_and_no_others()
    {
        var fetched = (await FetchAsync()).Value;

        Assert.Equal((HubServer.Commit, "tiny"), (fetched.Commit, fetched.FileName));
        var tree = Path.Combine(_folder.Path, "tiny");
        Assert.True((await _store.MaterializeAsync(fetched.Stored.Digest, tree, MaterializeMode.Copy, default)).IsOk);
        Assert.Equal(Needed, Directory.GetFiles(tree).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal));
        Assert.All(Needed, name => Assert.Equal(_server.Files[name], File.ReadAllBytes(Path.Combine(tree, name))));
        Assert.Equal(Needed.Sum(name => (long)_server.Files[name].Length), fetched.Stored.Size);
    }

    [Fact]
    public async Task Ranges_of_a_file_are_fetched_at_once_from_where_the_first_one_was()
    {
        Assert.True((await FetchAsync()).IsOk);

        var shard = _server.Requests.Where(r => r.Path.EndsWith("model-00001-of-00002.safetensors", StringComparison.Ordinal)).ToArray();
        Assert.Single(shard, r => r.Host == "hub");
        Assert.Equal(15, shard.Count(r => r.Host == "storage"));
        Assert.Contains(shard, r => r is { Host: "storage", Range: "bytes=1400000-1499999" });
    }

    [Fact]
    public async Task What_the_store_holds_is_not_fetched_again()
    {
        Assert.True((await FetchAsync()).IsOk);
        _server.Requests.Clear();
        var again = (await FetchAsync()).Value;

        Assert.DoesNotContain(_server.Requests, r => r.Host == "storage");
        Assert.True((await _store.StatAsync(again.Stored.Digest, default)).Value is not null);
    }

    [Fact]
    public async Task The_token_goes_to_the_hub_and_to_nobody_else()
    {
        _server.IsPrivate = true;
        var without = await FetchAsync();
        Assert.Equal(FailureType.InvalidInput, without.Failure?.Type);
        Assert.Contains("there is no such repository at 127.0.0.1", without.Failure!.Message, StringComparison.Ordinal);
        Assert.Contains("HF_TOKEN", without.Failure.Message, StringComparison.Ordinal);

        _server.Requests.Clear();
        Assert.True((await FetchAsync(Options with { Token = HubServer.Token })).IsOk);
        Assert.All(_server.Requests, r => Assert.Equal(r.Host == "hub", r.HasToken));
        Assert.Contains(_server.Requests, r => r.Host == "storage");

        var wrong = await FetchAsync(Options with { Token = "hf_wrong" });
        Assert.Contains("the token in HF_TOKEN is not valid", wrong.Failure!.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hf_wrong", wrong.Failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_connection_that_breaks_is_taken_up_where_it_was()
    {
        _server.Breaks = 3;
        Assert.True((await FetchAsync()).IsOk);
    }

    [Fact]
    public async Task A_server_that_is_down_for_a_moment_is_asked_again_and_one_that_stays_down_is_told()
    {
        _server.Unavailable = 2;
        Assert.True((await FetchAsync()).IsOk);

        _server.Files["model-00002-of-00002.safetensors"][0]++;
        _server.Unavailable = int.MaxValue;
        var down = await FetchAsync();
        Assert.Equal(FailureType.Internal, down.Failure?.Type);
        Assert.Contains("answered 503", down.Failure!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_address_of_the_storage_that_has_expired_is_asked_for_anew()
    {
        _server.Expired = 1;
        Assert.True((await FetchAsync(Options with { Connections = 1 })).IsOk);
        Assert.True(_server.Requests.Count(r => r.Host == "hub" && r.Path.EndsWith("model-00001-of-00002.safetensors", StringComparison.Ordinal)) > 1);
    }

    [Theory]
    [InlineData("model-00001-of-00002.safetensors")]
    [InlineData("config.json")]
    public async Task Bytes_other_than_the_hub_says_are_refused(string name)
    {
        _server.Damaged[name] = [.. _server.Files[name].Select(b => (byte)(b ^ 1))];
        var fetched = await FetchAsync();

        Assert.Equal(FailureType.InvalidInput, fetched.Failure?.Type);
        Assert.Contains($"file {name}: what arrives is not what the Hub says it is", fetched.Failure!.Message, StringComparison.Ordinal);
        _server.Damaged.Clear();
        Assert.True((await FetchAsync()).IsOk);
    }

    [Fact]
    public async Task A_file_that_is_shorter_than_the_hub_says_is_refused()
    {
        _server.Damaged["model-00001-of-00002.safetensors"] = _server.Files["model-00001-of-00002.safetensors"][..1_000_000];
        var fetched = await FetchAsync();
        Assert.Equal(FailureType.InvalidInput, fetched.Failure?.Type);
        Assert.Contains("bytes from 0 of 1500000 were asked for", fetched.Failure!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_knows_no_ranges_is_read_from_the_start()
    {
        _server.IgnoresRanges = true;
        _server.Breaks = 3;
        Assert.True((await FetchAsync()).IsOk);
    }

    [Fact]
    public async Task A_download_that_was_cancelled_goes_on_where_it_was()
    {
        // tokenizer.json is one answer, five ranges of the first shard are the others.
        _server.AnswersBeforeStop = 6;
        using (var stop = new CancellationTokenSource())
        {
            var fetching = FetchAsync(Options with { Connections = 1 }, cancellation: stop.Token);
            await _server.Stopped.Task.WaitAsync(Bound);
            await stop.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => fetching.WaitAsync(Bound));
        }

        _server.AnswersBeforeStop = int.MaxValue;
        _server.Requests.Clear();
        Assert.True((await FetchAsync()).IsOk);
        var ranges = _server.Requests.Where(r => r.Host == "storage" && r.Path.EndsWith("model-00001-of-00002.safetensors", StringComparison.Ordinal)).Select(r => r.Range).ToArray();
        Assert.Equal("bytes=500000-599999", ranges[0]);
        Assert.Equal(10, ranges.Length);
    }

    [Fact]
    public async Task A_mirror_that_lists_names_alone_is_asked_for_sizes_and_digests()
    {
        _server.HasBareList = true;
        Assert.True((await FetchAsync()).IsOk);
        Assert.Contains(_server.Requests, r => r is { Host: "hub", Method: "HEAD" });

        _server.Damaged["config.json"] = [.. _server.Files["config.json"].Select(b => (byte)(b ^ 1))];
        Assert.Equal(FailureType.InvalidInput, (await FetchAsync()).Failure?.Type);
    }

    [Theory]
    [InlineData(403, "GatedRepo", "accept its terms at")]
    [InlineData(401, "GatedRepo", "accept its terms at")]
    [InlineData(404, "EntryNotFound", "the repository has no file")]
    public async Task What_the_hub_refuses_is_told_with_what_to_do(int status, string code, string expected)
    {
        _server.Refuse = (status, code);
        var fetched = await FetchAsync();
        Assert.Equal(FailureType.InvalidInput, fetched.Failure?.Type);
        Assert.Contains(expected, fetched.Failure!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Revisions_are_pinned_to_their_commit_and_unknown_ones_are_told()
    {
        Assert.Equal(HubServer.Commit, (await FetchAsync(source: Source with { Revision = "v1.0" })).Value.Commit);
        Assert.Equal(HubServer.Commit, (await FetchAsync(source: Source with { Revision = "refs/pr/1" })).Value.Commit);
        Assert.Equal(HubServer.Commit, (await FetchAsync(source: Source with { Revision = HubServer.Commit })).Value.Commit);
        Assert.Equal("hf:org/tiny@none: the repository has no branch, tag or commit 'none'", (await FetchAsync(source: Source with { Revision = "none" })).Failure?.Message);
    }

    [Fact]
    public async Task A_renamed_repository_is_found()
    {
        Assert.Equal(HubServer.Commit, (await FetchAsync(source: new HubSource("old/name", "main"))).Value.Commit);
    }

    [Fact]
    public async Task A_repository_without_a_checkpoint_is_unsupported_and_says_what_it_holds()
    {
        foreach (var weights in _server.Files.Keys.Where(k => k.EndsWith(".safetensors", StringComparison.Ordinal)).ToArray())
        {
            _server.Files.Remove(weights);
        }

        var fetched = await FetchAsync();
        Assert.Equal(FailureType.Unsupported, fetched.Failure?.Type);
        Assert.Contains("it holds .bin, .onnx files", fetched.Failure!.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"weight_map": {"a": "none.safetensors"}}""", "names 'none.safetensors', which the repository does not have")]
    [InlineData("""{"weights": {}}""", "is no index of shards")]
    [InlineData("nothing", "is no index of shards")]
    public async Task A_hostile_index_is_refused(string index, string expected)
    {
        _server.Files["model.safetensors.index.json"] = System.Text.Encoding.UTF8.GetBytes(index);
        var fetched = await FetchAsync();
        Assert.Equal(FailureType.InvalidInput, fetched.Failure?.Type);
        Assert.Contains(expected, fetched.Failure!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_machine_without_a_network_says_so()
    {
        var fetched = await FetchAsync(Options with { Endpoint = new Uri("http://127.0.0.1:9/"), Retries = 1 });
        Assert.Equal(FailureType.Internal, fetched.Failure?.Type);
        Assert.Contains("127.0.0.1:9 cannot be reached from here", fetched.Failure!.Message, StringComparison.Ordinal);
        Assert.Contains("HF_ENDPOINT", fetched.Failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hf:org/name", "org/name", "main")]
    [InlineData("hf:org/name@v1.0", "org/name", "v1.0")]
    [InlineData("hf:org/Name-7B.x@refs/pr/3", "org/Name-7B.x", "refs/pr/3")]
    public void Sources_are_read(string text, string repository, string revision)
    {
        Assert.True(HubSource.TryParse(text, out var source));
        Assert.Equal((repository, revision), (source.Repository, source.Revision));
        Assert.Equal(text, source.ToString());
    }

    [Theory]
    [InlineData("hf:name")]
    [InlineData("hf:../x")]
    [InlineData("hf:org/..")]
    [InlineData("hf:org/name@../x")]
    [InlineData("hf:org/name/x")]
    [InlineData("hf:org/name@")]
    [InlineData("hf:org/na me")]
    [InlineData("hf:org/name?x=1")]
    [InlineData("org/name")]
    public void What_is_no_source_is_refused(string text) => Assert.False(HubSource.TryParse(text, out _));

    // Small ranges, so that files of some hundred kilobytes have many.
    private HubOptions Options => new() { Endpoint = _server.Endpoint, RangeBytes = 100_000, FirstWait = TimeSpan.FromMilliseconds(1), Retries = 4 };

    private async Task<Outcome<HubArtifact>> FetchAsync(HubOptions? options = null, HubSource? source = null, CancellationToken cancellation = default)
    {
        using var client = new HubClient(options ?? Options);
        return await new HubDownload(client, _store).FetchAsync(source ?? Source, null, cancellation);
    }
}
