using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

public sealed class HalfPrecisionTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [SkippableFact]
    public void Weights_are_those_of_onnx_runtimes_converter()
    {
        using var expected = TestFiles.Load(TestFiles.Reference("onnx/enc_tiny.fp16.onnx"));
        Optimize(TestFiles.Reference("onnx/enc_tiny.onnx"));
        using var model = TestFiles.Load(_directory["out.onnx"]);
        var own = model.Graph.Initializer.ToDictionary(t => t.Name);
        foreach (var tensor in expected.Graph.Initializer)
        {
            Assert.Equal(tensor.DataType, own[tensor.Name].DataType);
            Assert.True(OnnxTensors.Bytes(tensor).SequenceEqual(OnnxTensors.Bytes(own[tensor.Name])), tensor.Name);
        }

        Assert.Equal(1, model.Graph.Node.Count(n => n.OpType == "Cast"));
        Assert.True(Sqnr(TestFiles.Reference("onnx/enc_tiny.onnx")) > 55);
    }

    [Theory]
    [InlineData("true")]
    [InlineData("false")]
    public void A_network_runs_with_and_without_half_inputs(string keepIo)
    {
        Optimize(TestFiles.Digits, ("keep_io_types", keepIo));
        Assert.True(Sqnr(TestFiles.Digits) > 50);
        using var model = TestFiles.Load(_directory["out.onnx"]);
        Assert.Equal(keepIo == "true" ? 1 : 10, model.Graph.Input[0].Type.TensorType.ElemType);
    }

    [Fact]
    public void What_overflows_stays_in_single_precision()
    {
        // x * 1000 * 1000 / 1e6 is x, but its middle leaves float16's range.
        var proto = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "g" } };
        proto.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        proto.Graph.Input.Add(Value("x"));
        proto.Graph.Output.Add(Value("y"));
        proto.Graph.Initializer.Add(OnnxTensors.Scalar("k", 1000));
        proto.Graph.Initializer.Add(OnnxTensors.Scalar("m", 1e-3f));
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "a", ["x", "k"], ["p"]));
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "b", ["p", "k"], ["q"]));
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "c", ["q", "m"], ["r"]));
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "d", ["r", "m"], ["y"]));
        Assert.True(OnnxModel.Wrap(proto).Save(_directory["in.onnx"]).IsOk);
        var report = Optimize(_directory["in.onnx"]);
        Assert.Equal(["b", "c"], report.Skipped.Select(s => s.Node));
        Assert.True(Sqnr(_directory["in.onnx"]) > 50);
        Assert.DoesNotContain(report.Notes, n => n.Contains("infinities", StringComparison.Ordinal));

        proto.Graph.Output[0].Name = "q";
        Assert.True(OnnxModel.Wrap(proto).Save(_directory["in.onnx"]).IsOk);
        Assert.Contains(Optimize(_directory["in.onnx"], ("keep_io_types", "false")).Notes, n => n.Contains("output 'q'", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("float16", 1e-9f, "true", true)]
    [InlineData("float16", -3e38f, "true", true)]
    [InlineData("float16", -3e38f, "false", false)]
    [InlineData("bfloat16", float.MinValue, "true", false)]
    [InlineData("bfloat16", 1e-42f, "true", true)]
    public void A_weight_that_the_type_has_no_number_for_keeps_its_node_in_float32_unless_clamping_is_wanted(string type, float value, string findOverflow, bool kept)
    {
        var proto = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "g" } };
        proto.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "odd", ["x", "w"], ["a"]));
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "plain", ["x", "k"], ["b"]));
        proto.Graph.Node.Add(NodeAttributes.Create("Min", "least", ["a", "b"], ["y"]));
        proto.Graph.Initializer.Add(OnnxTensors.Scalar("w", value));
        proto.Graph.Initializer.Add(OnnxTensors.Scalar("k", 4f));
        proto.Graph.Input.Add(Value("x"));
        proto.Graph.Output.Add(Value("y"));
        // What is declared of an inner value must go on being true of it.
        proto.Graph.ValueInfo.Add(Value("a"));
        Assert.True(OnnxModel.Wrap(proto).Save(_directory["in.onnx"]).IsOk);
        var report = Optimize(_directory["in.onnx"], ("dtype", type), ("find_overflow", findOverflow), ("op_block_list", ""));
        using var model = TestFiles.Load(_directory["out.onnx"]);
        var weight = model.Graph.Initializer.Single(t => t.Name == "w");
        if (kept)
        {
            Assert.Contains("'w'", report.Skipped.Single(s => s.Node == "odd").Reason, StringComparison.Ordinal);
            Assert.Equal(value, OnnxTensors.ToFloats(weight)[0]);
        }
        else
        {
            Assert.Equal(type, OnnxTensors.TypeName(weight.DataType));
            Assert.True(float.IsFinite(OnnxTensors.ToFloats(weight)[0]));
        }
    }

    // Real networks: variances near zero in detection, a mask of -FLT_MAX in the encoder, branches and recurrence in speech.
    [SkippableTheory]
    [InlineData("digits", "float16")]
    [InlineData("digits", "bfloat16")]
    [InlineData("ocr/ch_PP-OCRv4_det_infer.onnx", "float16")]
    [InlineData("ocr/ch_PP-OCRv4_det_infer.onnx", "bfloat16")]
    [InlineData("ocr/ch_PP-OCRv4_rec_infer.onnx", "float16")]
    [InlineData("ocr/ch_PP-OCRv4_rec_infer.onnx", "bfloat16")]
    [InlineData("models/minilm-l6/model.onnx", "float16")]
    [InlineData("models/minilm-l6/model.onnx", "bfloat16")]
    public void Real_models_are_converted(string name, string type)
    {
        var source = name == "digits" ? TestFiles.Digits : name.StartsWith("ocr/", StringComparison.Ordinal) ? TestFiles.Ocr(name[4..]) : TestFiles.Large(name);
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], [new PassStep("OnnxFloatToFloat16", new Dictionary<string, string> { ["dtype"] = type })]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.InRange(outcome.Value.OutputBytes, 0, outcome.Value.SourceBytes * 0.6);
        // Half precision as an NPU or GPU computes it; the CPU provider has kernels for float16 only.
        Assert.Equal(type == "bfloat16", outcome.Value.NotLoaded is not null);
    }

    [Theory]
    [InlineData("Celu", "float16")]
    [InlineData("Celu", "bfloat16")]
    [InlineData("Shrink", "bfloat16")]
    [InlineData("Einsum", "bfloat16")]
    public void An_operator_that_the_standard_has_not_in_the_type_stays_float32_whatever_is_blocked(string op, string type)
    {
        var proto = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "g" } };
        proto.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        proto.Graph.Input.Add(Value("x"));
        proto.Graph.Output.Add(Value("y"));
        proto.Graph.Initializer.Add(OnnxTensors.Scalar("k", 1.5f));
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "plain", ["x", "k"], ["p"]));
        var node = NodeAttributes.Create(op, "odd", ["p"], ["q"]);
        proto.Graph.Node.Add(op == "Einsum" ? node.With("equation", "i->i") : node);
        proto.Graph.Node.Add(NodeAttributes.Create("Mul", "after", ["q", "k"], ["y"]));
        Assert.True(OnnxModel.Wrap(proto).Save(_directory["in.onnx"]).IsOk);
        var report = Optimize(_directory["in.onnx"], ("dtype", type), ("op_block_list", ""));
        Assert.Equal("odd", report.Skipped.Single().Node);
        Assert.Equal(["plain", "after"], report.Changed.Select(c => c.Node));
    }

    // A Cast between DequantizeLinear and QuantizeLinear would undo the integers' arithmetic; before version 19 their scales are float32.
    [Theory]
    [InlineData("float16")]
    [InlineData("bfloat16")]
    public void What_computes_in_integers_stays_as_it_is(string type)
    {
        var report = Chain(TestFiles.Digits, new PassStep("OnnxStaticQuantization", new Dictionary<string, string> { ["op_types_to_quantize"] = "Conv" }), Half(type));
        Assert.Contains(report.Skipped, s => s.OpType == "Conv" && s.Reason.Contains("integers", StringComparison.Ordinal));
        Assert.Contains(report.Changed, c => c.OpType is "Gemm" or "MatMul");
        using var model = TestFiles.Load(_directory["out.onnx"]);
        var cast = model.Graph.Node.Where(n => n.OpType == "Cast").SelectMany(n => n.Output).ToHashSet();
        Assert.DoesNotContain(model.Graph.Node, n => n.OpType == "Conv" && n.Input.Any(cast.Contains));
    }

    [Fact]
    public void Weights_in_blocks_are_scaled_in_half_precision()
    {
        Chain(TestFiles.Reference("quantizers/shared17/fp32.onnx"), new PassStep("OnnxMatMulNBits", new Dictionary<string, string> { ["quant_format"] = "QDQ" }), Half("float16"));
        using var model = TestFiles.Load(_directory["out.onnx"]);
        var scales = model.Graph.Node.Where(n => n.OpType == "DequantizeLinear").Select(n => model.Graph.Initializer.Single(t => t.Name == n.Input[1])).ToList();
        Assert.NotEmpty(scales);
        Assert.All(scales, s => Assert.Equal((int)DataType.Float16, s.DataType));
    }

    [Fact]
    public void Bfloat16_is_written_and_proven_though_no_kernel_runs_it()
    {
        Optimize(TestFiles.Digits, ("dtype", "bfloat16"));
        Assert.Equal(FailureType.Unsupported, OnnxBenchmark.Run(new OnnxBenchmarkRequest(_directory["out.onnx"])).Failure!.Type);
    }

    public void Dispose() => _directory.Dispose();

    private static ValueInfoProto Value(string name)
    {
        var shape = new TensorShapeProto();
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = 64 });
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float, Shape = shape } } };
    }

    private static PassStep Half(string type) => new("OnnxFloatToFloat16", new Dictionary<string, string> { ["dtype"] = type });

    private PassReport Optimize(string source, params (string Key, string Value)[] parameters) =>
        Chain(source, new PassStep("OnnxFloatToFloat16", parameters.ToDictionary(p => p.Key, p => p.Value)));

    // The last pass's report.
    private PassReport Chain(string source, params PassStep[] steps)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], steps));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value.Passes[^1];
    }

    private double Sqnr(string baseline)
    {
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], baseline) { SyntheticSamples = 2, Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        return result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
    }
}
