using System.Collections.Immutable;
using EdgeFarm.Artifacts.Local;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Tests.Support;
using EdgeFarm.Server.Workers;
using ArtifactKind = EdgeFarm.Core.Artifacts.ArtifactKind;
using FailureType = EdgeFarm.Contracts.V1.FailureType;
using JobStatus = EdgeFarm.Contracts.V1.JobStatus;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Tests.Services;

public sealed class SweepsServiceTests : IAsyncLifetime
{
    private const string Yaml = """
        metadata: {name: Tiny_sweep}
        spec:
          models: [{id: m, source: bundled:edgefarm-tiny}]
          data: [{id: t, source: bundled:held-out}]
          recipes: [{toolchain: llama.cpp, types: [F16, Q8_0, Q4_K_M]}]
          quality: {text: t}
        """;

    private TestServer _server = null!;

    private EdgeFarmClient Client => _server.Client;

    public async Task InitializeAsync() => _server = await TestServer.StartAsync();

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task A_sweep_is_submitted_once_however_often_it_is_sent()
    {
        var first = await SubmitAsync(Yaml, "request");
        var again = await SubmitAsync(Yaml, "request");

        Assert.StartsWith("tiny-sweep-", first.Id, StringComparison.Ordinal);
        Assert.Equal(first, again);
        var submission = Assert.Single(_server.Farm.Submissions);
        Assert.Equal(3, submission.Plan.Entries.Length);
        Assert.Equal("gguf", submission.Sources["m"].Format);
        Assert.Equal(SweepStatus.Running, first.Status);

        var other = await Assert.ThrowsAsync<FarmCallException>(() => SubmitAsync(Yaml.Replace("Q8_0", "Q4_K_M", StringComparison.Ordinal), "request"));
        Assert.Equal(FarmErrorKind.AlreadyExists, other.Kind);
    }

    [Fact]
    public async Task Errors_of_the_file_come_with_lines_and_as_field_violations()
    {
        var error = await Assert.ThrowsAsync<FarmCallException>(() => SubmitAsync(Yaml.Replace("Q4_K_M", "Q4_K_N", StringComparison.Ordinal), "r"));

        Assert.Equal(FarmErrorKind.InvalidArgument, error.Kind);
        var file = Assert.Single(error.FileErrors);
        Assert.Equal((5, "spec.recipes[0].types[2]", "Q4_K_M"), (file.Line, file.Field, file.Suggestion));
        Assert.Equal("spec.recipes[0].types[2]", Assert.Single(error.Violations).Field);
        Assert.Empty(_server.Farm.Submissions);
    }

    [Fact]
    public async Task Errors_of_the_planner_come_with_lines_too()
    {
        var error = await Assert.ThrowsAsync<FarmCallException>(() => SubmitAsync(Yaml.Replace("llama.cpp, types: [F16, Q8_0, Q4_K_M]", "onnxruntime, types: [fp32]", StringComparison.Ordinal), "r"));

        var file = Assert.Single(error.FileErrors);
        Assert.Equal(3, file.Line);
        Assert.StartsWith("spec.models[0]", file.Field, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bundled:edgefarm-tini", "nothing is bundled under 'edgefarm-tini'", "edgefarm-tiny")]
    [InlineData("bundled:gone", "'gone' is not part of this installation", "")]
    [InlineData("blob:sha256:0000000000000000000000000000000000000000000000000000000000000000", "the farm holds no artifact sha256:0000", "")]
    [InlineData("file:x.gguf", "is a file of the client's, and the client sent no digest for it", "")]
    public async Task A_source_that_cannot_be_used_is_an_error_at_its_line(string source, string message, string suggestion)
    {
        var error = await Assert.ThrowsAsync<FarmCallException>(() => SubmitAsync(Yaml.Replace("bundled:edgefarm-tiny", $"'{source}'", StringComparison.Ordinal), "r"));

        var file = Assert.Single(error.FileErrors);
        Assert.Equal((3, "spec.models[0].source", suggestion), (file.Line, file.Field, file.Suggestion));
        Assert.StartsWith(message, file.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_local_file_is_uploaded_first_and_then_named_by_its_digest()
    {
        var path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.gguf");
        await File.WriteAllBytesAsync(path, [.. "GGUF"u8, .. new byte[700_000]]);
        try
        {
            var local = (await LocalArtifact.HashAsync(path, CancellationToken.None)).Value;
            var request = new SubmitRequest { RequestId = "r", Yaml = Yaml.Replace("bundled:edgefarm-tiny", "file:my.gguf", StringComparison.Ordinal) };
            request.Sources["m"] = new SourceFile { Digest = local.Artifact.Digest.ToString(), Kind = Wire.ArtifactKind.File, FileName = "my.gguf", Size = local.Artifact.Size };

            var missing = await Assert.ThrowsAsync<FarmCallException>(() => Client.AwaitAsync(Client.Sweeps.SubmitAsync(request)));
            Assert.Equal(FarmErrorKind.FailedPrecondition, missing.Kind);
            var plan = await Client.AwaitAsync(Client.Sweeps.DryRunAsync(request));
            Assert.Equal(3, plan.Entries);

            Assert.Null(await FarmArtifacts.PushAsync(Client.Artifacts, local, local.Artifact.Digest, ArtifactKind.File, CancellationToken.None));
            await Client.AwaitAsync(Client.Sweeps.SubmitAsync(request));
            Assert.Equal(new ArtifactRef(local.Artifact.Digest, ArtifactKind.File, 700_004, "gguf", "my.gguf"), _server.Farm.Submissions[0].Sources["m"]);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task A_dry_run_tells_where_jobs_could_run_what_is_cached_and_what_nobody_takes()
    {
        _server.Farm.Workers.Add(InMemoryFarm.Worker("w1"));
        _server.Farm.Workers.Add(InMemoryFarm.Worker("w2"));
        var yaml = Yaml + "\n  targets: [{id: here, require: {arch: x64}}, {id: phone, require: {arch: arm64}}]";
        var plan = await Client.AwaitAsync(Client.Sweeps.DryRunAsync(new SubmitRequest { RequestId = "r", Yaml = yaml }));

        Assert.Equal(6, plan.Entries);
        var device = Assert.Single(plan.Devices);
        Assert.Equal(("host-1", "cpu", "cpu-x64", 3), (device.Host, device.Device, device.DeviceClass, device.Benchmarks));
        Assert.Equal(["w1", "w2"], device.Workers);
        var stranded = Assert.Single(plan.Unplaceable);
        Assert.Equal(("Benchmark on target phone", 3), (stranded.What, stranded.Jobs));
        Assert.Equal("arch = arm64", stranded.Nearest[0].Lacks[0].What);
        Assert.Equal("x64", stranded.Nearest[0].Lacks[0].Has);
        Assert.Equal(0, plan.CacheHits);
        Assert.True(plan.EstimatedBytes > 0);
        Assert.Empty(_server.Farm.Submissions);
    }

    [Fact]
    public async Task A_dry_run_follows_the_cache_through_the_plan()
    {
        await SubmitAsync(Yaml, "r");
        var submission = _server.Farm.Submissions[0];
        var import = submission.Plan.Jobs.Single(j => j.Kind is Core.Jobs.JobKind.Import);
        var inputs = import.Inputs.ToImmutableSortedDictionary(i => i.Name, i => i.Source.Artifact!, StringComparer.Ordinal);
        var result = new JobResult { Outputs = import.Outputs.ToImmutableSortedDictionary(o => o, _ => submission.Sources["m"], StringComparer.Ordinal) };
        _server.Farm.Cached[ActionDigest.Of(import, inputs)] = new JobOutcome(result, null, default, default, default);
        var pass = submission.Plan.Jobs.First(j => j.Kind is Core.Jobs.JobKind.Optimize);
        var passInputs = ImmutableSortedDictionary<string, ArtifactRef>.Empty.WithComparers(StringComparer.Ordinal).Add(pass.Inputs[0].Name, submission.Sources["m"]);
        _server.Farm.Cached[ActionDigest.Of(pass, passInputs)] = new JobOutcome(result, null, default, default, default);

        var plan = await Client.AwaitAsync(Client.Sweeps.DryRunAsync(new SubmitRequest { RequestId = "x", Yaml = Yaml }));
        var fresh = await Client.AwaitAsync(Client.Sweeps.DryRunAsync(new SubmitRequest { RequestId = "x", Yaml = Yaml, Fresh = true }));

        Assert.Equal(2, plan.CacheHits);
        Assert.Equal(0, fresh.CacheHits);
    }

    [Theory]
    [InlineData("", "", "request_id")]
    [InlineData("r", "Not an id", "id")]
    public async Task A_bad_request_names_its_field(string requestId, string id, string field)
    {
        var error = await Assert.ThrowsAsync<FarmCallException>(() =>
            Client.AwaitAsync(Client.Sweeps.SubmitAsync(new SubmitRequest { RequestId = requestId, Id = id, Yaml = Yaml })));

        Assert.Equal((FarmErrorKind.InvalidArgument, field), (error.Kind, Assert.Single(error.Violations).Field));
    }

    [Fact]
    public async Task A_watch_starts_with_a_snapshot_and_ends_with_the_sweep()
    {
        var sweep = await SubmitAsync(Yaml, "r");
        using var call = Client.Sweeps.Watch(new WatchRequest { Id = sweep.Id });
        await call.ResponseStream.MoveNext(CancellationToken.None);
        var snapshot = call.ResponseStream.Current;
        Assert.True(snapshot.Snapshot);
        Assert.Equal(_server.Farm.Submissions[0].Plan.Jobs.Length, snapshot.Jobs.Count);

        _server.Farm.Finish(sweep.Id);
        var changes = new List<SweepChange>();
        while (await call.ResponseStream.MoveNext(CancellationToken.None))
        {
            changes.Add(call.ResponseStream.Current);
        }

        Assert.Equal(Enumerable.Range(1, changes.Count).Select(i => (long)i), changes.Select(c => c.Sequence));
        Assert.Equal(SweepStatus.Completed, changes[^1].Sweep.Status);

        var resumed = new List<SweepChange>();
        await foreach (var change in Client.ReadAsync(Client.Sweeps.Watch(new WatchRequest { Id = sweep.Id, After = 2 }), CancellationToken.None))
        {
            resumed.Add(change);
        }

        Assert.Equal(3, resumed[0].Sequence);
        Assert.False(resumed[0].Snapshot);
    }

    [Fact]
    public async Task A_large_snapshot_comes_in_messages_below_one_mebibyte()
    {
        var types = string.Join(", ", Enumerable.Range(0, 16).Select(i => 16 + i));
        var ratios = string.Join(", ", Enumerable.Range(1, 60).Select(i => $"{i}e-3"));
        var stored = await StoreAsync([0x08, 0x07, 0x12, 0x00]);
        var yaml = $$"""
            spec:
              models: [{id: a-model-with-a-long-name, source: 'blob:{{stored}}'}]
              recipes: [{toolchain: onnxruntime, passes: [{type: OnnxMatMulNBits, block_size: [{{types}}], ratio: [{{ratios}}]}]}]
            """;
        var sweep = await SubmitAsync(yaml, "r");
        var messages = 0;
        var jobs = new HashSet<string>();
        using var call = Client.Sweeps.Watch(new WatchRequest { Id = sweep.Id });
        do
        {
            await call.ResponseStream.MoveNext(CancellationToken.None);
            messages++;
            Assert.True(call.ResponseStream.Current.CalculateSize() < 1024 * 1024);
            jobs.UnionWith(call.ResponseStream.Current.Jobs.Select(j => j.Id));
        }
        while (call.ResponseStream.Current.More);

        Assert.True(_server.Farm.Submissions[0].Plan.Jobs.Length > 2000);
        Assert.Equal(_server.Farm.Submissions[0].Plan.Jobs.Length, jobs.Count);
        Assert.True(messages > 0);
    }

    [Fact]
    public async Task Lists_are_paged()
    {
        for (var i = 0; i < 5; i++)
        {
            await SubmitAsync(Yaml, $"r{i}");
        }

        var first = await Client.AwaitAsync(Client.Sweeps.ListSweepsAsync(new ListSweepsRequest { PageSize = 3 }));
        var second = await Client.AwaitAsync(Client.Sweeps.ListSweepsAsync(new ListSweepsRequest { PageSize = 3, PageToken = first.NextPageToken }));
        Assert.Equal((3, 2, ""), (first.Sweeps.Count, second.Sweeps.Count, second.NextPageToken));
        var error = await Assert.ThrowsAsync<FarmCallException>(() => Client.AwaitAsync(Client.Sweeps.ListSweepsAsync(new ListSweepsRequest { PageSize = 5000 })));
        Assert.Equal("page_size", error.Violations[0].Field);
    }

    [Fact]
    public async Task Cancel_retry_get_and_the_file_work_and_an_unknown_sweep_is_not_found()
    {
        var sweep = await SubmitAsync(Yaml, "r");
        _server.Farm.Finish(sweep.Id, j => j.Kind is Core.Jobs.JobKind.Benchmark
            ? j with { Status = Core.Sweeps.JobStatus.Failed, Attempts = [new(1, "w1", "h", "cpu", null, null, new Core.Jobs.Failure(Core.Jobs.FailureType.Crashed, "died"), default)] }
            : j with { Status = Core.Sweeps.JobStatus.Succeeded });

        Assert.Equal(SweepStatus.Partial, (await Client.AwaitAsync(Client.Sweeps.GetSweepAsync(new GetSweepRequest { Id = sweep.Id }))).Status);
        Assert.Equal(3, (await Client.AwaitAsync(Client.Sweeps.RetryAsync(new RetryRequest { Id = sweep.Id }))).Jobs);
        Assert.Equal(0, (await Client.AwaitAsync(Client.Sweeps.RetryAsync(new RetryRequest { Id = sweep.Id, Type = FailureType.TimedOut }))).Jobs);
        Assert.Equal(Yaml, (await Client.AwaitAsync(Client.Sweeps.GetSweepFileAsync(new GetSweepRequest { Id = sweep.Id }))).Yaml);
        var failed = await Client.AwaitAsync(Client.Jobs.ListJobsAsync(new ListJobsRequest { Sweep = sweep.Id, FailedOnly = true }));
        Assert.All(failed.Jobs, j => Assert.Equal((JobStatus.Failed, FailureType.Crashed), (j.Status, j.Attempts[0].Failure.Type)));
        Assert.Equal(SweepStatus.Cancelled, (await Client.AwaitAsync(Client.Sweeps.CancelAsync(new CancelRequest { Id = sweep.Id }))).Status);

        var unknown = await Assert.ThrowsAsync<FarmCallException>(() => Client.AwaitAsync(Client.Sweeps.CancelAsync(new CancelRequest { Id = "none" })));
        Assert.Equal((FarmErrorKind.NotFound, "there is no sweep 'none'; 'sweeps' lists them"), (unknown.Kind, unknown.Message));
    }

    [Fact]
    public async Task Actors_that_do_not_answer_are_unavailable_and_a_bug_is_internal()
    {
        _server.Farm.Fault = new Actors.FarmUnavailableException("submit: no answer in 15 s");
        var unavailable = await Assert.ThrowsAsync<FarmCallException>(() => SubmitAsync(Yaml, "r"));
        Assert.Equal((FarmErrorKind.Unavailable, "submit: no answer in 15 s"), (unavailable.Kind, unavailable.Message));

        _server.Farm.Fault = new InvalidOperationException("a bug");
        Assert.Equal(FarmErrorKind.Internal, (await Assert.ThrowsAsync<FarmCallException>(() => SubmitAsync(Yaml, "r"))).Kind);
    }

    private Task<Sweep> SubmitAsync(string yaml, string requestId) =>
        Client.AwaitAsync(Client.Sweeps.SubmitAsync(new SubmitRequest { RequestId = requestId, Yaml = yaml }));

    private async Task<Digest> StoreAsync(byte[] bytes)
    {
        var path = Path.GetTempFileName();
        try
        {
            await File.WriteAllBytesAsync(path, bytes);
            return (await _server.Store.ImportAsync(path, EdgeFarm.Artifacts.ImportMode.Copy, CancellationToken.None)).Value.Digest;
        }
        finally
        {
            File.Delete(path);
        }
    }
}
