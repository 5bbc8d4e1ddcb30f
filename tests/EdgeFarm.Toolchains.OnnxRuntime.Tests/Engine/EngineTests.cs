using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Engine;

public sealed class EngineTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void The_probe_tells_version_and_providers()
    {
        var probe = OnnxRuntimeProbe.Run();
        Assert.True(probe.IsOk, probe.Failure?.Message);
        Assert.StartsWith("1.31", probe.Value.Version, StringComparison.Ordinal);
        Assert.Contains("CPUExecutionProvider", probe.Value.Providers);
        Assert.Contains(probe.Value.Devices, d => d.Kind == "cpu");
        Assert.True(File.Exists(probe.Value.LibraryPath), probe.Value.LibraryPath);
    }

    [Fact]
    public void A_benchmark_keeps_its_samples_and_records_its_settings()
    {
        var result = OnnxBenchmark.Run(new OnnxBenchmarkRequest(TestFiles.Digits)
        {
            Settings = new OrtSettings { IntraOpThreads = 1, AllowSpinning = false },
            MinimumTime = TimeSpan.FromMilliseconds(50),
        });
        Assert.True(result.IsOk, result.Failure?.Message);
        var metrics = result.Value.Metrics.ToDictionary(m => m.Metric, m => m.Samples);
        Assert.Equal(["fallback_nodes", "latency", "load_time", "model_memory", "peak_memory", "size", "throughput"], metrics.Keys.Where(k => k != "load_time_cold").Order(StringComparer.Ordinal));
        Assert.Equal(0, metrics["fallback_nodes"][0]);
        Assert.Equal(1, result.Value.Profile!.Operators.Sum(o => o.Share), 6);
        Assert.Contains(result.Value.Profile.Operators, o => o is { OpType: "Conv" or "FusedConv", Provider: "CPUExecutionProvider", Seconds: > 0 });
        Assert.Equal(result.Value.Profile.Operators.Sum(o => o.Nodes), result.Value.Profile.Nodes.Count);
        Assert.True(metrics["latency"].Count >= 100 && metrics["latency"].Sum() >= 0.05);
        Assert.All(metrics.Values.SelectMany(s => s), s => Assert.True(double.IsFinite(s)));
        Assert.Equal(new FileInfo(TestFiles.Digits).Length, metrics["size"][0]);
        Assert.Equal(3, metrics["load_time"].Count);
        Assert.True(result.Value.WarmupRuns >= 20);
        Assert.Equal("1", result.Value.Settings["intra_op_num_threads"]);
        Assert.Equal("0", result.Value.Settings["session.intra_op.allow_spinning"]);
        Assert.Equal("1x1x8x8", result.Value.Settings["input.image"]);
    }

    [Fact]
    public void Samples_are_capped_and_stay_spread_over_all_runs()
    {
        var samples = new KeptSamples();
        for (var i = 0; i < 100_000; i++)
        {
            samples.Add(i);
        }

        Assert.InRange(samples.Values.Count, KeptSamples.Most / 2, KeptSamples.Most);
        var step = samples.Values[1] - samples.Values[0];
        Assert.All(samples.Values.Index(), v => Assert.Equal(v.Index * step, v.Item));
        Assert.Equal(100_000, samples.Runs);
        Assert.Equal(100_000.0 * 99_999 / 2, samples.Total);
        Assert.InRange(samples.Throughput.Count, 10, 20);
    }

    [Fact]
    public void A_file_leaves_the_cache_where_the_system_lets_it()
    {
        var path = _directory["big"];
        File.WriteAllBytes(path, new byte[8 << 20]);
        Assert.InRange(PageCache.ResidentShare(path), 0.5, 1);
        if (PageCache.Evict([path]))
        {
            Assert.InRange(PageCache.ResidentShare(path), 0, 0.05);
        }
    }

    [Fact]
    public void A_profile_counts_nodes_on_other_providers()
    {
        var profile = OperatorProfile.Parse("""
            [{"cat":"Session","dur":900,"name":"model_run","args":{}},
             {"cat":"Node","dur":30,"name":"a_kernel_time","args":{"op_name":"Conv","provider":"QNNExecutionProvider"}},
             {"cat":"Node","dur":50,"name":"a_kernel_time","args":{"op_name":"Conv","provider":"QNNExecutionProvider"}},
             {"cat":"Node","dur":20,"name":"b_kernel_time","args":{"op_name":"Resize","provider":"CPUExecutionProvider"}},
             {"cat":"Node","dur":5,"name":"b_fence_before","args":{"op_name":"Resize"}}]
            """u8.ToArray());
        Assert.Equal(1, profile.NodesNotOn("QNNExecutionProvider"));
        Assert.Equal(("Conv", 1, 0.8), (profile.Operators[0].OpType, profile.Operators[0].Nodes, profile.Operators[0].Share));
    }

    [Fact]
    public void A_plug_in_library_that_does_not_load_is_told()
    {
        var (devices, problems) = ExecutionProviders.Register($"qnn={_directory["absent.so"]};nonsense");
        Assert.Empty(devices);
        Assert.Equal(2, problems.Count);
        Assert.Contains("absent.so", problems[0], StringComparison.Ordinal);
        Assert.Contains("NAME=PATH", problems[1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("image", "2,1,8,8,1", "does not fit")]
    [InlineData("image", "2,3,8,8", "does not fit")]
    [InlineData("picture", "1,1,8,8", "has no input 'picture'; its inputs are image")]
    public void Declared_shapes_must_fit(string input, string dims, string expected)
    {
        var request = new OnnxBenchmarkRequest(TestFiles.Digits) { Dims = new Dictionary<string, long[]> { [input] = [.. dims.Split(',').Select(long.Parse)] } };
        var failure = OnnxBenchmark.Run(request).Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_baseline_against_itself_is_identical()
    {
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(TestFiles.Digits, TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = "label", Settings = TestFiles.Precise with { IntraOpThreads = 1 } }).Value;
        var metrics = result.Metrics.ToDictionary(m => m.Metric, m => m.Samples[0]);
        Assert.Equal(0.994, metrics["accuracy"], 6);
        Assert.Equal(1, metrics["top1_agreement"]);
        Assert.Equal(0, metrics["max_error"]);
        Assert.False(metrics.ContainsKey("sqnr"));
        Assert.Contains(result.Notes, n => n.Contains("bit for bit", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("labels", "has no array 'labels'")]
    [InlineData("image", "class numbers are integers")]
    public void Labels_must_be_class_numbers_of_the_data_set(string labels, string expected)
    {
        var failure = OnnxEvaluation.Run(new OnnxEvaluationRequest(TestFiles.Digits, TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = labels, Settings = TestFiles.Precise }).Failure!;
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Text_named_onnx_is_invalid_input()
    {
        File.WriteAllText(_directory["x.onnx"], "this is no model");
        Assert.Equal(FailureType.InvalidInput, OnnxBenchmark.Run(new OnnxBenchmarkRequest(_directory["x.onnx"])).Failure!.Type);
        Assert.Equal(FailureType.InvalidInput, OnnxBenchmark.Run(new OnnxBenchmarkRequest(_directory["absent.onnx"])).Failure!.Type);
    }

    [Fact]
    public void A_missing_kernel_is_unsupported()
    {
        // Elu of doubles is sound ONNX, for which the CPU provider has no kernel.
        Save(OneNode("Elu", 17, TensorProto.Types.DataType.Double, TensorProto.Types.DataType.Double, [4], null));
        var failure = OnnxBenchmark.Run(new OnnxBenchmarkRequest(_directory["m.onnx"])).Failure!;
        Assert.Equal(FailureType.Unsupported, failure.Type);
    }

    [Fact]
    public void An_unknown_operator_is_unsupported_and_an_unsound_graph_invalid()
    {
        Save(OneNode("Frobnicate", 17, TensorProto.Types.DataType.Float, TensorProto.Types.DataType.Float, [1], null));
        var failure = OnnxBenchmark.Run(new OnnxBenchmarkRequest(_directory["m.onnx"])).Failure!;
        Assert.True(failure.Type == FailureType.Unsupported, failure.Message);
        Save(OneNode("Relu", 17, TensorProto.Types.DataType.Float, TensorProto.Types.DataType.Float, [1], OnnxTensors.Scalar("w", 1)));
        Assert.Equal(FailureType.InvalidInput, OnnxBenchmark.Run(new OnnxBenchmarkRequest(_directory["m.onnx"])).Failure!.Type);
    }

    [Fact]
    public void Too_much_memory_is_out_of_memory()
    {
        var model = OneNode("Expand", 17, TensorProto.Types.DataType.Float, TensorProto.Types.DataType.Float, [1], OnnxTensors.Create("w", [2], [1L << 31, 1L << 20]));
        model.Graph.Output[0].Type.TensorType.Shape = null;
        Save(model);
        Assert.Equal(FailureType.OutOfMemory, OnnxBenchmark.Run(new OnnxBenchmarkRequest(_directory["m.onnx"])).Failure!.Type);
    }

    [Fact]
    public void A_provider_that_is_not_there_is_unsupported_and_denormals_are_never_flushed()
    {
        var request = new OnnxBenchmarkRequest(TestFiles.Digits);
        var failure = OnnxBenchmark.Run(request with { Settings = new OrtSettings { Provider = "QNN" } }).Failure!;
        Assert.Equal(FailureType.Unsupported, failure.Type);
        Assert.Contains("CPUExecutionProvider", failure.Message, StringComparison.Ordinal);
        failure = OnnxBenchmark.Run(request with { Settings = new OrtSettings { Config = new Dictionary<string, string> { ["session.set_denormal_as_zero"] = "1" } } }).Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
    }

    public void Dispose() => _directory.Dispose();

    private static ModelProto OneNode(string opType, long opset, TensorProto.Types.DataType input, TensorProto.Types.DataType output, long[] dims, TensorProto? weight)
    {
        var model = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "g" } };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = opset });
        model.Graph.Node.Add(NodeAttributes.Create(opType, "n", weight is null ? ["x"] : ["x", "w"], ["y"]));
        if (weight is not null)
        {
            model.Graph.Initializer.Add(weight);
        }

        model.Graph.Input.Add(Value("x", input, dims));
        model.Graph.Output.Add(Value("y", output, dims));
        return model;
    }

    private static ValueInfoProto Value(string name, TensorProto.Types.DataType type, long[] dims)
    {
        var shape = new TensorShapeProto();
        shape.Dim.AddRange(dims.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }));
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape } } };
    }

    private void Save(ModelProto model) => Assert.True(OnnxModel.Wrap(model).Save(_directory["m.onnx"]).IsOk);
}
