using System.Diagnostics;
using System.Text.Json;

namespace EdgeFarm.Toolchains.Tests.JobHosts;

/// <summary>The command line of a job host, for people and for <c>doctor</c>.</summary>
public sealed class JobHostProgramTests
{
    [Fact]
    public async Task A_probe_is_one_json_document_on_standard_output()
    {
        var (exitCode, output, _) = await RunAsync("probe", "hostile");

        Assert.Equal(0, exitCode);
        using var document = JsonDocument.Parse(output);
        Assert.Equal("hostile", document.RootElement.GetProperty("Probe").GetProperty("Runtime").GetProperty("Identity").GetProperty("Id").GetString());
    }

    [Theory]
    [InlineData(1, "hostile", "probe", "nothing")]
    [InlineData(2, "usage:")]
    [InlineData(2, "usage:", "run")]
    [InlineData(3, "no worker", "--channel", "/nowhere/channel")]
    public async Task What_cannot_be_done_has_an_exit_code_and_a_reason(int expected, string reason, params string[] arguments)
    {
        var (exitCode, output, error) = await RunAsync(arguments);

        Assert.Equal((expected, ""), (exitCode, output));
        Assert.Contains(reason, error);
    }

    private static async Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(TestChild.Command.FileName, [.. TestChild.Command.Arguments, .. arguments])
        {
            Environment = { ["DOTNET_ROOT"] = TestChild.Command.Environment["DOTNET_ROOT"] },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, await error);
    }
}
