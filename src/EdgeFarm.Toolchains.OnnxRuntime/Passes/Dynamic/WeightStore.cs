using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Dynamic;

/// <summary>A quantized weight in the graph, or why there is none.</summary>
/// <param name="Codes">Initializer of the codes.</param>
/// <param name="Scale">Initializer of the scales.</param>
/// <param name="Zero">Initializer of the zero points.</param>
/// <param name="Format">For the report.</param>
/// <param name="Refusal">Why it cannot be quantized; null where it was.</param>
internal sealed record StoredWeight(string Codes, string Scale, string? Zero, string Format, string? Refusal);

/// <summary>Quantizes each weight once, however many nodes read it.</summary>
internal sealed class WeightStore(PassArguments arguments, PassContext context)
{
    /// <summary>Elements below which an embedding table is left as it is: scale and zero point would cost what it saves.</summary>
    public const long LeastTable = 256;

    private readonly Dictionary<(string Name, int? Axis, bool Transposed, bool Table), StoredWeight> _stored = [];
    private readonly DataType _type = arguments.Text("weight_type") == "int8" ? DataType.Int8 : DataType.Uint8;
    private readonly bool _perChannel = arguments.Flag("per_channel");
    private readonly bool _reduce = arguments.Flag("reduce_range");

    /// <summary>Whether all zero points are 0.</summary>
    public bool IsSymmetric => _type == DataType.Int8;

    /// <summary>
    /// A weight in the wanted type, with a scale per channel where that is wanted and an axis is given. Scales per channel get
    /// <paramref name="scaleDims"/> as their shape, or one dimension.
    /// </summary>
    public StoredWeight Get(OnnxGraph graph, TensorProto weight, int? perChannelAxis, bool transpose, long[]? scaleDims = null)
    {
        var axis = _perChannel ? perChannelAxis : null;
        return Once((weight.Name, axis, transpose, false), () => Make(graph, weight, QuantRange.Of(_type, IsSymmetric, _reduce), axis, transpose, scaleDims));
    }

    /// <summary>An embedding table: always uint8 with one scale, as DequantizeLinear behind a Gather needs it.</summary>
    public StoredWeight Table(OnnxGraph graph, TensorProto table) =>
        Once((table.Name, null, false, true), () => Make(graph, table, QuantRange.Of(DataType.Uint8, false, false), null, false));

    /// <summary>
    /// The weights of a recurrent operator, [directions, 4 x hidden, inputs], stored as [directions, inputs, 4 x hidden]. Scales have a
    /// dimension for the directions, and per channel one for the outputs. Always int8, as ONNX Runtime's quantizer does it: the operator
    /// takes scales of their own for directions and channels only where all zero points are the same.
    /// </summary>
    public StoredWeight Stack(OnnxGraph graph, TensorProto weight) =>
        Once((weight.Name, 1, true, false), () =>
        {
            var values = OnnxTensors.Floats(weight);
            if (values.IsEmpty || !LinearQuantizer.IsFinite(values))
            {
                return new StoredWeight("", "", null, "", "its weight is empty or holds infinities or NaN");
            }

            var (directions, outputs, inputs) = ((int)weight.Dims[0], (int)weight.Dims[1], (int)weight.Dims[2]);
            var range = QuantRange.Of(DataType.Int8, symmetric: true, _reduce);
            var channels = _perChannel ? directions * outputs : directions;
            var (codes, scales) = LinearQuantizer.QuantizePerChannel(values, channels, values.Length / channels, range);

            var turned = new byte[codes.Length];
            for (var i = 0; i < codes.Length; i++)
            {
                var (direction, output, input) = (i / (outputs * inputs), i / inputs % outputs, i % inputs);
                turned[(((direction * inputs) + input) * outputs) + output] = codes[i];
            }

            long[] dims = _perChannel ? [directions, outputs] : [directions];
            var names = (Codes: graph.UniqueName($"{weight.Name}_quantized"), Scale: graph.UniqueName($"{weight.Name}_scale"), Zero: graph.UniqueName($"{weight.Name}_zero_point"));
            var format = $"{OnnxTensors.TypeName((int)DataType.Int8)}{(_perChannel ? " per-channel" : "")}";
            graph.AddInitializer(OnnxTensors.Create(names.Codes, DataType.Int8, [directions, inputs, outputs], turned));
            graph.AddInitializer(OnnxTensors.Create(names.Scale, dims, Array.ConvertAll(scales, s => s.Scale)));
            graph.AddInitializer(OnnxTensors.Create(names.Zero, DataType.Int8, dims, Array.ConvertAll(scales, s => unchecked((byte)s.ZeroPoint))));
            context.Weights.Add(new StackedWeight(weight, format, names.Codes, names.Scale, names.Zero));
            return new StoredWeight(names.Codes, names.Scale, names.Zero, format, null);
        });

    private StoredWeight Once((string, int?, bool, bool) key, Func<StoredWeight> make)
    {
        if (!_stored.TryGetValue(key, out var stored))
        {
            context.Cancellation.ThrowIfCancellationRequested();
            _stored[key] = stored = make();
        }

        return stored;
    }

    private StoredWeight Make(OnnxGraph graph, TensorProto weight, QuantRange range, int? axis, bool transpose, long[]? channelDims = null)
    {
        var values = OnnxTensors.FloatMemory(weight);
        if (values.IsEmpty)
        {
            return Refuse("its weight is empty");
        }

        var scan = FloatScan.Of(values, context.Threads);
        if (!scan.IsFinite)
        {
            return Refuse("its weight holds infinities or NaN");
        }

        var dims = weight.Dims.ToArray();
        if (transpose)
        {
            values = LinearWeight.Transpose(values.Span, (int)dims[0], (int)dims[1]);
            Array.Reverse(dims);
        }

        byte[] codes;
        QuantScale[] scales;
        if (axis is { } channelAxis)
        {
            var inner = (int)dims.Skip(channelAxis + 1).Aggregate(1L, (a, d) => a * d);
            (codes, scales) = LinearQuantizer.QuantizePerChannel(values.Span, (int)dims[channelAxis], inner, range);
        }
        else
        {
            var scale = LinearQuantizer.ScaleFor(scan.Min, scan.Max, range);
            codes = LinearQuantizer.Quantize(values, scale, range, context.Threads);
            scales = [scale];
        }

        var type = OnnxTensors.TypeName((int)range.DataType);
        var format = $"{type}{(axis is null ? "" : " per-channel")}";
        long[] zeroDims = axis is null ? [] : [scales.Length];
        var scaleDims = axis is null ? [] : channelDims ?? zeroDims;
        var names = (Codes: graph.UniqueName($"{weight.Name}_quantized"), Scale: graph.UniqueName($"{weight.Name}_scale"), Zero: graph.UniqueName($"{weight.Name}_zero_point"));
        var evidence = new LinearWeight(weight, format, names.Codes, names.Scale, range.Symmetric ? null : names.Zero, axis, transpose);
        TensorProto[] tensors =
        [
            OnnxTensors.Create(names.Codes, range.DataType, dims, codes),
            OnnxTensors.Create(names.Scale, scaleDims, Array.ConvertAll(scales, s => s.Scale)),
            OnnxTensors.Create(names.Zero, range.DataType, zeroDims, Array.ConvertAll(scales, s => unchecked((byte)s.ZeroPoint))),
        ];
        if (evidence.Sqnr(name => tensors.First(t => t.Name == name), context.Threads) is var decibel && decibel < evidence.FloorDb)
        {
            return Refuse(FormattableString.Invariant($"8 bits keep only {decibel:F1} dB of its weight"));
        }

        foreach (var tensor in tensors)
        {
            graph.AddInitializer(tensor);
        }

        context.Weights.Add(evidence);
        return new StoredWeight(names.Codes, names.Scale, names.Zero, format, null);

        static StoredWeight Refuse(string why) => new("", "", null, "", why);
    }
}
