using System.Diagnostics;
using System.Runtime;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Bench.Dispatch;

/// <summary>The measurements, each on its own lines.</summary>
internal static class BenchRun
{
    public static async Task<int> RunAsync(BenchOptions options)
    {
        var fresh = options.Directory is null;
        var directory = Directory.CreateDirectory(options.Directory ?? Path.Combine(Path.GetTempPath(), $"edgefarm-bench-{Environment.ProcessId}")).FullName;
        var database = options.PostgreSql is { } connection
            ? FarmDatabaseOptions.PostgreSql(connection)
            : FarmDatabaseOptions.SqliteFile(Path.Combine(directory, "farm.db"));
        Console.WriteLine($"# {database.Kind}, {options.Coordinators} coordinators, {options.Workers} workers x {options.Slots} slots, {Environment.ProcessorCount} cores, .NET {Environment.Version}");
        try
        {
            await using (var peers = await BenchPeers.StartAsync(options.PostgreSql, options.Coordinators))
            await using (var farm = await BenchFarm.StartAsync(database, peers.Cluster))
            {
                await farm.StartWorkersAsync(peers.Urls, options.Workers, options.Slots, directory);
                if (options.WarmUp > 0)
                {
                    await ThroughputAsync(farm, peers, "warm-up", options.WarmUp);
                }

                foreach (var jobs in options.Jobs)
                {
                    await ThroughputAsync(farm, peers, $"{jobs}", jobs);
                }

                if (options.Single > 0)
                {
                    await SingleAsync(farm, options.Single);
                }

                if (options.Cached > 0)
                {
                    await CachedAsync(farm, options.Cached);
                }

                if (options.PacedSeconds > 0)
                {
                    await PacedAsync(farm, options.PacedSeconds, options.PacedRate);
                }
            }

            if (options.Recover > 0)
            {
                await BenchRecovery.RunAsync(options.PostgreSql ?? database.ConnectionString, options.Recover);
            }

            return 0;
        }
        finally
        {
            if (fresh)
            {
                Directory.Delete(directory, recursive: true);
            }
        }
    }

    private static async Task ThroughputAsync(BenchFarm farm, BenchPeers peers, string name, int jobs)
    {
        var sweep = $"b-{Guid.NewGuid():N}"[..12];
        var submission = NoOpSweeps.Make(sweep, jobs, sweep);
        var (compiled, paused) = (JitInfo.GetCompilationTime(), GC.GetTotalPauseDuration());
        using var self = Process.GetCurrentProcess();
        var (cpu, peerCpu, workerCpu, allocated) = (self.TotalProcessorTime, await peers.CpuAsync(), await farm.WorkerSecondsAsync(), GC.GetTotalAllocatedBytes());
        var watch = Stopwatch.StartNew();
        await SubmitAsync(farm, submission);
        var submitted = watch.Elapsed;
        await farm.FinishAsync(sweep);
        var ended = watch.Elapsed;
        var view = await farm.ViewAsync(sweep);
        var projected = watch.Elapsed;
        self.Refresh();
        Check(view.Counts.GetValueOrDefault(JobStatus.Succeeded) == jobs, $"{string.Join(", ", view.Counts)}");
        var starts = await farm.StartsAsync();
        Check(starts.Count == jobs, $"{starts.Count} runs of {jobs} jobs");
        Console.WriteLine(
            $"throughput {name,8}: {jobs / ended.TotalSeconds,8:0} jobs/s to the last result ({submitted.TotalSeconds:0.00} s of it submission), {jobs / projected.TotalSeconds,8:0} to the last row; "
            + $"coordinators {((self.TotalProcessorTime - cpu).TotalSeconds + await peers.CpuAsync() - peerCpu) * 1e6 / jobs:0} us CPU ({(JitInfo.GetCompilationTime() - compiled).TotalMicroseconds / jobs:0} compiling, {(GC.GetTotalPauseDuration() - paused).TotalMicroseconds / jobs:0} paused for the collector) and {(GC.GetTotalAllocatedBytes() - allocated) / 1024.0 / jobs:0.0} KiB allocated per job, "
            + $"{Environment.WorkingSet >> 20} MiB resident; workers {(await farm.WorkerSecondsAsync() - workerCpu) * 1e6 / jobs:0} us per job; each job ran once");
    }

    /// <summary>One call a job, a hundred calls in flight: each job is a sweep of its own, with its own events, rows and end.</summary>
    private static async Task SingleAsync(BenchFarm farm, int jobs)
    {
        var run = Guid.NewGuid().ToString("N")[..6];
        var watch = Stopwatch.StartNew();
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => Task.Run(async () =>
        {
            while (Interlocked.Increment(ref next) is var i && i < jobs)
            {
                await SubmitAsync(farm, NoOpSweeps.Make($"o{run}-{i}", 1, $"{run}-{i}"));
            }
        })));
        var submitted = watch.Elapsed;
        for (var i = 0; i < jobs; i++)
        {
            await farm.FinishAsync($"o{run}-{i}");
        }

        var ended = watch.Elapsed;
        var starts = await farm.StartsAsync();
        Check(starts.Count == jobs, $"{starts.Count} runs of {jobs} jobs");
        Console.WriteLine($"one by one {jobs,8}: {jobs / ended.TotalSeconds:0} jobs/s to the last result ({submitted.TotalSeconds:0.00} s of it submission); each job ran once");
    }

    private static async Task CachedAsync(BenchFarm farm, int jobs)
    {
        const string Salt = "cached";
        var first = NoOpSweeps.Make("c-first", jobs, Salt);
        await SubmitAsync(farm, first);
        await farm.FinishAsync(first.Id);
        await farm.ViewAsync(first.Id);
        await farm.StartsAsync();
        var second = NoOpSweeps.Make("c-second", jobs, Salt);
        var watch = Stopwatch.StartNew();
        await SubmitAsync(farm, second);
        await farm.FinishAsync(second.Id);
        var ended = watch.Elapsed;
        await farm.ViewAsync(second.Id);
        Check((await farm.StartsAsync()).Count == 0, "a cached job ran");
        Console.WriteLine($"cached {jobs,8}: {ended.TotalSeconds:0.00} s to the last result, {watch.Elapsed.TotalSeconds:0.00} s to the last row");
    }

    /// <summary>Small sweeps at a steady rate; latency from the moment a submission is acknowledged to the start at the worker.</summary>
    private static async Task PacedAsync(BenchFarm farm, int seconds, int rate)
    {
        const int Each = 10;
        var run = Guid.NewGuid().ToString("N")[..6];
        var count = seconds * rate / Each;
        var acknowledged = new long[count];
        var sent = new long[count];
        var watch = Stopwatch.StartNew();
        var pending = new List<Task>();
        for (var i = 0; i < count; i++)
        {
            var due = TimeSpan.FromSeconds((double)i * Each / rate);
            if (due - watch.Elapsed is { Ticks: > 0 } wait)
            {
                await Task.Delay(wait);
            }

            var index = i;
            pending.Add(Task.Run(async () =>
            {
                sent[index] = Stopwatch.GetTimestamp();
                await SubmitAsync(farm, NoOpSweeps.Make($"p{run}-{index}", Each, $"{run}-{index}"));
                acknowledged[index] = Stopwatch.GetTimestamp();
            }));
        }

        await Task.WhenAll(pending);
        var took = watch.Elapsed;
        for (var i = 0; i < count; i++)
        {
            await farm.FinishAsync($"p{run}-{i}");
        }

        var starts = await farm.StartsAsync();
        Check(starts.Count == count * Each, $"{starts.Count} runs of {count * Each} jobs");
        double[] fromAcknowledged = [.. starts.Select(s => Milliseconds(acknowledged[Index(s.Key)], s.Value)).Order()];
        double[] fromSent = [.. starts.Select(s => Milliseconds(sent[Index(s.Key)], s.Value)).Order()];
        Console.WriteLine(
            $"paced {rate}/s for {seconds} s ({count * Each / took.TotalSeconds:0}/s reached): from acknowledged submission to start p50 {At(fromAcknowledged, .5):0.00} ms, p99 {At(fromAcknowledged, .99):0.00} ms; "
            + $"from the call to start (journal write included) p50 {At(fromSent, .5):0.00} ms, p99 {At(fromSent, .99):0.00} ms");
        return;

        int Index(string job) => int.Parse(job[(run.Length + 2)..job.IndexOf('/', StringComparison.Ordinal)]);
    }

    public static async Task SubmitAsync(BenchFarm farm, SweepSubmission submission)
    {
        var outcome = await farm.Farm.SubmitAsync(submission, CancellationToken.None);
        Check(outcome.Failure is null, outcome.Failure?.Message ?? "");
    }

    private static double Milliseconds(long from, long to) => (to - from) * 1e3 / Stopwatch.Frequency;

    private static double At(double[] sorted, double share) => sorted[(int)(share * (sorted.Length - 1))];

    public static void Check(bool holds, string what)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"the run is not exact: {what}");
        }
    }
}
