using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
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

    // Silero's voice detector keeps its network inside If.
    [Theory]
    [InlineData("OnnxDynamicQuantization", true)]
    [InlineData("OnnxMatMulNBits enable_subgraph=false", true)]
    [InlineData("OnnxStaticQuantization", true)]
    [InlineData("OnnxPeepholeOptimizer", true)]
    [InlineData("OnnxAutoMixedPrecision", true)]
    [InlineData("OnnxSmoothQuant", true)]
    [InlineData("OnnxStaticQuantization bias_correction=true", true)]
    [InlineData("OnnxFloatToFloat16", false)]
    public void What_is_inside_a_branch_stays_and_still_reads_what_is_outside(string pass, bool handled)
    {
        var model = Branching();
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
    [InlineData("OnnxMatMulNBits enable_subgraph=false", true)]
    [InlineData("OnnxStaticQuantization", true)]
    [InlineData("OnnxPeepholeOptimizer", true)]
    [InlineData("OnnxAutoMixedPrecision", true)]
    [InlineData("OnnxSmoothQuant", true)]
    [InlineData("OnnxStaticQuantization bias_correction=true", true)]
    [InlineData("OnnxFloatToFloat16", false)]
    public void What_is_inside_a_loop_stays_and_still_reads_what_is_outside(string pass, bool handled)
    {
        var model = Looping();
        var result = Run(model, pass);
        if (!IsHandled(result, handled))
        {
            return;
        }

        using var written = TestFiles.Load(_directory["out.onnx"]);
        Assert.Contains(written.Graph.Node.Single(n => n.OpType == "Loop").Attribute.Single(a => a.Name == "body").G.Node, n => n.OpType == "MatMul");
    }

    // What each pass makes of the bodies where it reaches into them; the outputs must be the source's but for 8 bits or 4.
    [Theory]
    // In 7 bits, because the setting that keeps sums from saturating without VNNI does not reach into bodies.
    [InlineData("OnnxDynamicQuantization enable_subgraph=true reduce_range=true", "MatMulInteger", 30)]
    [InlineData("OnnxMatMulNBits bits=8", "MatMulNBits", 30)]
    [InlineData("OnnxMatMulNBits", "MatMulNBits", 12)]
    public void What_is_inside_branches_and_loops_is_quantized_where_that_is_wanted(string pass, string operation, double leastDb)
    {
        foreach (var model in (ModelProto[])[Branching(), Looping()])
        {
            var result = Run(model, pass);
            Assert.True(result.IsOk, result.Failure?.Message);
            Assert.Null(result.Value.NotLoaded);
            using var written = TestFiles.Load(_directory["out.onnx"]);
            Assert.Contains(GraphBodies.Of(written.Graph).SelectMany(b => b[0].Node), n => n.OpType == operation);
            var judged = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], _directory["in.onnx"]) { SyntheticSamples = 2, Settings = TestFiles.Precise });
            Assert.True(judged.IsOk, judged.Failure?.Message);
            Assert.InRange(judged.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0], leastDb, 100);
        }
    }

    // An exporter names the weights of both branches alike, here one as an initializer of the branch and one as a Constant node.
    [Fact]
    public void Weights_of_branches_that_share_a_name_stay_apart()
    {
        var model = Branching();
        var node = model.Graph.Node.Single(n => n.OpType == "If");
        var (then, otherwise) = (node.Attribute[0].G, node.Attribute[1].G);
        then.Initializer.Add(Weight("w2", Columns, Columns, seed: 2));
        otherwise.Node.Clear();
        otherwise.Node.Add(NodeAttributes.Create("Constant", "held", [], ["w2"]));
        otherwise.Node[0].Attribute.Add(new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = Weight("", Columns, Columns, seed: 3) });
        otherwise.Node.Add(NodeAttributes.Create("MatMul", "same", ["y", "w2"], ["same"]));
        model.Graph.Initializer.Remove(model.Graph.Initializer.Single(t => t.Name == "w2"));
        var result = Run(model, "OnnxMatMulNBits bits=8");
        Assert.True(result.IsOk, result.Failure?.Message);
        // The proof held each against its own source.
        Assert.Equal(3, result.Value.Weights.Select(w => w.Name).Distinct().Count());
        using var written = TestFiles.Load(_directory["out.onnx"]);
        var read = GraphBodies.Of(written.Graph).SelectMany(b => b[0].Node).Where(n => n.OpType == "MatMulNBits").Select(n => n.Input[1]).ToList();
        Assert.Equal(2, read.Distinct().Count());
    }

    [Fact]
    public void In_qdq_format_bodies_are_left_and_the_user_is_told()
    {
        var result = Run(Branching(), "OnnxMatMulNBits quant_format=QDQ");
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.Null(result.Value.NotLoaded);
        Assert.Contains(result.Value.Passes[0].Notes, n => n.Contains("quant_format QDQ is for the main graph", StringComparison.Ordinal));
    }

    [Fact]
    public void A_weight_inside_a_branch_is_rounded_where_gptq_sees_no_input_and_the_user_is_told()
    {
        var result = Run(Branching(), "OnnxMatMulNBits algorithm=gptq");
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.Contains(result.Value.Passes[0].Warnings, w => w.Contains("rounded to nearest", StringComparison.Ordinal));
    }

    [Fact]
    public void A_fixed_input_decides_the_branch_and_leaves_the_signature()
    {
        var result = Run(Branching(), "OnnxPeepholeOptimizer fixed_inputs=flag=true");
        Assert.True(result.IsOk, result.Failure?.Message);
        using (var written = TestFiles.Load(_directory["out.onnx"]))
        {
            Assert.Equal("x", Assert.Single(written.Graph.Input).Name);
            Assert.DoesNotContain(written.Graph.Node, n => n.OpType == "If");
            Assert.Equal(2, written.Graph.Node.Count(n => n.OpType is "MatMul" or "Gemm"));
        }

        // Seeded input of a bool is true.
        var judged = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], _directory["in.onnx"]) { SyntheticSamples = 2 });
        Assert.True(judged.IsOk, judged.Failure?.Message);
        Assert.True(judged.Value.Metrics.Single(m => m.Metric == "max_error").Samples[0] < 1e-5);
    }

    [Theory]
    [InlineData("flag", "write name=value")]
    [InlineData("flags=true", "the model's inputs are x, flag")]
    [InlineData("flag=1", "no value of bool")]
    public void A_wrong_fixed_input_is_told(string setting, string what)
    {
        var failure = Run(Branching(), $"OnnxPeepholeOptimizer fixed_inputs={setting}").Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
        Assert.Contains(what, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bias_correction_looks_at_the_main_graph_of_a_model_with_branches()
    {
        var result = Run(Branching(), "OnnxStaticQuantization bias_correction=true");
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.Contains("1 biases were corrected for the mean error of their weights", result.Value.Passes[0].Notes);
    }

    [Theory]
    [InlineData("OnnxDynamicQuantization", true)]
    [InlineData("OnnxMatMulNBits", true)]
    [InlineData("OnnxStaticQuantization", true)]
    [InlineData("OnnxPeepholeOptimizer", true)]
    [InlineData("OnnxAutoMixedPrecision", true)]
    [InlineData("OnnxSmoothQuant", true)]
    [InlineData("OnnxStaticQuantization bias_correction=true", true)]
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
            model.Graph.Input.Add(Value("b", DataType.Float, Columns));
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
        model.Graph.Node.Add(NodeAttributes.Create("MatMul", "mm", ["x", "w"], ["product"]));
        model.Graph.Node.Add(NodeAttributes.Create("Add", "bias", ["product", "b"], ["y"]));
        model.Graph.Initializer.Add(Weight("w", Rows, Columns));
        model.Graph.Initializer.Add(OnnxTensors.Create("b", [Columns], new float[Columns]));
        model.Graph.Input.Add(Value("x", DataType.Float, 4, Rows));
        model.Graph.Output.Add(Value("y", DataType.Float));
        return model;
    }

    private static ModelProto Branching()
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
        return model;
    }

    private static ModelProto Looping()
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
        return model;
    }

    private static TensorProto Weight(string name, int rows, int columns, int seed = 1)
    {
        var random = new Random(seed);
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
