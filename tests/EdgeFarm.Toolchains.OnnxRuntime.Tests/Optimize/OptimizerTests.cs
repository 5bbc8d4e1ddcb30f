using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Optimize;

public sealed class OptimizerTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void Dynamic_int8_of_an_encoder_is_small_close_and_proven()
    {
        var source = TestFiles.Reference("onnx/enc_tiny.onnx");
        var result = Optimize(source, OnnxForms.Find("dynamic-int8-per-channel").Value.Steps);
        Assert.True(result.OutputBytes < result.SourceBytes * 0.31);
        Assert.Equal(7, result.Weights.Count);
        Assert.All(result.Weights, w => Assert.True(w.SqnrDb > 30, w.Name));

        var evaluation = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source) { SyntheticSamples = 4, Settings = TestFiles.Precise });
        Assert.True(evaluation.IsOk, evaluation.Failure?.Message);
        Assert.Equal(["synthetic_input"], evaluation.Value.Flags);
        Assert.True(Value(evaluation.Value, "sqnr") > 25);
        Assert.True(Value(evaluation.Value, "cosine") > 0.995);
    }

    [Fact]
    public void Digits_with_integer_convolutions_keeps_its_accuracy()
    {
        Optimize(TestFiles.Digits, [new PassStep("OnnxDynamicQuantization", new Dictionary<string, string> { ["op_types_to_quantize"] = "MatMul,Gemm,Conv", ["per_channel"] = "true" })]);
        var evaluation = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = "label", Settings = TestFiles.Precise });
        Assert.True(evaluation.IsOk, evaluation.Failure?.Message);
        Assert.Equal(500, evaluation.Value.Samples);
        Assert.Empty(evaluation.Value.Flags);
        Assert.True(Value(evaluation.Value, "accuracy") >= 0.986);
        Assert.True(Value(evaluation.Value, "sqnr") >= 25);
    }

    [SkippableFact]
    public void Recognition_becomes_integer_and_stays_close()
    {
        var source = TestFiles.Recognizer;
        var result = Optimize(source, OnnxForms.Find("dynamic-int8").Value.Steps);
        using (var model = TestFiles.Load(_directory["out.onnx"]))
        {
            Assert.True(model.Graph.Node.Count(n => n.OpType == "MatMulInteger") >= 9);
        }

        Assert.True(result.OutputBytes <= result.SourceBytes * 0.75, $"{result.OutputBytes} of {result.SourceBytes}");
        var evaluation = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source) { SyntheticSamples = 2, Dims = new Dictionary<string, long[]> { ["x"] = [1, 3, 48, 320] }, Settings = TestFiles.Precise });
        Assert.True(evaluation.IsOk, evaluation.Failure?.Message);
        Assert.True(Value(evaluation.Value, "sqnr") >= 20, $"{Value(evaluation.Value, "sqnr")} dB");
    }

    [Fact]
    public void The_output_must_not_be_the_model()
    {
        var failure = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, TestFiles.Digits, OnnxForms.All[1].Steps)).Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
    }

    [Fact]
    public void An_unknown_pass_names_those_there_are()
    {
        var failure = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["x.onnx"], [new PassStep("Shrink", new Dictionary<string, string>())])).Failure!;
        Assert.Contains("OnnxDynamicQuantization", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_cancelled_optimization_leaves_nothing()
    {
        using var source = new CancellationTokenSource();
        source.Cancel();
        var failure = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["x.onnx"], OnnxForms.All[1].Steps), cancellation: source.Token).Failure!;
        Assert.Equal(FailureType.Cancelled, failure.Type);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_directory.Root));
    }

    [Fact]
    public void Every_form_names_passes_and_parameters_that_exist()
    {
        foreach (var step in OnnxForms.All.SelectMany(f => f.Steps))
        {
            var parsed = OnnxPasses.Find(step.Type).Value.Parse(step.Parameters);
            Assert.True(parsed.IsOk, parsed.Failure?.Message);
        }
    }

    public void Dispose() => _directory.Dispose();

    private static double Value(OnnxEvaluationResult result, string metric) => result.Metrics.Single(m => m.Metric == metric).Samples[0];

    private OnnxOptimizeResult Optimize(string source, IReadOnlyList<PassStep> steps)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], steps));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value;
    }
}
