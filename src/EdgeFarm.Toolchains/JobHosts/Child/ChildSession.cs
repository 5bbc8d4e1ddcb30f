using System.IO.Pipes;
using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts.Wire;

namespace EdgeFarm.Toolchains.JobHosts.Child;

/// <summary>
/// The child's side of one job. The process lives as long as its worker: a thread of its own waits for the end of the channel and then
/// kills the process and its group, even while an engine is stuck in native code. (Linux's parent-death signal would not do: it fires
/// when the <em>thread</em> that started the child ends, and worker threads come and go.)
/// </summary>
internal sealed class ChildSession
{
    private const int ConnectTimeoutMs = 3_000;
    private const int ProgressIntervalMs = 100;
    private const int MaxLineChars = 16 * 1024;

    private readonly Stream _stream;
    private readonly Lock _sending = new();
    private bool _completed;
    private long _lastProgress = long.MinValue / 2;

    private ChildSession(Stream stream) => _stream = stream;

    /// <summary>Serves one request and ends the process; returns an exit code only when there was none to serve.</summary>
    public static int Run(string channel, EngineRegistry registry)
    {
        ProcessControl.LeadGroup();
        ProcessControl.BeExpendable();
        var token = Environment.GetEnvironmentVariable(JobHostWire.TokenVariable) ?? "";
        Environment.SetEnvironmentVariable(JobHostWire.TokenVariable, null);
        using var pipe = new NamedPipeClientStream(".", channel, PipeDirection.InOut, PipeOptions.Asynchronous | PipeOptions.CurrentUserOnly);
        JobHostRequest? request;
        try
        {
            pipe.Connect(ConnectTimeoutMs);
            pipe.Write(MessageFrames.Encode(new JobHostMessage.Hello(token, JobHostWire.Version), JobHostJson.Default.JobHostMessage));
            request = MessageFrames.ReadAsync(pipe, JobHostJson.Default.JobHostRequest, CancellationToken.None).AsTask().GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is IOException or TimeoutException or InvalidDataException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"no worker on the channel: {e.Message}");
            return 3;
        }

        if (request is null)
        {
            return 3;
        }

        new ChildSession(pipe).Serve(request, registry);
        return 0;
    }

    private void Serve(JobHostRequest request, EngineRegistry registry)
    {
        new Thread(DieWithWorker) { IsBackground = true, Name = "worker watch" }.Start();

        // What escapes on another thread would abort the process: the reason goes to the worker first.
        AppDomain.CurrentDomain.UnhandledException += (_, e) =>
        {
            var exception = e.ExceptionObject as Exception ?? new InvalidOperationException($"an engine threw {e.ExceptionObject}");
            Log(exception.ToString());
            Complete(new JobHostMessage.Completed(null, null, JobExecutor.ToFailure(exception)));
        };

        JobHostMessage.Completed completed;
        try
        {
            ProcessControl.LimitMemory(request.MemoryLimitBytes);
            completed = request.Job is { } job
                ? JobExecutor.Run(request.Engine, job, registry, Progress, Log)
                : JobExecutor.Probe(request.Engine, registry);
        }
        catch (InvalidOperationException e)
        {
            completed = new JobHostMessage.Completed(null, null, new Failure(FailureType.Internal, e.Message));
        }

        Complete(completed);
    }

    private void Complete(JobHostMessage.Completed completed)
    {
        completed = completed with { PeakMemoryBytes = MemoryStatus.OfSelf().PeakBytes, ProcessorSeconds = Environment.CpuUsage.TotalTime.TotalSeconds };
        byte[] frame;
        try
        {
            frame = MessageFrames.Encode(completed, JobHostJson.Default.JobHostMessage);
        }
        catch (Exception e)
        {
            // E.g. a sample that is not a number, a default ImmutableArray, or a result beyond the bound: the engine's bug.
            var failure = new Failure(FailureType.Internal, $"the engine's result cannot be sent: {e.Message}");
            frame = MessageFrames.Encode(completed with { Result = null, Probe = null, Failure = failure }, JobHostJson.Default.JobHostMessage);
        }

        lock (_sending)
        {
            if (_completed)
            {
                return;
            }

            _completed = true;
            ProcessControl.FlushStandardStreams();
            TryWrite(frame);
            ProcessControl.ExitNow(0);
        }
    }

    private void Progress(double fraction, string text)
    {
        var now = Environment.TickCount64;
        if (now - Volatile.Read(ref _lastProgress) < ProgressIntervalMs)
        {
            return;
        }

        Volatile.Write(ref _lastProgress, now);
        Send(new JobHostMessage.Progressed(double.IsFinite(fraction) ? Math.Clamp(fraction, 0, 1) : 0, Cut(text)));
    }

    private void Log(string line) => Send(new JobHostMessage.Logged(Cut(line)));

    private void Send(JobHostMessage message)
    {
        try
        {
            var frame = MessageFrames.Encode(message, JobHostJson.Default.JobHostMessage);
            lock (_sending)
            {
                if (!_completed)
                {
                    TryWrite(frame);
                }
            }
        }
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            // Text that is no Unicode text; progress and log never throw into an engine.
        }
    }

    private void TryWrite(byte[] frame)
    {
        try
        {
            _stream.Write(frame);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The worker is gone; the watch ends this process.
        }
    }

    private void DieWithWorker()
    {
        try
        {
            // The worker says nothing after its request, so anything that comes here ends the job.
            _stream.ReadByte();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
        }

        ProcessControl.KillOwnGroup();
    }

    private static string Cut(string text) => text.Length <= MaxLineChars ? text : text[..MaxLineChars] + " ...";
}
