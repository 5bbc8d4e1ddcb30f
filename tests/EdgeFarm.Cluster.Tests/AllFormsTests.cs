using System.Text.Json;
using EdgeFarm.Cluster.Tests.Harness;

namespace EdgeFarm.Cluster.Tests;

/// <summary>
/// The sweep over the sample checkpoint against what llama.cpp's own tools made and measured of it. Some forms by default; all 34 with
/// EDGEFARM_ALL_FORMS=1, which takes minutes.
/// </summary>
public sealed class AllFormsTests
{
    // CPU variants give perplexities up to 0.1 % and mean divergences up to 2 % apart; the reference is the AVX2 variant's.
    private const double PerplexityTolerance = 0.002, DivergenceTolerance = 0.04;

    private static readonly string[] Some = ["F16", "Q8_0", "Q4_K_M", "Q2_K", "Q4_K_M+imatrix", "IQ2_XXS+imatrix"];

    [Fact]
    public async Task The_sweep_over_the_sample_checkpoint_reproduces_its_reference()
    {
        var isFull = Environment.GetEnvironmentVariable("EDGEFARM_ALL_FORMS") == "1";
        using var card = JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(Checkout.Root, "tests/EdgeFarm.Toolchains.LlamaCpp.Tests/Reference/edgefarm-tiny.json")));
        await using var farm = await Farm.StartAsync();
        farm.Write("tiny.yaml", Sweep(isFull));

        (await farm.RunAsync("submit", "tiny.yaml", "--id", "tiny", "--wait")).Expect(0);

        var entries = (await farm.EntriesAsync("tiny")).ToDictionary(e => e.GetProperty("form").GetString()!);
        Assert.Equal((isFull ? card.RootElement.EnumerateObject().Select(f => f.Name).Where(f => f != "imatrix") : Some).Order(), entries.Keys.Order());
        foreach (var (form, entry) in entries)
        {
            Check(entry, card.RootElement.GetProperty(form));
        }

        CheckOrder(entries, card.RootElement, "bytes", "size", 1);
        CheckOrder(entries, card.RootElement, "kld_mean", "kld_mean", 1 + DivergenceTolerance);
        Assert.Single(await farm.JobsAsync("tiny"), j => j.GetProperty("operation").GetString() == "GgufConversion");
    }

    [Fact]
    public async Task A_matrix_of_a_text_is_computed_once_and_cache_types_are_measured_against_the_baseline()
    {
        await using var farm = await Farm.StartAsync();
        farm.Write("text.yaml", $$"""
            spec:
              models: [{id: m, source: bundled:edgefarm-tiny}]
              data: [{id: held-out, source: bundled:held-out}, {id: calibration, source: bundled:calibration}]
              recipes: [{toolchain: llama.cpp, types: [Q3_K_M+imatrix, IQ2_XS], calibration: calibration}]
              {{SweepFiles.Quick}}
              quality: {text: held-out, chunks: 2, type_k: [f16, q4_0]}
            """);

        (await farm.RunAsync("submit", "text.yaml", "--id", "text", "--wait")).Expect(0);

        Assert.Single(await farm.JobsAsync("text"), j => j.GetProperty("operation").GetString() == "GgufImportanceMatrix");
        var entries = (await farm.EntriesAsync("text")).ToDictionary(e => e.GetProperty("form").GetString()!);
        Assert.Equal(["F16", "IQ2_XS+imatrix", "Q3_K_M+imatrix"], entries.Keys.Order(StringComparer.Ordinal));
        Assert.True(Metric(entries["F16"], "kld_mean[type_k=q4_0]") > 0);
        Assert.True(Metric(entries["Q3_K_M+imatrix"], "kld_mean[type_k=q4_0]") > Metric(entries["Q3_K_M+imatrix"], "kld_mean"));
        Assert.True(Metric(entries["IQ2_XS+imatrix"], "kld_mean") > Metric(entries["Q3_K_M+imatrix"], "kld_mean"));
        var shown = (await farm.RunAsync("show", entries["IQ2_XS+imatrix"].GetProperty("id").GetString()!)).Expect(0).Output;
        Assert.Contains("kld_p999", shown, StringComparison.Ordinal);
        Assert.Contains("calibration: calibration", shown, StringComparison.Ordinal);
    }

    private static string Sweep(bool isFull)
    {
        var sample = File.ReadAllText(Path.Combine(Checkout.Root, "src/EdgeFarm.Samples/sweeps/tiny-all.yaml"));
        if (isFull)
        {
            return sample;
        }

        var recipes = sample.IndexOf("  recipes:", StringComparison.Ordinal);
        var quality = sample.IndexOf("  quality:", StringComparison.Ordinal);
        return sample[..recipes] + $$"""
              recipes:
                - {toolchain: llama.cpp, types: [{{string.Join(", ", Some.Where(f => !f.Contains('+')))}}]}
                - {toolchain: llama.cpp, types: [{{string.Join(", ", Some.Where(f => f.Contains('+')))}}], calibration: imatrix}
              {{SweepFiles.Quick}}

            """ + sample[quality..];
    }

    private static void Check(JsonElement entry, JsonElement card)
    {
        // The bundled matrix has the name that stands in the reference's metadata, so whole files are equal with it too.
        Assert.Equal($"sha256:{card.GetProperty("sha256").GetString()}", entry.GetProperty("artifact").GetString());
        Assert.Equal(card.GetProperty("bytes").GetInt64(), Metric(entry, "size"));
        Assert.InRange(entry.GetProperty("bits_per_weight").GetDouble(), card.GetProperty("bytes").GetInt64() * 8 / 5_770_496.0 - 0.001, card.GetProperty("bytes").GetInt64() * 8 / 5_770_496.0 + 0.001);
        Assert.NotEmpty(entry.GetProperty("precision_class").GetString()!);
        var perplexity = card.GetProperty("perplexity").GetDouble();
        Assert.InRange(Metric(entry, "perplexity"), perplexity * (1 - PerplexityTolerance), perplexity * (1 + PerplexityTolerance));
        if (card.TryGetProperty("kld_mean", out var divergence))
        {
            // The least divergences are rounding itself.
            var slack = (divergence.GetDouble() * DivergenceTolerance) + 0.00005;
            Assert.InRange(Metric(entry, "kld_mean"), divergence.GetDouble() - slack, divergence.GetDouble() + slack);
            Assert.InRange(Metric(entry, "same_top"), (card.GetProperty("same_top_percent").GetDouble() / 100) - 0.01, (card.GetProperty("same_top_percent").GetDouble() / 100) + 0.01);
        }
    }

    /// <summary>Forms that the reference tells apart by more than a factor stand in its order.</summary>
    private static void CheckOrder(Dictionary<string, JsonElement> entries, JsonElement card, string field, string metric, double factor)
    {
        double Reference(string form) => card.GetProperty(form).TryGetProperty(field, out var value) ? value.GetDouble() : 0;
        foreach (var lesser in entries.Keys.Where(f => Reference(f) > 0.0001))
        {
            foreach (var greater in entries.Keys.Where(f => Reference(f) > Reference(lesser) * factor))
            {
                Assert.True(Metric(entries[lesser], metric) < Metric(entries[greater], metric), $"{metric}: {lesser} before {greater}");
            }
        }
    }

    private static double Metric(JsonElement entry, string name) => entry.GetProperty("metrics").GetProperty(name).GetProperty("value").GetDouble();
}
