using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts.Wire;
using EdgeFarm.Toolchains.JobHosts.Worker;

namespace EdgeFarm.Toolchains.JobHosts;

/// <summary>Bounds of one child process.</summary>
/// <param name="Timeout">Longest run; then the child and its group are killed and the job is TimedOut.</param>
/// <param name="WorkingDirectory">An existing directory of the job's own; temporary files of the child go there too.</param>
/// <param name="MemoryLimitBytes">Private memory that the child may take beyond what it has at its start (Linux), and memory at which it is killed; mapped files do not count; 0 for no limit.</param>
/// <param name="LogBytes">Most bytes of the log that are kept.</param>
public sealed record JobHostLimits(TimeSpan Timeout, string WorkingDirectory, long MemoryLimitBytes = 0, int LogBytes = 4 << 20);

/// <summary>How a child ended. Exactly one of the first three is set.</summary>
/// <param name="Result">The engine's result.</param>
/// <param name="Probe">What a probe found.</param>
/// <param name="Failure">Why there is neither, with the tail of the log.</param>
/// <param name="PeakMemoryBytes">Most resident memory of the child; 0 when unknown.</param>
/// <param name="ProcessorTime">Processor time that the child used; zero when it did not come to tell.</param>
/// <param name="Log">What the child printed and its engine logged, in order of arrival, start and end of it.</param>
/// <param name="StartedAt">When it was started.</param>
/// <param name="FinishedAt">When it had ended.</param>
public sealed record JobHostRun(
    EngineResult? Result,
    EngineProbe? Probe,
    Failure? Failure,
    long PeakMemoryBytes,
    TimeSpan ProcessorTime,
    ReadOnlyMemory<byte> Log,
    DateTimeOffset StartedAt,
    DateTimeOffset FinishedAt);

/// <summary>
/// Runs jobs in child processes, any number at once. A child shares nothing with the worker but one channel and the pipes of its
/// standard output and error, ends with its worker, and is killed together with every process of its group.
/// </summary>
/// <param name="command">How to start a child.</param>
/// <param name="time">The worker's clock.</param>
public sealed class JobHostRunner(JobHostCommand command, TimeProvider time)
{
    /// <summary>
    /// Runs one job to its end. Never throws for what the child does: a crash, a kill and a protocol error are typed failures.
    /// Cancelling kills the child and gives the failure Cancelled.
    /// </summary>
    /// <param name="engine">Id of the engine.</param>
    /// <param name="job">The job, with its inputs in place.</param>
    /// <param name="limits">Its bounds.</param>
    /// <param name="progress">Told how far it is, at most some ten times a second.</param>
    /// <param name="cancellationToken">Kills the child.</param>
    public Task<JobHostRun> RunAsync(
        string engine, JobHostJob job, JobHostLimits limits, IProgress<JobHostProgress>? progress, CancellationToken cancellationToken) =>
        ServeAsync(new JobHostRequest { Engine = engine, Job = job, MemoryLimitBytes = limits.MemoryLimitBytes }, limits, progress, cancellationToken);

    /// <summary>Asks an engine what it is and can do here.</summary>
    /// <param name="engine">Id of the engine.</param>
    /// <param name="limits">Bounds of the child.</param>
    /// <param name="cancellationToken">Kills the child.</param>
    public Task<JobHostRun> ProbeAsync(string engine, JobHostLimits limits, CancellationToken cancellationToken) =>
        ServeAsync(new JobHostRequest { Engine = engine, Job = null, MemoryLimitBytes = limits.MemoryLimitBytes }, limits, null, cancellationToken);

    private async Task<JobHostRun> ServeAsync(
        JobHostRequest request, JobHostLimits limits, IProgress<JobHostProgress>? progress, CancellationToken cancellationToken)
    {
        var startedAt = time.GetUtcNow();
        var log = new BoundedLog(limits.LogBytes);
        var end = await new JobHostProcess(command, limits, log, time).RunAsync(request, progress, cancellationToken);
        var failure = end.Completed is { } completed ? completed.Failure : end.Failure;
        if (failure is not null && failure.LogTail.Length == 0)
        {
            failure = failure with { LogTail = log.LastLines() };
        }

        return new JobHostRun(
            end.Completed?.Result, end.Completed?.Probe, failure, Math.Max(end.PeakMemoryBytes, end.Completed?.PeakMemoryBytes ?? 0),
            TimeSpan.FromSeconds(end.Completed?.ProcessorSeconds ?? 0), log.ToArray(), startedAt, time.GetUtcNow());
    }
}
