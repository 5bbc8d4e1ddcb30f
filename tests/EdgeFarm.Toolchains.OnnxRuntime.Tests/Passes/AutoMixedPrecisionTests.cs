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
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsCalibration, MaxSamples = 8, Settings = TestFiles.Precise }).Value;
        Assert.True(result.Metrics.Single(m => m.Metric == "cosine").Samples[0] >= Goal - 1e-5);
    }

    [Fact]
    public void An_answer_without_integer_weights_is_a_failure()
    {
        var failure = Optimize(1).Failure!;
        Assert.Equal(FailureType.Unsupported, failure.Type);
        Assert.Contains("everything integer: cosine", failure.Message, StringComparison.Ordinal);
    }

    // The same recipe line as for any model: no tensor, operator or layer is named.
    [Fact]
    public void A_second_encoder_keeps_most_of_its_weights_integer()
    {
        const double Goal = 0.99;
        var source = OutlierEncoder.Write(_directory["encoder.onnx"]);
        var outcome = OnnxOptimizer.Run(
            new OnnxOptimizeRequest(
                source, _directory["out.onnx"], [new PassStep("OnnxAutoMixedPrecision", new Dictionary<string, string> { ["goal_cosine"] = Goal.ToString(CultureInfo.InvariantCulture), ["judged_samples"] = "8", ["reduce_range"] = "true" })])
            {
                Calibration = CalibrationData.Load(OutlierEncoder.Data(_directory["calibration.npy"], 1)).Value,
                Threads = 1,
            });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var report = outcome.Value.Passes[0];
        Assert.True(report.Figures["cosine"] >= Goal);
        Assert.Equal(36, report.Figures["candidate_weighted_nodes"]);
        Assert.InRange(report.Figures["integer_weighted_nodes"], 18, 36);
        // Everything integer misses the goal: there was something to find.
        Assert.False(report.Search[0].Kept);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source) { DataPath = OutlierEncoder.Data(_directory["test.npy"], 9), Settings = TestFiles.Precise }).Value;
        // On samples that the search never saw.
        var unseen = result.Metrics.Single(m => m.Metric == "cosine").Samples[0];
        Assert.True(unseen >= Goal - 0.02, $"cosine {unseen}");
    }

    [SkippableFact]
    public void The_recognizer_keeps_most_of_its_weights_integer_too()
    {
        var source = TestFiles.Recognizer;
        var outcome = OnnxOptimizer.Run(
            new OnnxOptimizeRequest(source, _directory["out.onnx"], [new PassStep("OnnxAutoMixedPrecision", new Dictionary<string, string> { ["goal_cosine"] = "0.98", ["judged_samples"] = "2" })])
            {
                Calibration = new CalibrationData(new Dictionary<string, ModelFormats.Npy.NpyArray> { ["x"] = Stripes(4) }, synthetic: true),
            });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var figures = outcome.Value.Passes[0].Figures;
        Assert.True(figures["integer_weighted_nodes"] >= figures["candidate_weighted_nodes"] / 2, $"{figures["integer_weighted_nodes"]} of {figures["candidate_weighted_nodes"]}");
    }

    public void Dispose() => _directory.Dispose();

    // Dark strokes on a light ground, -1 to 1 as the recognizer wants them.
    private static ModelFormats.Npy.NpyArray Stripes(int samples)
    {
        var random = new Random(5);
        var values = new float[samples * 3 * 48 * 160];
        Array.Fill(values, 0.9f);
        for (var s = 0; s < samples; s++)
        {
            for (var stroke = 0; stroke < 40; stroke++)
            {
                var (x, y, down) = (random.Next(6, 150), random.Next(8, 30), random.Next(2) == 0);
                for (var i = 0; i < 12; i++)
                {
                    for (var channel = 0; channel < 3; channel++)
                    {
                        values[(((((s * 3) + channel) * 48) + y + (down ? i : 0)) * 160) + x + (down ? 0 : Math.Min(i, 8))] = -0.8f;
                    }
                }
            }
        }

        return ModelFormats.Npy.NpyArray.Of([samples, 3, 48, 160], values);
    }

    private Outcome<OnnxOptimizeResult> Optimize(double goal) => OnnxOptimizer.Run(
        new OnnxOptimizeRequest(
            TestFiles.Digits, _directory["out.onnx"],
            [new PassStep("OnnxAutoMixedPrecision", new Dictionary<string, string> { ["goal_cosine"] = goal.ToString(CultureInfo.InvariantCulture), ["judged_samples"] = "8" })])
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
            Threads = 1,
        });
}
