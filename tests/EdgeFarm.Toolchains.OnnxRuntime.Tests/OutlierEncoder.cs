using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests;

/// <summary>
/// A transformer encoder made from a seed, with what makes real ones hard: a few channels whose normalization gain is many times the
/// others', and in the later layers feed-forward networks with rare large values. Layers normalize first, unlike MiniLM's.
/// </summary>
internal static class OutlierEncoder
{
    private const int Width = 48, Sequence = 12, Heads = 4, Layers = 6;

    /// <summary>Writes the model.</summary>
    public static string Write(string path)
    {
        var random = new Random(7);
        var model = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "encoder" } };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        var graph = model.Graph;
        graph.Input.Add(Value("x"));
        Add("shape", [3], (ReadOnlySpan<long>)[0, 0, Width]);
        Add("heads", [4], (ReadOnlySpan<long>)[0, 0, Heads, Width / Heads]);
        graph.Initializer.Add(OnnxTensors.Scalar("scale", 1 / MathF.Sqrt(Width / Heads)));
        var stream = "x";
        for (var l = 0; l < Layers; l++)
        {
            var p = $"l{l}.";
            var normal = Norm(p + "norm1", stream, l);
            var (q, k, v) = (Split(p + "q", normal, [0, 2, 1, 3]), Split(p + "k", normal, [0, 2, 3, 1]), Split(p + "v", normal, [0, 2, 1, 3]));
            var scores = Node("Mul", p + "scaled", Node("MatMul", p + "qk", q, k), "scale");
            var context = Node("MatMul", p + "av", Node("Softmax", p + "softmax", scores), v);
            var merged = Node("Reshape", p + "merged", Transpose(p + "back", context, [0, 2, 1, 3]), "shape");
            stream = Node("Add", p + "sum1", stream, Linear(p + "o", merged, Width, Width));
            var hidden = Node("Relu", p + "relu", Linear(p + "up", Norm(p + "norm2", stream, l), Width, 2 * Width, rare: l >= Layers / 2));
            stream = Node("Add", p + "sum2", stream, Linear(p + "down", hidden, 2 * Width, Width));
        }

        graph.Node.Add(NodeAttributes.Create("Identity", "out", [Norm("final", stream, 0)], ["y"]));
        graph.Output.Add(Value("y"));
        Assert.True(OnnxModel.Wrap(model).Save(path).IsOk);
        return path;

        string Node(string op, string name, params string[] inputs)
        {
            graph.Node.Add(NodeAttributes.Create(op, name, inputs, [name + "_out"]));
            return name + "_out";
        }

        string Transpose(string name, string input, long[] order)
        {
            var output = Node("Transpose", name, input);
            var attribute = new AttributeProto { Name = "perm", Type = AttributeProto.Types.AttributeType.Ints };
            attribute.Ints.AddRange(order);
            graph.Node[^1].Attribute.Add(attribute);
            return output;
        }

        string Split(string name, string input, long[] order) => Transpose(name + "t", Node("Reshape", name + "r", Linear(name, input, Width, Width), "heads"), order);

        string Linear(string name, string input, int rows, int columns, bool rare = false)
        {
            graph.Initializer.Add(OnnxTensors.Create(name + ".w", [rows, columns], Floats(rows * columns, i => Gaussian() / MathF.Sqrt(rows) * (rare && i % columns == 3 ? 10 : 1))));
            graph.Initializer.Add(OnnxTensors.Create(name + ".b", [columns], Floats(columns, _ => Gaussian() * 0.1f)));
            return Node("Add", name + ".add", Node("MatMul", name, input, name + ".w"), name + ".b");
        }

        string Norm(string name, string input, int layer)
        {
            graph.Initializer.Add(OnnxTensors.Create(name + ".g", [Width], Floats(Width, i => i % 17 == layer % 17 ? 10f : 1f)));
            graph.Initializer.Add(OnnxTensors.Create(name + ".b", [Width], Floats(Width, _ => Gaussian() * 0.1f)));
            return Node("LayerNormalization", name, input, name + ".g", name + ".b");
        }

        void Add(string name, long[] dims, ReadOnlySpan<long> values) => graph.Initializer.Add(OnnxTensors.Create(name, dims, values));

        float Gaussian() => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));

        static float[] Floats(int count, Func<int, float> make) => [.. Enumerable.Range(0, count).Select(make)];
    }

    /// <summary>Writes 24 samples as .npy.</summary>
    public static string Data(string path, int seed)
    {
        const int Samples = 24;
        var random = new Random(seed);
        var header = string.Create(CultureInfo.InvariantCulture, $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({Samples}, {Sequence}, {Width}), }}").PadRight(117) + "\n";
        var bytes = new byte[10 + header.Length + (Samples * Sequence * Width * sizeof(float))];
        new byte[] { 0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0, (byte)header.Length, 0 }.CopyTo(bytes, 0);
        Encoding.ASCII.GetBytes(header).CopyTo(bytes, 10);
        for (var at = 10 + header.Length; at < bytes.Length; at += sizeof(float))
        {
            BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(at), (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 2));
        }

        File.WriteAllBytes(path, bytes);
        return path;
    }

    private static ValueInfoProto Value(string name)
    {
        var shape = new TensorShapeProto();
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimParam = "batch" });
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimParam = "sequence" });
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = Width });
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float, Shape = shape } } };
    }
}
