using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Toolchains.Tests.JobHosts;

/// <summary>A directory and a runner for real child processes of the test host.</summary>
internal sealed class TestChild : IDisposable
{
    public static readonly JobHostCommand Command = JobHostCommand.Of(Path.Combine(AppContext.BaseDirectory, "EdgeFarm.JobHost.TestHost.dll"));

    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("edgefarm-test-").FullName;

    public JobHostRunner Runner { get; } = new(Command, TimeProvider.System);

    public JobHostLimits Limits => new(TimeSpan.FromMinutes(5), Directory);

    public Task<JobHostRun> RunAsync(string operation, CancellationToken cancellationToken = default, params (string Name, string Value)[] parameters) =>
        RunAsync(operation, Limits, null, cancellationToken, parameters);

    public Task<JobHostRun> RunAsync(
        string operation,
        JobHostLimits limits,
        IProgress<JobHostProgress>? progress = null,
        CancellationToken cancellationToken = default,
        params (string Name, string Value)[] parameters) =>
        Runner.RunAsync("hostile", Job(operation, parameters), limits, progress, cancellationToken);

    public JobHostJob Job(string operation, params (string Name, string Value)[] parameters) => new()
    {
        Kind = JobKind.Optimize,
        Operation = operation,
        Parameters = parameters.ToImmutableSortedDictionary(p => p.Name, p => p.Value, StringComparer.Ordinal),
        Inputs = ImmutableSortedDictionary.Create<string, InputFile>(StringComparer.Ordinal),
        OutputDirectory = Directory,
        DeviceId = "cpu",
        AutoThreads = 1,
    };

    /// <summary>Waits for a file that a child writes and reads the process id in it.</summary>
    public async Task<int> PidAsync(string file = "pid")
    {
        var path = Path.Combine(Directory, file);
        var pid = 0;
        await Eventually.TrueAsync(
            () => File.Exists(path) && int.TryParse(File.ReadAllText(path), CultureInfo.InvariantCulture, out pid), $"'{file}' holds a process id");
        return pid;
    }

    /// <summary>Whether a process is there and no zombie.</summary>
    public static bool IsAlive(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/stat") is var stat && stat[(stat.LastIndexOf(')') + 2)] is not ('Z' or 'X');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    public void Dispose() => System.IO.Directory.Delete(Directory, recursive: true);
}

/// <summary>Waits for conditions, never for time.</summary>
internal static class Eventually
{
    public static async Task TrueAsync(Func<bool> condition, string what)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (!condition())
        {
            Assert.False(deadline.IsCancellationRequested, $"did not happen within a minute: {what}");
            await Task.Delay(20, CancellationToken.None);
        }
    }
}
