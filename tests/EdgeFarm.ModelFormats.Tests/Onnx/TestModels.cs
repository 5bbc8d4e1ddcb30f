using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.ModelFormats.Tests.Onnx;

/// <summary>Small models made in the test.</summary>
internal static class TestModels
{
    /// <summary>y = x @ w, with w of [4, 3].</summary>
    public static ModelProto MatMul(long opset = 17)
    {
        var model = Empty(opset);
        model.Graph.Node.Add(NodeAttributes.Create("MatMul", "mm", ["x", "w"], ["y"]));
        model.Graph.Initializer.Add(OnnxTensors.Create("w", [4, 3], Enumerable.Range(0, 12).Select(i => (float)i).ToArray()));
        model.Graph.Input.Add(Value("x", -1, 4));
        model.Graph.Output.Add(Value("y", -1, 3));
        return model;
    }

    /// <summary>One node from x to y.</summary>
    public static ModelProto Single(string opType, long opset, params long[] dims)
    {
        var model = Empty(opset);
        model.Graph.Node.Add(NodeAttributes.Create(opType, "n", ["x"], ["y"]));
        model.Graph.Input.Add(Value("x", dims));
        model.Graph.Output.Add(Value("y", dims));
        return model;
    }

    public static ModelProto Empty(long opset = 17)
    {
        var model = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "g" } };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = opset });
        return model;
    }

    public static ValueInfoProto Value(string name, params long[] dims)
    {
        var shape = new TensorShapeProto();
        shape.Dim.AddRange(dims.Select(d => d < 0 ? new TensorShapeProto.Types.Dimension { DimParam = "n" } : new TensorShapeProto.Types.Dimension { DimValue = d }));
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float, Shape = shape } } };
    }

    /// <summary>The MatMul model with its weight said to be in another file.</summary>
    public static ModelProto External(string location, string? offset = null, string? length = null)
    {
        var model = MatMul();
        var weight = model.Graph.Initializer[0];
        weight.ClearRawData();
        weight.DataLocation = DataLocation.External;
        weight.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = location });
        if (offset is not null)
        {
            weight.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = offset });
        }

        if (length is not null)
        {
            weight.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = length });
        }

        return model;
    }

    public static string Write(this ModelProto model, string directory, string name = "m.onnx")
    {
        var path = Path.Combine(directory, name);
        File.WriteAllBytes(path, model.ToByteArray());
        return path;
    }
}
