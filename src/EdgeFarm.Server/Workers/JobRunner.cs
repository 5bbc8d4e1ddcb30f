using System.Collections.Immutable;
using System.Diagnostics;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Artifacts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Server.Workers;

/// <summary>What a job runner must know of its worker.</summary>
/// <param name="ScratchDirectory">Directory of this worker alone; it is emptied at the start and after every attempt.</param>
/// <param name="Host">The machine.</param>
/// <param name="MemoryLimitBytes">Most private memory of one job; 0 for no limit. Without one the kernel may kill the worker for what a job takes.</param>
public sealed record JobRunnerSettings(string ScratchDirectory, HostReport Host, long MemoryLimitBytes)
{
    /// <summary>Nine tenths of the memory that the machine or the worker's cgroup has.</summary>
    public static long DefaultMemoryLimit(HostReport host) =>
        host.Properties.GetValueOrDefault(HostPropertyNames.MemoryLimit)?.Number is { } bytes ? (long)(bytes * 0.9) : 0;

    /// <summary>
    /// Shared jobs that this machine runs at once, whatever worker runs them; at least 1. Each gets its part of the cores: engines'
    /// threads spin while they wait, so that two jobs with a thread for every core take many times as long as one after the other.
    /// </summary>
    public int SharedJobs { get; init; } = 1;

    /// <summary>What <c>threads: auto</c> means for a job: all cores for a benchmark, which owns the machine, else its part.</summary>
    public int AutoThreads(bool exclusive) => exclusive ? Host.AutoThreads : Math.Max(1, Host.AutoThreads / Math.Max(1, SharedJobs));
}

/// <summary>
/// Runs leases on this machine: fetches inputs, takes the machine's lock, runs the job host, stores and uploads what it made and its log.
/// Transfer and execution have deadlines of their own. Safe to call for several leases at once.
/// </summary>
public sealed class JobRunner : IJobRunner
{
    // Less is left by no job that did not run out of space.
    private const long FullDiskBytes = 1 << 20;

    private readonly JobRunnerSettings _settings;
    private readonly IArtifactStore _store;
    private readonly IArtifactExchange _farm;
    private readonly JobHostRunner _hosts;
    private readonly MachineLock _machine;
    private readonly TimeProvider _time;

    /// <summary>A runner; removes what an earlier one left in the scratch directory.</summary>
    /// <param name="settings">Its worker.</param>
    /// <param name="store">The worker's store.</param>
    /// <param name="farm">The farm's artifacts.</param>
    /// <param name="hosts">Starts children.</param>
    /// <param name="machine">The machine's lock.</param>
    /// <param name="time">The worker's clock.</param>
    public JobRunner(
        JobRunnerSettings settings, IArtifactStore store, IArtifactExchange farm, JobHostRunner hosts, MachineLock machine, TimeProvider time)
    {
        (_settings, _store, _farm, _hosts, _machine, _time) = (settings, store, farm, hosts, machine, time);
        ScratchSpace.Clean(settings.ScratchDirectory);
    }

    /// <inheritdoc/>
    public async Task<JobOutcome> RunAsync(Lease lease, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        var startedAt = _time.GetUtcNow();
        Failure failure;
        try
        {
            using var scratch = ScratchSpace.Create(_settings.ScratchDirectory);
            return await RunAsync(lease, scratch, progress, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            failure = new Failure(FailureType.Cancelled, "the attempt was cancelled before its child ran or while its outputs were uploaded");
        }
        catch (FailureException e)
        {
            failure = e.Failure;
        }
        catch (Exception e)
        {
            failure = new Failure(FailureType.Internal, $"the worker could not run the job: {e.Message}");
        }

        return new JobOutcome(null, failure, default, startedAt, _time.GetUtcNow());
    }

    private async Task<JobOutcome> RunAsync(Lease lease, ScratchSpace scratch, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        var spec = lease.Job.Spec;
        JobHostJob job;
        JobHostRun run;
        JobResult? measured;

        // A benchmark takes the lock twice; both waits together stay within what its lease allows for waiting.
        var patience = new Patience(lease.ExecutionTimeout);

        // Moving and hashing files disturbs a benchmark of another farm on this machine as much as computing does.
        using (var shared = await LockAsync(lease, patience, exclusive: false, progress, cancellationToken))
        {
            job = await PrepareAsync(lease, scratch, progress, cancellationToken);
            if (!spec.IsExclusive)
            {
                (run, measured) = await ExecuteAsync(lease, job, scratch, progress, cancellationToken);
                return await FinishAsync(lease, scratch, run, measured, progress, cancellationToken);
            }
        }

        using (var alone = await LockAsync(lease, patience, exclusive: true, progress, cancellationToken))
        {
            (run, measured) = await ExecuteAsync(lease, job, scratch, progress, cancellationToken);
        }

        return await FinishAsync(lease, scratch, run, measured, progress, cancellationToken);
    }

    /// <summary>What is left of the time that an attempt may wait for its machine.</summary>
    private sealed class Patience(TimeSpan left)
    {
        public TimeSpan Left { get; set; } = left;
    }

    private async Task<IDisposable> LockAsync(Lease lease, Patience patience, bool exclusive, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        // Whoever holds the machine is done after an execution of its own; what takes longer is another farm's, and this one does not wait for ever.
        var since = _time.GetTimestamp();
        using var deadline = new CancellationTokenSource(patience.Left, _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        try
        {
            var taken = await _machine.AcquireAsync(exclusive, text => progress.Report(new JobProgress(0, text)), both.Token);
            var left = patience.Left - _time.GetElapsedTime(since);
            patience.Left = left > TimeSpan.Zero ? left : TimeSpan.Zero;
            return taken.IsOk ? taken.Value : throw new FailureException(taken.Failure!);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new FailureException(new Failure(
                FailureType.TimedOut, $"the machine was not free within {lease.ExecutionTimeout.TotalSeconds:0} s: other jobs or another farm's benchmark hold it"));
        }
    }

    private async Task<JobHostJob> PrepareAsync(Lease lease, ScratchSpace scratch, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        var inputs = ImmutableSortedDictionary.CreateBuilder<string, InputFile>(StringComparer.Ordinal);
        await TransferAsync(lease, FarmTraces.TransferIn, "its inputs could not be fetched", async token =>
        {
            foreach (var (name, artifact) in lease.Job.Inputs)
            {
                var held = await _store.StatAsync(artifact.Digest, token);
                if (Check(held) is null)
                {
                    progress.Report(new JobProgress(0, $"fetching {artifact.FileName}"));
                    Throw(await _farm.FetchAsync(artifact, token));
                }

                var path = scratch.InputPath(name, artifact);
                _ = Check(await _store.MaterializeAsync(artifact.Digest, path, MaterializeMode.Link, token));
                inputs[name] = new InputFile(path, artifact);
            }
        }, cancellationToken);

        var spec = lease.Job.Spec;
        return new JobHostJob
        {
            Kind = spec.Kind,
            Operation = spec.Operation,
            Parameters = spec.Parameters,
            Inputs = inputs.ToImmutable(),
            OutputDirectory = scratch.Output,
            DeviceId = lease.DeviceId,
            AutoThreads = _settings.AutoThreads(spec.IsExclusive),
        };
    }

    /// <summary>Runs the child between two looks at the machine; the result has its environment, flags and peak memory.</summary>
    private async Task<(JobHostRun Run, JobResult? Result)> ExecuteAsync(
        Lease lease, JobHostJob job, ScratchSpace scratch, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        using var activity = FarmTraces.StartPart(FarmTraces.Execute);
        var limits = new JobHostLimits(lease.ExecutionTimeout, scratch.Work, _settings.MemoryLimitBytes);
        var before = EnvironmentSnapshot.Capture(_time, _settings.Host.Properties);
        var run = await _hosts.RunAsync(lease.Job.Spec.Engine.Id, job, limits, new Relay(progress), cancellationToken);
        var after = EnvironmentSnapshot.Capture(_time, _settings.Host.Properties);
        if (run.Result is not { } engine)
        {
            activity?.SetStatus(ActivityStatusCode.Error, run.Failure?.Message);
            return (run, null);
        }

        var result = engine.Result with
        {
            Environment = EnvironmentSnapshot.Describe(before, after, run.ProcessorTime).SetItems(engine.Result.Environment),
        };
        if (engine.Result.Engine is { } ran && ran != lease.Job.Spec.Engine)
        {
            result = result with { Warnings = result.Warnings.Add($"planned for {lease.Job.Spec.Engine}, run by {ran}: this worker has another build") };
        }

        if (job.Kind != JobKind.Benchmark)
        {
            return (run, result);
        }

        var peak = run.PeakMemoryBytes > 0 && result.Measurements.All(m => m.Metric != "peak_memory")
            ? ImmutableArray.Create(new Measurement("peak_memory", [run.PeakMemoryBytes], lease.Job.Spec.Engine.Id))
            : [];
        return (run, result with
        {
            Measurements = result.Measurements.AddRange(peak),
            Flags = result.Flags.Union(EnvironmentSnapshot.Flags(before, after, run.ProcessorTime)),
        });
    }

    private async Task<JobOutcome> FinishAsync(
        Lease lease, ScratchSpace scratch, JobHostRun run, JobResult? result, IProgress<JobProgress> progress, CancellationToken cancellationToken)
    {
        if (run.Failure is { Type: FailureType.Cancelled })
        {
            return new JobOutcome(null, run.Failure, default, run.StartedAt, run.FinishedAt);
        }

        var log = await StoreLogAsync(scratch, run, cancellationToken);
        var failure = run.Failure;
        var outputs = ImmutableSortedDictionary.CreateBuilder<string, ArtifactRef>(StringComparer.Ordinal);
        try
        {
            if (result is not null)
            {
                await StoreOutputsAsync(lease, scratch, run.Result!, outputs, cancellationToken);
            }
            else if (failure is { Type: FailureType.Internal or FailureType.Crashed or FailureType.Unsupported } && scratch.FreeBytes < FullDiskBytes)
            {
                // Native writers report a full disk as anything but that.
                failure = failure with { Type = FailureType.Internal, Message = $"the worker's disk is full: free space in its data directory or move it ({failure.Message})" };
            }

            progress.Report(new JobProgress(1, "uploading"));
            await TransferAsync(lease, FarmTraces.TransferOut, "its outputs could not be uploaded", async token =>
            {
                foreach (var output in outputs.Values.Where(o => !lease.Job.Inputs.Values.Any(i => i.Digest == o.Digest)))
                {
                    Throw(await _farm.UploadAsync(new StoredArtifact(output.Digest, output.Kind, output.Size), token));
                }

                if (log is not null && await _farm.UploadAsync(log, token) is not null)
                {
                    // The result is worth more than its log.
                    log = null;
                }
            }, cancellationToken);
        }
        catch (FailureException e)
        {
            failure ??= e.Failure;
        }

        var digest = log?.Digest ?? default;
        return failure is null
            ? new JobOutcome(result! with { Outputs = outputs.ToImmutable(), Log = digest }, null, digest, run.StartedAt, run.FinishedAt)
            : new JobOutcome(null, failure, digest, run.StartedAt, run.FinishedAt);
    }

    private async Task StoreOutputsAsync(
        Lease lease, ScratchSpace scratch, EngineResult engine, ImmutableSortedDictionary<string, ArtifactRef>.Builder outputs, CancellationToken cancellationToken)
    {
        foreach (var output in engine.Outputs)
        {
            if (output.SameAsInput is { } input)
            {
                outputs[output.Name] = lease.Job.Inputs.TryGetValue(input, out var same)
                    ? same with { Format = output.Format }
                    : throw Broken($"names the output '{output.Name}' as its input '{input}', which it does not have");
                continue;
            }

            var path = scratch.OutputPath(output.FileName);
            if (path is null || !(File.Exists(path) || Directory.Exists(path)))
            {
                throw Broken($"names the output '{output.Name}' as the file '{output.FileName}', which it did not write");
            }

            outputs[output.Name] = Check(await _store.ImportAsync(path, ImportMode.Take, cancellationToken)).ToRef(output.Format, output.FileName);
        }

        if (lease.Job.Spec.Outputs.FirstOrDefault(o => !outputs.ContainsKey(o)) is { } missing)
        {
            throw Broken($"did not make the output '{missing}'");
        }

        FailureException Broken(string what) => new(new Failure(FailureType.Internal, $"the engine {lease.Job.Spec.Engine.Id} {what} ({lease.Job.Spec.Operation})"));
    }

    private async Task<StoredArtifact?> StoreLogAsync(ScratchSpace scratch, JobHostRun run, CancellationToken cancellationToken)
    {
        if (run.Log.IsEmpty)
        {
            return null;
        }

        try
        {
            await File.WriteAllBytesAsync(scratch.Log, run.Log, cancellationToken);
            var stored = await _store.ImportAsync(scratch.Log, ImportMode.Take, cancellationToken);
            return stored.IsOk ? stored.Value : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private async Task TransferAsync(Lease lease, string span, string failed, Func<CancellationToken, Task> transfer, CancellationToken cancellationToken)
    {
        using var activity = FarmTraces.StartPart(span);
        using var deadline = new CancellationTokenSource(lease.TransferTimeout, _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        try
        {
            await transfer(both.Token);
        }
        catch (FailureException e)
        {
            activity?.SetStatus(ActivityStatusCode.Error, e.Failure.Message);
            throw;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            var failure = new Failure(
                FailureType.Internal, $"{failed} within {lease.TransferTimeout.TotalSeconds:0} s; the network between worker and farm is too slow, or the farm is down");
            activity?.SetStatus(ActivityStatusCode.Error, failure.Message);
            throw new FailureException(failure);
        }
    }

    private static T Check<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);

    private static void Throw(Failure? failure)
    {
        if (failure is not null)
        {
            throw new FailureException(failure);
        }
    }

    private sealed class Relay(IProgress<JobProgress> progress) : IProgress<JobHostProgress>
    {
        public void Report(JobHostProgress value) => progress.Report(new JobProgress(value.Fraction, value.Text));
    }
}
