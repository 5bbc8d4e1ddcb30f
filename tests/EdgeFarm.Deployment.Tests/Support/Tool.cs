using System.Diagnostics;

namespace EdgeFarm.Deployment.Tests.Support;

/// <summary>What a run gave.</summary>
internal sealed record ToolRun(int ExitCode, string Output, string Errors)
{
    public string Expect(int exitCode) =>
        ExitCode == exitCode ? Output : throw new InvalidOperationException($"exit {ExitCode}, expected {exitCode}\n--- stdout\n{Output}\n--- stderr\n{Errors}");
}

/// <summary>Programs that a test needs and a machine may lack.</summary>
internal static class Tool
{
    /// <summary>A bound against hanging.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(30);

    /// <summary>The full path of a program on the path, or null.</summary>
    public static string? Find(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Where(d => d.Length > 0).Select(d => Path.Combine(d, name)).FirstOrDefault(File.Exists);

    public static async Task<ToolRun> RunAsync(string program, IEnumerable<string> arguments, params (string Name, string? Value)[] environment)
    {
        var info = new ProcessStartInfo(program)
        {
            WorkingDirectory = Checkout.Root,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        foreach (var argument in arguments)
        {
            info.ArgumentList.Add(argument);
        }

        foreach (var (name, value) in environment)
        {
            info.Environment[name] = value;
        }

        using var process = Process.Start(info)!;
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
            throw new TimeoutException($"{program} {string.Join(' ', arguments)} did not end\n{await output}\n{await errors}");
        }

        return new ToolRun(process.ExitCode, await output, await errors);
    }
}
