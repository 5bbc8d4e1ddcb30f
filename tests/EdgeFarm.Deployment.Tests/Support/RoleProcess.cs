using System.Diagnostics;
using System.Text;

namespace EdgeFarm.Deployment.Tests.Support;

/// <summary>A role of the command line as a process, with its output kept for a failing test's message.</summary>
internal sealed class RoleProcess : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(15);

    private readonly Process _process;
    private readonly StringBuilder _log = new();

    private RoleProcess(ProcessStartInfo info, IEnumerable<(string Name, string Value)> environment)
    {
        info.RedirectStandardOutput = true;
        info.RedirectStandardError = true;
        foreach (var (name, value) in environment)
        {
            info.Environment[name] = value;
        }

        _process = Process.Start(info)!;
        _process.OutputDataReceived += (_, e) => Append(e.Data);
        _process.ErrorDataReceived += (_, e) => Append(e.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public bool HasExited => _process.HasExited;

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

    /// <summary>The command line as the build made it.</summary>
    public static RoleProcess Start(string directory, IEnumerable<(string Name, string Value)> environment, params string[] arguments) =>
        StartProgram(directory, environment, "dotnet", [Checkout.EdgeFarmDll, .. arguments]);

    /// <summary>Any program that becomes it.</summary>
    public static RoleProcess StartProgram(string directory, IEnumerable<(string Name, string Value)> environment, string program, params string[] arguments) =>
        new(new ProcessStartInfo(program, arguments) { WorkingDirectory = directory }, environment);

    /// <summary>Waits for a condition; the bound is there so that a broken farm fails the test instead of hanging it.</summary>
    public static async Task UntilAsync(Func<Task<bool>> condition, string what, params RoleProcess[] nodes)
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            if (clock.Elapsed > Patience || nodes.Any(n => n.HasExited))
            {
                throw new TimeoutException($"not after {clock.Elapsed}: {what}\n{string.Join("\n---\n", nodes.Select(n => n.Log))}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100));
        }
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
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
