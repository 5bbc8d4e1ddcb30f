using System.Diagnostics;
using System.Globalization;
using System.Reflection;
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

    /// <summary>Measures from the start of the successor, whose code is compiled anew as after any start.</summary>
    public static async Task RunAsync(FarmDatabaseOptions database, string connection, int jobs)
    {
        var last = JobSpec.MakeId(await KillAsync(connection, jobs), jobs - 1);
        var watch = Stopwatch.StartNew();
        await using var again = await BenchFarm.StartAsync(database);
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
        while ((await again.Farm.FleetAsync(CancellationToken.None)).QueueDepth.Values.Sum() < jobs)
        {
            await Task.Delay(50);
        }

        Console.WriteLine(
            $"recovery {jobs,8} waiting jobs after SIGKILL: coordinator up after {started.TotalSeconds:0.00} s, the sweep answers after {answered.TotalSeconds:0.00} s, "
            + $"all jobs looked up in the cache and queued after {watch.Elapsed.TotalSeconds:0.00} s; {Environment.WorkingSet >> 20} MiB resident");
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
