using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Diagnostics;
using Akka.Hosting;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Bench.Dispatch;

/// <summary>The workers, in a process of their own so that the coordinator's CPU time and memory are its own.</summary>
internal static class BenchWorkers
{
    /// <summary>Runs until stdin closes. The line <c>starts</c> is answered with the runs since the last one, each as <c>JOB TIMESTAMP</c>, and a dot.</summary>
    public static async Task<int> RunAsync(ImmutableArray<Uri> farm, int workers, int slots, string directory)
    {
        var runner = new NoOpRunner();
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddAkka("worker", (akka, _) =>
        {
            akka.AddHocon("akka.loglevel = WARNING\nakka.stdout-loglevel = WARNING", HoconAddMode.Prepend);
            for (var i = 0; i < workers; i++)
            {
                var name = $"w{i}";

                // Each begins with another coordinator.
                var turn = i % farm.Length;
                akka.WithFarmWorker(
                    new FarmWorkerOptions(NoOpSweeps.Capability(name, slots), [.. farm[turn..], .. farm[..turn]]), runner, new DiskResultStore(Path.Combine(directory, name)));
            }
        });
        using var host = builder.Build();
        await host.StartAsync();
        using var self = Process.GetCurrentProcess();
        while (await Console.In.ReadLineAsync() is { } line)
        {
            if (line == "starts")
            {
                while (runner.Starts.TryDequeue(out var start))
                {
                    Console.Out.WriteLine($"{start.Job} {start.Timestamp}");
                }
            }

            self.Refresh();
            Console.Out.WriteLine($". {self.TotalProcessorTime.TotalSeconds:R}");
        }

        await host.StopAsync();
        return 0;
    }

    private sealed class NoOpRunner : IJobRunner
    {
        public ConcurrentQueue<(string Job, long Timestamp)> Starts { get; } = new();

        public Task<JobOutcome> RunAsync(Lease lease, IProgress<JobProgress> progress, CancellationToken cancellationToken)
        {
            Starts.Enqueue((lease.Job.Spec.Id, Stopwatch.GetTimestamp()));
            return Task.FromResult(NoOpSweeps.Succeed(lease.Job.Spec));
        }
    }
}
