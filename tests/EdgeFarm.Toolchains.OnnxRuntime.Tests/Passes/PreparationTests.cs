using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

public sealed class PreparationTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Theory]
    [InlineData("disabled", "0")]
    [InlineData("basic", "0")]
    [InlineData("extended", "0")]
    [InlineData("basic", "21")]
    public void Results_stay_what_they_were(string level, string opset)
    {
        var source = TestFiles.Reference("onnx/enc_tiny.onnx");
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], [Step("OnnxPeepholeOptimizer", ("level", level), ("opset", opset))]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        using (var model = TestFiles.Load(_directory["out.onnx"]))
        {
            Assert.Equal(opset == "0" ? 17 : 21, model.Opset);
            Assert.Equal(level == "extended", model.Graph.Node.Any(n => n.Domain == "com.microsoft"));
        }

        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source) { SyntheticSamples = 1, Settings = TestFiles.Precise }).Value;
        Assert.True(result.Metrics.Single(m => m.Metric == "max_error").Samples[0] < 1e-4);
    }

    [Fact]
    public void Passes_compose_in_a_chain()
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(
            TestFiles.Digits, _directory["out.onnx"], [Step("OnnxPeepholeOptimizer"), Step("OnnxStaticQuantization", ("per_channel", "true")), Step("OnnxPeepholeOptimizer", ("level", "disabled"))])
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.Equal(3, outcome.Value.Passes.Count);
        Assert.NotEmpty(outcome.Value.Weights);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = "label", Settings = TestFiles.Precise }).Value;
        Assert.True(result.Metrics.Single(m => m.Metric == "accuracy").Samples[0] >= 0.986);
    }

    public void Dispose() => _directory.Dispose();

    private static PassStep Step(string type, params (string Key, string Value)[] parameters) => new(type, parameters.ToDictionary(p => p.Key, p => p.Value));
}
