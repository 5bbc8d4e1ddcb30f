using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;
using EdgeFarm.Cluster.Tests.Harness;

namespace EdgeFarm.Cluster.Tests;

/// <summary>A client in another language that knows the API through server reflection alone.</summary>
public sealed class NodeClientTests
{
    private static string Folder => Path.Combine(Checkout.Root, "tests", "clients", "node");

    [SkippableFact]
    public async Task Node_lists_services_submits_the_sample_watches_and_reads_the_leaderboard()
    {
        Skip.If(await TryRunAsync("npm", "ci", "--no-progress") is null, "npm is not installed");
        await using var farm = await Farm.StartAsync();
        var file = Path.Combine(Checkout.Root, "src", "EdgeFarm.Samples", "sweeps", "sample.yaml");

        var output = await TryRunAsync("node", "client.mjs", $"127.0.0.1:{farm.Port}", file);

        var document = JsonDocument.Parse(output!).RootElement;
        Assert.Contains("edgefarm.v1.Sweeps", document.GetProperty("services").EnumerateArray().Select(s => s.GetString()));
        Assert.Equal(13, document.GetProperty("entries").GetArrayLength());
    }

    /// <summary>What a program prints, or null where it is not installed.</summary>
    private static async Task<string?> TryRunAsync(string program, params string[] arguments)
    {
        var info = new ProcessStartInfo(program) { WorkingDirectory = Folder, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
        {
            info.ArgumentList.Add(argument);
        }

        Process process;
        try
        {
            process = Process.Start(info)!;
        }
        catch (Win32Exception)
        {
            return null;
        }

        using (process)
        {
            var output = process.StandardOutput.ReadToEndAsync();
            var errors = process.StandardError.ReadToEndAsync();
            await process.WaitForExitAsync().WaitAsync(Cli.Patience);
            Assert.True(process.ExitCode == 0, $"{program} ended with {process.ExitCode}\n{await errors}\n{await output}");
            return await output;
        }
    }
}
