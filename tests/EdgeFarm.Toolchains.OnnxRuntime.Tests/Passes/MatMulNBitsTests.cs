using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.WeightOnly;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

public sealed class MatMulNBitsTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [SkippableTheory]
    [InlineData(4, 32, true)]
    [InlineData(4, 32, false)]
    [InlineData(4, 128, true)]
    [InlineData(4, 128, false)]
    [InlineData(8, 32, true)]
    [InlineData(8, 32, false)]
    [InlineData(8, 128, true)]
    [InlineData(8, 128, false)]
    public void Rounded_weights_are_those_of_onnx_runtimes_quantizer(int bits, int blockSize, bool symmetric)
    {
        using var expected = TestFiles.Load(TestFiles.Reference($"onnx/enc_tiny.nb{bits}_{blockSize}_{(symmetric ? "sym" : "asym")}.onnx"));
        using var model = Apply(new() { ["bits"] = $"{bits}", ["block_size"] = $"{blockSize}", ["is_symmetric"] = $"{symmetric}" });
        Same(expected, model);
    }

    [SkippableFact]
    public void Embedding_tables_are_those_of_onnx_runtimes_quantizer()
    {
        using var expected = TestFiles.Load(TestFiles.Reference("onnx/enc_tiny.nb4_gather.onnx"));
        using var model = Apply(new() { ["op_types_to_quantize"] = "MatMul,Gather" });
        Assert.Equal(21, model.Opset);
        Same(expected, model);
    }

    [SkippableFact]
    public void Hqq_finds_the_zero_points_of_onnx_runtimes_quantizer()
    {
        using var expected = TestFiles.Load(TestFiles.Reference("onnx/enc_tiny.nb4_hqq128.onnx"));
        using var model = Apply(new() { ["algorithm"] = "hqq", ["block_size"] = "128" });
        var own = model.Graph.Initializer.ToDictionary(t => t.Name);
        var (codes, same) = (0, 0);
        foreach (var tensor in expected.Graph.Initializer)
        {
            if (tensor.Name.EndsWith("_Q4", StringComparison.Ordinal))
            {
                var (theirs, ours) = (OnnxTensors.Bytes(tensor).ToArray(), OnnxTensors.Bytes(own[tensor.Name]).ToArray());
                codes += theirs.Length * 2;
                for (var i = 0; i < theirs.Length; i++)
                {
                    same += ((theirs[i] & 15) == (ours[i] & 15) ? 1 : 0) + (theirs[i] >> 4 == ours[i] >> 4 ? 1 : 0);
                }
            }
            else if (tensor.DataType == (int)ModelFormats.Onnx.Proto.TensorProto.Types.DataType.Float && tensor.Name.Contains(".w_", StringComparison.Ordinal))
            {
                // Means are summed in another order than torch's.
                Assert.All(OnnxTensors.ToFloats(tensor).Zip(OnnxTensors.ToFloats(own[tensor.Name])), p => Assert.Equal(p.First, p.Second, 1e-3f * Math.Max(1, Math.Abs(p.First))));
            }
        }

        Assert.True(same >= codes * 0.9995, $"{codes - same} of {codes} codes differ");
    }

    [SkippableTheory]
    [InlineData("2", "16", "rtn", "MatMul", 3)]
    [InlineData("4", "32", "rtn", "MatMul,Gather", 15)]
    [InlineData("4", "128", "hqq", "MatMul", 15)]
    [InlineData("8", "64", "rtn", "MatMul,Gather", 33)]
    public void What_is_written_runs_and_stays_close(string bits, string blockSize, string algorithm, string types, double leastDb)
    {
        var source = TestFiles.Reference("onnx/enc_tiny.onnx");
        var parameters = new Dictionary<string, string> { ["bits"] = bits, ["block_size"] = blockSize, ["algorithm"] = algorithm, ["op_types_to_quantize"] = types };
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], [new PassStep("OnnxMatMulNBits", parameters)]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var evaluation = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source) { SyntheticSamples = 2 });
        Assert.True(evaluation.IsOk, evaluation.Failure?.Message);
        var sqnr = evaluation.Value.Metrics.Single(m => m.Metric == "sqnr").Samples[0];
        Assert.True(sqnr > leastDb, $"{sqnr} dB");
    }

    [Theory]
    [InlineData("bits", "3")]
    [InlineData("block_size", "48")]
    [InlineData("block_size", "512")]
    [InlineData("accuracy_level", "5")]
    public void Only_formats_that_the_runtime_knows_are_accepted(string key, string value) =>
        Assert.Equal(FailureType.InvalidInput, new OnnxMatMulNBits().Parse(new Dictionary<string, string> { [key] = value }).Failure!.Type);

    [Theory]
    [InlineData(2, 16, true, 50)]
    [InlineData(4, 32, false, 70)]
    [InlineData(4, 32, true, 33)]
    [InlineData(8, 16, false, 17)]
    public void A_last_block_that_is_not_full_keeps_its_values(int bits, int blockSize, bool symmetric, int rows)
    {
        var format = new BlockFormat(bits, blockSize, symmetric);
        var random = new Random(5);
        var matrix = Enumerable.Range(0, rows * 6).Select(_ => (float)(random.NextDouble() - 0.4)).ToArray();
        var back = BlockQuantizer.Dequantize(BlockQuantizer.Quantize(matrix, rows, 6, format, 2), format);
        Assert.True(QuantizedWeight.Decibel(matrix, back) > bits * 6 - 8);
    }

    public void Dispose() => _directory.Dispose();

    private static OnnxModel Apply(Dictionary<string, string> parameters)
    {
        var model = TestFiles.Load(TestFiles.Reference("onnx/enc_tiny.onnx"));
        var pass = new OnnxMatMulNBits();
        var outcome = pass.Apply(model, pass.Parse(parameters).Value, new PassContext());
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.Null(model.Check());
        return model;
    }

    private static void Same(OnnxModel expected, OnnxModel actual)
    {
        var own = actual.Graph.Initializer.ToDictionary(t => t.Name);
        Assert.Equal(expected.Graph.Initializer.Select(t => t.Name).Order(StringComparer.Ordinal), own.Keys.Order(StringComparer.Ordinal));
        foreach (var tensor in expected.Graph.Initializer)
        {
            Assert.Equal(tensor.DataType, own[tensor.Name].DataType);
            Assert.Equal(tensor.Dims, own[tensor.Name].Dims);
            Assert.True(OnnxTensors.Bytes(tensor).SequenceEqual(OnnxTensors.Bytes(own[tensor.Name])), tensor.Name);
        }
    }
}
