using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace EdgeFarm.Cluster.Tests.Harness;

/// <summary>What a run of the command line gave.</summary>
internal sealed record CliRun(int ExitCode, string Output, string Errors)
{
    /// <summary>The JSON document on stdout; fails the test when there is anything else.</summary>
    public JsonElement Json()
    {
        try
        {
            return JsonDocument.Parse(Output).RootElement;
        }
        catch (JsonException e)
        {
            throw new InvalidOperationException($"stdout is no JSON document ({e.Message}); exit {ExitCode}\n{Output}\n{Errors}");
        }
    }

    public CliRun Expect(int exitCode) =>
        ExitCode == exitCode ? this : throw new InvalidOperationException($"exit {ExitCode}, expected {exitCode}\n--- stdout\n{Output}\n--- stderr\n{Errors}");
}

/// <summary>Starts the real command line.</summary>
internal static class Cli
{
    /// <summary>Longest that any one command of a test may take; a bound against hanging, not a measurement.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(15);

    public static ProcessStartInfo StartInfo(
        string workingDirectory, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null, string? networkNamespace = null)
    {
        var info = new ProcessStartInfo(networkNamespace is null ? "dotnet" : "ip")
        {
            WorkingDirectory = workingDirectory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        if (networkNamespace is not null)
        {
            foreach (var word in (string[])["netns", "exec", networkNamespace, "dotnet"])
            {
                info.ArgumentList.Add(word);
            }
        }

        info.ArgumentList.Add(Checkout.EdgeFarmDll);
        foreach (var argument in arguments)
        {
            info.ArgumentList.Add(argument);
        }

        info.Environment.Remove("EDGEFARM_URL");
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            info.Environment[name] = value;
        }

        return info;
    }

    public static async Task<CliRun> RunAsync(string workingDirectory, params string[] arguments)
    {
        using var process = Process.Start(StartInfo(workingDirectory, arguments))!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        using var timeout = new CancellationTokenSource(Patience);
        try
        {
            await process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"edgefarm {string.Join(' ', arguments)} did not end\n{await output}\n{await errors}");
        }

        return new CliRun(process.ExitCode, await output, await errors);
    }
}

/// <summary>A long-running verb (<c>up</c>, <c>worker</c>) as a process, with its output kept for a failing test's message.</summary>
internal sealed class CliProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _log = new();

    private CliProcess(Process process)
    {
        _process = process;
        process.OutputDataReceived += (_, e) => Append(e.Data);
        process.ErrorDataReceived += (_, e) => Append(e.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    public string Log
    {
        get
        {
            lock (_log)
            {
                return _log.ToString();
            }
        }
    }

    public static CliProcess Start(string workingDirectory, params string[] arguments) =>
        new(Process.Start(Cli.StartInfo(workingDirectory, arguments))!);

    public static CliProcess Start(string workingDirectory, IReadOnlyDictionary<string, string> environment, string? networkNamespace, params string[] arguments) =>
        new(Process.Start(Cli.StartInfo(workingDirectory, arguments, environment, networkNamespace))!);

    /// <summary>SIGTERM, and the exit code when it has ended.</summary>
    public async Task<int> TerminateAsync()
    {
        Signals.Send(_process.Id, Signals.Terminate);
        using var limit = new CancellationTokenSource(Cli.Patience);
        await _process.WaitForExitAsync(limit.Token);
        return _process.ExitCode;
    }

    /// <summary>SIGKILL of this process alone: its children must find out by themselves.</summary>
    public async Task KillAsync()
    {
        _process.Kill(entireProcessTree: false);
        await _process.WaitForExitAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }

    private void Append(string? line)
    {
        lock (_log)
        {
            _log.AppendLine(line);
        }
    }
}
