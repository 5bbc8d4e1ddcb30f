using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.HalfPrecision;

/// <summary>Turns float32 values of a graph into half precision, with Casts where float32 stays.</summary>
/// <param name="model">The model; changed in place.</param>
/// <param name="half">The type.</param>
/// <param name="keepIo">Whether inputs and outputs of the model stay float32.</param>
/// <param name="blocked">Nodes that stay float32, compared by reference: they are changed on the way.</param>
/// <param name="context">Takes the weights for the proof.</param>
internal sealed class HalfConverter(OnnxModel model, DataType half, bool keepIo, HashSet<NodeProto> blocked, PassContext context)
{
    // Inputs that are float32 by the operator's definition, whatever its data.
    private static readonly Dictionary<string, int[]> FloatInputs = new(StringComparer.Ordinal)
    {
        ["Resize"] = [1, 2],
        ["Upsample"] = [1],
        ["GroupQueryAttention"] = [7, 8],
    };

    private readonly IReadOnlyDictionary<string, DataType> _types = ElementTypes.Infer(model);
    private readonly OnnxGraph _graph = new(model);
    private readonly List<NodeProto> _nodes = [];
    private readonly Dictionary<string, string> _asFloat = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _asHalf = new(StringComparer.Ordinal);

    /// <summary>Nodes that compute in half precision now.</summary>
    public List<ChangedOp> Changed { get; } = [];

    /// <summary>Values of weights that were beyond the range.</summary>
    public int Clamped { get; private set; }

    /// <summary>Rewrites the graph.</summary>
    public void Run()
    {
        var weights = model.Graph.Initializer.Where(t => t.DataType == (int)DataType.Float).ToLookup(t => StaysFloat(t.Name));
        var inputs = keepIo ? [] : model.Graph.Input.Where(IsFloat).ToList();
        foreach (var input in inputs)
        {
            input.Type.TensorType.ElemType = (int)half;
        }

        var kept = model.Graph.Input.Where(i => IsFloat(i)).Select(i => i.Name).Concat(weights[true].Select(t => t.Name)).ToHashSet(StringComparer.Ordinal);
        foreach (var node in GraphOrder.Sort(model.Graph.Node)!)
        {
            context.Cancellation.ThrowIfCancellationRequested();
            Convert(node, kept);
        }

        foreach (var output in model.Graph.Output.Where(IsFloat))
        {
            FinishOutput(output);
        }

        foreach (var weight in weights[false])
        {
            ConvertWeight(weight);
        }

        foreach (var info in model.Graph.ValueInfo.Where(i => IsFloat(i) && !kept.Contains(i.Name)))
        {
            info.Type.TensorType.ElemType = (int)half;
        }

        _graph.ReplaceNodes(GraphOrder.Sort(_nodes)!);
    }

    private void Convert(NodeProto node, HashSet<string> floatInputs)
    {
        var isBlocked = blocked.Contains(node);
        var touches = node.Input.Concat(node.Output).Any(v => _types.GetValueOrDefault(v) == DataType.Float);
        for (var i = 0; i < node.Input.Count; i++)
        {
            var value = node.Input[i];
            if (_types.GetValueOrDefault(value) != DataType.Float)
            {
                continue;
            }

            var wantsFloat = WantsFloat(node, i);
            // Graph inputs and weights that keep their type and results of blocked nodes are float32 where they stand; all else is half.
            var isFloat = floatInputs.Contains(value);
            if (wantsFloat && !isFloat)
            {
                node.Input[i] = Cast(_asFloat, value, DataType.Float);
            }
            else if (!wantsFloat && isFloat)
            {
                node.Input[i] = Cast(_asHalf, value, half);
            }
        }

        if (isBlocked)
        {
            foreach (var output in node.Output.Where(o => _types.GetValueOrDefault(o) == DataType.Float))
            {
                floatInputs.Add(output);
            }
        }
        else if (touches)
        {
            Retarget(node);
            Changed.Add(new ChangedOp(PassNodes.Label(node), node.OpType, OnnxTensors.TypeName((int)half)));
        }

        _nodes.Add(node);
    }

    private bool WantsFloat(NodeProto node, int input) =>
        blocked.Contains(node) || (FloatInputs.TryGetValue(node.OpType, out var positions) && positions.Contains(input));

    // A weight that nothing reads in half precision loses nothing; one that is an output of the model keeps the output's type.
    private bool StaysFloat(string weight) =>
        _graph.IsOutput(weight)
        || _graph.Readers(weight).All(r => Enumerable.Range(0, r.Input.Count).Where(i => r.Input[i] == weight).All(i => WantsFloat(r, i)));

    private void Retarget(NodeProto node)
    {
        foreach (var name in new[] { "to", "dtype", "output_dtype", "output_datatype" })
        {
            if (node.Find(name) is { I: (long)DataType.Float } type)
            {
                type.I = (long)half;
            }
        }

        if (node.OpType == "ConstantOfShape")
        {
            var value = node.Take("value")?.T ?? OnnxTensors.Create("", [1], new float[1]);
            if (value.DataType == (int)DataType.Float)
            {
                node.Attribute.Add(new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = ToHalf(value, "") });
            }
        }
    }

    private void FinishOutput(ValueInfoProto output)
    {
        var producer = _nodes.FirstOrDefault(n => n.Output.Contains(output.Name));
        if (producer is null || blocked.Contains(producer))
        {
            if (!keepIo && producer is not null)
            {
                Rename(producer, output.Name, DataType.Float, half);
                output.Type.TensorType.ElemType = (int)half;
            }

            return;
        }

        if (keepIo)
        {
            Rename(producer, output.Name, half, DataType.Float);
        }
        else
        {
            output.Type.TensorType.ElemType = (int)half;
        }
    }

    // The output keeps its name behind a Cast; inner readers go on reading what the producer makes.
    private void Rename(NodeProto producer, string name, DataType from, DataType to)
    {
        var inner = _graph.UniqueName($"{name}_{OnnxTensors.TypeName((int)from)}");
        foreach (var node in _nodes)
        {
            for (var i = 0; i < node.Input.Count; i++)
            {
                if (node.Input[i] == name)
                {
                    node.Input[i] = inner;
                }
            }
        }

        producer.Output[producer.Output.IndexOf(name)] = inner;
        _nodes.Add(NodeAttributes.Create("Cast", _graph.UniqueName($"{name}_cast"), [inner], [name]).With("to", (long)to));
    }

    private string Cast(Dictionary<string, string> made, string value, DataType to)
    {
        if (!made.TryGetValue(value, out var name))
        {
            made[value] = name = _graph.UniqueName($"{value}_{OnnxTensors.TypeName((int)to)}");
            _nodes.Add(NodeAttributes.Create("Cast", _graph.UniqueName($"{value}_cast"), [value], [name]).With("to", (long)to));
        }

        return name;
    }

    private void ConvertWeight(TensorProto weight)
    {
        var before = Clamped;
        var converted = ToHalf(weight, weight.Name);
        // Clamping is told as such; what is proven is that nothing else was lost.
        var source = Clamped == before ? weight.Clone()
            : OnnxTensors.Create(weight.Name, [.. weight.Dims], Array.ConvertAll(OnnxTensors.ToFloats(weight), v => HalfCodes.Within(half, v)));
        var index = model.Graph.Initializer.IndexOf(weight);
        model.Graph.Initializer[index] = converted;
        context.Weights.Add(new HalfWeight(source, weight.Name, half));
    }

    private TensorProto ToHalf(TensorProto tensor, string name)
    {
        var values = OnnxTensors.ToFloats(tensor);
        var codes = Array.ConvertAll(values, v => HalfCodes.Encode(half, v));
        var largest = HalfCodes.Largest(half);
        Clamped += values.Count(v => float.IsFinite(v) && Math.Abs(v) > largest);
        return OnnxTensors.Create(name, half, [.. tensor.Dims], MemoryMarshal.AsBytes(codes.AsSpan()).ToArray());
    }

    private static bool IsFloat(ValueInfoProto info) => info.Type?.TensorType?.ElemType == (int)DataType.Float;
}

/// <summary>A weight in half precision.</summary>
/// <param name="source">The tensor as it was.</param>
/// <param name="name">The initializer.</param>
/// <param name="half">Its type.</param>
internal sealed class HalfWeight(TensorProto source, string name, DataType half) : QuantizedWeight(source, OnnxTensors.TypeName((int)half))
{
    /// <summary>11 bits of precision give some 70 dB, 8 some 50; tiny values are rare.</summary>
    public static double Floor(DataType half) => half == DataType.Float16 ? 30 : 25;

    /// <inheritdoc/>
    public override double FloorDb => Floor(half);

    /// <inheritdoc/>
    protected override RestoredWeight Restore(Func<string, TensorProto> find) => new WholeWeight(OnnxTensors.ToFloats(find(name)));
}
