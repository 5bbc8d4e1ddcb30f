using System.Diagnostics;
using EdgeFarm.Artifacts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Tests.Support;
using EdgeFarm.Server.Workers;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Server.Tests.Workers;

public sealed class JobRunnerTests : IDisposable
{
    private readonly WorkerFixture _worker = new();

    public void Dispose() => _worker.Dispose();

    [Fact]
    public async Task A_pass_fetches_its_input_and_brings_output_and_log_to_the_farm()
    {
        var input = await _worker.PutAsync("source");
        var runner = await _worker.RunnerAsync();

        var outcome = await runner.RunAsync(
            _worker.Lease("Write", WorkerFixture.Inputs(("model", input)), outputs: ["model"], parameters: ("text", "made")), new ProgressLog(), default);

        Assert.Null(outcome.Failure);
        var model = outcome.Result!.Outputs["model"];
        Assert.Equal((Digest.OfText("made"), "out.txt", "text", 4L), (model.Digest, model.FileName, model.Format, model.Size));
        Assert.Equal("made", await WorkerFixture.ReadAsync(_worker.FarmStore, model.Digest));
        Assert.Contains("on standard output", await WorkerFixture.ReadAsync(_worker.FarmStore, outcome.Log));
        Assert.Equal(outcome.Log, outcome.Result.Log);
        Assert.NotNull((await _worker.WorkerStore.StatAsync(input.Digest, default)).Value);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_worker.Scratch));
        Assert.True(outcome.StartedAt <= outcome.FinishedAt);

        // The machine's own environment, and the engine's on top.
        Assert.Equal("text", outcome.Result.Environment["a"].Text);
        Assert.True(outcome.Result.Environment.ContainsKey("arch"));
    }

    [Fact]
    public async Task A_failure_keeps_its_log_and_cleans_up()
    {
        var outcome = await (await _worker.RunnerAsync()).RunAsync(_worker.Lease("Abort"), new ProgressLog(), default);

        Assert.Equal((FailureType.Crashed, (int?)6), (outcome.Failure!.Type, outcome.Failure.Signal));
        Assert.Contains("operation Abort", await WorkerFixture.ReadAsync(_worker.FarmStore, outcome.Log));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_worker.Scratch));
    }

    [Theory]
    [InlineData("../out.txt")]
    [InlineData("/etc/hostname")]
    [InlineData("")]
    [InlineData("..")]
    public async Task An_output_that_is_no_plain_name_in_the_output_directory_is_refused(string name)
    {
        var lease = _worker.Lease("Write", outputs: ["model"], parameters: ("name", name));

        var outcome = await (await _worker.RunnerAsync()).RunAsync(lease, new ProgressLog(), default);

        Assert.Equal(FailureType.Internal, outcome.Failure!.Type);
        Assert.Null(outcome.Result);
    }

    [Fact]
    public async Task A_result_without_a_planned_output_is_refused()
    {
        var outcome = await (await _worker.RunnerAsync()).RunAsync(_worker.Lease("Write", outputs: ["model", "imatrix"]), new ProgressLog(), default);

        Assert.Equal(FailureType.Internal, outcome.Failure!.Type);
        Assert.Contains("'imatrix'", outcome.Failure.Message);
    }

    [Fact]
    public async Task An_input_that_the_farm_lacks_is_an_internal_failure_that_names_it()
    {
        var absent = new ArtifactRef(Digest.OfText("absent"), ArtifactKind.File, 6, "text", "absent.txt");

        var outcome = await (await _worker.RunnerAsync()).RunAsync(_worker.Lease("Write", WorkerFixture.Inputs(("model", absent))), new ProgressLog(), default);

        Assert.Equal(FailureType.Internal, outcome.Failure!.Type);
        Assert.Contains(absent.Digest.Hex, outcome.Failure.Message);
        Assert.True(outcome.Log.IsEmpty);
    }

    [Fact]
    public async Task A_fetch_that_never_ends_runs_into_its_own_deadline()
    {
        var input = await _worker.PutAsync("source");
        var lease = _worker.Lease("Write", WorkerFixture.Inputs(("model", input)), transfer: TimeSpan.FromMilliseconds(200));

        var outcome = await (await _worker.RunnerAsync(new HangingExchange())).RunAsync(lease, new ProgressLog(), default);

        Assert.Equal(FailureType.Internal, outcome.Failure!.Type);
        Assert.Contains("could not be fetched within", outcome.Failure.Message);
    }

    [Fact]
    public async Task Cancelling_ends_the_child_and_removes_its_files()
    {
        using var cancel = new CancellationTokenSource();
        var runner = await _worker.RunnerAsync();
        var running = runner.RunAsync(_worker.Lease("Hang"), new ProgressLog(), cancel.Token);
        using var deadline = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        string? pid;
        while ((pid = Directory.Exists(_worker.Scratch) ? Directory.EnumerateFiles(_worker.Scratch, "pid", SearchOption.AllDirectories).FirstOrDefault() : null) is null)
        {
            await Task.Delay(20, deadline.Token);
        }

        await cancel.CancelAsync();
        var outcome = await running;

        Assert.Equal(FailureType.Cancelled, outcome.Failure!.Type);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_worker.Scratch));
    }

    [Fact]
    public async Task Benchmarks_and_other_jobs_of_two_workers_never_overlap_on_one_machine()
    {
        var first = await _worker.RunnerAsync(scratch: Path.Combine(_worker.Root, "scratch-1"));
        var second = await _worker.RunnerAsync(scratch: Path.Combine(_worker.Root, "scratch-2"));
        var jobs = Enumerable.Range(0, 6).Select(async i =>
        {
            var kind = i % 2 == 0 ? JobKind.Benchmark : JobKind.Evaluate;
            return (kind, await (i < 3 ? first : second).RunAsync(_worker.Lease("Write", kind: kind), new ProgressLog(), default));
        });

        var ended = await Task.WhenAll(jobs);

        Assert.All(ended, e => Assert.Null(e.Item2.Failure));
        foreach (var (_, benchmark) in ended.Where(e => e.kind == JobKind.Benchmark))
        {
            Assert.Single(benchmark.Result!.Measurements, m => m.Metric == "peak_memory");
            Assert.DoesNotContain(ended, e => e.Item2 != benchmark && e.Item2.StartedAt < benchmark.FinishedAt && benchmark.StartedAt < e.Item2.FinishedAt);
        }
    }

    [Fact]
    public async Task A_benchmark_says_that_it_waits_for_the_machine()
    {
        var other = new MachineLock(Path.Combine(_worker.Root, "machine"), TimeProvider.System);
        var held = (await other.AcquireAsync(exclusive: false, _ => { }, default)).Value;
        var progress = new ProgressLog();
        var running = (await _worker.RunnerAsync()).RunAsync(_worker.Lease("Write", kind: JobKind.Benchmark), progress, default);

        await progress.SeenAsync("waiting for the machine");
        Assert.False(running.IsCompleted);
        held.Dispose();
        Assert.Null((await running).Failure);
    }

    [Fact]
    public async Task A_benchmark_waits_for_the_machine_no_longer_than_one_execution_takes()
    {
        // It takes the lock twice. The first wait, at the gate before the lock, uses up most of the time; the second has only the rest.
        var time = new ManualTime();
        var machine = Path.Combine(_worker.Root, "machine");
        using var shared = (await new MachineLock(machine, TimeProvider.System).AcquireAsync(exclusive: false, _ => { }, default)).Value;
        var gate = new FileStream(Path.Combine(machine, "gate"), FileMode.Open, FileAccess.Read, FileShare.None, 1);
        var progress = new ProgressLog();
        var lease = _worker.Lease("Write", kind: JobKind.Benchmark) with { ExecutionTimeout = TimeSpan.FromSeconds(100) };
        var running = (await _worker.RunnerAsync(time: time)).RunAsync(lease, progress, default);
        await progress.SeenAsync("a benchmark has it alone");
        time.Advance(TimeSpan.FromSeconds(70));
        gate.Dispose();
        await progress.SeenAsync("a benchmark needs it alone");
        Assert.False(running.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(31));

        Assert.Equal(FailureType.TimedOut, (await running.WaitAsync(TimeSpan.FromMinutes(5))).Failure!.Type);
    }

    [Fact]
    public async Task What_an_earlier_life_left_in_the_scratch_directory_is_removed_at_the_start()
    {
        var left = Directory.CreateDirectory(Path.Combine(_worker.Scratch, "left", "in")).FullName;
        await File.WriteAllTextAsync(Path.Combine(left, "model.gguf"), "x");

        _ = await _worker.RunnerAsync();

        Assert.Empty(Directory.EnumerateFileSystemEntries(_worker.Scratch));
    }

    [SkippableFact]
    public async Task A_full_disk_is_an_internal_failure_that_says_so()
    {
        var small = Path.Combine(_worker.Root, "small");
        Directory.CreateDirectory(small);
        using var mount = Process.Start("mount", ["-t", "tmpfs", "-o", "size=512k", "none", small])!;
        await mount.WaitForExitAsync();
        Skip.If(mount.ExitCode != 0, "this user may not mount a file system");
        try
        {
            var runner = await _worker.RunnerAsync(scratch: Path.Combine(small, "scratch"));

            var outcome = await runner.RunAsync(_worker.Lease("Write", parameters: ("text", new string('x', 1 << 20))), new ProgressLog(), default);

            Assert.Equal(FailureType.Internal, outcome.Failure!.Type);
            Assert.Contains("disk is full", outcome.Failure.Message);
        }
        finally
        {
            using var unmount = Process.Start("umount", [small])!;
            await unmount.WaitForExitAsync();
        }
    }

    private sealed class HangingExchange : IArtifactExchange
    {
        public async Task<Failure?> FetchAsync(ArtifactRef artifact, CancellationToken cancellationToken)
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
            return null;
        }

        public Task<Failure?> UploadAsync(StoredArtifact artifact, CancellationToken cancellationToken) => Task.FromResult<Failure?>(null);
    }
}
