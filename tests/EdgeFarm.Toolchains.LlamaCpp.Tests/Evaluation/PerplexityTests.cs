using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Evaluation;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Evaluation;

/// <summary>One thread: two that wait for each other spinning collapse where other test projects run beside.</summary>
public sealed class PerplexityTests(PerplexityTests.Baseline baseline) : IClassFixture<PerplexityTests.Baseline>, IDisposable
{
    /// <summary>The sample model's logits, computed once.</summary>
    public sealed class Baseline : IDisposable
    {
        private readonly TemporaryFolder _folder = new();
        private readonly Lazy<PerplexityResult> _result;

        public Baseline() => _result = new(() => Run(new PerplexityRequest(Settings(TestData.Model, 20), TestData.HeldOut, Logits)));

        public string Logits => _folder["logits"];

        public PerplexityResult Result => _result.Value;

        public void Dispose() => _folder.Dispose();
    }

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static EvaluationSettings Settings(string model, int chunks = -1) => new(model) { Chunks = chunks, Threads = 1 };

    // CPU variants differ by up to 0.1 % of the perplexity and 2 % of the mean KL divergence (the model's card).
    [SkippableTheory]
    [InlineData("F16")]
    [InlineData("Q8_0")]
    [InlineData("Q4_K_M")]
    [InlineData("Q2_K")]
    public void Perplexity_is_the_cards(string form)
    {
        var card = TestData.Card(form);
        var model = LlamaQuantizer.Run(new QuantizeRequest(TestData.Model, _folder["model.gguf"], form)).Value.Output;
        var progress = new List<LlamaProgress>();

        var result = Run(new PerplexityRequest(Settings(model, 20), TestData.HeldOut), new LlamaHooks(Progress: progress.Add));

        var expected = card.GetProperty("perplexity").GetDouble();
        Assert.InRange(result.Perplexity, expected * 0.999, expected * 1.001);
        Assert.Equal(20, result.Chunks);
        Assert.Equal(20 * 255, result.ScoredTokens);
        Assert.InRange(result.StandardError, 0.5, 2);
        Assert.Contains(progress, step => step.Stage == "perplexity" && step.Fraction > 0.7);
        Assert.Equal("2048", result.Settings["n_batch"]);
    }

    [SkippableTheory]
    [InlineData("Q4_0")]
    [InlineData("Q2_K")]
    public void The_divergence_from_the_baseline_is_the_cards(string form)
    {
        var card = TestData.Card(form);
        var model = LlamaQuantizer.Run(new QuantizeRequest(TestData.Model, _folder["model.gguf"], form)).Value.Output;
        var reference = baseline.Result;

        var result = LlamaPerplexity.Compare(new DivergenceRequest(Settings(model), baseline.Logits)).Value;

        var expected = card.GetProperty("kld_mean").GetDouble();
        Assert.InRange(result.MeanDivergence.Value, (expected * 0.98) - 1e-6, (expected * 1.02) + 1e-6);
        Assert.Equal(card.GetProperty("same_top_percent").GetDouble(), 100 * result.SameTop.Value, 0.25);
        Assert.Equal(reference.Perplexity, result.BaselinePerplexity.Value, 0.001);
        Assert.Equal(result.Perplexity.Value / result.BaselinePerplexity.Value, result.PerplexityRatio.Value, 1e-6);
        Assert.Equal(5100, result.ScoredTokens);
        Assert.InRange(result.LogPerplexityCorrelation, 0.9, 1);
        var ordered = result.DivergencePercentiles.Values.ToList();
        Assert.Equal(ordered.Order(), ordered);
        Assert.InRange(result.MeanDivergence.Value, result.DivergencePercentiles[50], result.DivergencePercentiles[99]);
    }

    [Fact]
    public void A_model_does_not_diverge_from_itself()
    {
        var settings = Settings(TestData.Model, 2);
        Run(new PerplexityRequest(settings, TestData.HeldOut, _folder["logits"]));

        var result = LlamaPerplexity.Compare(new DivergenceRequest(settings, _folder["logits"])).Value;

        Assert.InRange(result.MeanDivergence.Value, -1e-5, 1e-5);
        Assert.Equal(1, result.SameTop.Value, 0.01);
        Assert.True(LlamaPerplexity.Compare(new DivergenceRequest(settings with { TypeK = "q4_0", TypeV = "q4_0" }, _folder["logits"])).Value.MeanDivergence.Value > 1e-3);
    }

    [Fact]
    public void A_context_longer_than_the_batch_gives_the_same_perplexity()
    {
        var settings = Settings(TestData.Model, 2);

        var whole = Run(new PerplexityRequest(settings, TestData.HeldOut));
        var parts = Run(new PerplexityRequest(settings with { Batch = 100 }, TestData.HeldOut));

        Assert.Equal("100", parts.Settings["n_batch"]);
        Assert.Equal(whole.Perplexity, parts.Perplexity, 0.01);
        Assert.Equal(whole.ScoredTokens, parts.ScoredTokens);
    }

    [Fact]
    public void A_text_that_is_too_short_says_how_long_it_must_be()
    {
        File.WriteAllText(_folder["short.txt"], "Call me Ishmael.");

        Fails(FailureType.InvalidInput, "needs at least 1024", new PerplexityRequest(Settings(TestData.Model), _folder["short.txt"]));
        Fails(FailureType.InvalidInput, "nowhere.txt", new PerplexityRequest(Settings(TestData.Model), _folder["nowhere.txt"]));
        Fails(FailureType.InvalidInput, "at least one chunk", new PerplexityRequest(Settings(TestData.Model, 0), TestData.HeldOut));
    }

    [Fact]
    public void A_context_that_exceeds_the_memory_is_refused_before_it_is_taken() =>
        Fails(FailureType.InvalidInput, "n_ctx", new PerplexityRequest(Settings(TestData.Model) with { Context = 500_000_000 }, TestData.HeldOut));

    [Theory]
    [InlineData(0)]
    [InlineData(19)]
    [InlineData(5000)]
    public void A_broken_logits_file_is_invalid_input(int length)
    {
        Run(new PerplexityRequest(Settings(TestData.Model, 1), TestData.HeldOut, _folder["logits"]));
        File.WriteAllBytes(_folder["cut"], File.ReadAllBytes(_folder["logits"])[..length]);

        var failure = LlamaPerplexity.Compare(new DivergenceRequest(Settings(TestData.Model), _folder["cut"])).Failure;

        Assert.Equal(FailureType.InvalidInput, failure!.Type);
        Assert.Contains("cut", failure.Message, StringComparison.Ordinal);
    }

    private static PerplexityResult Run(PerplexityRequest request, LlamaHooks? hooks = null)
    {
        var outcome = LlamaPerplexity.Run(request, hooks);
        Assert.True(outcome.IsOk, $"{outcome.Failure}\n{outcome.Failure?.LogTail}");
        return outcome.Value;
    }

    private static void Fails(FailureType type, string message, PerplexityRequest request)
    {
        var failure = LlamaPerplexity.Run(request).Failure;
        Assert.NotNull(failure);
        Assert.Equal(type, failure.Type);
        Assert.Contains(message, failure.Message, StringComparison.Ordinal);
    }
}
