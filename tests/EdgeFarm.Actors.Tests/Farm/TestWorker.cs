using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Akka.Hosting;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>A worker in an actor system of its own, linked over real gRPC.</summary>
internal sealed class TestWorker : IAsyncDisposable
{
    private readonly IHost _host;

    private TestWorker(IHost host) => _host = host;

    public static async Task<TestWorker> StartAsync(string name, Uri farm, IJobRunner runner, string directory, string? host = null, TimeSpan drain = default, int slots = 2, IResultStore? results = null)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddSingleton(TimeProvider.System);
        var options = new FarmWorkerOptions(TestPlans.Capability(name, host ?? $"host-{name}", slots), [farm]) { DrainGrace = drain };
        builder.Services.AddAkka(
            "worker",
            (akka, _) => akka.AddHocon(TestFarm.TestConfig, HoconAddMode.Prepend)
                .WithFarmWorker(options, runner, results ?? new DiskResultStore(Path.Combine(directory, name))));
        var worker = new TestWorker(builder.Build());
        await worker._host.StartAsync();
        return worker;
    }

    /// <summary>Ends it as a crash would: nothing is drained, handed back or said.</summary>
    public async Task KillAsync()
    {
        var system = (ExtendedActorSystem)_host.Services.GetRequiredService<ActorSystem>();
        system.Guardian.Stop();
        await system.WhenTerminated;
    }

    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync();
        _host.Dispose();
    }
}

/// <summary>Runs jobs as the test says: at once, or when a gate opens.</summary>
internal sealed class TestRunner : IJobRunner
{
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _gates = new();

    /// <summary>Leases in the order in which they were started here.</summary>
    public ConcurrentQueue<Lease> Started { get; } = new();

    /// <summary>Attempts that were killed.</summary>
    public ConcurrentQueue<Lease> Killed { get; } = new();

    /// <summary>How a job ends; by default it succeeds.</summary>
    public Func<Lease, JobOutcome> Outcome { get; set; } = TestPlans.Succeed;

    /// <summary>Holds a job until <see cref="Open"/>.</summary>
    public void Hold(string job) => _gates[job] = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Open(string job) => _gates[job].TrySetResult();

    public bool HasStarted(string job) => Started.Any(l => l.Job.Spec.Id == job);

    public async Task<JobOutcome> RunAsync(Lease lease, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        progress.Report(new JobProgress(0.5, "halfway"));
        Started.Enqueue(lease);
        if (_gates.TryGetValue(lease.Job.Spec.Id, out var gate))
        {
            try
            {
                await gate.Task.WaitAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                Killed.Enqueue(lease);
                throw;
            }
        }

        return Outcome(lease);
    }
}

/// <summary>A disk that cannot be read the first times.</summary>
internal sealed class UnreadableResults(IResultStore inner, int failures) : IResultStore
{
    private int _loads;

    public int Loads => Volatile.Read(ref _loads);

    public Task<ImmutableArray<PendingResult>> LoadAsync(CancellationToken cancellationToken) =>
        Interlocked.Increment(ref _loads) <= failures ? throw new IOException("the disk does not answer") : inner.LoadAsync(cancellationToken);

    public Task KeepAsync(PendingResult result, CancellationToken cancellationToken) => inner.KeepAsync(result, cancellationToken);

    public Task ForgetAsync(AttemptKey key, CancellationToken cancellationToken) => inner.ForgetAsync(key, cancellationToken);
}
