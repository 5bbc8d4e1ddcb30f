using EdgeFarm.Artifacts;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Server.Tests.Support;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Grpc.Reflection.V1Alpha;

namespace EdgeFarm.Server.Tests.Services;

public sealed class ReadSideTests : IAsyncLifetime
{
    private TestServer _server = null!;

    private EdgeFarmClient Client => _server.Client;

    public async Task InitializeAsync()
    {
        _server = await TestServer.StartAsync();
        _server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e1", "F16", 50, baseline: true));
        _server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e2", "Q4_K_M", 90));
        _server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e3", "Q8_0", 70));
        _server.Farm.Workers.Add(InMemoryFarm.Worker("w2"));
        _server.Farm.Workers.Add(InMemoryFarm.Worker("w1"));
    }

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task Entries_are_filtered_sorted_and_paged()
    {
        var page = await Client.AwaitAsync(Client.Leaderboard.QueryAsync(new QueryRequest { Sweep = "tiny", Sort = "tg", PageSize = 2 }));
        Assert.Equal(["Q4_K_M", "Q8_0"], page.Entries.Select(e => e.Form));
        var rest = await Client.AwaitAsync(Client.Leaderboard.QueryAsync(new QueryRequest { Sweep = "tiny", Sort = "tg", PageSize = 2, PageToken = page.NextPageToken }));
        Assert.Equal(["F16"], rest.Entries.Select(e => e.Form));
        var front = await Client.AwaitAsync(Client.Leaderboard.QueryAsync(new QueryRequest { ParetoOnly = true }));
        Assert.Equal(2, front.Entries.Count);
    }

    [Fact]
    public async Task The_basic_view_leaves_samples_and_environment_out_and_no_view_has_what_is_not_finite()
    {
        var basic = (await Client.AwaitAsync(Client.Leaderboard.QueryAsync(new QueryRequest { Form = "Q4_K_M" }))).Entries[0];
        var full = await Client.AwaitAsync(Client.Leaderboard.GetEntryAsync(new GetEntryRequest { Id = "tiny/e2" }));

        Assert.Empty(basic.Environment);
        Assert.Empty(basic.Metrics["tg"].Samples);
        Assert.Equal("a cpu", full.Environment["cpu.model"].Text);
        Assert.Equal([89.0, 90, 91], full.Metrics["tg"].Samples);
        Assert.Equal([88.0, 92], full.Metrics["tg"].Ci95);
        Assert.False(full.Metrics["tg"].HasP99);
        Assert.False(full.Metrics["tg"].HasP90);
        Assert.Empty(full.Relative);
    }

    [Fact]
    public async Task An_unknown_metric_and_an_unknown_entry_are_clear_errors()
    {
        var sort = await Assert.ThrowsAsync<FarmCallException>(() => Client.AwaitAsync(Client.Leaderboard.QueryAsync(new QueryRequest { Sort = "latancy" })));
        Assert.StartsWith("sort: there is no metric 'latancy'; did you mean 'latency'?", sort.Message, StringComparison.Ordinal);
        var entry = await Assert.ThrowsAsync<FarmCallException>(() => Client.AwaitAsync(Client.Leaderboard.GetEntryAsync(new GetEntryRequest { Id = "x" })));
        Assert.Equal(FarmErrorKind.NotFound, entry.Kind);
    }

    [Fact]
    public async Task A_watch_of_entries_tells_what_changed()
    {
        using var call = Client.Leaderboard.WatchEntries(new WatchEntriesRequest { Query = new QueryRequest { Sweep = "tiny" } });
        await call.ResponseStream.MoveNext(CancellationToken.None);
        Assert.True(call.ResponseStream.Current.Snapshot);
        Assert.Equal(3, call.ResponseStream.Current.Entries.Count);

        _server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e4", "Q2_K", 120));
        await call.ResponseStream.MoveNext(CancellationToken.None);
        Assert.Equal((2L, "Q2_K"), (call.ResponseStream.Current.Sequence, Assert.Single(call.ResponseStream.Current.Entries).Form));
    }

    [Fact]
    public async Task Workers_are_listed_by_name_with_what_they_can_do()
    {
        var first = await Client.AwaitAsync(Client.Fleet.ListWorkersAsync(new ListWorkersRequest { PageSize = 1 }));
        var second = await Client.AwaitAsync(Client.Fleet.ListWorkersAsync(new ListWorkersRequest { PageSize = 1, PageToken = first.NextPageToken }));

        var worker = Assert.Single(first.Workers);
        Assert.Equal(("w1", "host-1", "linux"), (worker.Name, worker.Host, worker.Properties["os"].Text));
        Assert.Equal(["avx2", "fma"], worker.Properties["cpu.features"].Items.Items);
        Assert.Equal("cpu-x64", worker.Devices[0].DeviceClass);
        Assert.Equal(["GgufQuantization"], worker.Toolchains[0].Passes);
        Assert.Equal(2, first.Queue.Waiting.Single().Count);
        Assert.Equal(("w2", ""), (second.Workers[0].Name, second.NextPageToken));
    }

    [Fact]
    public async Task A_watch_of_the_fleet_tells_when_a_worker_comes()
    {
        using var call = Client.Fleet.WatchFleet(new WatchFleetRequest());
        await call.ResponseStream.MoveNext(CancellationToken.None);
        _server.Farm.Workers.Add(InMemoryFarm.Worker("w3"));
        await call.ResponseStream.MoveNext(CancellationToken.None);

        Assert.Equal((2L, 3), (call.ResponseStream.Current.Sequence, call.ResponseStream.Current.Workers.Count));
    }

    [Fact]
    public async Task A_job_explains_itself_and_an_unknown_one_is_not_found()
    {
        var sweep = await Client.AwaitAsync(Client.Sweeps.SubmitAsync(new SubmitRequest
        {
            RequestId = "r",
            Yaml = "spec: {models: [{id: m, source: bundled:edgefarm-tiny}], recipes: [{toolchain: llama.cpp, types: [F16]}]}",
        }));
        var id = (await Client.AwaitAsync(Client.Jobs.ListJobsAsync(new ListJobsRequest { Sweep = sweep.Id }))).Jobs[0].Id;
        var why = await Client.AwaitAsync(Client.Jobs.ExplainJobAsync(new ExplainJobRequest { Id = id }));
        Assert.Equal("no worker has arch = arm64", why.Wait.Reason);
        Assert.Equal(("arch = arm64", "x64"), (why.Wait.Nearest[0].Lacks[0].What, why.Wait.Nearest[0].Lacks[0].Has));

        var log = await Assert.ThrowsAsync<FarmCallException>(async () =>
        {
            await foreach (var chunk in Client.ReadAsync(Client.Jobs.GetLog(new GetLogRequest { Id = id }), CancellationToken.None))
            {
                Assert.Fail($"a chunk of {chunk.Data.Length} bytes");
            }
        });
        Assert.Equal(FarmErrorKind.NotFound, log.Kind);
        foreach (var unknown in new[] { "nonsense", "none/1" })
        {
            var error = await Assert.ThrowsAsync<FarmCallException>(() => Client.AwaitAsync(Client.Jobs.GetJobAsync(new GetJobRequest { Id = unknown })));
            Assert.Equal(FarmErrorKind.NotFound, error.Kind);
        }
    }

    [Fact]
    public async Task The_log_of_an_attempt_comes_out_of_the_store()
    {
        var path = Path.GetTempFileName();
        await File.WriteAllTextAsync(path, new string('x', 200_000));
        var log = (await _server.Store.ImportAsync(path, ImportMode.Take, CancellationToken.None)).Value;
        var sweep = await Client.AwaitAsync(Client.Sweeps.SubmitAsync(new SubmitRequest
        {
            RequestId = "r",
            Yaml = "spec: {models: [{id: m, source: bundled:edgefarm-tiny}], recipes: [{toolchain: llama.cpp, types: [F16]}]}",
        }));
        _server.Farm.Finish(sweep.Id, j => j with { Status = Core.Sweeps.JobStatus.Succeeded, Attempts = [new(1, "w1", "h", "cpu", null, null, null, log.Digest)] });
        var id = (await Client.AwaitAsync(Client.Jobs.ListJobsAsync(new ListJobsRequest { Sweep = sweep.Id }))).Jobs[0].Id;

        var bytes = 0;
        await foreach (var chunk in Client.ReadAsync(Client.Jobs.GetLog(new GetLogRequest { Id = id }), CancellationToken.None))
        {
            bytes += chunk.Data.Length;
        }

        Assert.Equal(200_000, bytes);
    }

    [Fact]
    public async Task Bad_digests_and_absent_artifacts_are_clear_errors()
    {
        var bad = await Assert.ThrowsAsync<FarmCallException>(() => Client.AwaitAsync(Client.Artifacts.StatAsync(new StatRequest { Digest = "sha256:xyz" })));
        Assert.Equal("digest: 'sha256:xyz' is no SHA-256 digest of 64 hexadecimal characters", bad.Message);
        var absent = new string('0', 64);
        Assert.False((await Client.AwaitAsync(Client.Artifacts.StatAsync(new StatRequest { Digest = absent }))).Complete);
        var download = Client.Artifacts.Download(new DownloadRequest { Needs = { new Need { Digest = absent } } });
        var error = await Assert.ThrowsAsync<FarmCallException>(async () =>
        {
            await foreach (var chunk in Client.ReadAsync(download, CancellationToken.None))
            {
                Assert.Fail($"a chunk of {chunk.Data.Length} bytes");
            }
        });
        Assert.Equal(FarmErrorKind.NotFound, error.Kind);

        using var upload = Client.Artifacts.Upload();
        await upload.RequestStream.WriteAsync(new UploadRequest { Chunk = new Chunk() });
        Assert.Equal(StatusCode.InvalidArgument, (await Assert.ThrowsAsync<RpcException>(async () => await upload.ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task Reflection_lists_the_services_and_health_serves()
    {
        using var channel = GrpcChannel.ForAddress(_server.Address);
        using var reflection = new ServerReflection.ServerReflectionClient(channel).ServerReflectionInfo();
        await reflection.RequestStream.WriteAsync(new ServerReflectionRequest { ListServices = "" });
        await reflection.ResponseStream.MoveNext(CancellationToken.None);
        var services = reflection.ResponseStream.Current.ListServicesResponse.Service.Select(s => s.Name).ToArray();

        Assert.Superset(
            new HashSet<string> { "edgefarm.v1.Sweeps", "edgefarm.v1.Jobs", "edgefarm.v1.Leaderboard", "edgefarm.v1.Fleet", "edgefarm.v1.Artifacts" }, services.ToHashSet());
        var health = await new Health.HealthClient(channel).CheckAsync(new HealthCheckRequest());
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, health.Status);
    }

    [Fact]
    public async Task Health_and_metrics_answer_over_http()
    {
        using var http = new HttpClient { BaseAddress = _server.Http };
        Assert.Equal("Healthy", await http.GetStringAsync(new Uri("/health/live", UriKind.Relative)));
        Assert.Equal("Healthy\nstore: Healthy\nfarm: Healthy\n", await http.GetStringAsync(new Uri("/health/ready", UriKind.Relative)));
        using var metrics = new Actors.FarmMetrics(TimeProvider.System);
        Assert.Contains("target_info", await http.GetStringAsync(new Uri("/metrics", UriKind.Relative)), StringComparison.Ordinal);

        _server.Farm.Fault = new Actors.FarmUnavailableException("no answer");
        using var unready = await http.GetAsync(new Uri("/health/ready", UriKind.Relative));
        Assert.Equal(System.Net.HttpStatusCode.ServiceUnavailable, unready.StatusCode);
    }

    [Fact]
    public async Task A_port_where_nothing_listens_is_unreachable()
    {
        using var nowhere = new EdgeFarmClient(new Uri("http://127.0.0.1:9"));
        var error = await Assert.ThrowsAsync<FarmCallException>(() => nowhere.AwaitAsync(nowhere.Sweeps.ListSweepsAsync(new ListSweepsRequest())));

        Assert.Equal((FarmErrorKind.Unreachable, "no farm answers at http://127.0.0.1:9"), (error.Kind, error.Message));
    }
}
