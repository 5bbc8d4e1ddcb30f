using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Optimize;

/// <summary>The forms of a real sentence encoder, whose activations have the outliers that random weights lack.</summary>
public sealed class SentenceEncoderTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    // Bounds are SQNR over the unmasked positions of 24 queries, less half a decibel of what was measured with and without VNNI.
    [SkippableTheory]
    [InlineData("dynamic-int8-per-channel", 23.0e6, 15.0, 39)]
    [InlineData("static-int8", 23.0e6, 13.0, 51)]
    [InlineData("smooth-int8", 23.0e6, 19.5, 51)]
    [InlineData("int4", 20.0e6, 11.0, 38)]
    public void Forms_are_small_and_keep_the_encoder_usable(string form, double mostBytes, double leastDb, int leastChanged)
    {
        var source = TestFiles.Large("models/minilm-l6/model.onnx");
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], OnnxForms.Find(form).Value.Steps)
        {
            Calibration = CalibrationData.Load(TestFiles.Large("models/minilm-l6/calibration.npz")).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.True(outcome.Value.OutputBytes <= mostBytes, $"{outcome.Value.OutputBytes} bytes");
        Assert.True(outcome.Value.Passes[^1].Changed.Count >= leastChanged, $"{outcome.Value.Passes[^1].Changed.Count} nodes changed");
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source)
        {
            DataPath = TestFiles.Large("models/minilm-l6/queries.npz"),
            MaxSamples = 24,
            Settings = TestFiles.Precise,
        });
        Assert.True(result.IsOk, result.Failure?.Message);
        var sqnr = result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
        Assert.True(sqnr >= leastDb, $"{sqnr} dB");
    }

    [SkippableFact]
    public void Gptq_keeps_more_than_rounding_at_the_same_block()
    {
        Assert.True(Sqnr("gptq") > Sqnr("rtn") + 1);

        double Sqnr(string algorithm)
        {
            var source = TestFiles.Large("models/minilm-l6/model.onnx");
            var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(
                source, _directory["out.onnx"], [new PassStep("OnnxMatMulNBits", new Dictionary<string, string> { ["algorithm"] = algorithm, ["max_samples"] = "48" })])
            {
                Calibration = CalibrationData.Load(TestFiles.Large("models/minilm-l6/calibration.npz")).Value,
            });
            Assert.True(outcome.IsOk, outcome.Failure?.Message);
            var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source)
            {
                DataPath = TestFiles.Large("models/minilm-l6/queries.npz"),
                MaxSamples = 24,
                Settings = TestFiles.Precise,
            });
            return result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
        }
    }

    // ONNX Runtime's own quantizer for 16-bit activations keeps cosine .9656: a mask of -10000 leaves no codes for the scores.
    [SkippableFact]
    public void The_form_for_qualcomm_keeps_the_encoder_usable()
    {
        var source = TestFiles.Large("models/minilm-l6/model.onnx");
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], OnnxForms.Find("qnn-a16w8").Value.Steps)
        {
            Calibration = CalibrationData.Load(TestFiles.Large("models/minilm-l6/calibration.npz")).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.True(outcome.Value.Passes[1].Figures["cosine"] >= 0.999, $"{outcome.Value.Passes[1].Figures["cosine"]}");
    }

    public void Dispose() => _directory.Dispose();
}
