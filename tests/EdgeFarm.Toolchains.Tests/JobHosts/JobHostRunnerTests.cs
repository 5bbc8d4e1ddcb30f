using System.Collections.Immutable;
using System.Diagnostics;
using System.Text;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Toolchains.Tests.JobHosts;

/// <summary>Every test starts real child processes.</summary>
public sealed class JobHostRunnerTests : IDisposable
{
    private readonly TestChild _child = new();

    public void Dispose() => _child.Dispose();

    [Fact]
    public async Task A_job_returns_everything_that_its_engine_returned()
    {
        var seen = new List<JobHostProgress>();
        var run = await _child.RunAsync("Write", _child.Limits, new Collect(seen), default, ("text", "größe"));

        Assert.Null(run.Failure);
        var result = run.Result!.Result;
        Assert.Equal(new OutputFile("model", "out.txt", "text"), Assert.Single(run.Result.Outputs));
        Assert.Equal(new Core.Planning.EngineIdentity("hostile", "1", "test"), result.Engine);
        var measurement = Assert.Single(result.Measurements);
        Assert.Equal(("tg", "hostile", 0.25), (measurement.Metric, measurement.By, measurement.StandardError));
        Assert.Equal<double>([1, 2.5, double.Epsilon, 1e300], measurement.Samples);
        Assert.Equal("größe", result.Settings["text"]);
        Assert.Equal<PropertyValue>([PropertyValue.Of("text"), PropertyValue.Of(0.1), PropertyValue.Of(["x", "y"])], result.Environment.Values);
        Assert.Equal<string>(["unsteady"], result.Flags);
        Assert.Equal<string>(["careful"], result.Warnings);
        Assert.Equal("""{"a":1}""", result.Report);
        Assert.True(run.PeakMemoryBytes > 1 << 20);
        Assert.True(run.FinishedAt >= run.StartedAt);
        Assert.Contains(seen, p => p is { Fraction: 0, Text: "step 0" });
        var log = Encoding.UTF8.GetString(run.Log.Span);
        Assert.Contains("operation Write", log);
        Assert.Contains("on standard output", log);
        Assert.Contains("on standard error", log);
    }

    [Fact]
    public async Task A_probe_returns_what_the_engine_found()
    {
        var run = await _child.Runner.ProbeAsync("hostile", _child.Limits, default);

        Assert.Null(run.Failure);
        Assert.Equal("hostile", run.Probe!.Toolchain!.Identity.Id);
        Assert.Equal<string>(["cpu", "gpu:0", "gpu:1"], run.Probe.Runtime!.Devices);
        Assert.Equal(["gpu:0", "gpu:1"], run.Probe.Devices.Select(d => d.Id));
        Assert.All(run.Probe.Devices, d => Assert.Equal(PropertyValue.Of("test"), d.Properties["gpu.vendor"]));
        Assert.Equal<UnprovenDevice>([new UnprovenDevice("gpu:0", "Nothing to do."), new UnprovenDevice("gpu:1", "Update the driver.")], run.Probe.Unproven);
    }

    [Fact]
    public async Task An_unknown_engine_is_unsupported_and_the_message_lists_those_there_are()
    {
        var run = await _child.Runner.ProbeAsync("nothing", _child.Limits, default);

        Assert.Equal(FailureType.Unsupported, run.Failure!.Type);
        Assert.Contains("hostile", run.Failure.Message);
    }

    [Theory]
    [InlineData("Refuse", FailureType.Unsupported, "this engine refuses")]
    [InlineData("Throw", FailureType.Internal, "thrown by an engine")]
    [InlineData("ThrowOnThread", FailureType.Internal, "thrown on a thread of the engine's")]
    [InlineData("NotANumber", FailureType.Internal, "cannot be sent")]
    public async Task What_an_engine_reports_or_throws_is_a_typed_failure(string operation, FailureType type, string message)
    {
        var run = await _child.RunAsync(operation);

        Assert.Equal(type, run.Failure!.Type);
        Assert.Contains(message, run.Failure.Message);
        Assert.Null(run.Result);
        Assert.Contains($"operation {operation}", run.Failure.LogTail);
    }

    [Theory]
    [InlineData("Abort", "0", 6)]
    [InlineData("TruncatedMap", "0", 7)]
    [InlineData("DivideByZero", "0", 8)]
    [InlineData("Segfault", "0", 11)]
    [InlineData("StackOverflow", "0", 6)]
    [InlineData("Raise", "9", 9)]
    public async Task A_signal_is_a_crash_with_its_number_and_the_end_of_the_log(string operation, string signal, int expected)
    {
        var run = await _child.RunAsync(operation, default, ("signal", signal));

        Assert.Equal((FailureType.Crashed, (int?)expected, (int?)(128 + expected)), (run.Failure!.Type, run.Failure.Signal, run.Failure.ExitCode));
        Assert.Contains($"operation {operation}", run.Failure.LogTail);
    }

    [Theory]
    [InlineData("0")]
    [InlineData("7")]
    public async Task An_exit_without_a_result_is_a_crash_whatever_its_code(string code)
    {
        var run = await _child.RunAsync("Exit", default, ("code", code));

        Assert.Equal((FailureType.Crashed, int.Parse(code)), (run.Failure!.Type, run.Failure.ExitCode));
        Assert.Contains("without a result", run.Failure.Message);
    }

    [Theory]
    [InlineData("EatManaged")]
    [InlineData("EatNative")]
    public async Task With_a_memory_limit_a_job_that_takes_too_much_is_out_of_memory(string operation)
    {
        var run = await _child.RunAsync(operation, _child.Limits with { MemoryLimitBytes = 256L << 20 });

        Assert.Equal(FailureType.OutOfMemory, run.Failure!.Type);
        Assert.InRange(run.PeakMemoryBytes, 64L << 20, 512L << 20);
    }

    [Fact]
    public async Task A_job_that_hangs_in_native_code_is_timed_out()
    {
        var run = await _child.RunAsync("Hang", _child.Limits with { Timeout = TimeSpan.FromSeconds(2) });

        Assert.Equal(FailureType.TimedOut, run.Failure!.Type);
        Assert.Contains("2 s", run.Failure.Message);
        Assert.False(TestChild.IsAlive(await _child.PidAsync()));
    }

    [Fact]
    public async Task Cancelling_kills_the_child_and_its_children()
    {
        using var cancel = new CancellationTokenSource();
        var running = _child.RunAsync("Fork", cancel.Token);
        var pid = await _child.PidAsync();
        var grandchild = await _child.PidAsync("grandchild");
        Assert.True(TestChild.IsAlive(grandchild));

        await cancel.CancelAsync();
        var run = await running;

        Assert.Equal(FailureType.Cancelled, run.Failure!.Type);
        Assert.False(TestChild.IsAlive(pid));
        await Eventually.TrueAsync(() => !TestChild.IsAlive(grandchild), "the grandchild is gone");
    }

    [Fact]
    public async Task A_job_that_ends_well_leaves_no_children_behind()
    {
        var run = await _child.RunAsync("Fork", default, ("return", "true"));

        Assert.Null(run.Failure);
        var grandchild = await _child.PidAsync("grandchild");
        await Eventually.TrueAsync(() => !TestChild.IsAlive(grandchild), "the grandchild is gone");
    }

    [Fact]
    public async Task A_cancelled_job_is_not_started()
    {
        var run = await _child.RunAsync("Write", new CancellationToken(canceled: true));

        Assert.Equal(FailureType.Cancelled, run.Failure!.Type);
        Assert.False(File.Exists(Path.Combine(_child.Directory, "pid")));
    }

    [Fact]
    public async Task A_flood_of_output_is_bounded_and_keeps_start_and_end()
    {
        var run = await _child.RunAsync("Spam", _child.Limits with { LogBytes = 1 << 20 }, null, default, ("bytes", $"{8 << 20}"));

        Assert.Null(run.Failure);
        Assert.InRange(run.Log.Length, 1 << 20, (1 << 20) + 100);
        var log = Encoding.UTF8.GetString(run.Log.Span);
        Assert.StartsWith("operation Spam", log);
        Assert.Contains("bytes left out", log);
    }

    [Fact]
    public async Task What_C_still_buffers_at_the_end_reaches_the_log()
    {
        var run = await _child.RunAsync("Printf");

        Assert.Contains("printed through C's buffer", Encoding.UTF8.GetString(run.Log.Span));
    }

    [Fact]
    public async Task Children_that_start_together_inherit_nothing_of_each_other()
    {
        // What the test runner itself handed down is not ours to judge.
        var inherited = (await _child.RunAsync("Environment")).Result!.Result.Settings.Values.ToHashSet();
        var runs = await Task.WhenAll(Enumerable.Range(0, 6).Select(async _ =>
        {
            using var child = new TestChild();
            return await child.RunAsync("Environment");
        }));

        Assert.All(runs, run => Assert.Equal("1", run.Result!.Result.Report));
        var open = runs.SelectMany(run => run.Result!.Result.Settings.Values.Distinct()).Where(v => !inherited.Contains(v)).ToList();
        Assert.NotEmpty(open);
        Assert.Equal(open.Distinct(), open);
    }

    [Fact]
    public async Task A_child_dies_with_its_worker()
    {
        using var worker = Process.Start(new ProcessStartInfo(TestChild.Command.FileName, [.. TestChild.Command.Arguments, "worker", _child.Directory])
        {
            Environment = { ["DOTNET_ROOT"] = TestChild.Command.Environment["DOTNET_ROOT"] },
        })!;
        var pid = await _child.PidAsync();
        Assert.True(TestChild.IsAlive(pid));

        worker.Kill();
        await worker.WaitForExitAsync();

        await Eventually.TrueAsync(() => !TestChild.IsAlive(pid), "the job host is gone");
    }

    [Fact]
    public async Task A_job_host_that_cannot_be_started_is_an_internal_failure()
    {
        var missing = new JobHostRunner(new JobHostCommand("/nowhere/jobhost", [], ImmutableSortedDictionary<string, string?>.Empty), TimeProvider.System);

        var run = await missing.ProbeAsync("hostile", _child.Limits, default);

        Assert.Equal(FailureType.Internal, run.Failure!.Type);
        Assert.Contains("/nowhere/jobhost", run.Failure.Message);
    }

    private sealed class Collect(List<JobHostProgress> seen) : IProgress<JobHostProgress>
    {
        public void Report(JobHostProgress value) => seen.Add(value);
    }
}
