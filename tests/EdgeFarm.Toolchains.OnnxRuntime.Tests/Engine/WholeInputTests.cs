using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Engine;

/// <summary>A recurrent model: its state has the batch in the middle, its sample rate none at all.</summary>
public sealed class WholeInputTests : IDisposable
{
    private const int Width = 64, State = 16;

    private readonly TemporaryDirectory _directory = new();

    public WholeInputTests()
    {
        var model = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "g" } };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        model.Graph.Input.Add(Value("x", DataType.Float, "batch", Width));
        model.Graph.Input.Add(Value("state", DataType.Float, 2, "batch", State));
        model.Graph.Input.Add(Value("rate", DataType.Int64));
        model.Graph.Output.Add(Value("y", DataType.Float, "batch", State));
        var random = new Random(1);
        model.Graph.Initializer.Add(OnnxTensors.Create("w", [Width, State], Enumerable.Range(0, Width * State).Select(_ => random.NextSingle() - 0.5f).ToArray()));
        model.Graph.Initializer.Add(OnnxTensors.Create("first", [], (ReadOnlySpan<long>)[0]));
        model.Graph.Node.Add(NodeAttributes.Create("MatMul", "mm", ["x", "w"], ["product"]));
        model.Graph.Node.Add(NodeAttributes.Create("Gather", "hidden", ["state", "first"], ["h"]).With("axis", 0L));
        model.Graph.Node.Add(NodeAttributes.Create("Add", "add", ["product", "h"], ["sum"]));
        model.Graph.Node.Add(NodeAttributes.Create("Cast", "cast", ["rate"], ["factor"]).With("to", (long)DataType.Float));
        model.Graph.Node.Add(NodeAttributes.Create("Mul", "mul", ["sum", "factor"], ["y"]));
        Assert.True(OnnxModel.Wrap(model).Save(_directory["in.onnx"]).IsOk);
        File.WriteAllText(
            _directory["dataset.json"],
            $$$"""{"kind": "random", "samples": 6, "inputs": {"x": {"shape": [{{{Width}}}] }, "state": {"shape": [2, 1, {{{State}}}] }, "rate": {"shape": [], "type": "int64", "low": 3, "high": 3 } } }""");
    }

    [Fact]
    public void A_whole_state_for_each_sample_calibrates_and_judges()
    {
        var calibration = CalibrationData.Load(_directory.Root).Value;
        var made = OnnxOptimizer.Run(new OnnxOptimizeRequest(_directory["in.onnx"], _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", new Dictionary<string, string>())]) { Calibration = calibration });
        Assert.True(made.IsOk, made.Failure?.Message);
        Assert.Contains("6 calibration samples", made.Value.Passes[0].Notes);
        var judged = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], _directory["in.onnx"]) { DataPath = _directory.Root, Settings = TestFiles.Precise, LayerSamples = 2 });
        Assert.True(judged.IsOk, judged.Failure?.Message);
        Assert.Equal(6, judged.Value.Samples);
        Assert.True(judged.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0] > 30);
        Assert.NotEmpty(judged.Value.Layers);
    }

    [Fact]
    public void Without_data_the_batch_is_1_wherever_it_stands()
    {
        var judged = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["in.onnx"], _directory["in.onnx"]) { SyntheticSamples = 3 });
        Assert.True(judged.IsOk, judged.Failure?.Message);
        Assert.Equal(3, judged.Value.Samples);
    }

    [Theory]
    [InlineData(new long[] { 2, 6, State }, "one dimension more than the input")]
    [InlineData(new long[] { 6, State }, "[samples, 2, any, 16]")]
    [InlineData(new long[] { 5, 2, 1, State }, "different or no rows")]
    public void A_state_of_another_shape_is_told(long[] shape, string what)
    {
        var data = new CalibrationData(
            new Dictionary<string, NpyArray>
            {
                ["x"] = NpyArray.Of([6, Width], new float[6 * Width]),
                ["state"] = NpyArray.Of(shape, new float[shape.Aggregate(1L, (a, d) => a * d)]),
                ["rate"] = NpyArray.Of([6], new long[6]),
            },
            synthetic: false);
        var made = OnnxOptimizer.Run(new OnnxOptimizeRequest(_directory["in.onnx"], _directory["out.onnx"], [new PassStep("OnnxStaticQuantization", new Dictionary<string, string>())]) { Calibration = data });
        Assert.Equal(FailureType.InvalidInput, made.Failure!.Type);
        Assert.Contains(what, made.Failure.Message, StringComparison.Ordinal);
    }

    public void Dispose() => _directory.Dispose();

    private static ValueInfoProto Value(string name, DataType type, params object[] dims)
    {
        var shape = new TensorShapeProto();
        shape.Dim.AddRange(dims.Select(d => d is string symbol ? new TensorShapeProto.Types.Dimension { DimParam = symbol } : new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(d, System.Globalization.CultureInfo.InvariantCulture) }));
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape } } };
    }
}
