using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// The integer type of every value in mixed precision. An operator computes in one type: where one of its values is given another than
/// the general one, all its values are read and made in that type, and values that come from operators of another type are converted on
/// the way in.
/// </summary>
internal sealed class TensorTypes
{
    // Messages compare by content, which changes while the graph is rewritten.
    private readonly Dictionary<NodeProto, DataType> _nodes = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<string, DataType> _own = new(StringComparer.Ordinal);
    private readonly DataType _general;

    /// <summary>Decides the types.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="nodes">Nodes that are quantized.</param>
    /// <param name="options">The general type, the named tensors' types, the flavour.</param>
    public TensorTypes(OnnxGraph graph, IReadOnlyCollection<NodeProto> nodes, StaticOptions options)
    {
        _general = options.ActivationType;
        var named = new Dictionary<string, DataType>(StringComparer.Ordinal);
        foreach (var value in nodes.SelectMany(Values).Distinct(StringComparer.Ordinal).Where(v => graph.Constant(v) is null))
        {
            if (options.Override(value) is { } type)
            {
                named[value] = type;
            }
        }

        // A Relu or Clip becomes part of what makes its input, so that must have the same type.
        foreach (var node in nodes.Where(n => n.OpType is "Relu" or "Clip" && named.ContainsKey(n.Output[0])))
        {
            named.TryAdd(node.Input[0], named[node.Output[0]]);
        }

        foreach (var node in nodes)
        {
            var wanted = Values(node).Where(named.ContainsKey).Select(v => named[v]).ToList();
            _nodes[node] = wanted.Count > 0 ? wanted.MaxBy(QuantizedBits) : options.TypeOf(node);
        }

        foreach (var value in nodes.SelectMany(Values).Distinct(StringComparer.Ordinal))
        {
            if (graph.Producer(value) is { } producer && _nodes.TryGetValue(producer, out var made) && !options.OutputsLeft.Contains(producer.OpType) && !options.InputsOnly)
            {
                _own[value] = made;
            }
            else
            {
                var readers = graph.Readers(value).Where(_nodes.ContainsKey).Select(r => _nodes[r]).Distinct().ToList();
                _own[value] = named.TryGetValue(value, out var type) ? type : readers.Count == 1 ? readers[0] : _general;
            }
        }
    }

    /// <summary>The type in which a value is made.</summary>
    public DataType Own(string value) => _own.GetValueOrDefault(value, _general);

    /// <summary>The type in which a node reads a value: its own type where it is quantized, else the value's.</summary>
    public DataType Read(NodeProto node, string value) => _nodes.TryGetValue(node, out var type) ? type : Own(value);

    /// <summary>Whether a node is quantized.</summary>
    public bool Has(NodeProto node) => _nodes.ContainsKey(node);

    /// <summary>The type of a quantized node.</summary>
    public DataType Of(NodeProto node) => _nodes.GetValueOrDefault(node, _general);

    private static IEnumerable<string> Values(NodeProto node) => node.Input.Concat(node.Output).Where(v => v.Length > 0);

    private static int QuantizedBits(DataType type) => type is DataType.Int16 or DataType.Uint16 ? 16 : 8;
}
