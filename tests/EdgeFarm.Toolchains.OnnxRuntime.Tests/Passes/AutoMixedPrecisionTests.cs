using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

public sealed class AutoMixedPrecisionTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void A_goal_that_everything_meets_leaves_nothing_in_float()
    {
        var report = Optimize(0.99).Value.Passes[0];
        Assert.DoesNotContain(report.Skipped, s => s.Reason.Contains("goal", StringComparison.Ordinal));
        Assert.Equal("everything integer", Assert.Single(report.Search).What);
        Assert.Equal(report.Figures["candidate_weighted_nodes"], report.Figures["integer_weighted_nodes"]);
    }

    [Fact]
    public void A_harder_goal_is_met_with_some_operators_in_float()
    {
        const double Goal = 0.9999;
        var outcome = Optimize(Goal);
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var report = outcome.Value.Passes[0];
        Assert.Contains(report.Changed, c => c.OpType is "Conv" or "Gemm");
        Assert.True(report.Search.Count > 1);
        Assert.InRange(report.Figures["integer_weighted_nodes"], 1, report.Figures["candidate_weighted_nodes"]);
        Assert.True(report.Figures["cosine"] >= Goal);

        // Judged by the evaluation, which is not the search's own arithmetic, on the samples that the search was judged on.
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsCalibration, MaxSamples = 8 }).Value;
        Assert.True(result.Metrics.Single(m => m.Metric == "cosine").Samples[0] >= Goal - 1e-5);
    }

    [Fact]
    public void An_answer_without_integer_weights_is_a_failure()
    {
        var failure = Optimize(1).Failure!;
        Assert.Equal(FailureType.Unsupported, failure.Type);
        Assert.Contains("everything integer: cosine", failure.Message, StringComparison.Ordinal);
    }

    public void Dispose() => _directory.Dispose();

    private Outcome<OnnxOptimizeResult> Optimize(double goal) => OnnxOptimizer.Run(
        new OnnxOptimizeRequest(
            TestFiles.Digits, _directory["out.onnx"],
            [new PassStep("OnnxAutoMixedPrecision", new Dictionary<string, string> { ["goal_cosine"] = goal.ToString(CultureInfo.InvariantCulture), ["judged_samples"] = "8" })])
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
            Threads = 1,
        });
}
