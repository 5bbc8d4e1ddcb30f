using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// Takes the mean of what rounding the weights does to an operator's output out of its bias (Nagel et al., "Data-Free Quantization
/// Through Weight Equalization and Bias Correction", 2019; the input's mean comes from samples): bias + (W - Wq) E[x]. Padding is not
/// looked at.
/// </summary>
internal sealed class BiasCorrection
{
    private readonly OnnxGraph _graph;
    private readonly List<(NodeProto Node, NodeProto? Add, int BiasInput)> _targets = [];
    private readonly Dictionary<string, double[]> _sums = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _counts = new(StringComparer.Ordinal);

    /// <summary>Finds the operators with a bias that can be corrected.</summary>
    public BiasCorrection(OnnxGraph graph, IEnumerable<NodeProto> nodes)
    {
        _graph = graph;
        foreach (var node in nodes)
        {
            if (node.OpType is "Conv" or "Gemm" && IsFloat(node.Input[1]) && (node.OpType != "Gemm" || (node.Int("transA", 0) == 0 && node.Float("alpha", 1) == 1 && node.Float("beta", 1) == 1))
                && node.Input.Count > 2 && IsFloat(node.Input[2]) && _graph.Constant(node.Input[2])!.Dims.Count == 1)
            {
                _targets.Add((node, null, 2));
            }
            else if (node.OpType == "MatMul" && IsFloat(node.Input[1]) && _graph.Constant(node.Input[1])!.Dims.Count == 2
                && _graph.Readers(node.Output[0]) is [{ OpType: "Add" } add] && !_graph.IsOutput(node.Output[0])
                && (add.Input[0] == node.Output[0] ? 1 : 0) is var side && IsFloat(add.Input[side])
                && OnnxTensors.ElementCount(_graph.Constant(add.Input[side])!.Dims) == _graph.Constant(node.Input[1])!.Dims[1])
            {
                _targets.Add((node, add, side));
            }
        }
    }

    /// <summary>Reads the means of what the operators read, by channel.</summary>
    public void Measure(Calibrator calibrator)
    {
        var inputs = _targets.Select(t => t.Node.Input[0]).Distinct(StringComparer.Ordinal).Where(calibrator.Tensors.Contains).ToList();
        var byChannel = _targets.Where(t => t.Node.OpType == "Conv").Select(t => t.Node.Input[0]).ToHashSet(StringComparer.Ordinal);
        calibrator.Visit(inputs, (_, t, shape, values) =>
        {
            var name = inputs[t];
            var axis = byChannel.Contains(name) ? 1 : shape.Length - 1;
            var channels = (int)shape[axis];
            var inner = (int)shape.Skip(axis + 1).Aggregate(1L, (a, d) => a * d);
            if (!_sums.TryGetValue(name, out var sums))
            {
                _sums[name] = sums = new double[channels];
            }

            for (var at = 0; at < values.Length; at += inner)
            {
                double sum = 0;
                for (var i = 0; i < inner; i++)
                {
                    sum += values[at + i];
                }

                sums[at / inner % channels] += sum;
            }

            _counts[name] = _counts.GetValueOrDefault(name) + (values.Length / channels);
        });
    }

    /// <summary>Puts corrected biases into the graph.</summary>
    /// <returns>Operators that were corrected.</returns>
    public int Apply(StaticOptions options)
    {
        var corrected = 0;
        foreach (var (node, add, side) in _targets)
        {
            if (!_sums.TryGetValue(node.Input[0], out var sums))
            {
                continue;
            }

            var mean = Array.ConvertAll(sums, s => s / _counts[node.Input[0]]);
            var holder = add ?? node;
            var bias = _graph.Constant(holder.Input[side])!;
            var values = OnnxTensors.ToFloats(bias);
            var shift = Shift(node, options, mean);
            for (var i = 0; i < values.Length; i++)
            {
                values[i] += (float)shift[i];
            }

            // The bias may be another operator's, too.
            holder.Input[side] = _graph.AddInitializer(OnnxTensors.Create(_graph.UniqueName($"{bias.Name}_corrected"), [.. bias.Dims], values));
            corrected++;
        }

        return corrected;
    }

    private double[] Shift(NodeProto node, StaticOptions options, double[] mean)
    {
        var tensor = _graph.Constant(node.Input[1])!;
        var dims = tensor.Dims.Select(d => (int)d).ToArray();
        var rowsFirst = node.OpType == "Conv" || (node.OpType == "Gemm" && node.Int("transB", 0) != 0);
        var axis = rowsFirst ? 0 : 1;
        var values = OnnxTensors.Floats(tensor);
        var perChannel = options.HasChannels(node, tensor.Name);
        var range = options.Weight(tensor.Name, perChannel);
        var inner = dims.Skip(axis + 1).Aggregate(1, (a, d) => a * d);
        var (min, max) = LinearQuantizer.ChannelRanges(values, dims[axis], inner);
        QuantScale[] scales = perChannel
            ? [.. min.Zip(max, (low, high) => LinearQuantizer.ScaleFor(low, high, range, options.MinimumRealRange))]
            : [LinearQuantizer.ScaleFor(min.Min(), max.Max(), range, options.MinimumRealRange)];
        if (!perChannel)
        {
            inner = values.Length;
        }

        var stored = OnnxTensors.Create("", range.DataType, [.. tensor.Dims], QuantCodes.Quantize(values, scales, inner, range));
        var restored = QuantCodes.Unpack(stored);
        QuantCodes.Restore(restored, Array.ConvertAll(scales, s => s.Scale), Array.ConvertAll(scales, s => (float)s.ZeroPoint), inner);
        var outputs = dims[axis];
        var shift = new double[outputs];
        var groups = (int)node.Int("group", 1);
        var kernel = node.OpType == "Conv" ? dims.Skip(2).Aggregate(1, (a, d) => a * d) : 1;
        for (var i = 0; i < values.Length; i++)
        {
            var (output, input) = node.OpType == "Conv" ? Channels(i, dims[1], kernel, outputs / groups) : rowsFirst ? (i / dims[1], i % dims[1]) : (i % dims[1], i / dims[1]);
            shift[output] += (values[i] - (double)restored[i]) * mean[input];
        }

        return shift;
    }

    private static (int Output, int Input) Channels(int index, int inputs, int kernel, int outputsInGroup)
    {
        var output = index / (inputs * kernel);
        return (output, (output / outputsInGroup * inputs) + (index / kernel % inputs));
    }

    private bool IsFloat(string name) => _graph.Constant(name) is { DataType: (int)DataType.Float };
}
