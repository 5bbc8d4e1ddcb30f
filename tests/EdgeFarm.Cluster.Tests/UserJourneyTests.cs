using System.Text.Json;
using EdgeFarm.Cluster.Tests.Harness;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Cluster.Tests;

/// <summary>What a user does: a farm in one terminal, a sweep in another, the winner in hand.</summary>
public sealed class UserJourneyTests
{
    [Fact]
    public async Task Up_submit_leaderboard_show_pull_and_the_pulled_model_is_a_model_again()
    {
        await using var farm = await Farm.StartAsync();
        farm.Write("four.yaml", SweepFiles.FourForms);

        (await farm.RunAsync("submit", "four.yaml", "--id", "four-1", "--watch")).Expect(0);

        var entries = await farm.EntriesAsync("four-1");
        Assert.Equal(["F16", "Q4_K_M", "dynamic-int8", "fp32"], entries.Select(e => e.GetProperty("form").GetString()).Order(StringComparer.Ordinal));
        Assert.All(entries, AssertMeasured);

        var quantized = entries.Single(e => e.GetProperty("form").GetString() == "Q4_K_M");
        Assert.InRange(quantized.GetProperty("relative").GetProperty("size").GetDouble(), 0.25, 0.40);
        var text = (await farm.RunAsync("leaderboard", "--sweep", "four-1", "--sort", "tg", "--pareto")).Expect(0).Output;
        Assert.Contains("Q4_K_M", text, StringComparison.Ordinal);

        var id = quantized.GetProperty("id").GetString()!;
        var shown = await farm.JsonAsync("show", id);
        Assert.NotEmpty(shown.GetProperty("entry").GetProperty("metrics").GetProperty("tg").GetProperty("samples").EnumerateArray());

        (await farm.RunAsync("pull", id, "-o", "winner.gguf")).Expect(0);
        Assert.Equal(quantized.GetProperty("metrics").GetProperty("size").GetProperty("value").GetDouble(), new FileInfo(Path.Combine(farm.Directory, "winner.gguf")).Length);

        var loaded = LlamaModelLoad.Run(Path.Combine(farm.Directory, "winner.gguf"));
        Assert.True(loaded.IsOk, loaded.Failure?.ToString());
        Assert.Equal(5_770_496, loaded.Value.Parameters);
    }

    [Fact]
    public async Task The_same_sweep_again_makes_nothing_twice_and_measures_speed_again()
    {
        await using var farm = await Farm.StartAsync();
        farm.Write("four.yaml", SweepFiles.FourForms);
        (await farm.RunAsync("submit", "four.yaml", "--id", "first", "--wait")).Expect(0);
        (await farm.RunAsync("submit", "four.yaml", "--id", "second", "--wait")).Expect(0);

        var jobs = await farm.JobsAsync("second");
        Assert.All(
            jobs.Where(j => j.GetProperty("kind").GetString() != "benchmark"),
            job => Assert.True(job.GetProperty("cached").GetBoolean(), job.GetRawText()));
        Assert.All(
            jobs.Where(j => j.GetProperty("kind").GetString() == "benchmark"),
            job => Assert.False(job.GetProperty("cached").GetBoolean(), job.GetRawText()));

        var artifacts = (await farm.EntriesAsync("first")).Select(Artifact).Order(StringComparer.Ordinal);
        Assert.Equal(artifacts, (await farm.EntriesAsync("second")).Select(Artifact).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_chosen_form_is_measured_where_it_was_chosen_explained_and_chosen_anew()
    {
        await using var farm = await Farm.StartAsync();
        farm.Write("chosen.yaml", SweepFiles.Chosen);
        (await farm.RunAsync("submit", "chosen.yaml", "--id", "first", "--wait")).Expect(0);

        var entries = await farm.EntriesAsync("first");
        Assert.Equal(["auto", "fp32", "smallest"], entries.Select(e => e.GetProperty("form").GetString()).Order(StringComparer.Ordinal));
        var smallest = entries.Single(e => e.GetProperty("form").GetString() == "smallest");
        Assert.Equal("5-8", smallest.GetProperty("precision_class").GetString());
        Assert.InRange(smallest.GetProperty("relative").GetProperty("size").GetDouble(), 0.1, 0.6);
        var shown = (await farm.RunAsync("show", smallest.GetProperty("id").GetString()!)).Expect(0).Output;
        Assert.Contains("chosen: static-int8", shown, StringComparison.Ordinal);

        // What was measured on one machine is not handed out as the choice for any.
        (await farm.RunAsync("submit", "chosen.yaml", "--id", "second", "--wait")).Expect(0);
        var passes = (await farm.JobsAsync("second")).Where(j => j.GetProperty("operation").GetString() == "OnnxAutoOpt").ToList();
        Assert.Equal(2, passes.Count);
        Assert.All(passes, job => Assert.False(job.GetProperty("cached").GetBoolean(), job.GetRawText()));
    }

    private static string Artifact(JsonElement entry) => entry.GetProperty("artifact").ToString();

    private static void AssertMeasured(JsonElement entry)
    {
        var metrics = entry.GetProperty("metrics");
        var names = metrics.EnumerateObject().Select(m => m.Name).ToHashSet(StringComparer.Ordinal);
        Assert.Superset(new HashSet<string>(["size", "load_time", "peak_memory", "model_memory"], StringComparer.Ordinal), names);
        Assert.True(names.Contains("tg") ? names.Contains("perplexity") && names.Contains("pp") : names.Contains("latency") && names.Contains("accuracy"), entry.GetRawText());
    }
}
