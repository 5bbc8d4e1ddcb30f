using System.Diagnostics;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Workers;

/// <summary>Tells log and trace what a worker runs, with the ids by which the coordinator's log and trace name it.</summary>
internal sealed partial class ObservedRunner(IJobRunner runner, string worker, ILogger<ObservedRunner> logger) : IJobRunner
{
    public async Task<JobOutcome> RunAsync(Lease lease, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        using var span = FarmTraces.StartJob(lease, worker);
        var (key, trace) = (lease.Key, FarmTraces.TraceIdOf(lease.TraceParent));
        LogStarts(worker, lease.Sweep, key.Attempt, key.JobId, lease.DeviceId, trace);
        var outcome = await runner.RunAsync(lease, progress, cancellationToken);
        var seconds = (outcome.FinishedAt - outcome.StartedAt).TotalSeconds;
        if (outcome.Failure is { } failure)
        {
            span?.SetStatus(ActivityStatusCode.Error, failure.Message);
            LogFailed(worker, lease.Sweep, key.Attempt, key.JobId, seconds, failure.Type, failure.Message, trace);
        }
        else
        {
            LogEnded(worker, lease.Sweep, key.Attempt, key.JobId, seconds, trace);
        }

        return outcome;
    }

    [LoggerMessage(LogLevel.Information, "worker {Worker}, sweep {Sweep}: attempt {Attempt} of job {Job} starts on device {Device}; trace {TraceId}")]
    private partial void LogStarts(string worker, string sweep, int attempt, string job, string device, string traceId);

    [LoggerMessage(LogLevel.Information, "worker {Worker}, sweep {Sweep}: attempt {Attempt} of job {Job} succeeded after {Seconds:0.0} s; trace {TraceId}")]
    private partial void LogEnded(string worker, string sweep, int attempt, string job, double seconds, string traceId);

    [LoggerMessage(LogLevel.Information, "worker {Worker}, sweep {Sweep}: attempt {Attempt} of job {Job} failed after {Seconds:0.0} s, {FailureType}: {Message}; trace {TraceId}")]
    private partial void LogFailed(string worker, string sweep, int attempt, string job, double seconds, FailureType failureType, string message, string traceId);
}
