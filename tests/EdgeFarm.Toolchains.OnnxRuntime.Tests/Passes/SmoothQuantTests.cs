using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

public sealed class SmoothQuantTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void Evening_out_changes_nothing_by_itself_and_helps_quantization()
    {
        var source = OutlierEncoder.Write(_directory["encoder.onnx"]);
        var smooth = Optimize(source, new PassStep("OnnxSmoothQuant", new Dictionary<string, string>()));
        Assert.NotEmpty(smooth.Passes[0].Changed);
        Assert.True(Sqnr(source) > 80);

        Optimize(source, Static());
        var plain = Sqnr(source);
        Optimize(source, new PassStep("OnnxSmoothQuant", new Dictionary<string, string>()), Static());
        var evened = Sqnr(source);
        Assert.True(evened > plain + 1.5, $"{plain} dB became {evened} dB");
    }

    [Fact]
    public void A_value_that_only_multiplications_read_is_divided_in_its_normalization()
    {
        var source = OutlierEncoder.Write(_directory["encoder.onnx"]);
        var report = Optimize(source, new PassStep("OnnxSmoothQuant", new Dictionary<string, string>())).Passes[0];
        Assert.Contains(report.Changed, c => c.Became.Contains("normalization", StringComparison.Ordinal));
        Assert.Contains(report.Changed, c => c.Became.Contains("Mul", StringComparison.Ordinal));
    }

    [Fact]
    public void A_model_without_multiplications_is_unsupported()
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], [new PassStep("OnnxSmoothQuant", new Dictionary<string, string> { ["nodes_to_exclude"] = "*" })]));
        Assert.Equal(FailureType.Unsupported, outcome.Failure!.Type);
    }

    public void Dispose() => _directory.Dispose();

    private static PassStep Static() => new("OnnxStaticQuantization", new Dictionary<string, string>
    {
        ["op_types_to_quantize"] = "MatMul",
        ["op_types_to_exclude_output_quantization"] = "MatMul",
        ["per_channel"] = "true",
        ["reduce_range"] = "true",
    });

    private double Sqnr(string source)
    {
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source) { DataPath = OutlierEncoder.Data(_directory["test.npy"], 9), Settings = TestFiles.Precise with { IntraOpThreads = 1 } });
        Assert.True(result.IsOk, result.Failure?.Message);
        return result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
    }

    private OnnxOptimizeResult Optimize(string source, params PassStep[] steps)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], steps) { Calibration = CalibrationData.Load(OutlierEncoder.Data(_directory["calibration.npy"], 1)).Value, Threads = 1 });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value;
    }
}
