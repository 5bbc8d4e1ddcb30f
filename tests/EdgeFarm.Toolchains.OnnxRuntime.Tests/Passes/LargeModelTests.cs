using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Passes;

/// <summary>
/// A model of more bytes than one protobuf message may have. Made on request, because it takes 5 GB of disk and a minute:
/// <c>EDGEFARM_LARGE_ONNX_MIB=2304 dotnet test --filter LargeModelTests</c>.
/// </summary>
public sealed class LargeModelTests : IDisposable
{
    private const int Width = 4096;

    private readonly TemporaryDirectory _directory = new();

    [SkippableTheory]
    [InlineData("OnnxDynamicQuantization", 0.27, false)]
    [InlineData("OnnxMatMulNBits", 0.17, false)]
    [InlineData("OnnxMatMulNBits,nodes_to_quantize=mm0", 1, true)]
    [InlineData("OnnxFloatToFloat16", 0.51, false)]
    public void More_than_two_gigabytes_of_weights_pass_through(string recipe, double mostRatio, bool isExternal)
    {
        var text = Environment.GetEnvironmentVariable("EDGEFARM_LARGE_ONNX_MIB");
        Skip.IfNot(int.TryParse(text, out var mebibytes), "EDGEFARM_LARGE_ONNX_MIB is not set");
        var layers = (int)(((long)mebibytes << 20) / ((long)Width * Width * sizeof(float))) + 1;
        Write(layers);
        var parts = recipe.Split(',');
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(
            _directory["large.onnx"], _directory["out.onnx"], [new PassStep(parts[0], parts.Skip(1).Select(p => p.Split('=', 2)).ToDictionary(p => p[0], p => p[1]))]));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var result = outcome.Value;
        Assert.True(result.SourceBytes > (long)mebibytes << 20, $"{result.SourceBytes}");
        Assert.True(result.OutputBytes <= result.SourceBytes * mostRatio, $"{result.OutputBytes} of {result.SourceBytes}");
        Assert.Null(result.NotLoaded);
        Assert.Equal(isExternal, result.Files.Count == 2);
    }

    public void Dispose() => _directory.Dispose();

    // Weights of random bits in a file beside the model; each matrix at an offset of its own.
    private void Write(int layers)
    {
        var model = new ModelProto { IrVersion = 8, Graph = new GraphProto { Name = "large" } };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 17 });
        var value = "x";
        var random = new Random(3);
        using (var data = File.Create(_directory["large.data"]))
        {
            for (var layer = 0; layer < layers; layer++)
            {
                var weight = new TensorProto { Name = $"w{layer}", DataType = (int)DataType.Float, DataLocation = DataLocation.External };
                weight.Dims.AddRange([Width, Width]);
                weight.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = "large.data" });
                weight.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = $"{data.Position}" });
                weight.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = $"{(long)Width * Width * sizeof(float)}" });
                model.Graph.Initializer.Add(weight);
                var row = Enumerable.Range(0, Width).Select(_ => (random.NextSingle() - 0.5f) / 64).ToArray();
                for (var r = 0; r < Width; r++)
                {
                    // Rows differ in where they begin: real weights for the quantizer, little work for the generator.
                    var turned = (float[])[.. row.AsSpan(r), .. row.AsSpan(0, r)];
                    data.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(turned.AsSpan()));
                }

                model.Graph.Node.Add(NodeAttributes.Create("MatMul", $"mm{layer}", [value, $"w{layer}"], [value = $"y{layer}"]));
            }
        }

        model.Graph.Input.Add(Value("x"));
        model.Graph.Output.Add(Value(value));
        using var file = File.Create(_directory["large.onnx"]);
        Google.Protobuf.MessageExtensions.WriteTo(model, file);
    }

    private static ValueInfoProto Value(string name)
    {
        var shape = new TensorShapeProto();
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = 1 });
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = Width });
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float, Shape = shape } } };
    }
}
