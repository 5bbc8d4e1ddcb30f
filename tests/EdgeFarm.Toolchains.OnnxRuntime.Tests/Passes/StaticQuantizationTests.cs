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
    [InlineData("qnn_a8w8", "flavour=qnn,weight_type=uint8")]
    [InlineData("qnn_a8w8pc", "flavour=qnn,per_channel=true")]
    [InlineData("qnn_a16w8", "flavour=qnn,weight_type=uint8,activation_type=uint16")]
    [InlineData("qnn_a16w8pc", "flavour=qnn,per_channel=true,activation_type=uint16")]
    [InlineData("qnn_a16w4pc", "flavour=qnn,per_channel=true,activation_type=uint16,weight_type=int4")]
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
    [InlineData("s8s8pc_minmax", "activation_type=int8,per_channel=true")]
    [InlineData("u8u8_minmax", "weight_type=uint8")]
    [InlineData("u8s8pc_rr", "per_channel=true,reduce_range=true")]
    [InlineData("u8s8pc_movavg", "per_channel=true,calibrate_method=MovingAverage")]
    [InlineData("u8s8pc_entropy2048", "per_channel=true,calibrate_method=Entropy")]
    [InlineData("u8s8pc_percentile999_asym", "per_channel=true,calibrate_method=Percentile,percentile=99.9,percentile_symmetric=false")]
    [InlineData("qnn_a8w8pc", "flavour=qnn,per_channel=true")]
    [InlineData("qnn_a16w8pc", "flavour=qnn,per_channel=true,activation_type=uint16")]
    [InlineData("qnn_a16w4pc", "flavour=qnn,per_channel=true,activation_type=uint16,weight_type=int4")]
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
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(path, TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = "label", Settings = TestFiles.Precise });
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

    [Fact]
    public void Bias_correction_takes_out_the_mean_error_of_coarse_weights()
    {
        // 4-bit weights have a mean error that 8 bits hardly show.
        var plain = DigitsSqnr("per_channel=true,weight_type=int4,activation_type=uint16");
        var corrected = DigitsSqnr("per_channel=true,weight_type=int4,activation_type=uint16,bias_correction=true");
        Assert.True(corrected > plain + 0.3, $"{plain} dB became {corrected} dB");
    }

    [Theory]
    [InlineData("*=uint3")]
    [InlineData("nothing")]
    [InlineData("=uint8")]
    public void A_type_that_cannot_be_read_is_invalid(string pair)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(
            TestFiles.Digits, _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", new Dictionary<string, string> { ["tensor_types"] = pair })]));
        Assert.Equal(FailureType.InvalidInput, outcome.Failure!.Type);
        Assert.Contains($"'{pair}'", outcome.Failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Wider_types_for_named_tensors_bring_the_outputs_nearer()
    {
        var narrow = DigitsSqnr("per_channel=true");
        var mixed = DigitsSqnr("per_channel=true,tensor_types=logits=uint16");
        Assert.True(mixed > narrow, $"{narrow} dB became {mixed} dB");
        using var model = TestFiles.Load(_directory["digits.onnx"]);
        Assert.Contains(model.Graph.Initializer, t => t.DataType == (int)ModelFormats.Onnx.Proto.TensorProto.Types.DataType.Uint16);
        Assert.Contains(model.Graph.Initializer, t => t.DataType == (int)ModelFormats.Onnx.Proto.TensorProto.Types.DataType.Uint8);
    }

    [Theory]
    [InlineData("nodes_to_exclude=/body/*;nonsense", "nodes_to_exclude: no node of the model is called 'nonsense'; it has ")]
    [InlineData("tensor_types=image=uint8;wrong*=uint16", "tensor_types: no tensor of the model is called 'wrong*'; it has ")]
    public void A_name_that_nothing_has_is_a_warning(string parameters, string expected)
    {
        var (outcome, _) = RunDigits(parameters);
        Assert.StartsWith(expected, Assert.Single(outcome.Value.Passes[0].Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Nodes_are_excluded_by_pattern_and_say_why()
    {
        string first;
        using (var model = TestFiles.Load(TestFiles.Digits))
        {
            first = model.Graph.Node.First(n => n.OpType == "Conv").Name;
        }

        var (outcome, _) = RunDigits($"nodes_to_exclude={first[..^1]}?,op_types_to_quantize=Conv;Gemm");
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.Contains(outcome.Value.Passes[0].Skipped, s => s.Node == first && s.Reason == "excluded by name");
        Assert.DoesNotContain(outcome.Value.Passes[0].Changed, c => c.Node == first);
    }

    [Fact]
    public void OpenVinos_flavour_quantizes_only_what_is_multiplied_with_constants()
    {
        var (outcome, path) = RunDigits("flavour=openvino,per_channel=true,activation_type=int8");
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        using var model = TestFiles.Load(path);
        var graph = new ModelFormats.Onnx.Graphs.OnnxGraph(model);
        foreach (var quantize in model.Graph.Node.Where(n => n.OpType == "QuantizeLinear"))
        {
            // Signed activations would make OpenVINO compute convolutions in float.
            var reader = Assert.Single(graph.Readers(Assert.Single(graph.Readers(quantize.Output[0])).Output[0]).Select(r => r.OpType).Distinct());
            Assert.Contains(reader, (string[])["Conv", "Gemm"]);
            var type = (ModelFormats.Onnx.Proto.TensorProto.Types.DataType)graph.Constant(quantize.Input[2])!.DataType;
            Assert.Equal(reader == "Conv" ? "Uint8" : "Int8", $"{type}");
        }

        Assert.Contains(model.Graph.Node, n => n.OpType == "Clip");
        Assert.True(outcome.Value.Passes[0].Figures["sqnr_db"] > 30);
    }

    public void Dispose() => _directory.Dispose();

    internal static double Sqnr(string model, string baseline, string data)
    {
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(model, baseline) { DataPath = data, Settings = TestFiles.Precise with { IntraOpThreads = 1 } });
        Assert.True(result.IsOk, result.Failure?.Message);
        return result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
    }

    internal static SortedDictionary<string, int> Operators(OnnxModel model) =>
        new(model.Graph.Node.GroupBy(n => n.OpType).ToDictionary(g => g.Key, g => g.Count()));

    private static Dictionary<string, string> Parse(string settings) =>
        settings.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(s => s.Split('=', 2)).ToDictionary(s => s[0], s => s[1].Replace(';', ','));

    private double DigitsSqnr(string settings) => Sqnr(Digits(settings), TestFiles.Digits, TestFiles.DigitsTest);

    private string Digits(string settings)
    {
        var (outcome, path) = RunDigits(settings);
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return path;
    }

    private (Outcome<OnnxOptimizeResult> Outcome, string Path) RunDigits(string settings) => (
        OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["digits.onnx"], [new PassStep("OnnxStaticQuantization", Parse(settings))])
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
        }),
        _directory["digits.onnx"]);

    private (OnnxOptimizeResult Result, OnnxModel Model, string Path) Optimize(string name, string settings)
    {
        var path = _directory["out.onnx"];
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Reference($"onnx-static/{name}.onnx"), path, [new PassStep("OnnxStaticQuantization", Parse(settings))])
        {
            Calibration = CalibrationData.Load(TestFiles.Reference($"onnx-static/{name[..(name.Length == 4 ? 4 : 3)]}_calib.npy")).Value,
            Threads = 1,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return (outcome.Value, TestFiles.Load(path), path);
    }
}
