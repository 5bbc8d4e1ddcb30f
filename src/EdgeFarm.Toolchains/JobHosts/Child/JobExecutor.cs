using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.Imports;
using EdgeFarm.Toolchains.JobHosts.Wire;

namespace EdgeFarm.Toolchains.JobHosts.Child;

/// <summary>Runs a request in this process; whatever is thrown becomes a typed failure.</summary>
internal static class JobExecutor
{
    public static JobHostMessage.Completed Probe(string engine, EngineRegistry registry) =>
        Guard(_ => { }, () =>
        {
            var created = registry.Create(engine);
            var probe = created.IsOk ? created.Value.Probe(CancellationToken.None) : created.Failure!;
            return new JobHostMessage.Completed(null, probe.IsOk ? probe.Value : null, probe.Failure);
        });

    public static JobHostMessage.Completed Run(string engine, JobHostJob job, EngineRegistry registry, Action<double, string> progress, Action<string> log) =>
        Guard(log, () =>
        {
            var context = new JobContext
            {
                Kind = job.Kind,
                Operation = job.Operation,
                Parameters = job.Parameters,
                Inputs = job.Inputs,
                OutputDirectory = job.OutputDirectory,
                DeviceId = job.DeviceId,
                AutoThreads = job.AutoThreads,
                Progress = progress,
                Log = log,
            };

            var result = job.Kind == JobKind.Import ? ImportJob.Run(context) : RunEngine(engine, registry, context);
            return new JobHostMessage.Completed(result.IsOk ? result.Value : null, null, Named(result.Failure, job));
        });

    /// <summary>The failure that an exception stands for.</summary>
    public static Failure ToFailure(Exception exception) => exception switch
    {
        FailureException carried => carried.Failure,
        TypeInitializationException { InnerException: { } inner } => ToFailure(inner),
        AggregateException { InnerExceptions: [var inner] } => ToFailure(inner),
        OutOfMemoryException => new Failure(FailureType.OutOfMemory, $"the job ran out of memory: {exception.Message} Give it a worker with more memory, or a smaller context or batch."),
        IOException io when IsDiskFull(io) => new Failure(FailureType.Internal, $"the disk is full: {io.Message}; free space in the worker's data directory or move it"),
        DllNotFoundException or BadImageFormatException or EntryPointNotFoundException => Failure.Unsupported(
            $"a native library of the engine cannot be used here: {exception.Message}"),
        _ => new Failure(FailureType.Internal, $"{exception.GetType().Name}: {exception.Message}"),
    };

    /// <summary>The user knows an input by its name, not by the directory in which it was laid out for this attempt.</summary>
    private static Failure? Named(Failure? failure, JobHostJob job)
    {
        foreach (var input in job.Inputs.Values)
        {
            failure = failure is null ? null : failure with { Message = failure.Message.Replace(input.Path, input.Artifact.FileName, StringComparison.Ordinal) };
        }

        return failure;
    }

    private static Outcome<EngineResult> RunEngine(string engine, EngineRegistry registry, JobContext context)
    {
        var created = registry.Create(engine);
        return created.IsOk ? created.Value.Run(context, CancellationToken.None) : created.Failure!;
    }

    private static JobHostMessage.Completed Guard(Action<string> log, Func<JobHostMessage.Completed> run)
    {
        try
        {
            return run();
        }
        catch (Exception e)
        {
            log(e.ToString());
            return new JobHostMessage.Completed(null, null, ToFailure(e));
        }
    }

    private static bool IsDiskFull(IOException e) =>
        e.HResult is 28 // ENOSPC, which the BCL hands on as it is
            or unchecked((int)0x80070070) or unchecked((int)0x80070027); // ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL
}
