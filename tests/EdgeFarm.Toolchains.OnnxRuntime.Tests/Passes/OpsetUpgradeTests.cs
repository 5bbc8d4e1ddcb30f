using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using Google.Protobuf;
using static EdgeFarm.ModelFormats.Onnx.Proto.AttributeProto.Types;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

/// <summary>Upgraded models give what they gave: both are run by ONNX Runtime.</summary>
public sealed class OpsetUpgradeTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Theory]
    [InlineData("Softmax", 11, 13, "axis=1")]
    [InlineData("Softmax", 11, 21, "axis=2")]
    [InlineData("Softmax", 9, 13, "")]
    [InlineData("LogSoftmax", 12, 18, "axis=0")]
    [InlineData("Hardmax", 11, 13, "axis=1")]
    [InlineData("Unsqueeze", 11, 13, "axes=0")]
    [InlineData("Squeeze", 9, 21, "axes=0")]
    [InlineData("ReduceSum", 11, 13, "axes=1,2")]
    [InlineData("ReduceMean", 11, 18, "axes=1,2")]
    [InlineData("ReduceMax", 13, 21, "axes=2;keepdims=0")]
    [InlineData("Slice", 9, 11, "starts=0,1;ends=1,3;axes=0,2")]
    [InlineData("Slice", 9, 13, "starts=0,1,0;ends=1,2,3")]
    [InlineData("Clip", 7, 13, "min=0.25f;max=0.5f")]
    [InlineData("Clip", 10, 11, "max=0.5f")]
    [InlineData("Pad", 7, 13, "pads=0,1,0,0,0,2;value=0.5f")]
    [InlineData("Split", 11, 13, "axis=2;split=1,3")]
    [InlineData("Split", 11, 18, "axis=2")]
    [InlineData("Dropout", 7, 13, "ratio=0.5f")]
    [InlineData("TopK", 9, 11, "k=2;axis=-1")]
    [InlineData("LeakyRelu", 7, 22, "alpha=0.1f")]
    public void An_operator_gives_the_same_in_a_newer_set(string opType, long from, long to, string attributes)
    {
        var proto = Model(from, 1, 3, 4);
        var node = NodeAttributes.Create(opType, "n", ["x"], opType is "Split" or "TopK" ? ["y", "z"] : ["y"]);
        node.Attribute.AddRange(attributes.Split(';', StringSplitOptions.RemoveEmptyEntries).Select(Attribute));
        proto.Graph.Node.Add(node);
        Same(proto, to);
    }

    [Theory]
    [InlineData(7, 13)]
    [InlineData(9, 11)]
    [InlineData(10, 12)]
    public void An_image_is_enlarged_as_before(long from, long to)
    {
        var proto = Model(from, 1, 1, 3, 4);
        var node = NodeAttributes.Create(from < 10 ? "Upsample" : "Resize", "n", from < 9 ? ["x"] : ["x", "scales"], ["y"]).With("mode", "nearest");
        if (from < 9)
        {
            var scales = new AttributeProto { Name = "scales", Type = AttributeType.Floats };
            scales.Floats.AddRange([1, 1, 2, 3]);
            node.Attribute.Add(scales);
        }
        else
        {
            proto.Graph.Initializer.Add(OnnxTensors.Create("scales", [4], new float[] { 1, 1, 2, 3 }));
        }

        proto.Graph.Node.Add(node);
        Same(proto, to);
    }

    [SkippableTheory]
    [InlineData(13)]
    [InlineData(21)]
    public void A_real_recognizer_gives_the_same(long to)
    {
        var source = TestFiles.Recognizer;
        using var model = TestFiles.Load(source);
        Assert.True(OpsetUpgrade.Raise(model, to).IsOk);
        Assert.True(model.Save(_directory["new.onnx"]).IsOk);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["new.onnx"], source) { SyntheticSamples = 1, Dims = new Dictionary<string, long[]> { ["x"] = [1, 3, 48, 160] }, Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.True(result.Value.Metrics.Single(m => m.Metric == "max_error").Samples[0] < 1e-5);
    }

    [Fact]
    public void What_has_no_successor_is_unsupported()
    {
        var proto = Model(6, 2);
        proto.Graph.Node.Add(NodeAttributes.Create("Relu", "n", ["x"], ["y"]));
        Assert.Equal(FailureType.Unsupported, OpsetUpgrade.Raise(OnnxModel.Wrap(proto), 13).Failure!.Type);
    }

    public void Dispose() => _directory.Dispose();

    private static ModelProto Model(long opset, params long[] dims)
    {
        var proto = new ModelProto { IrVersion = 4, Graph = new GraphProto { Name = "g" } };
        proto.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = opset });
        var shape = new TensorShapeProto();
        shape.Dim.AddRange(dims.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }));
        proto.Graph.Input.Add(new ValueInfoProto { Name = "x", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float, Shape = shape } } });
        proto.Graph.Output.Add(new ValueInfoProto { Name = "y", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float } } });
        return proto;
    }

    private static AttributeProto Attribute(string text)
    {
        var parts = text.Split('=');
        if (parts[1].EndsWith('f'))
        {
            return new AttributeProto { Name = parts[0], Type = AttributeType.Float, F = float.Parse(parts[1][..^1], System.Globalization.CultureInfo.InvariantCulture) };
        }

        if (parts[0] is "axis" or "keepdims" or "k")
        {
            return new AttributeProto { Name = parts[0], Type = AttributeType.Int, I = long.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture) };
        }

        var attribute = new AttributeProto { Name = parts[0], Type = AttributeType.Ints };
        attribute.Ints.AddRange(parts[1].Split(',').Select(long.Parse));
        return attribute;
    }

    private void Same(ModelProto proto, long to)
    {
        File.WriteAllBytes(_directory["old.onnx"], proto.ToByteArray());
        using var model = TestFiles.Load(_directory["old.onnx"]);
        var raised = OpsetUpgrade.Raise(model, to);
        Assert.True(raised.IsOk, raised.Failure?.Message);
        Assert.Equal(to, model.Opset);
        Assert.Null(model.Check());
        Assert.True(model.Save(_directory["new.onnx"]).IsOk);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["new.onnx"], _directory["old.onnx"]) { SyntheticSamples = 2, Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.True(result.Value.Metrics.Single(m => m.Metric == "max_error").Samples[0] < 1e-6);
    }
}
