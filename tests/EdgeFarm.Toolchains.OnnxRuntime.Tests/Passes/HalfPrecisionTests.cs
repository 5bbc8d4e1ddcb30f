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

    private PassReport Optimize(string source, params (string Key, string Value)[] parameters)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], [new PassStep("OnnxFloatToFloat16", parameters.ToDictionary(p => p.Key, p => p.Value))]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value.Passes[0];
    }

    private double Sqnr(string baseline)
    {
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], baseline) { SyntheticSamples = 2, Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        return result.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
    }
}
