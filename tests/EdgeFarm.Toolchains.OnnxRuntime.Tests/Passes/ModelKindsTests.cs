using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

/// <summary>Models that are not one flat graph of floats: each pass handles them or says why not.</summary>
public sealed class ModelKindsTests : IDisposable
{
    private const int Rows = 64, Columns = 32;

    private readonly TemporaryDirectory _directory = new();

    public static TheoryData<string> Passes() => ["OnnxDynamicQuantization", "OnnxMatMulNBits", "OnnxStaticQuantization", "OnnxFloatToFloat16", "OnnxPeepholeOptimizer", "OnnxSmoothQuant", "OnnxAutoMixedPrecision"];

    [Theory]
    [MemberData(nameof(Passes))]
    public void Weights_in_a_file_beside_the_model_are_quantized_like_any(string pass)
    {
        var model = Plain();
        var weight = model.Graph.Initializer[0];
        var bytes = OnnxTensors.Bytes(weight).ToArray();
        File.WriteAllBytes(_directory["weights.bin"], [.. new byte[64], .. bytes]);
        weight.ClearRawData();
        weight.DataLocation = DataLocation.External;
        weight.ExternalData.AddRange(new[] { ("location", "weights.bin"), ("offset", "64"), ("length", $"{bytes.Length}") }.Select(e => new StringStringEntryProto { Key = e.Item1, Value = e.Item2 }));
        var result = Run(model, pass);
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.InRange(result.Value.SourceBytes, bytes.Length, bytes.Length + 4096);
        Assert.Null(result.Value.NotLoaded);
    }

    // Silero's voice detector keeps its network inside If. ONNX Runtime's quantizer leaves that float, too.
    [Theory]
    [InlineData("OnnxDynamicQuantization", true)]
    [InlineData("OnnxMatMulNBits", true)]
    [InlineData("OnnxStaticQuantization", true)]
    [InlineData("OnnxPeepholeOptimizer", true)]
    [InlineData("OnnxAutoMixedPrecision", true)]
    [InlineData("OnnxFloatToFloat16", false)]
    public void What_is_inside_a_branch_stays_and_still_reads_what_is_outside(string pass, bool handled)
    {
        var model = Plain();
        var branch = new GraphProto { Name = "branch" };
        branch.Node.Add(NodeAttributes.Create("MatMul", "inner", ["y", "w2"], ["inner"]));
        branch.Output.Add(Value("inner", DataType.Float));
        var other = new GraphProto { Name = "other" };
        other.Node.Add(NodeAttributes.Create("Identity", "same", ["y"], ["same"]));
        other.Output.Add(Value("same", DataType.Float));
        model.Graph.Initializer.Add(Weight("w2", Columns, Columns));
        model.Graph.Input.Add(Value("flag", DataType.Bool, 1));
        var node = NodeAttributes.Create("If", "if", ["flag"], ["z"]);
        node.Attribute.Add(new AttributeProto { Name = "then_branch", Type = AttributeProto.Types.AttributeType.Graph, G = branch });
        node.Attribute.Add(new AttributeProto { Name = "else_branch", Type = AttributeProto.Types.AttributeType.Graph, G = other });
        model.Graph.Node.Add(node);
        model.Graph.Output[0].Name = "z";
        var result = Run(model, pass);
        if (!IsHandled(result, handled))
        {
            return;
        }

        using var written = TestFiles.Load(_directory["out.onnx"]);
        if (pass != "OnnxPeepholeOptimizer")
        {
            Assert.Equal("MatMul", written.Graph.Node.Single(n => n.OpType == "If").Attribute[0].G.Node[0].OpType);
        }
    }

    // The loop multiplies twice by a weight of its own, after one from outside.
    [Theory]
    [InlineData("OnnxDynamicQuantization", true)]
    [InlineData("OnnxMatMulNBits", true)]
    [InlineData("OnnxStaticQuantization", true)]
    [InlineData("OnnxPeepholeOptimizer", true)]
    [InlineData("OnnxAutoMixedPrecision", true)]
    [InlineData("OnnxFloatToFloat16", false)]
    public void What_is_inside_a_loop_stays_and_still_reads_what_is_outside(string pass, bool handled)
    {
        var model = Plain();
        var body = new GraphProto { Name = "body" };
        body.Input.Add(Scalar("i", DataType.Int64));
        body.Input.Add(Scalar("going", DataType.Bool));
        body.Input.Add(Value("carried", DataType.Float, 4, Columns));
        body.Node.Add(NodeAttributes.Create("Identity", "go", ["going"], ["goes"]));
        body.Node.Add(NodeAttributes.Create("MatMul", "inner", ["carried", "own"], ["next"]));
        body.Initializer.Add(Weight("own", Columns, Columns));
        body.Output.Add(Scalar("goes", DataType.Bool));
        body.Output.Add(Value("next", DataType.Float, 4, Columns));
        model.Graph.Initializer.Add(OnnxTensors.Create("trips", [], (ReadOnlySpan<long>)[2]));
        model.Graph.Initializer.Add(OnnxTensors.Create("true", DataType.Bool, [], [1]));
        var node = NodeAttributes.Create("Loop", "loop", ["trips", "true", "y"], ["z"]);
        node.Attribute.Add(new AttributeProto { Name = "body", Type = AttributeProto.Types.AttributeType.Graph, G = body });
        model.Graph.Node.Add(node);
        model.Graph.Output[0].Name = "z";
        var result = Run(model, pass);
        if (!IsHandled(result, handled))
        {
            return;
        }

        using var written = TestFiles.Load(_directory["out.onnx"]);
        Assert.Contains(written.Graph.Node.Single(n => n.OpType == "Loop").Attribute.Single(a => a.Name == "body").G.Node, n => n.OpType == "MatMul");
    }

    [Theory]
    [InlineData("OnnxDynamicQuantization", true)]
    [InlineData("OnnxMatMulNBits", true)]
    [InlineData("OnnxStaticQuantization", true)]
    [InlineData("OnnxPeepholeOptimizer", true)]
    [InlineData("OnnxAutoMixedPrecision", true)]
    [InlineData("OnnxFloatToFloat16", false)]
    public void Functions_are_called_as_they_are(string pass, bool handled)
    {
        var model = Plain();
        var function = new FunctionProto { Name = "Twice", Domain = "own" };
        function.Input.Add("a");
        function.Output.Add("b");
        function.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        function.Node.Add(NodeAttributes.Create("Add", "add", ["a", "a"], ["b"]));
        model.Functions.Add(function);
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "own", Version = 1 });
        model.Graph.Node.Add(NodeAttributes.Create("Twice", "twice", ["y"], ["z"], "own"));
        model.Graph.Output[0].Name = "z";
        var result = Run(model, pass);
        Assert.True(handled ? result.IsOk : result.Failure!.Type == FailureType.Unsupported, result.Failure?.Message);
    }

    // Token numbers and a mask of bools beside floats: inputs of an encoder or a detector.
    [Theory]
    [MemberData(nameof(Passes))]
    public void Inputs_that_are_no_floats_keep_their_types(string pass)
    {
        var model = Plain();
        model.Graph.Input.Add(Value("ids", DataType.Int64, 4));
        model.Graph.Input.Add(Value("mask", DataType.Bool, 4, 1));
        // As many rows as seeded token numbers reach.
        model.Graph.Initializer.Add(Weight("table", 1000, Columns));
        model.Graph.Node.Add(NodeAttributes.Create("Gather", "gather", ["table", "ids"], ["rows"]));
        model.Graph.Node.Add(NodeAttributes.Create("Add", "add", ["y", "rows"], ["sum"]));
        model.Graph.Node.Add(NodeAttributes.Create("Where", "where", ["mask", "sum", "y"], ["z"]));
        model.Graph.Output[0].Name = "z";
        var result = Run(model, pass);
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.Null(result.Value.NotLoaded);
        using var written = TestFiles.Load(_directory["out.onnx"]);
        Assert.Equal(
            [(int)DataType.Int64, (int)DataType.Bool],
            written.Graph.Input.Where(i => i.Name is "ids" or "mask").Select(i => i.Type.TensorType.ElemType));
    }

    [Fact]
    public void Text_inputs_are_refused_where_samples_are_needed_and_no_trouble_elsewhere()
    {
        var model = Plain();
        model.Graph.Input.Add(Value("text", DataType.String, 1));
        model.Graph.Node.Add(NodeAttributes.Create("Identity", "pass", ["text"], ["text_out"]));
        model.Graph.Output.Add(Value("text_out", DataType.String, 1));
        Assert.True(Run(model, "OnnxDynamicQuantization").IsOk);
        var refused = Run(model, "OnnxStaticQuantization").Failure!;
        Assert.Equal(FailureType.InvalidInput, refused.Type);
        Assert.Contains("'text'", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Weights_in_double_precision_are_left_and_named()
    {
        var model = Plain();
        model.Graph.Input[0].Type.TensorType.ElemType = model.Graph.Output[0].Type.TensorType.ElemType = (int)DataType.Double;
        var bytes = new byte[Rows * Columns * sizeof(double)];
        model.Graph.Initializer[0] = OnnxTensors.Create("w", DataType.Double, [Rows, Columns], bytes);
        foreach (var pass in (string[])["OnnxDynamicQuantization", "OnnxMatMulNBits"])
        {
            var failure = Run(model, pass).Failure!;
            Assert.Equal(FailureType.Unsupported, failure.Type);
            Assert.Contains("its weight is double", failure.Message, StringComparison.Ordinal);
        }
    }

    // Exporters that list all initializers as inputs mean constants; who lists some means that a caller replaces them, as adapters are.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Initializers_that_are_inputs_too_are_constants_where_all_are(bool all)
    {
        var model = Plain();
        model.Graph.Initializer.Add(Weight("w2", Columns, Columns));
        model.Graph.Node.Add(NodeAttributes.Create("MatMul", "second", ["y", "w2"], ["z"]));
        model.Graph.Output[0].Name = "z";
        model.Graph.Input.Add(Value("w2", DataType.Float, Columns, Columns));
        if (all)
        {
            model.Graph.Input.Add(Value("w", DataType.Float, Rows, Columns));
        }

        foreach (var pass in (string[])["OnnxDynamicQuantization", "OnnxMatMulNBits", "OnnxStaticQuantization"])
        {
            var result = Run(model, pass);
            Assert.True(result.IsOk, result.Failure?.Message);
            using var written = TestFiles.Load(_directory["out.onnx"]);
            Assert.Equal(all, written.Graph.Input.Count == 1);
            Assert.Equal(all, written.Graph.Initializer.All(t => t.Name != "w2"));
        }
    }

    // Beside it no code of any width would be left for a score.
    [Theory]
    [InlineData("flavour=qnn activation_type=uint16")]
    [InlineData("activation_type=uint8")]
    public void A_mask_of_floats_lowest_number_leaves_codes_for_the_scores(string settings)
    {
        var model = Plain();
        model.Graph.Initializer.Add(OnnxTensors.Create("keep", DataType.Bool, [4, Columns], [.. Enumerable.Range(0, 4 * Columns).Select(i => (byte)(i % Columns < Columns / 2 ? 1 : 0))]));
        model.Graph.Initializer.Add(OnnxTensors.Scalar("zero", 0f));
        model.Graph.Initializer.Add(OnnxTensors.Scalar("lowest", float.MinValue));
        model.Graph.Node.Add(NodeAttributes.Create("Where", "mask", ["keep", "zero", "lowest"], ["m"]));
        model.Graph.Node.Add(NodeAttributes.Create("Add", "masked", ["y", "m"], ["s"]));
        model.Graph.Node.Add(NodeAttributes.Create("Softmax", "soft", ["s"], ["p"]));
        model.Graph.Output[0].Name = "p";
        var result = Run(model, $"OnnxStaticQuantization {settings}");
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.True(result.Value.Passes[0].Figures["cosine"] > 0.999, $"{result.Value.Passes[0].Figures["cosine"]}");
    }

    public void Dispose() => _directory.Dispose();

    /// <summary>Whether a pass takes subgraphs: then it made a model that runs, else it refused them.</summary>
    private static bool IsHandled(Outcome<OnnxOptimizeResult> result, bool handled)
    {
        if (handled)
        {
            Assert.True(result.IsOk, result.Failure?.Message);
            Assert.Null(result.Value.NotLoaded);
        }
        else
        {
            Assert.Equal(FailureType.Unsupported, result.Failure!.Type);
            Assert.Contains("subgraphs", result.Failure.Message, StringComparison.Ordinal);
        }

        return handled;
    }

    private static ModelProto Plain()
    {
        var model = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "g" } };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        model.Graph.Node.Add(NodeAttributes.Create("MatMul", "mm", ["x", "w"], ["y"]));
        model.Graph.Initializer.Add(Weight("w", Rows, Columns));
        model.Graph.Input.Add(Value("x", DataType.Float, 4, Rows));
        model.Graph.Output.Add(Value("y", DataType.Float));
        return model;
    }

    private static TensorProto Weight(string name, int rows, int columns)
    {
        var random = new Random(1);
        return OnnxTensors.Create(name, [rows, columns], Enumerable.Range(0, rows * columns).Select(_ => random.NextSingle() - 0.5f).ToArray());
    }

    private static ValueInfoProto Scalar(string name, DataType type)
    {
        var value = Value(name, type);
        value.Type.TensorType.Shape = new TensorShapeProto();
        return value;
    }

    private static ValueInfoProto Value(string name, DataType type, params long[] dims)
    {
        var tensor = new TypeProto.Types.Tensor { ElemType = (int)type };
        if (dims.Length > 0)
        {
            tensor.Shape = new TensorShapeProto();
            tensor.Shape.Dim.AddRange(dims.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }));
        }

        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = tensor } };
    }

    private Outcome<OnnxOptimizeResult> Run(ModelProto model, string pass)
    {
        using (var file = File.Create(_directory["in.onnx"]))
        {
            Google.Protobuf.MessageExtensions.WriteTo(model, file);
        }

        // A pass and its parameters as name=value.
        var words = pass.Split(' ');
        var parameters = words.Skip(1).Select(w => w.Split('=', 2)).ToDictionary(w => w[0], w => w[1]);
        return OnnxOptimizer.Run(new OnnxOptimizeRequest(_directory["in.onnx"], _directory["out.onnx"], [new PassStep(words[0], parameters)]) { Threads = 1 });
    }
}
