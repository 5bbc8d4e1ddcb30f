using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

public sealed class StaticQuantizationTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [SkippableTheory]
    [InlineData("u8s8_minmax", "")]
    [InlineData("u8s8pc_minmax", "per_channel=true")]
    [InlineData("u8s8pc_rr", "per_channel=true,reduce_range=true")]
    [InlineData("u8u8_minmax", "weight_type=uint8")]
    [InlineData("s8s8pc_minmax", "activation_type=int8,per_channel=true")]
    [InlineData("u16s8pc_minmax", "activation_type=uint16,per_channel=true")]
    [InlineData("s16s16_minmax", "activation_type=int16,weight_type=int16")]
    [InlineData("u8s8pc_actsym", "per_channel=true,activation_symmetric=true")]
    [InlineData("u8s8pc_keepclip", "per_channel=true,keep_removable_activations=true")]
    [InlineData("u8s8pc_dedicated", "per_channel=true,dedicated_qdq_pair=true")]
    [InlineData("u8s8pc_movavg", "per_channel=true,calibrate_method=MovingAverage")]
    [InlineData("u8s8pc_percentile_default", "per_channel=true,calibrate_method=Percentile")]
    [InlineData("u8s8pc_percentile999_asym", "per_channel=true,calibrate_method=Percentile,percentile=99.9,percentile_symmetric=false")]
    [InlineData("u8s8pc_entropy_default", "per_channel=true,calibrate_method=Entropy,num_bins=128")]
    [InlineData("u8s8pc_entropy2048", "per_channel=true,calibrate_method=Entropy")]
    public void Scales_weights_and_biases_are_those_of_onnx_runtimes_quantizer(string variant, string settings)
    {
        var (result, model, _) = Optimize("conv", settings);
        using var own = model;
        using var expected = TestFiles.Load(TestFiles.Reference($"onnx-static/conv.{variant}.onnx"));
        Assert.Equal(string.Join(' ', Operators(expected)), string.Join(' ', Operators(own)));
        var tensors = own.Graph.Initializer.ToDictionary(t => t.Name);
        Assert.Equal(expected.Graph.Initializer.Select(t => t.Name).Order(StringComparer.Ordinal), tensors.Keys.Order(StringComparer.Ordinal));
        var different = expected.Graph.Initializer
            .Where(t => t.DataType != tensors[t.Name].DataType || !t.Dims.SequenceEqual(tensors[t.Name].Dims) || !OnnxTensors.Bytes(t).SequenceEqual(OnnxTensors.Bytes(tensors[t.Name])))
            .Select(t => t.Name).ToList();
        if (variant == "u8s8pc_movavg")
        {
            // A mean of single-precision numbers depends on the order in which they are summed: 1 ulp, 2 in a product of scales.
            different.RemoveAll(n => n.EndsWith("_scale", StringComparison.Ordinal)
                && OnnxTensors.ToFloats(expected.Graph.Initializer.Single(t => t.Name == n)).Zip(OnnxTensors.ToFloats(tensors[n]))
                    .All(p => Math.Abs(p.First - p.Second) <= 2 * (MathF.BitIncrement(p.First) - p.First)));
        }

        Assert.True(different.Count == 0, string.Join(" ", different));
        Assert.NotEmpty(result.Weights);
    }

    [SkippableTheory]
    [InlineData("u8s8_minmax", "")]
    [InlineData("u8s8pc_minmax", "per_channel=true")]
    [InlineData("u8s8pc_percentile_default", "per_channel=true,calibrate_method=Percentile")]
    [InlineData("u16s8pc_minmax", "activation_type=uint16,per_channel=true")]
    [InlineData("s16s16_minmax", "activation_type=int16,weight_type=int16")]
    public void Outputs_are_as_near_as_those_of_onnx_runtimes_quantizer(string variant, string settings)
    {
        var (_, model, path) = Optimize("conv", settings);
        model.Dispose();
        var sqnr = Sqnr(path, TestFiles.Reference("onnx-static/conv.onnx"), TestFiles.Reference("onnx-static/conv_test.npy"));
        using var manifest = JsonDocument.Parse(File.ReadAllText(TestFiles.Reference("onnx-static/manifest.json")));
        var expected = manifest.RootElement.EnumerateArray().Single(e => e.GetProperty("file").GetString() == $"conv.{variant}.onnx").GetProperty("sqnr_vs_fp32_db").GetDouble();
        Assert.True(sqnr >= expected - 0.5, $"{sqnr} dB, ONNX Runtime's quantizer {expected}");
    }

    [Theory]
    [InlineData("per_channel=true", 0.986, 31.5)]
    [InlineData("per_channel=true,reduce_range=true", 0.986, 30.5)]
    [InlineData("per_channel=true,calibrate_method=Percentile", 0.986, 31.5)]
    [InlineData("per_channel=true,calibrate_method=MSE", 0.986, 31)]
    [InlineData("per_channel=true,activation_type=uint16", 0.986, 35)]
    public void Digits_keep_their_accuracy(string settings, double accuracy, double leastDb)
    {
        var path = Digits(settings);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(path, TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = "label" });
        Assert.True(result.IsOk, result.Failure?.Message);
        var metrics = result.Value.Metrics.ToDictionary(m => m.Metric, m => m.Samples[0]);
        Assert.True(metrics["accuracy"] >= accuracy && metrics["sqnr"] >= leastDb, $"accuracy {metrics["accuracy"]}, {metrics["sqnr"]} dB");
    }

    [Fact]
    public void Without_samples_the_result_says_so()
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", new Dictionary<string, string>())]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.True(outcome.Value.Passes[0].Synthetic);
        Assert.Contains("random input", outcome.Value.Passes[0].Warnings.Single(), StringComparison.Ordinal);
    }

    [Fact]
    public void Samples_of_another_shape_are_invalid()
    {
        var data = CalibrationData.Load(TestFiles.Reference("onnx-static/conv_calib.npy")).Value;
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", new Dictionary<string, string>())]) { Calibration = data });
        Assert.Equal(FailureType.InvalidInput, outcome.Failure!.Type);
        Assert.Contains("the data set has [32, 3, 32, 32]", outcome.Failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Excluded_nodes_stay_float_and_the_rest_still_runs()
    {
        var path = Digits("per_channel=true,op_types_to_quantize=Conv,op_types_to_exclude_output_quantization=Conv");
        using var model = TestFiles.Load(path);
        Assert.DoesNotContain(model.Graph.Node, n => n.OpType == "QuantizeLinear" && n.Output[0].StartsWith("logits", StringComparison.Ordinal));
    }

    public void Dispose() => _directory.Dispose();

    internal static double Sqnr(string model, string baseline, string data)
    {
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(model, baseline) { DataPath = data, Settings = new OrtSettings { IntraOpThreads = 1 } });
        Assert.True(result.IsOk, result.Failure?.Message);
        return result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
    }

    private static SortedDictionary<string, int> Operators(OnnxModel model) =>
        new(model.Graph.Node.GroupBy(n => n.OpType).ToDictionary(g => g.Key, g => g.Count()));

    private static Dictionary<string, string> Parse(string settings) =>
        settings.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(s => s.Split('=')).ToDictionary(s => s[0], s => s[1]);

    private string Digits(string settings)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["digits.onnx"], [new PassStep("OnnxStaticQuantization", Parse(settings))])
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return _directory["digits.onnx"];
    }

    private (OnnxOptimizeResult Result, OnnxModel Model, string Path) Optimize(string name, string settings)
    {
        var path = _directory["out.onnx"];
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Reference($"onnx-static/{name}.onnx"), path, [new PassStep("OnnxStaticQuantization", Parse(settings))])
        {
            Calibration = CalibrationData.Load(TestFiles.Reference($"onnx-static/{name}_calib.npy")).Value,
            Threads = 1,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return (outcome.Value, TestFiles.Load(path), path);
    }
}
