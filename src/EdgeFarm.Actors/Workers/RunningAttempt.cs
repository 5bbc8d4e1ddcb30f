using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Actors.Workers;

/// <summary>One attempt on this worker while it runs.</summary>
#pragma warning disable CA1001 // Killed and ended in any order by two threads; a source without timer or wait handle holds nothing to dispose.
internal sealed class RunningAttempt(Lease lease) : IProgress<JobProgress>
#pragma warning restore CA1001
{
    private readonly CancellationTokenSource _kill = new();
    private readonly Lock _lock = new();
    private JobProgress? _latest;
    private string _reason = "";

    public Lease Lease { get; } = lease;

    public void Kill(string reason)
    {
        _reason = reason;
        _kill.Cancel();
    }

    public void Report(JobProgress value)
    {
        lock (_lock)
        {
            _latest = value;
        }
    }

    /// <summary>The newest progress, once.</summary>
    public JobProgress? TakeProgress()
    {
        lock (_lock)
        {
            var latest = _latest;
            _latest = null;
            return latest;
        }
    }

    /// <summary>Runs to the end; whatever happens becomes an outcome that the link can carry.</summary>
    public async Task<JobOutcome> RunAsync(IJobRunner runner, TimeProvider time)
    {
        var started = time.GetUtcNow();
        JobOutcome Failed(Failure failure) => new(null, failure, default, started, time.GetUtcNow());
        try
        {
            var outcome = await runner.RunAsync(Lease, this, _kill.Token);
            var size = LinkMapping.ToLink(outcome).CalculateSize();
            return size <= LinkProtocol.MaxResultBytes
                ? outcome
                : Failed(new Failure(
                    FailureType.Internal,
                    $"the result of {Lease.Job.Spec.Operation} takes {size} bytes, more than the {LinkProtocol.MaxResultBytes} that a worker link carries; put what is large into an output"));
        }
        catch (OperationCanceledException) when (_kill.IsCancellationRequested)
        {
            return Failed(new Failure(FailureType.Cancelled, _reason));
        }
        catch (Exception e)
        {
            return Failed(new Failure(FailureType.Internal, $"the worker could not run {Lease.Job.Spec.Operation}: {e.Message}", e.ToString()));
        }
    }
}
