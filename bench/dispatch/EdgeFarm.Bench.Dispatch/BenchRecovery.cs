using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using Microsoft.Data.Sqlite;

namespace EdgeFarm.Bench.Dispatch;

/// <summary>A coordinator with a large sweep is killed; another takes over its database.</summary>
internal static class BenchRecovery
{
    private const string Held = "held ";

    /// <summary>The one that is killed: submits, waits for the rows, says the sweep's id, and goes on until it dies.</summary>
    public static async Task<int> HoldAsync(string connection, int jobs)
    {
        var sweep = $"r-{Guid.NewGuid():N}"[..12];
        await using var farm = await BenchFarm.StartAsync(Database(connection));
        var watch = Stopwatch.StartNew();
        await BenchRun.SubmitAsync(farm, NoOpSweeps.Make(sweep, jobs, sweep));
        var submitted = watch.Elapsed;
        await farm.ViewAsync(sweep);
        Console.Error.WriteLine($"submitted in {submitted.TotalSeconds:0.0} s, rows after {watch.Elapsed.TotalSeconds:0.0} s, {Environment.WorkingSet >> 20} MiB resident");
        Console.Out.WriteLine(Held + sweep);
        await Task.Delay(Timeout.Infinite);
        return 0;
    }

    /// <summary>Both: the successor is this process, whose code is compiled anew as after any start.</summary>
    public static async Task RunAsync(string connection, int jobs) => await RecoverAsync(connection, await KillAsync(connection, jobs), jobs);

    /// <summary>The successor: measures from its start.</summary>
    public static async Task<int> RecoverAsync(string connection, string sweep, int jobs)
    {
        var last = JobSpec.MakeId(sweep, jobs - 1);
        using var self = Process.GetCurrentProcess();
        var (watch, cpu) = (Stopwatch.StartNew(), self.TotalProcessorTime);
        await using var again = await BenchFarm.StartAsync(Database(connection));
        var started = watch.Elapsed;
        while (true)
        {
            try
            {
                var answer = await again.Farm.ExplainAsync(last, CancellationToken.None);
                BenchRun.Check(answer.Value.Job.Status == JobStatus.Waiting, $"{last} is {answer.Value.Job.Status} after the restart");
                break;
            }
            catch (FarmUnavailableException)
            {
                // It still replays.
            }
        }

        var answered = watch.Elapsed;
        self.Refresh();
        var spent =
            $"{(self.TotalProcessorTime - cpu).TotalSeconds:0.0} s CPU, {JitInfo.GetCompilationTime().TotalSeconds:0.0} s compiling, {GC.GetTotalPauseDuration().TotalSeconds:0.0} s paused for the collector, {GC.GetTotalAllocatedBytes() >> 20} MiB allocated";
        while ((await again.Farm.FleetAsync(CancellationToken.None)).QueueDepth.Values.Sum() < jobs)
        {
            await Task.Delay(50);
        }

        Console.WriteLine(
            $"recovery {jobs,8} waiting jobs after SIGKILL: coordinator up after {started.TotalSeconds:0.00} s, the sweep answers after {answered.TotalSeconds:0.00} s ({spent}), "
            + $"all jobs looked up in the cache and queued after {watch.Elapsed.TotalSeconds:0.00} s; {Environment.WorkingSet >> 20} MiB resident");
        return 0;
    }

    private static async Task<string> KillAsync(string connection, int jobs)
    {
        var info = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true };
        string[] arguments = [Assembly.GetExecutingAssembly().Location, "hold", connection, jobs.ToString(CultureInfo.InvariantCulture)];
        Array.ForEach(arguments, info.ArgumentList.Add);
        using var holder = Process.Start(info)!;
        string? sweep = null;
        while (sweep is null && await holder.StandardOutput.ReadLineAsync() is { } line)
        {
            sweep = line.StartsWith(Held, StringComparison.Ordinal) ? line[Held.Length..] : null;
        }

        holder.Kill();
        await holder.WaitForExitAsync();
        return sweep ?? throw new InvalidOperationException("the coordinator ended before its sweep was held");
    }

    private static FarmDatabaseOptions Database(string connection) => connection.StartsWith("Data Source=", StringComparison.OrdinalIgnoreCase)
        ? FarmDatabaseOptions.SqliteFile(new SqliteConnectionStringBuilder(connection).DataSource)
        : FarmDatabaseOptions.PostgreSql(connection);
}
