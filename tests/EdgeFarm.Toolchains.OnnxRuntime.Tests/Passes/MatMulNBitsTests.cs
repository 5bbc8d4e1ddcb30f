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

    // k_quant: sums in another order than NumPy's choose another trial now and then. incrtn: the same range, divided instead of multiplied.
    [SkippableTheory]
    [InlineData("nb4_kquant32", "k_quant", 0.998)]
    [InlineData("nb4_incrtn32", "rtn", 0.998)]
    public void Other_algorithms_give_nearly_all_codes_of_onnx_runtimes_quantizer(string reference, string algorithm, double leastShare)
    {
        using var expected = TestFiles.Load(TestFiles.Reference($"onnx/enc_tiny.{reference}.onnx"));
        using var model = Apply(new() { ["algorithm"] = algorithm, ["is_symmetric"] = "false" });
        var own = model.Graph.Initializer.ToDictionary(t => t.Name);
        var (codes, same) = (0, 0);
        foreach (var tensor in expected.Graph.Initializer.Where(t => t.Name.EndsWith("_Q4G32", StringComparison.Ordinal)))
        {
            var (theirs, ours) = (OnnxTensors.Bytes(tensor).ToArray(), OnnxTensors.Bytes(own[tensor.Name.Replace("_Q4G32", "_Q4", StringComparison.Ordinal)]).ToArray());
            Assert.Equal(theirs.Length, ours.Length);
            codes += theirs.Length * 2;
            for (var i = 0; i < theirs.Length; i++)
            {
                same += ((theirs[i] & 15) == (ours[i] & 15) ? 1 : 0) + (theirs[i] >> 4 == ours[i] >> 4 ? 1 : 0);
            }
        }

        Assert.True(codes > 0 && same >= codes * leastShare, $"{codes - same} of {codes} codes differ");
    }

    [SkippableFact]
    public void The_standards_form_has_the_weights_of_onnx_runtimes_quantizer()
    {
        using var expected = TestFiles.Load(TestFiles.Reference("onnx/enc_tiny.nbqdq4_32_sym.onnx"));
        using var model = Apply(new() { ["quant_format"] = "QDQ" });
        Assert.Equal(0, model.OpsetOf("com.microsoft"));
        Same(expected, model);
    }

    [SkippableTheory]
    [InlineData("4", "true")]
    [InlineData("4", "false")]
    [InlineData("8", "false")]
    public void The_standards_form_computes_what_matmulnbits_does(string bits, string symmetric)
    {
        var source = TestFiles.Reference("onnx/enc_tiny.onnx");
        foreach (var format in (string[])["QDQ", "QOperator"])
        {
            var parameters = new Dictionary<string, string> { ["bits"] = bits, ["is_symmetric"] = symmetric, ["quant_format"] = format, ["accuracy_level"] = "1" };
            var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory[format + ".onnx"], [new PassStep("OnnxMatMulNBits", parameters)]));
            Assert.True(outcome.IsOk, outcome.Failure?.Message);
            Assert.Null(outcome.Value.NotLoaded);
        }

        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["QDQ.onnx"], _directory["QOperator.onnx"])
        {
            SyntheticSamples = 2,
            // Else ONNX Runtime makes the one of the other, with another accuracy level.
            Settings = new OrtSettings { GraphOptimization = "disabled" },
        }).Value;
        Assert.True(result.Metrics.SingleOrDefault(m => m.Metric == "sqnr")?.Samples[0] is null or > 60);
    }

    [Theory]
    [InlineData("hqq", "4")]
    [InlineData("rtn", "2")]
    public void The_standards_form_refuses_what_it_cannot_hold(string algorithm, string bits)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(
            TestFiles.Digits, _directory["x.onnx"], [new PassStep("OnnxMatMulNBits", new Dictionary<string, string> { ["quant_format"] = "QDQ", ["algorithm"] = algorithm, ["bits"] = bits })]));
        Assert.Equal(FailureType.InvalidInput, outcome.Failure!.Type);
    }

    // The product with correlated inputs is what counts, not the weights themselves.
    [Theory]
    [InlineData(4, 32, true)]
    [InlineData(4, 32, false)]
    [InlineData(2, 16, false)]
    public void Gptq_keeps_products_better_than_rounding(int bits, int blockSize, bool symmetric)
    {
        const int Rows = 96, Columns = 40, Samples = 400;
        var random = new Random(3);
        var format = new BlockFormat(bits, blockSize, symmetric);
        var weights = Enumerable.Range(0, Rows * Columns).Select(_ => (float)(random.NextDouble() - 0.5)).ToArray();
        var inputs = new float[Samples * Rows];
        for (var s = 0; s < Samples; s++)
        {
            var common = (float)random.NextDouble();
            for (var r = 0; r < Rows; r++)
            {
                inputs[(s * Rows) + r] = (common * (1 + (r % 5))) + (0.3f * (float)random.NextDouble());
            }
        }

        var moment = new float[Rows * Rows];
        for (var i = 0; i < Rows; i++)
        {
            for (var j = 0; j < Rows; j++)
            {
                moment[(i * Rows) + j] = Enumerable.Range(0, Samples).Sum(s => inputs[(s * Rows) + i] * inputs[(s * Rows) + j]);
            }
        }

        var factor = GptqQuantizer.Factor(moment, Rows, 0.01, 2);
        var expected = Product(inputs, weights);
        var rounded = QuantizedWeight.Decibel(expected, Product(inputs, BlockQuantizer.Dequantize(BlockQuantizer.Quantize(weights, Rows, Columns, format, 2), format)));
        var spread = QuantizedWeight.Decibel(expected, Product(inputs, BlockQuantizer.Dequantize(GptqQuantizer.Quantize((float[])weights.Clone(), Rows, Columns, factor, format, 2), format)));
        Assert.True(spread > rounded + 3, $"rounding {rounded} dB, GPTQ {spread} dB");

        static float[] Product(float[] x, float[] w)
        {
            var result = new float[Samples * Columns];
            for (var s = 0; s < Samples; s++)
            {
                for (var r = 0; r < Rows; r++)
                {
                    for (var c = 0; c < Columns; c++)
                    {
                        result[(s * Columns) + c] += x[(s * Rows) + r] * w[(r * Columns) + c];
                    }
                }
            }

            return result;
        }
    }

    [Fact]
    public void The_factor_is_that_of_the_inverse()
    {
        const int Rows = 70;
        var random = new Random(4);
        var x = Enumerable.Range(0, Rows * 200).Select(_ => random.NextDouble() - 0.3).ToArray();
        var moment = new float[Rows * Rows];
        for (var i = 0; i < Rows * Rows; i++)
        {
            moment[i] = (float)Enumerable.Range(0, 200).Sum(s => x[(s * Rows) + (i / Rows)] * x[(s * Rows) + (i % Rows)]);
        }

        var u = GptqQuantizer.Factor(moment, Rows, 1e-9, 2);
        // U'U H = 1
        for (var i = 0; i < Rows; i++)
        {
            for (var j = 0; j < Rows; j++)
            {
                double sum = 0;
                for (var k = 0; k < Rows; k++)
                {
                    sum += Enumerable.Range(0, Rows).Sum(l => (double)u[(l * Rows) + i] * u[(l * Rows) + k]) * moment[(k * Rows) + j];
                }

                Assert.Equal(i == j ? 1 : 0, sum, 1e-2);
            }
        }
    }

    [SkippableFact]
    public void Gptq_without_samples_says_so()
    {
        var source = TestFiles.Reference("onnx/enc_tiny.onnx");
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], [new PassStep("OnnxMatMulNBits", new Dictionary<string, string> { ["algorithm"] = "gptq" })]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.True(outcome.Value.Passes[0].Synthetic);
        Assert.Equal(6, outcome.Value.Passes[0].Changed.Count);
        Assert.Contains("random input", outcome.Value.Passes[0].Warnings.Single(), StringComparison.Ordinal);
    }

    [SkippableTheory]
    [InlineData("2", "16", "rtn", "MatMul", 3)]
    [InlineData("4", "32", "gptq", "MatMul", 15)]
    [InlineData("4", "32", "k_quant", "MatMul", 16)]
    [InlineData("4", "32", "rtn", "MatMul,Gather", 15)]
    [InlineData("4", "128", "hqq", "MatMul", 15)]
    [InlineData("8", "64", "rtn", "MatMul,Gather", 33)]
    public void What_is_written_runs_and_stays_close(string bits, string blockSize, string algorithm, string types, double leastDb)
    {
        var source = TestFiles.Reference("onnx/enc_tiny.onnx");
        var parameters = new Dictionary<string, string> { ["bits"] = bits, ["block_size"] = blockSize, ["algorithm"] = algorithm, ["op_types_to_quantize"] = types };
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(source, _directory["out.onnx"], [new PassStep("OnnxMatMulNBits", parameters)]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var evaluation = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], source) { SyntheticSamples = 2, Settings = TestFiles.Precise });
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
