using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

/// <summary>Small models of many kinds beside what ONNX Runtime's own quantizers made of them; see the README of the folder.</summary>
public sealed class QuantizerReferenceTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Theory]
    [InlineData("lstm14", "d_s8", "OnnxDynamicQuantization", "")]
    [InlineData("lstm14", "d_u8_pc", "OnnxDynamicQuantization", "weight_type=uint8,per_channel=true")]
    [InlineData("lstm14", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true")]
    [InlineData("shared17", "n4_32_a", "OnnxMatMulNBits", "is_symmetric=false,op_types_to_quantize=MatMul")]
    [InlineData("shared17", "n8_128_a", "OnnxMatMulNBits", "bits=8,block_size=128,is_symmetric=false,op_types_to_quantize=MatMul")]
    [InlineData("bert21_two", "n4_gather_a", "OnnxMatMulNBits", "is_symmetric=false,accuracy_level=0,op_types_to_quantize=MatMul;Gather")]
    [InlineData("mobilenet14_hswish", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true")]
    [InlineData("shared_conv13", "s_u8u8_pc", "OnnxStaticQuantization", "weight_type=uint8,per_channel=true")]
    [InlineData("already_qdq17", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true")]
    [InlineData("weird_weights17", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true")]
    [InlineData("big_range17", "s_s8s8_pc", "OnnxStaticQuantization", "activation_type=int8,per_channel=true")]
    public void Weights_scales_and_zero_points_are_those_of_the_reference(string model, string reference, string pass, string settings)
    {
        using var own = TestFiles.Load(Optimize(model, pass, settings));
        using var expected = TestFiles.Load(Of(model, reference));
        Assert.Equal(string.Join(' ', StaticQuantizationTests.Operators(expected)), string.Join(' ', StaticQuantizationTests.Operators(own)));
        var tensors = own.Graph.Initializer.ToDictionary(t => t.Name);
        var compared = expected.Graph.Initializer.Where(t => IsMade(t.Name)).ToList();
        Assert.NotEmpty(compared);
        Assert.All(compared, t => Assert.True(tensors.TryGetValue(t.Name, out var same) && Same(t, same), t.Name));
    }

    // A mask of float's lowest number, Clip with a bound above 0, Relu that only a branch reads: there the reference loses the signal.
    [Theory]
    [InlineData("gpt2_14", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true", 25)]
    [InlineData("llama17", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true", 20)]
    [InlineData("outputs13", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true", 25)]
    [InlineData("movers17", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true", 20)]
    [InlineData("mobilenet14_hswish", "s_u16s8_pc", "OnnxStaticQuantization", "per_channel=true,activation_type=uint16", 40)]
    [InlineData("if_branch17", "s_u8s8_pc", "OnnxStaticQuantization", "per_channel=true", 25)]
    [InlineData("unet13", "s_perc", "OnnxStaticQuantization", "per_channel=true,calibrate_method=Percentile", 30)]
    public void Outputs_are_at_least_as_near_to_the_float_models_as_the_references(string model, string reference, string pass, string settings, double least)
    {
        var own = Sqnr(model, Optimize(model, pass, settings));
        Assert.True(own >= least && own >= Sqnr(model, Of(model, reference)) - 0.5, $"{own} dB, the reference {Sqnr(model, Of(model, reference))}");
    }

    [Theory]
    [InlineData("legacy9", "OnnxDynamicQuantization", "op_types_to_quantize=Conv;Gemm", 30)]
    [InlineData("legacy9", "OnnxStaticQuantization", "per_channel=true", 30)]
    [InlineData("legacy9", "OnnxStaticQuantization", "activation_type=uint16", 30)]
    [InlineData("legacy9", "OnnxMatMulNBits", "", 15)]
    [InlineData("gemms17", "OnnxStaticQuantization", "per_channel=true", 30)]
    [InlineData("weights3d17", "OnnxStaticQuantization", "per_channel=true", 30)]
    [InlineData("init_inputs12", "OnnxStaticQuantization", "per_channel=true", 30)]
    public void What_the_reference_refuses_or_writes_wrong_is_taken(string model, string pass, string settings, double least) =>
        Assert.True(Sqnr(model, Optimize(model, pass, settings)) >= least, $"{Sqnr(model, _directory["out.onnx"])} dB");

    // Masks of float's lowest number, weights beyond float16's range, results of blocked nodes that leave the graph, scales and factors that are
    // float32 by definition, initializers among the inputs.
    [Theory]
    [InlineData("gpt2_14", 60)]
    [InlineData("llama17", 55)]
    [InlineData("weird_weights17", 50)]
    [InlineData("big_range17", 50)]
    [InlineData("init_inputs12", 60)]
    [InlineData("movers17", 60)]
    [InlineData("outputs13", 55)]
    [InlineData("already_qdq17", 55)]
    [InlineData("legacy9", 55)]
    public void Half_precision_loads_and_is_near_the_float_model(string model, double least)
    {
        // One of the outputs of weird_weights17 has values that float16 has not.
        foreach (var settings in (string[])["", "op_block_list=Softmax;LayerNormalization;Conv", .. model == "weird_weights17" ? (string[])[] : ["keep_io_types=false"]])
        {
            var own = Sqnr(model, Optimize(model, "OnnxFloatToFloat16", settings));
            Assert.True(own >= least, $"{settings}: {own} dB");
        }
    }

    // ONNX Runtime 1.31 makes of a signed weight in blocks, with session.x64quantprecision=1, what it then does not run.
    [Theory]
    [InlineData("true")]
    [InlineData("false")]
    public void Blocks_of_8_bits_are_judged_with_exact_products_or_without(string symmetric)
    {
        var path = Optimize("shared17", "OnnxMatMulNBits", $"bits=8,block_size=32,quant_format=QDQ,is_symmetric={symmetric}");
        var context = new PassContext { Calibration = CalibrationData.Load(TestFiles.Reference("quantizers/shared17/calib.npz")).Value, Threads = 1 };
        using var source = TestFiles.Load(Of("shared17", "fp32"));
        using var changed = TestFiles.Load(path);
        using var calibrator = Calibrator.Create(source, source.Graph.Output.Select(o => o.Name), 8, context);
        var comparison = OutputJudge.Capture(source, calibrator, 8, context).Judge(changed);
        Assert.InRange(comparison.SqnrDb!.Value, 25, 100);

        var request = new OnnxEvaluationRequest(path, Of("shared17", "fp32")) { DataPath = TestFiles.Reference("quantizers/shared17/eval.npz") };
        var plain = OnnxEvaluation.Run(request);
        Assert.True(plain.IsOk, plain.Failure?.Message);
        var precise = OnnxEvaluation.Run(request with { Settings = TestFiles.Precise });
        if (!precise.IsOk)
        {
            Assert.Equal(FailureType.Unsupported, precise.Failure!.Type);
            Assert.Contains("x64_quant_precision", precise.Failure.Message, StringComparison.Ordinal);
        }
    }

    public void Dispose() => _directory.Dispose();

    // What the reference had to name anew for other reasons (operator sets it converts, shapes) is not compared.
    private static bool IsMade(string name) => name.Contains("_quantized", StringComparison.Ordinal) || name.EndsWith("_scale", StringComparison.Ordinal)
        || name.EndsWith("_zero_point", StringComparison.Ordinal) || name.EndsWith("_scales", StringComparison.Ordinal) || name.EndsWith("_zero_points", StringComparison.Ordinal)
        || name.Contains("_Q4", StringComparison.Ordinal) || name.Contains("_Q8", StringComparison.Ordinal);

    // The reference's release subtracts bounds in single precision: scales are 1 ulp apart in places, their products 2, and a code that
    // lies between two goes the other way.
    private static bool Same(TensorProto expected, TensorProto own)
    {
        if (expected.DataType != own.DataType || OnnxTensors.ElementCount(expected.Dims) != OnnxTensors.ElementCount(own.Dims))
        {
            return false;
        }

        if (OnnxTensors.Bytes(expected).SequenceEqual(OnnxTensors.Bytes(own)))
        {
            return true;
        }

        return (DataType)expected.DataType switch
        {
            DataType.Float => OnnxTensors.ToFloats(expected).Zip(OnnxTensors.ToFloats(own)).All(p => Math.Abs(p.First - p.Second) <= 2 * (MathF.BitIncrement(MathF.Abs(p.First)) - MathF.Abs(p.First))),
            DataType.Int32 => Integers(expected).Zip(Integers(own)).All(p => Math.Abs(p.First - p.Second) <= 1),
            _ => false,
        };

        static int[] Integers(TensorProto tensor) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, int>(OnnxTensors.Bytes(tensor)).ToArray();
    }

    private static string Of(string model, string file) => TestFiles.Reference($"quantizers/{model}/{file}.onnx");

    private static double Sqnr(string model, string path) => StaticQuantizationTests.Sqnr(path, Of(model, "fp32"), TestFiles.Reference($"quantizers/{model}/eval.npz"));

    private string Optimize(string model, string pass, string settings)
    {
        var parameters = settings.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(s => s.Split('=', 2)).ToDictionary(s => s[0], s => s[1].Replace(';', ','));
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(Of(model, "fp32"), _directory["out.onnx"], [new PassStep(pass, parameters)])
        {
            Calibration = CalibrationData.Load(TestFiles.Reference($"quantizers/{model}/calib.npz")).Value,
            Threads = 1,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.Null(outcome.Value.NotLoaded);
        return _directory["out.onnx"];
    }
}
