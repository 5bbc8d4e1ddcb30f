using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Optimize;

/// <summary>The forms of a second trained encoder, by the lines that serve MiniLM: a vision transformer with labelled images.</summary>
public sealed class VisionTransformerTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    private static string Source => TestFiles.Reference("vit/digits-vit.onnx");

    [Theory]
    [InlineData("static-int8", 0.35)]
    [InlineData("smooth-int8", 0.35)]
    [InlineData("mixed-int8", 0.45)]
    [InlineData("dynamic-int8-per-channel", 0.35)]
    [InlineData("int4", 0.25)]
    public void Forms_are_small_and_keep_the_accuracy(string form, double mostSize)
    {
        var result = Optimize(form);
        Assert.InRange(result.OutputBytes / (double)result.SourceBytes, 0, mostSize);
        Assert.True(Accuracy(_directory["out.onnx"]) >= Accuracy(Source) - 0.01);
    }

    [Fact]
    public void The_mixed_form_is_integer_for_the_most_part()
    {
        var report = Optimize("mixed-int8").Passes[0];
        Assert.True(report.Figures["integer_weighted_nodes"] > report.Figures["candidate_weighted_nodes"] / 2, $"{report.Figures["integer_weighted_nodes"]} of {report.Figures["candidate_weighted_nodes"]}");
        Assert.True(report.Figures["cosine"] >= 0.98);
    }

    public void Dispose() => _directory.Dispose();

    private OnnxOptimizeResult Optimize(string form)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(Source, _directory["out.onnx"], OnnxForms.Find(form).Value.Steps)
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value;
    }

    private static double Accuracy(string model)
    {
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(model, Source) { DataPath = TestFiles.DigitsTest, Labels = "label", Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        return result.Value.Metrics.Single(m => m.Metric == "accuracy").Samples[0];
    }
}
