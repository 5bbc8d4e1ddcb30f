using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Qnn;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

/// <summary>Qualcomm's flavour against what its validator and ONNX Runtime's own helper for it made.</summary>
public sealed class QnnTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public static TheoryData<string> Recorded()
    {
        using var matrix = JsonDocument.Parse(File.ReadAllText(TestFiles.Reference("qnn/op_matrix.json")));
        return [.. matrix.RootElement.EnumerateObject().Select(p => p.Name)];
    }

    [Theory]
    [MemberData(nameof(Recorded))]
    public void The_rules_are_those_of_the_recorded_validator(string recorded)
    {
        using var matrix = JsonDocument.Parse(File.ReadAllText(TestFiles.Reference("qnn/op_matrix.json")));
        var form = Form(recorded);
        foreach (var architecture in (int[])[68, 73, 79])
        {
            var taken = matrix.RootElement.GetProperty(recorded).GetProperty($"v{architecture}").GetString()!.StartsWith("ok", StringComparison.Ordinal);
            var verdict = QnnRules.Judge(form, architecture);
            Assert.True(taken ? verdict is QnnVerdict.Accepted or QnnVerdict.Float : verdict is QnnVerdict.Refused, $"v{architecture}: {verdict} for {form}");
            // Two types at once are taken and computed in floating point.
            if (form.OpType is "Add" or "Sub" or "Mul" or "Div" or "Max" && new[] { form.Input, form.Second, form.Output }.Distinct().Count() > 1)
            {
                Assert.Equal(QnnVerdict.Float, verdict);
            }
        }
    }

    [Theory]
    [InlineData("MatMul")]
    [InlineData("Gemm")]
    public void Asymmetric_four_bit_weights_are_known_to_be_computed_wrongly(string op) =>
        Assert.Equal(QnnVerdict.Wrong, QnnRules.Judge(new QnnForm(op, DataType.Uint16, DataType.Uint16) { HasWeight = true, Weight = DataType.Int4, Symmetric = false }));

    [SkippableTheory]
    [InlineData("conv.u8s8pc_actsym", QnnVerdict.Wrong)]
    [InlineData("conv.s16s16_minmax", QnnVerdict.Refused)]
    [InlineData("enc_matmul.qnn_a16w4pc", QnnVerdict.Wrong)]
    [InlineData("conv.qnn_a8w8pc", null)]
    [InlineData("conv.qnn_a16w8", null)]
    [InlineData("conv.u8s8pc_keepclip", null)]
    [InlineData("enc_gemm.qnn_a8w8pc", null)]
    [InlineData("enc_gemm.qnn_a16w8pc", null)]
    [InlineData("enc_matmul.qnn_a8w8", null)]
    [InlineData("enc_matmul.qnn_mixed", null)]
    public void Whole_models_are_judged_as_on_the_emulation(string variant, object? worst)
    {
        using var model = TestFiles.Load(TestFiles.Reference($"onnx-static/{variant}.onnx"));
        var verdicts = QnnForms.Of(model).Select(f => (f.Node.OpType, Verdict: QnnRules.Judge(f.Form))).ToList();
        Assert.NotEmpty(verdicts);
        if (worst is QnnVerdict verdict)
        {
            Assert.Contains(verdicts, v => v.Verdict == verdict);
            Assert.Equal(FailureType.Unsupported, Assert.Throws<FailureException>(() => QnnRules.Prove(model, [])).Failure.Type);
        }
        else
        {
            Assert.All(verdicts, v => Assert.True(v.Verdict == QnnVerdict.Accepted, $"{v}"));
        }
    }

    [SkippableTheory]
    [InlineData("enc_matmul", "qnn_a8w8", "weight_type=uint8")]
    [InlineData("enc_matmul", "qnn_a16w8", "weight_type=uint8,activation_type=uint16")]
    [InlineData("enc_matmul", "qnn_a8w8pc", "per_channel=true,per_channel_matmul=false")]
    [InlineData("enc_matmul", "qnn_a16w8pc", "per_channel=true,per_channel_matmul=false,activation_type=uint16")]
    [InlineData("enc_matmul", "qnn_mixed", "weight_type=uint8,tensor_types=mul_29_out=uint16;softmax_15_out=uint16")]
    [InlineData("enc_gemm", "qnn_a8w8", "weight_type=uint8")]
    [InlineData("enc_gemm", "qnn_a16w8", "weight_type=uint8,activation_type=uint16")]
    [InlineData("enc_gemm", "qnn_a8w8pc", "per_channel=true,per_channel_matmul=false")]
    [InlineData("enc_gemm", "qnn_a16w8pc", "per_channel=true,per_channel_matmul=false,activation_type=uint16")]
    public void Encoders_have_the_scales_and_weights_of_onnx_runtimes_helper(string name, string variant, string settings)
    {
        var result = Quantize(name, "flavour=qnn," + settings);
        using var own = TestFiles.Load(_directory["out.onnx"]);
        using var expected = TestFiles.Load(TestFiles.Reference($"onnx-static/{name}.{variant}.onnx"));
        Assert.Equal(string.Join(' ', StaticQuantizationTests.Operators(expected)), string.Join(' ', StaticQuantizationTests.Operators(own)));
        Assert.Equal(Codes(expected), Codes(own));
        // The float model's own sums differ in their last bit from one kind of CPU to another, and with them the scales and the biases in their units.
        var (scales, ownScales) = (Scales(expected), Scales(own));
        Assert.Equal(scales.Count, ownScales.Count);
        Assert.All(scales.Zip(ownScales), pair => Assert.InRange(pair.Second, pair.First - Math.Abs(pair.First * 5e-7), pair.First + Math.Abs(pair.First * 5e-7)));
        var sqnr = StaticQuantizationTests.Sqnr(_directory["out.onnx"], TestFiles.Reference($"onnx-static/{name}.onnx"), TestFiles.Reference("onnx-static/enc_test.npy"));
        Assert.True(sqnr >= ManifestSqnr($"{name}.{variant}.onnx") - 0.5, $"{sqnr} dB");
        Assert.Contains(result.Passes[0].Notes, n => n.Contains("on every NPU from v68", StringComparison.Ordinal));
    }

    [SkippableTheory]
    [InlineData("enc_matmul")]
    [InlineData("enc_gemm")]
    public void Four_bit_weights_are_symmetric_and_better_than_the_helpers(string name)
    {
        Quantize(name, "flavour=qnn,per_channel=true,activation_type=uint16,weight_type=int4");
        using var own = TestFiles.Load(_directory["out.onnx"]);
        Assert.All(QnnForms.Of(own), f => Assert.Equal(QnnVerdict.Accepted, QnnRules.Judge(f.Form)));
        var sqnr = StaticQuantizationTests.Sqnr(_directory["out.onnx"], TestFiles.Reference($"onnx-static/{name}.onnx"), TestFiles.Reference("onnx-static/enc_test.npy"));
        Assert.True(sqnr >= ManifestSqnr($"{name}.qnn_a16w4pc.onnx") - 0.5, $"{sqnr} dB");
    }

    [Theory]
    [InlineData("activation_type", "int8")]
    [InlineData("activation_type", "int16")]
    [InlineData("weight_type", "int16")]
    [InlineData("activation_symmetric", "true")]
    [InlineData("dedicated_qdq_pair", "true")]
    [InlineData("tensor_types", "*=int16")]
    public void Options_that_no_npu_takes_are_invalid(string key, string value)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(
            TestFiles.Digits, _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", new Dictionary<string, string> { ["flavour"] = "qnn", [key] = value })]));
        Assert.Equal(FailureType.InvalidInput, outcome.Failure!.Type);
    }

    [SkippableFact]
    public void Erf_is_refused_until_preparation_makes_gelu_of_it()
    {
        var source = TestFiles.Reference("onnx/enc_tiny.onnx");
        var request = new OnnxOptimizeRequest(source, _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", new Dictionary<string, string> { ["flavour"] = "qnn" })]);
        var failure = OnnxOptimizer.Run(request).Failure!;
        Assert.Equal(FailureType.Unsupported, failure.Type);
        Assert.Contains("QnnPreparation", failure.Message, StringComparison.Ordinal);

        var outcome = OnnxOptimizer.Run(request with { Steps = OnnxForms.Find("qnn-a16w8").Value.Steps });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        using var model = TestFiles.Load(_directory["out.onnx"]);
        Assert.Contains(model.Graph.Node, n => n.Is("Gelu"));
        Assert.DoesNotContain(model.Graph.Node, n => n.Is("Erf"));
        Assert.All(model.Graph.Input, i => Assert.All(i.Type.TensorType.Shape.Dim, d => Assert.True(d.DimValue > 0)));
        Assert.True(outcome.Value.Passes[1].Figures["sqnr_db"] > 30);
    }

    [Theory]
    [InlineData("qnn-a8w8", 30)]
    [InlineData("qnn-a16w8", 34)]
    public void Digits_for_qualcomm_keep_their_outputs(string form, double leastDb)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], OnnxForms.Find(form).Value.Steps)
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = "label", Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.True(result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0] >= leastDb);
        Assert.True(result.Value.Metrics.Single(m => m.Metric == "accuracy").Samples[0] >= 0.986);
    }

    // Noise shows the detector no text: its output is nearly zero, and ONNX Runtime's own rewriting moves it as much as preparation does.
    [SkippableFact]
    public void A_detector_that_sees_nothing_is_prepared_and_the_note_says_what_that_proves()
    {
        File.WriteAllText(_directory["dataset.json"], """{"kind": "random", "samples": 4, "inputs": {"x": {"shape": [3, 160, 160]}}}""");
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Ocr("ch_PP-OCRv4_det_infer.onnx"), _directory["out.onnx"], OnnxForms.Find("qnn-a8w8").Value.Steps)
        {
            Calibration = CalibrationData.Load(_directory.Root).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.Contains(outcome.Value.Passes[0].Notes, n => n.Contains("mostly rounding", StringComparison.Ordinal));
    }

    public void Dispose() => _directory.Dispose();

    private static double ManifestSqnr(string file)
    {
        using var manifest = JsonDocument.Parse(File.ReadAllText(TestFiles.Reference("onnx-static/manifest.json")));
        return manifest.RootElement.EnumerateArray().Single(e => e.GetProperty("file").GetString() == file).GetProperty("sqnr_vs_fp32_db").GetDouble();
    }

    // Names of inserted tensors are each tool's own; what they hold is not.
    private static List<string> Codes(OnnxModel model) =>
    [
        .. model.Graph.Initializer.Where(t => t.DataType is not ((int)DataType.Float or (int)DataType.Int32))
            .Select(t => $"{(DataType)t.DataType} [{string.Join(',', t.Dims)}] {Convert.ToHexString(OnnxTensors.Bytes(t)[..Math.Min(64, OnnxTensors.Bytes(t).Length)])}").Order(StringComparer.Ordinal),
    ];

    private static List<double> Scales(OnnxModel model) =>
        [.. model.Graph.Initializer.Where(t => t.DataType == (int)DataType.Float).SelectMany(t => OnnxTensors.ToFloats(t)).Select(v => (double)v).Order()];

    private OnnxOptimizeResult Quantize(string name, string settings)
    {
        var parameters = settings.Split(',').Select(s => s.Split('=', 2)).ToDictionary(s => s[0], s => s[1].Replace(';', ','));
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Reference($"onnx-static/{name}.onnx"), _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", parameters)])
        {
            Calibration = CalibrationData.Load(TestFiles.Reference("onnx-static/enc_calib.npy")).Value,
            Threads = 1,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value;
    }

    // The matrix names its cases in words.
    private static QnnForm Form(string text)
    {
        var words = text.Split(' ');
        var op = words[0] switch { "DWConv" => "Conv", "gemm" => "Gemm", "matmul" => "MatMul", "LayerNorm" => "LayerNormalization", "InstanceNorm" => "InstanceNormalization", var name => name };
        string Part(string key) => words.FirstOrDefault(w => w.StartsWith(key + "=", StringComparison.Ordinal))?[(key.Length + 1)..] ?? "";
        var form = new QnnForm(op, DataType.Uint8, DataType.Uint8);
        if (Part("a").Length > 0)
        {
            form = form with { Input = Type(Part("a")), Output = Type(Part("a")) };
        }

        if (Part("w").Length > 0 || Part("gamma").Length > 0)
        {
            form = form with { HasWeight = true, Weight = Type(Part("w") + Part("gamma")), PerChannel = text.Contains("per-channel", StringComparison.Ordinal) || Part("pc").StartsWith("True", StringComparison.Ordinal) };
            form = form with { Symmetric = !text.Contains("asym", StringComparison.OrdinalIgnoreCase), Depthwise = words[0] == "DWConv" };
            return op == "LayerNormalization" && words[1].Length < 4 ? form with { Input = Type(words[1]), Output = Type(words[1]) } : form;
        }

        if (op == "Conv")
        {
            var wide = text.Contains("Conv u16", StringComparison.Ordinal) || text.Contains("in u16", StringComparison.Ordinal);
            var input = wide ? DataType.Uint16 : DataType.Uint8;
            return form with
            {
                Input = input,
                Output = text.Contains("out u16", StringComparison.Ordinal) ? DataType.Uint16 : text.Contains("out u8", StringComparison.Ordinal) ? DataType.Uint8 : text.Contains("out s8", StringComparison.Ordinal) ? DataType.Int8 : input,
                HasWeight = true,
                Weight = text.Contains("u8/u8", StringComparison.Ordinal) ? DataType.Uint8 : DataType.Int8,
            };
        }

        if (op == "MatMul")
        {
            return form with { HasSecond = true, Input = Type(words[2]), Second = Type(words[4]), Output = Type(words[6]) };
        }

        if (text.Contains("->", StringComparison.Ordinal))
        {
            var types = words[1].Replace("->", ",", StringComparison.Ordinal).Split(',');
            return form with { Input = Type(types[0]), HasSecond = true, Second = Type(types[1]), Output = Type(types[2]) };
        }

        if (text == "Softmax u8 in u16 out")
        {
            return form with { Output = DataType.Uint16 };
        }

        var type = words.Skip(1).Select(w => w is "u8" or "u16" or "s8" or "s16" ? Type(w) : null).FirstOrDefault(t => t is not null) ?? DataType.Uint8;
        return form with { Input = type, Output = type };
    }

    private static DataType? Type(string name) => name switch
    {
        "u8" => DataType.Uint8,
        "s8" => DataType.Int8,
        "u16" => DataType.Uint16,
        "s16" => DataType.Int16,
        "s4" => DataType.Int4,
        "float" => null,
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "not a type of the matrix"),
    };
}
