using EdgeFarm.Deployment.Tests.Support;

namespace EdgeFarm.Deployment.Tests.Telemetry;

/// <summary>Coordinator and worker as processes of their own, a sweep of real jobs, and a collector in this process.</summary>
public sealed class TraceTests : IDisposable
{
    private const string Sweep = "traced";

    private readonly string _directory = Directory.CreateTempSubdirectory("edgefarm-trace-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_sweep_is_one_trace_from_submit_to_its_rows_and_logs_name_it()
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        var (grpc, http) = ($"http://127.0.0.1:{Ports.Free()}", $"http://127.0.0.1:{Ports.Free()}");
        using var coordinator = RoleProcess.Start(
            _directory,
            [("EDGEFARM__TELEMETRY__OTLP", receiver.Url), ("OTEL_BSP_SCHEDULE_DELAY", "200")],
            "coordinator", "--listen", grpc, "--http", http, "--data", In("farm"), "--verbose");

        // A worker by the standard variable.
        using var worker = RoleProcess.Start(
            _directory,
            [("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.Url), ("OTEL_BSP_SCHEDULE_DELAY", "200"), ("EDGEFARM_MACHINE_LOCK", In("machine"))],
            "worker", "--farm", grpc, "--name", "w1", "--data", In("worker"), "--verbose");
        using var client = new HttpClient();
        await RoleProcess.UntilAsync(() => IsReadyAsync(client, http), "the coordinator is ready", coordinator, worker);
        var file = In("sweep.yaml");
        await File.WriteAllTextAsync(file, """
            apiVersion: edgefarm/v1
            kind: Sweep
            metadata: {name: traced}
            spec:
              models: [{id: m, source: "bundled:edgefarm-tiny"}]
              recipes: [{toolchain: llama.cpp, types: [Q4_0]}]
              benchmark: {prompt: 16, generate: 4, repetitions: 2, threads: 1}
            """);
        var submitted = await Tool.RunAsync("dotnet", [Checkout.EdgeFarmDll, "submit", file, "--id", Sweep, "--wait", "--farm", grpc]);
        Assert.True(submitted.ExitCode == 0, $"{submitted.Errors}\n{coordinator.Log}\n{worker.Log}");
        await RoleProcess.UntilAsync(() => Task.FromResult(IsWhole(receiver.Spans)), "every span has arrived", coordinator, worker);

        var spans = receiver.Spans;
        Assert.All(spans, s => Assert.Equal("EdgeFarm", s.Scope));
        var trace = Assert.Single(spans.Select(s => s.Trace).Distinct());
        var submit = Assert.Single(spans, s => s.Name == "submit");
        Assert.Equal(("edgefarm", "", Sweep), (submit.Service, submit.Parent, submit.Tag("edgefarm.sweep")));
        var jobs = Named(spans, "job");
        Assert.True(jobs.Length >= 4, $"baseline and form, each a pass and a benchmark: {string.Join(", ", jobs.Select(j => j.Tag("edgefarm.job")))}");
        foreach (var job in jobs)
        {
            var queue = Assert.Single(spans, s => s.Id == job.Parent);
            Assert.Equal(("queue", "edgefarm", submit.Id), (queue.Name, queue.Service, queue.Parent));
            Assert.Equal(("edgefarm-worker", "w1", "1"), (job.Service, job.Tag("edgefarm.worker"), job.Tag("edgefarm.attempt")));
            Assert.Equal((queue.Tag("edgefarm.job"), queue.Tag("edgefarm.fence")), (job.Tag("edgefarm.job"), job.Tag("edgefarm.fence")));
            var parts = spans.Where(s => s.Parent == job.Id).OrderBy(s => s.Start).ToArray();
            Assert.Equal(["transfer in", "execute", "transfer out"], parts.Select(p => p.Name));
            Assert.All(parts, p => Assert.Equal("edgefarm-worker", p.Service));
            ulong[] order = [submit.Start, queue.Start, queue.End, job.Start, .. parts.SelectMany(p => new[] { p.Start, p.End }), job.End];
            Assert.Equal(order.Order(), order);
        }

        Assert.All(Named(spans, "projection"), p => Assert.Equal(("edgefarm", submit.Id, Sweep), (p.Service, p.Parent, p.Tag("edgefarm.sweep"))));
        Assert.True(Named(spans, "projection").Max(p => p.End) >= jobs.Max(j => j.End), "the last end of a job came to the rows after it");

        Assert.Contains($"sweep {Sweep} submitted with", coordinator.Log, StringComparison.Ordinal);
        Assert.Contains($"sweep {Sweep} ended: Completed; trace {trace}", coordinator.Log, StringComparison.Ordinal);
        Assert.All(jobs, j => Assert.Contains(
            $"worker w1, sweep {Sweep}: attempt 1 of job {j.Tag("edgefarm.job")} starts on device {j.Tag("edgefarm.device")}; trace {trace}", worker.Log, StringComparison.Ordinal));
    }

    /// <summary>Parts are exported before the job that they belong to, jobs before the rows of their ends.</summary>
    private static bool IsWhole(ReceivedSpan[] spans)
    {
        var (queued, jobs, rows) = (Named(spans, "queue"), Named(spans, "job"), Named(spans, "projection"));
        return jobs.Length > 0 && spans.Any(s => s.Name == "submit") && queued.Length == jobs.Length && rows.Length > 0 && rows.Max(r => r.End) >= jobs.Max(j => j.End);
    }

    private static ReceivedSpan[] Named(ReceivedSpan[] spans, string name) => [.. spans.Where(s => s.Name == name)];

    private static async Task<bool> IsReadyAsync(HttpClient client, string http)
    {
        try
        {
            using var answer = await client.GetAsync(new Uri($"{http}/health/ready"));
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private string In(string name) => Path.Combine(_directory, name);
}
