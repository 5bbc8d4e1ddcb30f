using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>Writes a plan into the graph: QuantizeLinear and DequantizeLinear around values, DequantizeLinear behind constants.</summary>
internal sealed class QdqWriter
{
    // Codes of 16 bits for the outputs of these, as Qualcomm's provider fixes them.
    private static readonly Dictionary<string, QuantScale> Pinned = new(StringComparer.Ordinal)
    {
        ["Sigmoid"] = new(1f / 65536, 0),
        ["Tanh"] = new(1f / 32768, 32768),
    };

    private readonly OnnxGraph _graph;
    private readonly StaticOptions _options;
    private readonly PassContext _context;
    private readonly IReadOnlyDictionary<string, TensorRange> _ranges;
    private readonly Dictionary<string, TensorPlan> _plans;
    private readonly TensorTypes _types;

    // By tensor and by the type in which it is read: a value that is converted has parameters in two types.
    private readonly Dictionary<(string Name, DataType Type), Parameters> _parameters = [];
    private readonly Dictionary<(string Name, DataType Type), Func<string>> _views = [];
    private readonly List<NodeProto> _nodes = [];
    private readonly Dictionary<string, string> _renamed = new(StringComparer.Ordinal);
    private readonly Dictionary<string, float[]> _raisedScales = new(StringComparer.Ordinal);
    private readonly WeightCache _cache;

    public QdqWriter(
        OnnxGraph graph,
        StaticOptions options,
        PassContext context,
        IReadOnlyDictionary<string, TensorRange> ranges,
        IReadOnlyCollection<TensorPlan> plans,
        TensorTypes types,
        WeightCache? cache = null)
    {
        _cache = cache ?? new WeightCache();
        (_graph, _options, _context, _ranges, _types) = (graph, options, context, ranges, types);
        _plans = plans.ToDictionary(p => p.Name, StringComparer.Ordinal);
    }

    /// <summary>Weights whose scale was raised because their bias would not have fitted 32 bits.</summary>
    public int RaisedWeights => _raisedScales.Count;

    /// <summary>Values that some operator reads in another type than they are made in.</summary>
    public int Conversions { get; private set; }

    /// <summary>Rewrites the graph.</summary>
    /// <param name="removed">Relu and Clip nodes that go: their producer takes over their output.</param>
    public void Write(IReadOnlySet<NodeProto> removed)
    {
        foreach (var node in removed)
        {
            _graph.Producer(node.Input[0])!.Output[0] = node.Output[0];
        }

        foreach (var bias in _plans.Values.OfType<BiasPlan>())
        {
            RaiseWeightScale(bias);
        }

        foreach (var plan in _plans.Values.OrderBy(p => p is BiasPlan))
        {
            _context.Cancellation.ThrowIfCancellationRequested();
            switch (plan)
            {
                case ConstantPlan:
                    // Written in the types in which it is read.
                    break;
                case BiasPlan bias:
                    WriteBias(bias);
                    break;
                default:
                    WriteValue(plan.Name);
                    break;
            }
        }

        foreach (var node in _graph.Proto.Node.Where(n => !removed.Contains(n)))
        {
            for (var i = 0; i < node.Input.Count; i++)
            {
                node.Input[i] = View(node, node.Input[i]);
            }

            for (var i = 0; i < node.Output.Count; i++)
            {
                node.Output[i] = _renamed.GetValueOrDefault(node.Output[i], node.Output[i]);
            }

            _nodes.Add(node);
        }

        _graph.ReplaceNodes(GraphOrder.Sort(_nodes) ?? throw new InvalidOperationException("QDQ nodes closed a cycle"));
    }

    private string View(NodeProto node, string name)
    {
        // Where only what is multiplied with constants is quantized, all else goes on reading floats.
        if (!_plans.TryGetValue(name, out var plan) || (_options.InputsOnly && !_types.Has(node)))
        {
            return name;
        }

        var key = (name, plan switch { BiasPlan => DataType.Int32, ConstantPlan constant => Key(constant, _types.Read(node, name)), _ => _types.Read(node, name) });
        if (plan is ConstantPlan written)
        {
            WriteConstant(written, key.Item2);
        }
        else if (plan is not BiasPlan && key.Item2 != _types.Own(name) && !_views.ContainsKey(key))
        {
            Convert(name, key.Item2);
        }

        return _views.TryGetValue(key, out var view) ? view() : name;
    }

    private void WriteValue(string name)
    {
        var type = _types.Own(name);
        var parameters = Parameterize(name, type);
        if (_graph.IsOutput(name))
        {
            var source = _renamed[name] = _graph.UniqueName($"{name}_QuantizeLinear_Input");
            Dequantize(name, Quantize(name, source, parameters), parameters, name);
        }
        else
        {
            AddView(name, type, () => Dequantize(name, Quantize(name, name, parameters), parameters, _graph.UniqueName($"{name}_DequantizeLinear_Output")));
        }
    }

    // From one type to another through float: the form that providers recognize.
    private void Convert(string name, DataType type)
    {
        Conversions++;
        var parameters = Parameterize(name, type);
        var source = _views.TryGetValue((name, _types.Own(name)), out var own) ? own : () => name;
        AddView(name, type, () => Dequantize(name, Quantize(name, source(), parameters), parameters, _graph.UniqueName($"{name}_DequantizeLinear_Output")));
    }

    private void AddView(string name, DataType type, Func<string> make)
    {
        if (_options.DedicatedPairs)
        {
            _views[(name, type)] = make;
        }
        else
        {
            var view = make();
            _views[(name, type)] = () => view;
        }
    }

    private string Quantize(string name, string source, Parameters parameters)
    {
        var codes = _graph.UniqueName($"{name}_QuantizeLinear_Output");
        _nodes.Add(NodeAttributes.Create("QuantizeLinear", _graph.UniqueName($"{name}_QuantizeLinear"), [source, parameters.Scale, parameters.Zero], [codes]));
        return codes;
    }

    private string Dequantize(string name, string codes, Parameters parameters, string output, int? axis = null)
    {
        var node = NodeAttributes.Create("DequantizeLinear", _graph.UniqueName($"{name}_DequantizeLinear"), [codes, parameters.Scale, parameters.Zero], [output]);
        _nodes.Add(axis is { } a ? node.With("axis", (long)a) : node);
        return output;
    }

    private Parameters Parameterize(string name, DataType type)
    {
        // A constant table is its own source of parameters; it stands before its readers.
        if (_plans[name] is ConstantPlan constant)
        {
            return WriteConstant(constant, Key(constant, type));
        }

        if (_parameters.TryGetValue((name, type), out var known))
        {
            return known;
        }

        if (_plans[name] is SharedPlan shared)
        {
            return _parameters[(name, type)] = Parameterize(shared.Source, type);
        }

        var bounds = _ranges[name];
        var scale = _options.Flavour == Flavour.Qnn && type == DataType.Uint16 && _graph.Producer(name) is { } producer && Pinned.TryGetValue(producer.OpType, out var pinned)
            ? pinned
            : LinearQuantizer.ScaleFor(bounds.Min, bounds.Max, _options.Activation(type), _options.MinimumRealRange);
        return _parameters[(name, type)] = Store(name, type, [scale], []);
    }

    private Parameters Store(string name, DataType type, IReadOnlyList<QuantScale> scales, long[] dims)
    {
        var scaleName = _graph.AddInitializer(OnnxTensors.Create(_graph.UniqueName($"{name}_scale"), dims, scales.Select(s => s.Scale).ToArray()));
        var zeroName = _graph.AddInitializer(OnnxTensors.Create(_graph.UniqueName($"{name}_zero_point"), type, dims, QuantCodes.Pack(type, scales.Select(s => s.ZeroPoint).ToArray())));
        return new Parameters(scaleName, zeroName, [.. scales]);
    }

    private DataType Key(ConstantPlan plan, DataType readAs) => plan.AsActivation ? readAs : Range(plan, readAs).DataType;

    private QuantRange Range(ConstantPlan plan, DataType readAs) =>
        plan.Fixed is { } type ? QuantRange.Of(type, symmetric: false, reduce: false)
        : plan.AsActivation ? _options.Activation(_options.Override(plan.Name) ?? readAs)
        : _options.Weight(plan.Name, plan.Axis is not null);

    private Parameters WriteConstant(ConstantPlan plan, DataType type)
    {
        if (_parameters.TryGetValue((plan.Name, type), out var known))
        {
            return known;
        }

        var tensor = _graph.Constant(plan.Name)!;
        var values = OnnxTensors.Floats(tensor);
        var range = Range(plan, type);
        var scales = WeightScales(plan, tensor, values, range);
        if (_options.MinimumRealRange > 0 && Math.Abs(TensorPrimitives.MaxMagnitude(values)) is > 1e-30f and var most && scales.All(s => most < s.Scale / 2))
        {
            throw new FailureException(Failure.Unsupported(FormattableString.Invariant(
                $"'{plan.Name}' holds values up to {most:G3} only: a range of at least {_options.MinimumRealRange:G3} makes zeros of them; leave out what reads it with nodes_to_exclude")));
        }

        var inner = plan.Axis is { } axis ? (int)tensor.Dims.Skip(axis + 1).Aggregate(1L, (a, d) => a * d) : values.Length;
        var codes = _raisedScales.ContainsKey(plan.Name)
            ? QuantCodes.Quantize(values, scales, inner, range)
            : _cache.Codes(plan, range, tensor, scales, inner);
        var parameters = Store(plan.Name, range.DataType, scales, plan.Axis is null ? [] : [scales.Length]);
        _parameters[(plan.Name, type)] = parameters;
        var codesName = _graph.AddInitializer(OnnxTensors.Create(_graph.UniqueName($"{plan.Name}_quantized"), range.DataType, [.. tensor.Dims], codes));
        var view = Dequantize(plan.Name, codesName, parameters, _graph.UniqueName($"{plan.Name}_DequantizeLinear_Output"), plan.Axis);
        _views[(plan.Name, type)] = () => view;
        var format = $"{OnnxTensors.TypeName((int)range.DataType)}{(plan.Axis is null ? "" : " per-channel")}";
        _context.Weights.Add(new QdqWeight(tensor, format, range.DataType, codesName, parameters.Scale, parameters.Zero, inner));
        return parameters;
    }

    private QuantScale[] WeightScales(ConstantPlan plan, TensorProto tensor, ReadOnlySpan<float> values, QuantRange range)
    {
        QuantScale[] scales;
        if (plan.Axis is { } axis)
        {
            var channels = (int)tensor.Dims[axis];
            var inner = (int)tensor.Dims.Skip(axis + 1).Aggregate(1L, (a, d) => a * d);
            var (min, max) = LinearQuantizer.ChannelRanges(values, channels, inner);
            scales = [.. min.Zip(max, (low, high) => LinearQuantizer.ScaleFor(low, high, range, _options.MinimumRealRange))];
        }
        else
        {
            scales = [LinearQuantizer.ScaleFor(TensorPrimitives.Min(values), TensorPrimitives.Max(values), range, _options.MinimumRealRange)];
        }

        return _raisedScales.TryGetValue(plan.Name, out var raised) ? [.. scales.Zip(raised, (s, r) => s with { Scale = r })] : scales;
    }

    // A bias has the product of two scales. Where that is too small for its value in 32 bits, the weight's scale gives way.
    private void RaiseWeightScale(BiasPlan bias)
    {
        if (!_plans.ContainsKey(bias.Input) || _plans.GetValueOrDefault(bias.Weight) is not ConstantPlan { AsActivation: false } weight || !Range(weight, default).Symmetric)
        {
            return;
        }

        const double Margin = 1.0001;
        const double Codes = (double)int.MaxValue - (int.MinValue + 1);
        var tensor = _graph.Constant(weight.Name)!;
        var scales = WeightScales(weight, tensor, OnnxTensors.Floats(tensor), Range(weight, default));
        var values = OnnxTensors.Floats(_graph.Constant(bias.Name)!);
        var input = Parameterize(bias.Input, bias.InputType).Scales[0].Scale;
        var raised = scales.Select(s => s.Scale).ToArray();
        var changed = false;
        for (var c = 0; c < raised.Length; c++)
        {
            var magnitude = scales.Length == 1 ? Math.Abs(TensorPrimitives.MaxMagnitude(values)) : c < values.Length ? Math.Abs(values[c]) : 0;
            var least = Margin * (2.0 * magnitude) / Codes;
            var product = (double)input * raised[c];
            if (product < least && product > 0)
            {
                raised[c] = (float)(raised[c] * (least / product));
                changed = true;
            }
        }

        if (changed)
        {
            _raisedScales[weight.Name] = raised;
        }
    }

    private void WriteBias(BiasPlan plan)
    {
        if (!_plans.TryGetValue(plan.Input, out _) || _plans.GetValueOrDefault(plan.Weight) is not ConstantPlan { AsActivation: false } multiplied)
        {
            return;
        }

        var input = Parameterize(plan.Input, plan.InputType);
        var weight = WriteConstant(multiplied, Key(multiplied, default));
        var tensor = _graph.Constant(plan.Name)!;
        var values = OnnxTensors.Floats(tensor);
        var scales = Array.ConvertAll(weight.Scales, s => new QuantScale(input.Scales[0].Scale * s.Scale, 0));
        if (scales.Length != 1 && scales.Length != values.Length)
        {
            return;
        }

        var codes = new int[values.Length];
        for (var i = 0; i < codes.Length; i++)
        {
            codes[i] = (int)Math.Clamp(Math.Round(values[i] / (double)scales[scales.Length == 1 ? 0 : i].Scale), int.MinValue + 1.0, int.MaxValue);
        }

        long[] dims = [scales.Length];
        var scaleName = _graph.AddInitializer(OnnxTensors.Create(_graph.UniqueName($"{plan.Name}_quantized_scale"), dims, scales.Select(s => s.Scale).ToArray()));
        var zeroName = _graph.AddInitializer(OnnxTensors.Create(
            _graph.UniqueName($"{plan.Name}_quantized_zero_point"), DataType.Int32, scales.Length == 1 ? [] : dims, new byte[scales.Length * sizeof(int)]));
        var codesName = _graph.AddInitializer(OnnxTensors.Create(
            _graph.UniqueName($"{plan.Name}_quantized"), DataType.Int32, [.. tensor.Dims], MemoryMarshal.AsBytes(codes.AsSpan()).ToArray()));
        var view = Dequantize(plan.Name, codesName, new Parameters(scaleName, zeroName, scales), _graph.UniqueName($"{plan.Name}_DequantizeLinear_Output"), scales.Length == 1 ? null : tensor.Dims.Count - 1);
        _views[(plan.Name, DataType.Int32)] = () => view;
    }

    /// <summary>Codes of weights by how they are quantized: a search writes the same ones again and again.</summary>
    public sealed class WeightCache
    {
        private readonly Dictionary<(string Name, int? Axis, QuantRange Range), byte[]> _codes = [];

        /// <summary>The weight's codes, made once.</summary>
        public byte[] Codes(ConstantPlan plan, QuantRange range, TensorProto tensor, QuantScale[] scales, int inner)
        {
            if (!_codes.TryGetValue((plan.Name, plan.Axis, range), out var codes))
            {
                _codes[(plan.Name, plan.Axis, range)] = codes = QuantCodes.Quantize(OnnxTensors.Floats(tensor), scales, inner, range);
            }

            return codes;
        }
    }

    /// <summary>Initializers of a tensor's scale and zero point, and their values.</summary>
    private sealed record Parameters(string Scale, string Zero, QuantScale[] Scales);
}
