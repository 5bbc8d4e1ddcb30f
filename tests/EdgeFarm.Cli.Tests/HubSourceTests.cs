using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Server;
using EdgeFarm.Server.Tests.Support;
using EdgeFarm.Tests.HuggingFace;

namespace EdgeFarm.Cli.Tests;

/// <summary><c>hf:</c> sources from the command line to a Hub of the test's own.</summary>
public sealed class HubSourceTests : CliHarness
{
    private const string HubYaml = """
        metadata: {name: hub}
        spec:
          models: [{id: m, source: hf:org/tiny}]
          recipes: [{toolchain: llama.cpp, types: [Q8_0]}]
        """;

    private HubServer _hub = null!;

    public override async Task InitializeAsync()
    {
        _hub = await HubServer.StartAsync();
        _hub.AddCheckpoint();
        await base.InitializeAsync();
    }

    public override async Task DisposeAsync()
    {
        await base.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task The_farm_fetches_a_model_of_the_hub_and_the_sweep_is_pinned_to_its_commit()
    {
        var (code, _, error) = await ClientAsync("submit", WriteSweep(HubYaml), "--id", "hub");
        Assert.True(code == 0, error);
        Assert.Contains($"m: hf:org/tiny is commit {HubServer.Commit}", error, StringComparison.Ordinal);

        var submission = Assert.Single(Server.Farm.Submissions);
        Assert.Equal($"hf:org/tiny@{HubServer.Commit}", submission.Spec.Models[0].Source);
        Assert.Equal(("hf", "tiny"), (submission.Sources["m"].Format, submission.Sources["m"].FileName));
        Assert.NotNull((await Server.Store.StatAsync(submission.Sources["m"].Digest, CancellationToken.None)).Value);

        _hub.Requests.Clear();
        Assert.Equal(0, (await ClientAsync("submit", WriteSweep(HubYaml), "--id", "hub")).Code);
        Assert.DoesNotContain(_hub.Requests, r => r.Host == "storage");
        Assert.Single(Server.Farm.Submissions);
    }

    [Fact]
    public async Task A_dry_run_fetches_nothing()
    {
        var (code, output, error) = await ClientAsync("submit", WriteSweep(HubYaml), "--dry-run", "--json");
        Assert.True(code == 0, error);
        Assert.True((long)Document(output)["plan"]!["estimated_bytes"]! > 500_000);
        Assert.Single(_hub.Requests);
    }

    [Theory]
    [InlineData("hf:org/tiny", "accept its terms at", 2)]
    [InlineData("hf:org/none", "there is no such repository", 2)]
    [InlineData("hf:org/tiny@none", "no branch, tag or commit 'none'", 2)]
    public async Task What_the_hub_refuses_is_exit_code_2(string source, string expected, int exitCode)
    {
        _hub.Refuse = (403, "GatedRepo");
        var (code, _, error) = await ClientAsync("submit", WriteSweep(HubYaml.Replace("hf:org/tiny", source, StringComparison.Ordinal)));
        Assert.Equal(exitCode, code);
        Assert.Contains(expected, error, StringComparison.Ordinal);
        Assert.Empty(Server.Farm.Submissions);
    }

    [Fact]
    public async Task A_sweep_sent_without_its_model_is_refused_with_what_to_do()
    {
        var refused = await Assert.ThrowsAsync<EdgeFarm.Contracts.FarmCallException>(async () => await Server.Client.AwaitAsync(
            Server.Client.Sweeps.SubmitAsync(new EdgeFarm.Contracts.V1.SubmitRequest { RequestId = "r", Yaml = HubYaml })));
        Assert.Contains("Artifacts.Fetch", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Local_verbs_fetch_into_a_cache_of_the_users()
    {
        _hub.Files.Clear();
        _hub.Files["config.json"] = """{"architectures": ["OddForCausalLM"], "model_type": "odd"}"""u8.ToArray();
        var header = """{"w":{"dtype":"F32","shape":[50,1000],"data_offsets":[0,200000]}}"""u8;
        _hub.Files["model.safetensors"] = [.. BitConverter.GetBytes((long)header.Length), .. header, .. new byte[200_000]];
        Environment.SetEnvironmentVariable(HubOptions.EndpointVariable, _hub.Endpoint.ToString());
        Environment.SetEnvironmentVariable(EdgeFarm.Cli.Local.LocalModel.CacheVariable, Path.Combine(Folder, "cache"));
        try
        {
            var (code, output, error) = await RunAsync("inspect", "hf:org/tiny@v1.0", "--json");
            Assert.True(code == 0, error);
            Assert.Equal(("hf:org/tiny@v1.0", "OddForCausalLM", 50_000), ((string?)Document(output)["model"], (string?)Document(output)["architecture"], (int)Document(output)["parameters"]!));

            _hub.Requests.Clear();
            Assert.Equal(0, (await RunAsync("inspect", "hf:org/tiny")).Code);
            Assert.DoesNotContain(_hub.Requests, r => r.Host == "storage");
            Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(Folder, "cache", "models")));
        }
        finally
        {
            Environment.SetEnvironmentVariable(HubOptions.EndpointVariable, null);
            Environment.SetEnvironmentVariable(EdgeFarm.Cli.Local.LocalModel.CacheVariable, null);
        }
    }

    private protected override Task<TestServer> StartServerAsync() =>
        TestServer.StartAsync(new HubOptions { Endpoint = _hub.Endpoint, FirstWait = TimeSpan.FromMilliseconds(1), RangeBytes = 100_000 }, BuiltInToolchains.Catalog);
}
