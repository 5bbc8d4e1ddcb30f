using System.Globalization;
using System.Text.Json;
using EdgeFarm.Cluster.Tests.Harness;

namespace EdgeFarm.Cluster.Tests;

/// <summary>SIGKILL of a worker or of the whole farm: nothing is lost, nothing stands twice, no orphan is left.</summary>
public sealed class KillTests
{
    private const string SlowForms = "F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M, Q2_K";
    private const string Quality = """
        data: [{id: held-out, source: "bundled:held-out"}]
          quality: {text: held-out, context: 512, chunks: 4}
        """;

    [SkippableFact]
    public async Task A_farm_that_is_killed_goes_on_after_its_restart_without_a_client()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "needs SIGKILL");
        await using var farm = await Farm.StartAsync(workers: 2);
        farm.Write("slow.yaml", SweepFiles.Llama("bundled:edgefarm-tiny", SlowForms, "slow", Quality));
        (await farm.RunAsync("submit", "slow.yaml", "--id", "slow")).Expect(0);
        await farm.Until(async () => Succeeded(await farm.JobsAsync("slow")).Length >= 3, "three jobs are done");
        var before = Succeeded(await farm.JobsAsync("slow"));

        await farm.Up.KillAsync();
        await farm.StartUpAsync();
        await farm.Until(async () => (await farm.SweepAsync("slow")).GetProperty("status").GetString() == "completed", "the sweep completed");

        var after = await farm.JobsAsync("slow");
        Assert.Empty(before.Except(Succeeded(after)));
        AssertEachSucceededOnce(after);
        Assert.Equal(8, (await farm.EntriesAsync("slow")).Select(e => e.GetProperty("form").GetString()).Distinct().Count());
    }

    [SkippableFact]
    public async Task A_worker_killed_while_it_holds_a_lease_loses_nothing_and_its_job_hosts_end()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "needs SIGKILL and /proc");
        await using var farm = await Farm.StartAsync(workers: 0);
        await using var worker = StartWorker(farm, "victim");
        farm.Write("slow.yaml", SweepFiles.Llama("bundled:edgefarm-tiny", SlowForms, "slow", Quality));
        (await farm.RunAsync("submit", "slow.yaml", "--id", "slow")).Expect(0);

        // Stopped before the look, so that the lease cannot end between the look and the kill. A job host alone is not enough: a worker that
        // starts asks its engines in one.
        int[] hosts = [];
        await farm.Until(
            async () =>
            {
                Signals.Send(worker.Id, Signals.Stop);
                hosts = JobHosts(worker.Id);
                if (hosts.Length > 0 && await HeldAsync(farm, "victim") > 0)
                {
                    return true;
                }

                Signals.Send(worker.Id, Signals.Continue);
                return false;
            },
            "the worker runs a job of the farm");
        await worker.KillAsync();

        await farm.Until(() => Task.FromResult(!hosts.Any(IsAlive)), "the dead worker's job hosts are gone");
        await using var second = StartWorker(farm, "second");
        await farm.Until(async () => (await farm.SweepAsync("slow")).GetProperty("status").GetString() == "completed", "the sweep completed");
        AssertEachSucceededOnce(await farm.JobsAsync("slow"));
    }

    [SkippableFact]
    public async Task A_worker_killed_between_upload_and_acknowledgement_neither_loses_nor_doubles_the_result()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "needs SIGKILL");
        await using var farm = await Farm.StartAsync(workers: 0);
        var kept = Path.Combine(farm.Directory, "victim", "results");
        farm.Write("slow.yaml", SweepFiles.Llama("bundled:edgefarm-tiny", SlowForms, "slow", Quality));
        (await farm.RunAsync("submit", "slow.yaml", "--id", "slow")).Expect(0);

        Directory.CreateDirectory(kept);
        await using (var worker = StartWorker(farm, "victim"))
        {
            // A result is kept from the upload until the acknowledgement. Both sides are stopped the moment that one appears; where the
            // acknowledgement was faster still, they go on until the next.
            var unacknowledged = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
            using var watcher = new FileSystemWatcher(kept, Log) { NotifyFilter = NotifyFilters.Size | NotifyFilters.LastWrite | NotifyFilters.FileName };
            void Stop(object _, FileSystemEventArgs e)
            {
                if (unacknowledged.Task.IsCompleted)
                {
                    return;
                }

                Signals.Send(farm.Up.Id, Signals.Stop);
                Signals.Send(worker.Id, Signals.Stop);
                if (Kept(kept))
                {
                    unacknowledged.TrySetResult(e.FullPath);
                    return;
                }

                Signals.Send(worker.Id, Signals.Continue);
                Signals.Send(farm.Up.Id, Signals.Continue);
            }

            watcher.Created += Stop;
            watcher.Changed += Stop;
            watcher.EnableRaisingEvents = true;
            var result = await unacknowledged.Task.WaitAsync(Cli.Patience);
            await worker.KillAsync();
            Assert.True(new FileInfo(result).Length > 0, "the worker died with a result that nobody had acknowledged");
            Signals.Send(farm.Up.Id, Signals.Continue);
        }

        await using var again = StartWorker(farm, "victim");
        await farm.Until(async () => (await farm.SweepAsync("slow")).GetProperty("status").GetString() == "completed", "the sweep completed");
        AssertEachSucceededOnce(await farm.JobsAsync("slow"));
        await farm.Until(() => Task.FromResult(!Kept(kept)), "every kept result was acknowledged");
    }

    [Fact]
    public async Task No_job_overlaps_a_benchmark_on_its_host_though_two_workers_share_it()
    {
        await using var farm = await Farm.StartAsync(workers: 2);
        farm.Write("slow.yaml", SweepFiles.Llama("bundled:edgefarm-tiny", SlowForms, "slow", Quality));
        (await farm.RunAsync("submit", "slow.yaml", "--id", "slow", "--wait")).Expect(0);

        var runs = (await farm.JobsAsync("slow")).Where(j => !j.GetProperty("cached").GetBoolean()).SelectMany(Runs).ToArray();
        Assert.Equal(2, runs.Select(r => r.Worker).Distinct().Count());
        foreach (var benchmark in runs.Where(r => r.Kind == "benchmark"))
        {
            Assert.DoesNotContain(runs, r => r != benchmark && r.Host == benchmark.Host && r.Start < benchmark.End && benchmark.Start < r.End);
        }
    }

    private sealed record Run(string Job, string Kind, string Worker, string Host, DateTimeOffset Start, DateTimeOffset End);

    private static IEnumerable<Run> Runs(JsonElement job) => job.GetProperty("attempts").EnumerateArray().Select(a => new Run(
        job.GetProperty("id").GetString()!,
        job.GetProperty("kind").GetString()!,
        a.GetProperty("worker").GetString()!,
        a.GetProperty("host").GetString()!,
        a.GetProperty("started_at").GetDateTimeOffset(),
        a.GetProperty("finished_at").GetDateTimeOffset()));

    private static async Task<int> HeldAsync(Farm farm, string name) => (await farm.WorkersAsync())
        .Where(w => w.GetProperty("name").GetString() == name)
        .Sum(w => w.GetProperty("held").GetArrayLength());

    private static CliProcess StartWorker(Farm farm, string name) => CliProcess.Start(
        farm.Directory, "worker", "--farm", farm.Url, "--name", name, "--slots", "1", "--data", Path.Combine(farm.Directory, name));

    /// <summary>The log in which a worker keeps results; empty when all are acknowledged.</summary>
    private const string Log = "results.log";

    private static bool Kept(string directory) => new FileInfo(Path.Combine(directory, Log)) is { Exists: true, Length: > 0 };

    private static string[] Succeeded(JsonElement[] jobs) =>
        [.. jobs.Where(j => j.GetProperty("status").GetString() == "succeeded").Select(j => j.GetProperty("id").GetString()!)];

    private static void AssertEachSucceededOnce(JsonElement[] jobs)
    {
        Assert.Equal(jobs.Length, jobs.Select(j => j.GetProperty("id").GetString()).Distinct().Count());
        Assert.All(jobs, job =>
        {
            Assert.Equal("succeeded", job.GetProperty("status").GetString());
            Assert.True(job.GetProperty("attempts").EnumerateArray().Count(a => !a.TryGetProperty("failure", out var f) || f.ValueKind == JsonValueKind.Null) <= 1, job.GetRawText());
        });
    }

    /// <summary>Processes below a worker, at any depth.</summary>
    private static int[] JobHosts(int worker)
    {
        var parents = new Dictionary<int, int>();
        foreach (var directory in Directory.GetDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out var pid) && TryStat(pid) is { } stat)
            {
                parents[pid] = stat.Parent;
            }
        }

        bool Below(int pid) => parents.TryGetValue(pid, out var parent) && (parent == worker || (parent > 1 && Below(parent)));
        return [.. parents.Keys.Where(Below)];
    }

    private static bool IsAlive(int pid) => TryStat(pid) is { State: not 'Z' };

    private static (char State, int Parent)? TryStat(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            var rest = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return (rest[0][0], int.Parse(rest[1], CultureInfo.InvariantCulture));
        }
        catch (IOException)
        {
            return null;
        }
    }
}
