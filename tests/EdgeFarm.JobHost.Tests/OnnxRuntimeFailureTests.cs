using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;

namespace EdgeFarm.JobHost.Tests;

/// <summary>Failures produced by a real ONNX Runtime in a real job host.</summary>
public sealed class OnnxRuntimeFailureTests : IDisposable
{
    private const string Engine = "onnxruntime";

    private readonly RealChild _child = new();

    public void Dispose() => _child.Dispose();

    [SkippableFact]
    public async Task A_model_is_quantized_and_measured()
    {
        var model = RealChild.Shared("models/digits/digits.onnx");

        var pass = await _child.RunAsync(Engine, JobKind.Optimize, "OnnxDynamicQuantization", [("model", model)], []);
        Assert.Null(pass.Failure);
        var made = Path.Combine(_child.Output, Assert.Single(pass.Result!.Outputs).FileName);
        var benchmark = await _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", made)], []);

        Assert.Null(benchmark.Failure);
        Assert.Contains(benchmark.Result!.Result.Measurements, m => m.Metric == "latency");
    }

    [SkippableFact]
    public async Task A_truncated_model_is_invalid_input()
    {
        var whole = await File.ReadAllBytesAsync(RealChild.Shared("models/digits/digits.onnx"));
        var model = _child.Write("cut.onnx", whole.AsSpan(0, whole.Length / 2));

        Assert.Equal(FailureType.InvalidInput, (await _child.ImportAsync(model)).Failure!.Type);
        var run = await _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", model)], []);
        Assert.Equal(FailureType.InvalidInput, run.Failure!.Type);
        Assert.Contains("cut.onnx", run.Failure.Message);
    }

    [Fact]
    public async Task An_operator_without_a_kernel_is_unsupported()
    {
        var model = Model(TensorProto.Types.DataType.Double, new NodeProto { OpType = "Erf", Input = { "x" }, Output = { "y" } });

        var run = await _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", _child.Write("double.onnx", model))], []);

        Assert.Equal(FailureType.Unsupported, run.Failure!.Type);
        Assert.Contains("Erf", run.Failure.Message);
    }

    [Fact]
    public async Task A_tensor_that_does_not_fit_is_out_of_memory()
    {
        var shape = new TensorProto { Name = "shape", DataType = (int)TensorProto.Types.DataType.Int64, Dims = { 2 }, Int64Data = { 4096, 1 << 20 } };
        var model = Model(
            TensorProto.Types.DataType.Float,
            [shape],
            new NodeProto { OpType = "Expand", Input = { "x", "shape" }, Output = { "large" } },
            new NodeProto { OpType = "ReduceSum", Input = { "large" }, Output = { "y" } });

        var run = await _child.RunAsync(
            Engine, JobKind.Benchmark, "Benchmark", [("model", _child.Write("large.onnx", model))], [], _child.Limits with { MemoryLimitBytes = 512L << 20 });

        Assert.Equal(FailureType.OutOfMemory, run.Failure!.Type);
    }

    [SkippableFact]
    public async Task An_import_names_the_format_and_counts_parameters()
    {
        var run = await _child.ImportAsync(RealChild.Shared("models/digits/digits.onnx"));

        Assert.Null(run.Failure);
        Assert.Equal("onnx", Assert.Single(run.Result!.Outputs).Format);
        Assert.Contains("\"parameters\":", run.Result.Result.Report);
    }

    [SkippableTheory]
    [InlineData("llama.cpp")]
    [InlineData(Engine)]
    public async Task Engines_answer_a_probe(string engine)
    {
        var run = await _child.ProbeAsync(engine);
        Skip.If(engine != Engine && run.Failure is { Type: FailureType.Unsupported }, run.Failure?.Message);

        Assert.Null(run.Failure);
        Assert.Equal(engine, run.Probe!.Runtime!.Identity.Id);
        Assert.Contains("cpu", run.Probe.Runtime.Devices);
        Assert.Equal(64, run.Probe.Runtime.LibraryDigest.Length);
    }

    private static byte[] Model(TensorProto.Types.DataType type, params NodeProto[] nodes) => Model(type, [], nodes);

    private static byte[] Model(TensorProto.Types.DataType type, TensorProto[] weights, params NodeProto[] nodes) => new ModelProto
    {
        IrVersion = 8,
        OpsetImport = { new OperatorSetIdProto { Version = 17 } },
        Graph = new GraphProto
        {
            Name = "test",
            Input = { Value("x", type, 1) },
            Output = { Value("y", type) },
            Initializer = { weights },
            Node = { nodes },
        },
    }.ToByteArray();

    private static ValueInfoProto Value(string name, TensorProto.Types.DataType type, params long[] shape) => new()
    {
        Name = name,
        Type = new TypeProto
        {
            TensorType = new TypeProto.Types.Tensor
            {
                ElemType = (int)type,
                Shape = shape.Length == 0 ? null : new TensorShapeProto { Dim = { shape.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }) } },
            },
        },
    };
}
