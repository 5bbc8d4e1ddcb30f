using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>Decides for each tensor of the chosen nodes how it is quantized. Rewrites nothing but Relu and Clip that disappear into their producer.</summary>
internal sealed class QdqPlanner
{
    /// <summary>Operators that only move data, so that their output has their input's parameters.</summary>
    private static readonly HashSet<string> MovesData = new(StringComparer.Ordinal)
    {
        "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool", "Slice", "Split", "Gather", "GatherElements", "Resize", "Expand",
        "DepthToSpace", "SpaceToDepth", "AveragePool", "Pad", "Identity", "Tile",
    };

    private readonly OnnxGraph _graph;
    private readonly StaticOptions _options;
    private readonly IReadOnlySet<string> _calibrated;
    private readonly TensorTypes _types;
    private readonly Dictionary<string, TensorPlan> _plans = new(StringComparer.Ordinal);
    private readonly HashSet<NodeProto> _removed = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<string, int> _reads = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _copies = new(StringComparer.Ordinal);

    /// <summary>Prepares a plan.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="options">Layout.</param>
    /// <param name="calibrated">Float values that have bounds.</param>
    /// <param name="types">Types of the values.</param>
    public QdqPlanner(OnnxGraph graph, StaticOptions options, IReadOnlySet<string> calibrated, TensorTypes types)
    {
        (_graph, _options, _calibrated, _types) = (graph, options, calibrated, types);
        foreach (var read in graph.Proto.Node.SelectMany(GraphOrder.Reads))
        {
            _reads[read] = _reads.GetValueOrDefault(read) + 1;
        }
    }

    /// <summary>Plans by tensor, producers' first.</summary>
    public IReadOnlyCollection<TensorPlan> Plans => _plans.Values;

    /// <summary>Relu and Clip nodes whose work the quantized range of their producer does.</summary>
    public IReadOnlySet<NodeProto> Removed => _removed;

    /// <summary>Nodes that got a plan.</summary>
    public List<ChangedOp> Changed { get; } = [];

    /// <summary>Nodes that got none.</summary>
    public List<SkippedOp> Skipped { get; } = [];

    /// <summary>Values that calibration has to bound for these nodes, constants left out.</summary>
    public static IEnumerable<string> Candidates(OnnxGraph graph, IEnumerable<NodeProto> nodes) =>
        nodes.SelectMany(n => n.Input.Concat(n.Output)).Where(name => name.Length > 0 && graph.Constant(name) is null).Distinct(StringComparer.Ordinal);

    /// <summary>Plans one node; nodes come in topological order.</summary>
    public void Add(NodeProto node)
    {
        var refusal = node.OpType switch
        {
            "Conv" or "ConvTranspose" => Multiply(node, node.OpType == "Conv" ? 0 : 1, biased: true),
            "Gemm" => Multiply(node, node.Int("transB", 0) != 0 ? 0 : 1, biased: node.Float("beta", 1) == 1),
            "MatMul" => MatMul(node),
            "Relu" or "Clip" => Removable(node),
            "LayerNormalization" or "InstanceNormalization" or "BatchNormalization" => Normalize(node),
            _ when MovesData.Contains(node.OpType) => Move(node),
            _ => Generic(node),
        };
        if (refusal is null)
        {
            Changed.Add(new ChangedOp(PassNodes.Label(node), node.OpType, _removed.Contains(node) ? "part of its producer" : $"{node.OpType} between QDQ"));
        }
        else
        {
            Skipped.Add(new SkippedOp(PassNodes.Label(node), node.OpType, refusal));
        }
    }

    private string? Multiply(NodeProto node, int axis, bool biased)
    {
        var constant = IsFloatConstant(node.Input[1]);
        if (_options.InputsOnly && !constant)
        {
            return "its weight is not a constant";
        }

        if (!Activation(node.Input[0]))
        {
            return "its input is no float value with bounds";
        }

        if (constant)
        {
            Constant(node.Input[1], _options.HasChannels(node, node.Input[1]) ? axis : null, asActivation: false);
        }
        else if (!Activation(node.Input[1]))
        {
            return "its weight is no float value";
        }

        if (biased && node.Input.Count > 2 && IsFloatConstant(node.Input[2]))
        {
            Bias(node, node.Input[2]);
        }

        Outputs(node);
        return null;
    }

    private string? MatMul(NodeProto node)
    {
        if (_options.InputsOnly && !node.Input.Any(IsFloatConstant))
        {
            return "its weight is not a constant";
        }

        foreach (var input in node.Input)
        {
            if (IsFloatConstant(input))
            {
                // Integer kernels take no stack of matrices with scales per column.
                var matrix = _graph.Constant(input)!.Dims.Count == 2;
                Constant(input, matrix && input == node.Input[1] && _options.HasChannels(node, input) ? 1 : null, asActivation: false);
            }
            else if (!Activation(input))
            {
                return "its input is no float value with bounds";
            }
        }

        Outputs(node);
        return null;
    }

    private string? Normalize(NodeProto node)
    {
        if (!Activation(node.Input[0]))
        {
            return "its input is no float value with bounds";
        }

        if (node.Input.Count > 1 && IsFloatConstant(node.Input[1]))
        {
            // Qualcomm's layer normalization takes no other scale with unsigned activations.
            Constant(node.Input[1], null, asActivation: false, _options.Flavour == Flavour.Qnn ? DataType.Uint8 : null);
            if (node.Input.Count > 2 && IsFloatConstant(node.Input[2]))
            {
                Bias(node, node.Input[2]);
            }
        }

        Outputs(node);
        return null;
    }

    private string? Removable(NodeProto node)
    {
        var (input, output) = (node.Input[0], node.Output[0]);
        if (!_plans.TryGetValue(input, out var producer))
        {
            return "what it reads is not quantized";
        }

        if (!_options.KeepRemovableActivations && !_options.ActivationSymmetric && producer is ActivationPlan && _calibrated.Contains(output)
            && _reads[input] == 1 && !_graph.IsOutput(input) && _graph.Producer(input) is not null && !_removed.Contains(_graph.Producer(input)!)
            && CutsAtZero(node) && !_graph.Readers(output).Any(r => GraphOrder.Subgraphs(r).Any()))
        {
            _plans.Remove(input);
            _plans.TryAdd(output, new ActivationPlan(output));
            _removed.Add(node);
            return null;
        }

        return Outputs(node) ? null : "its output has no bounds";
    }

    // Codes always reach 0: what lies between it and a bound on the same side of it would come through. Bounds that are not known yet are
    // taken for such.
    private bool CutsAtZero(NodeProto node)
    {
        return node.OpType == "Relu" || (Bound(1, low: true) && Bound(2, low: false));

        bool Bound(int input, bool low)
        {
            if (node.Input.Count <= input || node.Input[input].Length == 0)
            {
                return true;
            }

            return IsFloatConstant(node.Input[input]) && OnnxTensors.ToFloats(_graph.Constant(node.Input[input])!)[0] is var bound && (low ? bound <= 0 : bound >= 0);
        }
    }

    private string? Move(NodeProto node)
    {
        var input = node.Input[0];
        if (node.OpType is "Gather" or "GatherElements" && IsFloatConstant(input))
        {
            Constant(input, null, asActivation: true);
        }

        if (!_plans.TryGetValue(input, out var source) || source is BiasPlan or ConstantPlan { Axis: not null })
        {
            return "what it reads is not quantized";
        }

        foreach (var output in node.Output.Where(o => o.Length > 0))
        {
            _plans.TryAdd(output, new SharedPlan(output, input));
        }

        return null;
    }

    private string? Generic(NodeProto node)
    {
        if (GraphOrder.Subgraphs(node).Any())
        {
            return "it holds a graph of its own";
        }

        var floats = node.Input.Where(i => i.Length > 0 && (IsFloatConstant(i) || _calibrated.Contains(i))).ToList();
        if (floats.Count == 0 || !node.Output.Any(_calibrated.Contains))
        {
            return "it computes no floats";
        }

        foreach (var input in floats)
        {
            if (IsFloatConstant(input))
            {
                Constant(input, null, asActivation: true);
            }
            else
            {
                Activation(input);
            }
        }

        Outputs(node);
        return null;
    }

    private bool Outputs(NodeProto node)
    {
        if (_options.InputsOnly || _options.OutputsLeft.Contains(node.OpType))
        {
            return true;
        }

        var planned = false;
        foreach (var output in node.Output.Where(o => o.Length > 0))
        {
            planned |= Activation(output);
        }

        return planned;
    }

    private bool Activation(string name)
    {
        if (_plans.ContainsKey(name) || IsQuantized(name))
        {
            return true;
        }

        if (!_calibrated.Contains(name))
        {
            return false;
        }

        _plans.Add(name, new ActivationPlan(name));
        return true;
    }

    // In a model that has pairs already: a second one would round again.
    private bool IsQuantized(string name) =>
        _graph.Producer(name)?.OpType == "DequantizeLinear"
        || (!_graph.IsOutput(name) && _graph.Readers(name) is { Count: > 0 } readers && readers.All(r => r.OpType == "QuantizeLinear"));

    private void Constant(string name, int? axis, bool asActivation, DataType? fixedType = null)
    {
        if (!_plans.TryGetValue(name, out var known) || (known is ConstantPlan { Axis: not null } && axis is null))
        {
            _plans[name] = new ConstantPlan(name, axis, asActivation) { Fixed = fixedType };
        }
    }

    // A bias has the scales of what its operator multiplies: one that several read gets a copy for each.
    private void Bias(NodeProto node, string name)
    {
        if (_plans.TryGetValue(name, out var known) && (known is not BiasPlan bias || bias.Input != node.Input[0] || bias.Weight != node.Input[1]))
        {
            var copy = _graph.Constant(name)!.Clone();
            _copies[name] = _copies.GetValueOrDefault(name, -1) + 1;
            copy.Name = _graph.UniqueName(FormattableString.Invariant($"{name}{_copies[name]}"));
            name = node.Input[2] = _graph.AddInitializer(copy);
        }

        _plans.TryAdd(name, new BiasPlan(name, node.Input[0], _types.Of(node), node.Input[1]));
    }

    private bool IsFloatConstant(string name) =>
        _graph.Constant(name) is { } tensor && tensor.DataType == (int)DataType.Float && OnnxTensors.ElementCount(tensor.Dims) > 0
        && LinearQuantizer.IsFinite(OnnxTensors.Floats(tensor));
}
