using System.ComponentModel;
using System.Diagnostics;
using System.IO.Pipes;
using System.Security.Cryptography;
using System.Text;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts.Child;
using EdgeFarm.Toolchains.JobHosts.Wire;

namespace EdgeFarm.Toolchains.JobHosts.Worker;

/// <summary>How a child ended: by its own completion, or with the failure that the worker concluded.</summary>
internal sealed record ChildEnd(JobHostMessage.Completed? Completed, Failure? Failure, long PeakMemoryBytes);

/// <summary>
/// One child process from start to end. The channel is a Unix domain socket (a named pipe on Windows) with a random name that only the
/// same user may open, used for one connection. Nothing is inherited: the BCL opens every handle close-on-exec, so children that start
/// at the same time do not hold each other's pipes.
/// </summary>
internal sealed class JobHostProcess(JobHostCommand command, JobHostLimits limits, BoundedLog log, TimeProvider time)
{
    // A child needs some tenths of a second to its hello; on a loaded machine with a cold disk it may be many times that.
    private static readonly TimeSpan ConnectGrace = TimeSpan.FromSeconds(60);

    // After its completion a child exits at once; one that does not is killed, its result stands.
    private static readonly TimeSpan ExitGrace = TimeSpan.FromSeconds(5);

    // A process that left the group may hold the pipes open for ever; what it prints is not waited for.
    private static readonly TimeSpan DrainGrace = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan MemoryInterval = TimeSpan.FromMilliseconds(250);

    // CancellationTokenSource's own bound, some 49 days.
    private static readonly TimeSpan LongestTimeout = TimeSpan.FromMilliseconds(uint.MaxValue - 1);

    private readonly string _token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
    private readonly string _channel = ChannelName();
    private MemoryStatus _memory;
    private long _peak;
    private bool _overLimit;

    public async Task<ChildEnd> RunAsync(JobHostRequest request, IProgress<JobHostProgress>? progress, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return new ChildEnd(null, Cancelled(), 0);
        }

        var killsBefore = MemoryStatus.OutOfMemoryKills();
        await using var server = new NamedPipeServerStream(
            _channel, PipeDirection.InOut, 1, PipeTransmissionMode.Byte, PipeOptions.Asynchronous | PipeOptions.CurrentUserOnly);
        using var process = new Process { StartInfo = StartInfo() };
        try
        {
            process.Start();
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException or IOException)
        {
            return new ChildEnd(null, new Failure(FailureType.Internal, $"the job host '{command.FileName}' cannot be started: {e.Message}"), 0);
        }

        process.StandardInput.Close();
        var pid = process.Id;
        using var deadline = new CancellationTokenSource(limits.Timeout < LongestTimeout ? limits.Timeout : LongestTimeout, time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        using var drained = new CancellationTokenSource();
        var exited = process.WaitForExitAsync(CancellationToken.None);
        var pumps = Task.WhenAll(PumpAsync(process.StandardOutput.BaseStream, drained.Token), PumpAsync(process.StandardError.BaseStream, drained.Token));
        var memory = WatchMemoryAsync(pid, stop);
        var talk = TalkAsync(server, request, progress, stop.Token);
        var stopped = Task.Delay(Timeout.InfiniteTimeSpan, stop.Token);

        await Task.WhenAny(talk, exited, stopped);
        if (!stop.IsCancellationRequested)
        {
            // Whichever came first, the other follows: a completion exits, and after an exit what was sent is still to be read.
            var (follows, grace) = talk.IsCompleted ? (exited, ExitGrace) : (talk, DrainGrace);
            if (exited.IsCompleted)
            {
                // What the child forked holds its end of the channel open.
                ProcessControl.KillGroup(pid);
            }

            await Task.WhenAny(follows, stopped, Task.Delay(grace, CancellationToken.None));
        }

        var killed = !exited.IsCompleted;
        var overdue = deadline.IsCancellationRequested && !cancellationToken.IsCancellationRequested;
        var stoppedByUs = stop.IsCancellationRequested;
        await stop.CancelAsync();
        await KillAsync(process, pid, exited);
        await Task.WhenAny(pumps, Task.Delay(DrainGrace, CancellationToken.None));
        await drained.CancelAsync();
        await memory;
        var (completed, broken) = await talk;
        if (completed is not null)
        {
            if (killed)
            {
                log.AppendLine("[the job host did not exit after its result and was killed]");
            }

            return new ChildEnd(completed, null, _peak);
        }

        var failure =
            _overLimit ? OutOfMemory($"the job's memory exceeded the limit of {limits.MemoryLimitBytes} bytes")
            : stoppedByUs && overdue ? new Failure(FailureType.TimedOut, $"the job was killed: it did not end within {limits.Timeout.TotalSeconds:0.#} s; raise the timeout, or give it a faster device or less to do")
            : stoppedByUs ? Cancelled()
            : killed ? new Failure(FailureType.Crashed, broken ?? "the job host closed its channel without a result and was killed")
            : ExitStatus.ToFailure(process.ExitCode, broken, log.LastLines(), new ExitMemory(_memory, limits.MemoryLimitBytes, MemoryStatus.OutOfMemoryKills() - killsBefore));
        return new ChildEnd(null, failure, _peak);
    }

    private ProcessStartInfo StartInfo()
    {
        var info = new ProcessStartInfo(command.FileName)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            CreateNoWindow = true,
            WorkingDirectory = limits.WorkingDirectory,
        };
        foreach (var argument in (string[])[.. command.Arguments, "--channel", _channel])
        {
            info.ArgumentList.Add(argument);
        }

        foreach (var (name, value) in command.Environment)
        {
            info.Environment[name] = value;
        }

        info.Environment[JobHostWire.TokenVariable] = _token;
        info.Environment[OperatingSystem.IsWindows() ? "TEMP" : "TMPDIR"] = limits.WorkingDirectory;

        // An abort of ggml would start a debugger to print a backtrace. It must stand in the environment that C sees, from the start.
        info.Environment["GGML_NO_BACKTRACE"] = "1";

        // No debugger's sockets, which a killed child would leave behind, and no dumps of crashes, which are expected here.
        info.Environment["DOTNET_EnableDiagnostics"] = "0";
        info.Environment["DOTNET_DbgEnableMiniDump"] = "0";
        return info;
    }

    private async Task<(JobHostMessage.Completed? Completed, string? Broken)> TalkAsync(
        NamedPipeServerStream server, JobHostRequest request, IProgress<JobHostProgress>? progress, CancellationToken cancellationToken)
    {
        // Leaves the caller's thread: the first reads may complete at once.
        await Task.Yield();
        try
        {
            using (var connecting = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
            {
                connecting.CancelAfter(ConnectGrace);
                await AcceptAsync(server, connecting.Token);
            }

            await server.WriteAsync(MessageFrames.Encode(request, JobHostJson.Default.JobHostRequest), cancellationToken);
            while (await MessageFrames.ReadAsync(server, JobHostJson.Default.JobHostMessage, cancellationToken) is { } message)
            {
                switch (message)
                {
                    case JobHostMessage.Progressed p:
                        progress?.Report(new JobHostProgress(double.IsFinite(p.Fraction) ? Math.Clamp(p.Fraction, 0, 1) : 0, p.Text ?? ""));
                        break;
                    case JobHostMessage.Logged l:
                        log.AppendLine(l.Line ?? "");
                        break;
                    case JobHostMessage.Completed c:
                        return ((c.Result is null ? 0 : 1) + (c.Probe is null ? 0 : 1) + (c.Failure is null ? 0 : 1)) == 1
                            ? (c, null)
                            : (null, "the job host completed with no or several outcomes");
                    default:
                        return (null, "the job host sent a second hello");
                }
            }

            return (null, null);
        }
        catch (OperationCanceledException)
        {
            return (null, cancellationToken.IsCancellationRequested ? null : $"the job host did not connect within {ConnectGrace.TotalSeconds:0} s");
        }
        catch (Exception e) when (e is IOException or InvalidDataException or ObjectDisposedException)
        {
            return (null, $"the channel of the job host broke: {e.Message}");
        }
    }

    /// <summary>Waits for the child; whoever else connects is turned away.</summary>
    private async Task AcceptAsync(NamedPipeServerStream server, CancellationToken cancellationToken)
    {
        while (true)
        {
            await server.WaitForConnectionAsync(cancellationToken);
            try
            {
                if (await MessageFrames.ReadAsync(server, JobHostJson.Default.JobHostMessage, cancellationToken) is JobHostMessage.Hello hello
                    && hello.Version == JobHostWire.Version
                    && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(hello.Token ?? ""), Encoding.UTF8.GetBytes(_token)))
                {
                    // One connection only; and a worker that is killed leaves no socket behind.
                    DeleteSocket();
                    return;
                }
            }
            catch (Exception e) when (e is IOException or InvalidDataException)
            {
                log.AppendLine($"[a stranger on the channel: {e.Message}]");
            }

            server.Disconnect();
        }
    }

    private async Task PumpAsync(Stream stream, CancellationToken cancellationToken)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            int read;
            while ((read = await stream.ReadAsync(buffer, cancellationToken)) > 0)
            {
                log.Append(buffer.AsSpan(0, read));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
        {
        }
    }

    /// <summary>Follows the child's memory: a killed child can no longer tell its peak, and the limit on private memory does not see all kinds.</summary>
    private async Task WatchMemoryAsync(int pid, CancellationTokenSource stop)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            while (true)
            {
                await Task.Delay(MemoryInterval, stop.Token);
                var now = MemoryStatus.Of(pid);
                if (now.PeakBytes > 0)
                {
                    _memory = now;
                    _peak = Math.Max(_peak, now.PeakBytes);
                }

                if (limits.MemoryLimitBytes > 0 && now.OwnBytes > limits.MemoryLimitBytes + BaseBytes)
                {
                    _overLimit = true;
                    await stop.CancelAsync();
                }
            }
        }
        catch (OperationCanceledException)
        {
        }
    }

    // What the runtime itself has resident, which the limit does not count.
    private const long BaseBytes = 64L << 20;

    private static async Task KillAsync(Process process, int pid, Task exited)
    {
        ProcessControl.KillGroup(pid);
        try
        {
            process.Kill(entireProcessTree: OperatingSystem.IsWindows());
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception or AggregateException)
        {
            // It has ended already.
        }

        await exited;

        // A child that was killed before it led its group may have left others, none of them in a group of its own yet.
        ProcessControl.KillGroup(pid);
    }

    private void DeleteSocket()
    {
        if (!OperatingSystem.IsWindows())
        {
            File.Delete(_channel);
        }
    }

    private static string ChannelName()
    {
        var name = $"edgefarm-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12))}";
        if (OperatingSystem.IsWindows())
        {
            return name;
        }

        // A socket's address has room for some hundred bytes.
        var path = Path.Combine(Path.GetTempPath(), name);
        return Encoding.UTF8.GetByteCount(path) <= 100 ? path : Path.Combine("/tmp", name);
    }

    private static Failure Cancelled() => new(FailureType.Cancelled, "the job was cancelled and killed");

    private static Failure OutOfMemory(string what) =>
        new(FailureType.OutOfMemory, $"{what}; give it a worker with more memory, or a smaller context or batch");
}
