using CsCheck;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.ModelFormats.Tests.Onnx;

public sealed class OnnxModelTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("edgefarm-onnx-").FullName;

    [Fact]
    public void A_model_keeps_its_bytes_when_read_and_written()
    {
        var path = TestModels.MatMul().Write(_root);
        using var model = Load(path);
        var copy = Path.Combine(_root, "copy.onnx");
        Assert.Equal([copy], model.Save(copy).Value);
        Assert.Equal(File.ReadAllBytes(path), File.ReadAllBytes(copy));
        Assert.Equal(17, model.Opset);
        Assert.InRange(model.SerializedBytes(), new FileInfo(path).Length, new FileInfo(path).Length + 4096);
    }

    [SkippableTheory]
    [InlineData("models/digits/digits.onnx")]
    [InlineData("models/minilm-l6/model.onnx")]
    [InlineData("reference/onnx/enc_tiny.nb4_32_asym.onnx")]
    [InlineData("reference/onnx-static/conv.u8s8pc_minmax.onnx")]
    public void Real_models_keep_their_bytes(string relative)
    {
        var root = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(string.IsNullOrEmpty(root), "EDGEFARM_TEST_DATA is not set");
        using var model = Load(Path.Combine(root, relative));
        var copy = Path.Combine(_root, "copy.onnx");
        Assert.True(model.Save(copy).IsOk);
        Assert.True(File.ReadAllBytes(Path.Combine(root, relative)).AsSpan().SequenceEqual(File.ReadAllBytes(copy)));
    }

    [Theory]
    [InlineData("", "is empty")]
    [InlineData("hello, I am a model", "it holds text")]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer")]
    public void A_file_that_is_no_model_says_what_it_is(string content, string expected)
    {
        var path = Path.Combine(_root, "m.onnx");
        File.WriteAllText(path, content);
        Invalid(path, expected);
    }

    [Fact]
    public void Files_that_are_absent_or_no_files_are_invalid()
    {
        Invalid(Path.Combine(_root, "absent.onnx"), "does not exist");
        Invalid(_root, "is a directory");
    }

    [Fact]
    public void Every_truncation_is_invalid()
    {
        var bytes = TestModels.MatMul().ToByteArray();
        var path = Path.Combine(_root, "m.onnx");
        for (var length = 1; length < bytes.Length; length++)
        {
            File.WriteAllBytes(path, bytes[..length]);
            using var model = OnnxModel.Load(path) is { IsOk: true } ok ? ok.Value : null;
            Assert.True(model is null || length >= bytes.Length - 20, $"{length} of {bytes.Length} bytes were taken for a model");
        }
    }

    [Fact]
    public void No_change_of_bytes_crashes_the_reader()
    {
        var bytes = TestModels.MatMul().ToByteArray();
        var path = Path.Combine(_root, "fuzz.onnx");
        Gen.Select(Gen.Int[0, bytes.Length - 1], Gen.Byte).Array[1, 6].Sample(
            changes =>
            {
                var broken = (byte[])bytes.Clone();
                foreach (var (at, value) in changes)
                {
                    broken[at] = value;
                }

                File.WriteAllBytes(path, broken);
                var loaded = OnnxModel.Load(path);
                if (loaded.IsOk)
                {
                    loaded.Value.Dispose();
                    return true;
                }

                return loaded.Failure!.IsDeterministic;
            },
            iter: 3000,
            threads: 1);
    }

    [Fact]
    public void A_cycle_is_invalid_and_disorder_is_not()
    {
        var model = TestModels.Single("Relu", 17, 4);
        model.Graph.Node[0].Input[0] = "b";
        model.Graph.Node.Add(NodeAttributes.Create("Relu", "n2", ["y"], ["b"]));
        Invalid(model.Write(_root), "is cyclic");

        model = TestModels.Single("Relu", 17, 4);
        model.Graph.Node[0].Input[0] = "b";
        model.Graph.Node.Add(NodeAttributes.Create("Relu", "n2", ["x"], ["b"]));
        using var unordered = Load(model.Write(_root));
        Assert.Equal(["n2", "n"], GraphOrder.Sort(unordered.Graph.Node)!.Select(n => n.Name));
    }

    [Fact]
    public void Names_must_resolve_and_be_made_once()
    {
        Invalid(Changed(m => m.Graph.Node[0].Input[1] = "ghost"), "reads value 'ghost'");
        Invalid(Changed(m => m.Graph.Output[0].Name = "ghost"), "has output 'ghost'");
        Invalid(Changed(m => m.Graph.Node.Add(m.Graph.Node[0].Clone())), "makes value 'y' twice");
        Invalid(Changed(m => m.Graph.Initializer.Add(m.Graph.Initializer[0].Clone())), "two initializers named 'w'");
        Invalid(Changed(m => m.Graph.Input.Add(m.Graph.Input[0].Clone())), "two inputs named 'x'");
    }

    [Theory]
    [InlineData(5, 3)]
    [InlineData(-4, -3)]
    [InlineData(long.MaxValue, 3)]
    [InlineData(1L << 40, 1L << 40)]
    public void An_initializer_must_hold_what_its_dimensions_say(long rows, long columns)
    {
        Invalid(Changed(m =>
        {
            m.Graph.Initializer[0].Dims.Clear();
            m.Graph.Initializer[0].Dims.AddRange([rows, columns]);
        }), "initializer 'w'");
    }

    [Fact]
    public void A_declared_type_must_not_contradict_the_initializer()
    {
        Invalid(Changed(m => m.Graph.Input.Add(TestModels.Value("w", 7, 3))), "declares 'w' otherwise");
        Invalid(Changed(m => m.Graph.ValueInfo.Add(TestModels.Value("w", 4, 3, 1))), "declares 'w' otherwise");
    }

    // CVE-2026-44512: a version converter took the first input of an Upsample that has none.
    [Theory]
    [InlineData("Upsample", 7, 0)]
    [InlineData("Cast", 7, 0)]
    [InlineData("MatMul", 17, 1)]
    [InlineData("Conv", 11, 1)]
    [InlineData("BatchNormalization", 9, 3)]
    [InlineData("LSTM", 14, 1)]
    public void An_operator_without_its_inputs_is_invalid(string op, long opset, int inputs)
    {
        var model = TestModels.Single(op, opset, 4);
        model.Graph.Node[0].Input.Clear();
        model.Graph.Node[0].Input.AddRange(Enumerable.Repeat("x", inputs));
        Invalid(model.Write(_root), $"with {inputs} inputs");
        model.Graph.Node[0].Input.AddRange(Enumerable.Repeat("x", 8));
        model.Graph.Node[0].Output.Clear();
        model.Graph.Output[0].Name = "x";
        Invalid(model.Write(_root), "without an output");
    }

    [Fact]
    public void A_sparse_initializer_must_not_stand_for_more_than_it_could_hold()
    {
        Invalid(Changed(m => m.Graph.SparseInitializer.Add(Sparse([1L << 31, 1L << 20], [0]))), "at most");
        Invalid(Changed(m => m.Graph.SparseInitializer.Add(Sparse([16], [16]))), "outside 0 to 15");
        using var model = Load(Changed(m => m.Graph.SparseInitializer.Add(Sparse([16], [15]))));
    }

    [Fact]
    public void Nesting_beyond_the_limit_is_invalid_and_costs_no_stack()
    {
        var inner = new GraphProto { Name = "leaf" };
        for (var i = 0; i < 2000; i++)
        {
            var node = NodeAttributes.Create("If", $"if{i}", ["x"], [$"o{i}"]);
            node.Attribute.Add(new AttributeProto { Name = "then_branch", Type = AttributeProto.Types.AttributeType.Graph, G = inner });
            inner = new GraphProto { Name = $"g{i}" };
            inner.Node.Add(node);
        }

        Invalid(Changed(m => m.Graph.Node.Add(inner.Node[0])), "is not an ONNX model or is truncated");
    }

    [Fact]
    public void A_function_that_calls_itself_is_invalid()
    {
        var function = new FunctionProto { Name = "f", Domain = "own" };
        function.Input.Add("a");
        function.Output.Add("b");
        function.Node.Add(NodeAttributes.Create("f", "again", ["a"], ["b"], "own"));
        Invalid(Changed(m => m.Functions.Add(function)), "which calls itself");
    }

    [Fact]
    public void Versions_out_of_range_are_told_apart()
    {
        Invalid(Changed(m => m.OpsetImport[0].Version = 0), "imports version 0");
        Invalid(Changed(m => m.OpsetImport.Clear()), "imports no operator set");
        Assert.Equal(FailureType.Unsupported, OnnxModel.Load(Changed(m => m.IrVersion = 99)).Failure!.Type);
    }

    [Fact]
    public void Weights_move_to_a_file_beside_the_model_and_back()
    {
        var proto = TestModels.MatMul();
        proto.Graph.Initializer[0].Dims.Clear();
        proto.Graph.Initializer[0].MergeFrom(OnnxTensors.Create("w", [100, 3], Enumerable.Range(0, 300).Select(i => i / 3f).ToArray()));
        using var model = OnnxModel.Wrap(proto);
        var path = Path.Combine(_root, "big.onnx");
        Assert.Equal([path, path + ".data"], model.Save(path, externalThreshold: 100).Value);
        using var back = Load(path);
        Assert.True(back.HasExternalData);
        Assert.Equal(OnnxTensors.ToFloats(proto.Graph.Initializer[0]), OnnxTensors.ToFloats(back.Graph.Initializer[0]));
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static SparseTensorProto Sparse(long[] dims, long[] indices)
    {
        var sparse = new SparseTensorProto
        {
            Values = OnnxTensors.Create("s", [indices.Length], new float[indices.Length]),
            Indices = OnnxTensors.Create("", DataType.Int64, [indices.Length], indices.SelectMany(BitConverter.GetBytes).ToArray()),
        };
        sparse.Dims.AddRange(dims);
        return sparse;
    }

    private string Changed(Action<ModelProto> change)
    {
        var model = TestModels.MatMul();
        change(model);
        return model.Write(_root);
    }

    private static OnnxModel Load(string path)
    {
        var loaded = OnnxModel.Load(path);
        Assert.True(loaded.IsOk, loaded.Failure?.Message);
        return loaded.Value;
    }

    private static void Invalid(string path, string expected)
    {
        var loaded = OnnxModel.Load(path);
        Assert.False(loaded.IsOk);
        Assert.Equal(FailureType.InvalidInput, loaded.Failure!.Type);
        Assert.Contains(expected, loaded.Failure.Message, StringComparison.Ordinal);
    }
}
