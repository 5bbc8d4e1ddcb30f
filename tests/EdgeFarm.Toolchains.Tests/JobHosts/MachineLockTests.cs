using System.Diagnostics;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Toolchains.Tests.JobHosts;

public sealed class MachineLockTests : IDisposable
{
    private readonly string _directory = Path.Combine(Directory.CreateTempSubdirectory("edgefarm-test-").FullName, "machine");

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(_directory)!, recursive: true);

    // Each lock stands for a worker of its own: nothing is shared between them but the files.
    private MachineLock Worker() => new(_directory, TimeProvider.System);

    private static async Task<IDisposable> TakeAsync(MachineLock machine, bool exclusive) =>
        (await machine.AcquireAsync(exclusive, _ => { }, default)).Value;

    [Fact]
    public async Task Shared_holders_share_and_a_benchmark_waits_for_all_of_them()
    {
        var first = await TakeAsync(Worker(), exclusive: false);
        var second = await TakeAsync(Worker(), exclusive: false);
        var told = new TaskCompletionSource<string>();
        var benchmark = Worker().AcquireAsync(exclusive: true, told.SetResult, default);
        Assert.Contains("waiting for the machine", await told.Task);

        first.Dispose();
        Assert.False(benchmark.IsCompleted);
        second.Dispose();
        (await benchmark).Value.Dispose();
    }

    [Fact]
    public async Task A_waiting_benchmark_goes_before_shared_jobs_that_come_later()
    {
        var running = await TakeAsync(Worker(), exclusive: false);
        var benchmarkWaits = new TaskCompletionSource<string>();
        var benchmark = Worker().AcquireAsync(exclusive: true, benchmarkWaits.SetResult, default);
        await benchmarkWaits.Task;
        var laterWaits = new TaskCompletionSource<string>();
        var later = Worker().AcquireAsync(exclusive: false, laterWaits.SetResult, default);
        await laterWaits.Task;

        running.Dispose();
        var owned = await benchmark;
        Assert.False(later.IsCompleted);
        owned.Value.Dispose();
        (await later).Value.Dispose();
    }

    [Fact]
    public async Task Two_benchmarks_never_hold_it_together()
    {
        var holders = 0;
        var most = 0;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async i =>
        {
            using (await TakeAsync(Worker(), exclusive: i % 2 == 0))
            {
                if (i % 2 == 0)
                {
                    most = Math.Max(most, Interlocked.Increment(ref holders));
                    await Task.Yield();
                    Interlocked.Decrement(ref holders);
                }
                else
                {
                    Assert.Equal(0, Volatile.Read(ref holders));
                }
            }
        }));

        Assert.Equal(1, most);
    }

    [Fact]
    public async Task A_wait_can_be_cancelled_and_leaves_the_gate_open()
    {
        using var held = await TakeAsync(Worker(), exclusive: false);
        using var cancel = new CancellationTokenSource();
        var waits = new TaskCompletionSource<string>();
        var benchmark = Worker().AcquireAsync(exclusive: true, waits.SetResult, cancel.Token);
        await waits.Task;

        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => benchmark);
        (await TakeAsync(Worker(), exclusive: false)).Dispose();
    }

    [SkippableFact]
    public async Task Another_process_holds_it_too_and_loses_it_when_it_is_killed()
    {
        Skip.IfNot(File.Exists("/usr/bin/flock"), "the program flock is not there");
        (await TakeAsync(Worker(), exclusive: true)).Dispose();
        using var other = Process.Start(new ProcessStartInfo("/usr/bin/flock", ["--exclusive", Path.Combine(_directory, "lock"), "cat"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        await other.StandardInput.WriteLineAsync("held");
        await other.StandardInput.FlushAsync();
        Assert.Equal("held", await other.StandardOutput.ReadLineAsync());
        var waits = new TaskCompletionSource<string>();
        var job = Worker().AcquireAsync(exclusive: false, waits.SetResult, default);
        await waits.Task;

        other.Kill(entireProcessTree: true);
        (await job).Value.Dispose();
    }

    [Fact]
    public async Task A_directory_that_cannot_be_made_is_an_internal_failure()
    {
        var taken = await new MachineLock("/proc/nowhere", TimeProvider.System).AcquireAsync(exclusive: false, _ => { }, default);

        Assert.Equal(FailureType.Internal, taken.Failure!.Type);
        Assert.Contains("/proc/nowhere", taken.Failure.Message);
    }
}
