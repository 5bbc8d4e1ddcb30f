using EdgeFarm.Cluster.Tests.Harness;
using EdgeFarm.ModelFormats.Conversion;

namespace EdgeFarm.Cluster.Tests;

/// <summary>Bad input gives a clear outcome, and the farm goes on working.</summary>
public sealed class BadInputTests
{
    [Fact]
    public async Task Each_bad_input_has_its_clear_outcome_and_the_farm_goes_on()
    {
        await using var farm = await Farm.StartAsync();

        await TruncatedGgufIsInvalidInput(farm);
        await TextNamedOnnxIsInvalidInput(farm);
        await TypoIsReportedWithItsLine(farm);
        await AbsentDeviceWaitsIsExplainedAndCanBeCancelled(farm);

        farm.Write("four.yaml", SweepFiles.FourForms);
        (await farm.RunAsync("submit", "four.yaml", "--id", "after", "--wait")).Expect(0);
    }

    private static async Task TruncatedGgufIsInvalidInput(Farm farm)
    {
        var converted = CheckpointConverter.Convert(new ConversionRequest(
            Path.Combine(Checkout.Root, "src/EdgeFarm.Samples/models/edgefarm-tiny"), Path.Combine(farm.Directory, "whole.gguf")));
        Assert.True(converted.IsOk, converted.Failure?.ToString());
        var whole = await File.ReadAllBytesAsync(converted.Value.Path);
        await File.WriteAllBytesAsync(Path.Combine(farm.Directory, "cut.gguf"), whole[..(whole.Length / 2)]);
        farm.Write("cut.yaml", SweepFiles.Llama("file:cut.gguf", "F16, Q4_0", "cut"));

        (await farm.RunAsync("submit", "cut.yaml", "--id", "cut", "--wait")).Expect(1);

        var failed = (await farm.JobsAsync("cut")).Single(j => j.GetProperty("status").GetString() == "failed");
        var failure = failed.GetProperty("attempts")[0].GetProperty("failure");
        Assert.Equal("InvalidInput", failure.GetProperty("type").GetString());
        Assert.Contains("cut.gguf", failure.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Contains("InvalidInput", (await farm.RunAsync("why", failed.GetProperty("id").GetString()!)).Expect(0).Output, StringComparison.Ordinal);
    }

    private static async Task TextNamedOnnxIsInvalidInput(Farm farm)
    {
        farm.Write("text.onnx", "This is a text file, whatever its name says.\n");
        farm.Write("text.yaml", SweepFiles.Onnx("file:text.onnx", "text"));

        (await farm.RunAsync("submit", "text.yaml", "--id", "text", "--wait")).Expect(1);

        var failed = (await farm.JobsAsync("text")).Single(j => j.GetProperty("status").GetString() == "failed");
        Assert.Equal("InvalidInput", failed.GetProperty("attempts")[0].GetProperty("failure").GetProperty("type").GetString());
    }

    private static async Task TypoIsReportedWithItsLine(Farm farm)
    {
        farm.Write("typo.yaml", SweepFiles.FourForms.Replace("types: [F16, Q4_K_M]", "types: [F16, Q4_K_N]", StringComparison.Ordinal));

        var run = (await farm.RunAsync("submit", "typo.yaml")).Expect(2);

        Assert.Contains("typo.yaml:12", run.Errors, StringComparison.Ordinal);
        Assert.Contains("Q4_K_N", run.Errors, StringComparison.Ordinal);
        Assert.Contains("Q4_K_M", run.Errors, StringComparison.Ordinal);
    }

    private static async Task AbsentDeviceWaitsIsExplainedAndCanBeCancelled(Farm farm)
    {
        farm.Write("mars.yaml", SweepFiles.Llama("bundled:edgefarm-tiny", "F16", "mars", "targets: [{id: mars, require: {os: mars}, devices: one}]"));
        (await farm.RunAsync("submit", "mars.yaml", "--id", "mars")).Expect(0);
        await farm.Until(async () => (await farm.JobsAsync("mars")).Any(IsWaitingBenchmark), "the benchmark waits");

        var job = (await farm.JobsAsync("mars")).Single(IsWaitingBenchmark).GetProperty("id").GetString()!;
        var why = (await farm.RunAsync("why", job)).Expect(0).Output;
        Assert.Contains("os = mars", why, StringComparison.Ordinal);
        Assert.Contains("linux", why, StringComparison.Ordinal);

        (await farm.RunAsync("cancel", "mars")).Expect(0);
        Assert.Equal("cancelled", (await farm.SweepAsync("mars")).GetProperty("status").GetString());
    }

    private static bool IsWaitingBenchmark(System.Text.Json.JsonElement job) =>
        job.GetProperty("kind").GetString() == "benchmark" && job.GetProperty("status").GetString() == "waiting";
}
