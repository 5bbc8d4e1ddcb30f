using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace EdgeFarm.Toolchains.Hosts;

/// <summary>How a tool ended.</summary>
/// <param name="ExitCode">Its exit code; null when it is not installed or did not end in time.</param>
/// <param name="Output">Standard output.</param>
/// <param name="Error">Standard error, or why the tool could not be run.</param>
internal sealed record ToolOutput(int? ExitCode, string Output, string Error)
{
    public bool IsSuccess => ExitCode == 0;

    public bool IsInstalled => ExitCode is not null;
}

/// <summary>Where detection reads: the files of a system and the tools that it runs. Tests give another root and recorded tools.</summary>
internal sealed class HostSource
{
    private const int MaxBytes = 4 * 1024 * 1024;

    private static readonly TimeSpan ToolTimeout = TimeSpan.FromSeconds(20);

    /// <summary>The directory that stands for <c>/</c>.</summary>
    public string Root { get; init; } = "/";

    /// <summary><c>linux</c>, <c>macos</c> or <c>windows</c>.</summary>
    public string Os { get; init; } = OperatingSystem.IsMacOS() ? "macos" : OperatingSystem.IsWindows() ? "windows" : "linux";

    /// <summary><c>x64</c> or <c>arm64</c>: of the machine, also when this process is emulated.</summary>
    public string Arch { get; init; } = RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant();

    /// <summary>Runs a tool with its arguments.</summary>
    public Func<string, IReadOnlyList<string>, CancellationToken, Task<ToolOutput>> RunAsync { get; init; } = RunToolAsync;

    /// <summary>Reads an environment variable.</summary>
    public Func<string, string?> Variable { get; init; } = Environment.GetEnvironmentVariable;

    /// <summary>The text of a file without white space around it, or null when it cannot be read. Never more than 4 MiB.</summary>
    public string? Read(string path)
    {
        try
        {
            // Files below /proc and /sys tell no size, so this reads to the end or the limit.
            using var stream = new FileStream(Resolve(path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var buffer = new byte[16 * 1024];
            using var bytes = new MemoryStream();
            for (int read; bytes.Length < MaxBytes && (read = stream.Read(buffer)) > 0;)
            {
                bytes.Write(buffer, 0, read);
            }

            return Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length).Trim().TrimEnd('\0');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>Names in a directory in ordinal order; none when it cannot be read.</summary>
    public IReadOnlyList<string> Entries(string path)
    {
        try
        {
            return [.. new DirectoryInfo(Resolve(path)).EnumerateFileSystemInfos().Select(e => e.Name).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    public bool Exists(string path) => Path.Exists(Resolve(path));

    private string Resolve(string path) => Path.Combine(Root, path.TrimStart('/'));

    private static async Task<ToolOutput> RunToolAsync(string tool, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        using var process = new Process { StartInfo = new ProcessStartInfo(tool, arguments) };
        process.StartInfo.RedirectStandardOutput = true;
        process.StartInfo.RedirectStandardError = true;
        process.StartInfo.RedirectStandardInput = true;
        process.StartInfo.Environment["LC_ALL"] = "C";
        try
        {
            process.Start();
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return new ToolOutput(null, "", e.Message);
        }

        process.StandardInput.Close();
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(ToolTimeout);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(timeout.Token);
            var error = process.StandardError.ReadToEndAsync(timeout.Token);
            await process.WaitForExitAsync(timeout.Token);
            return new ToolOutput(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            cancellationToken.ThrowIfCancellationRequested();
            return new ToolOutput(null, "", $"{tool} did not end within {ToolTimeout.TotalSeconds} s");
        }
    }
}
