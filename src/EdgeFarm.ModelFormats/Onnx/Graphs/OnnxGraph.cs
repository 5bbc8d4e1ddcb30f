using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.ModelFormats.Onnx.Graphs;

/// <summary>
/// An index over a model's main graph or one body: who makes and who reads a value, what is constant, which names are free. It reflects the graph as it was
/// when the index was made; initializers added through it are known to it.
/// </summary>
public sealed class OnnxGraph
{
    private readonly Dictionary<string, NodeProto> _producers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<NodeProto>> _readers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorProto> _initializers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ValueInfoProto> _types = new(StringComparer.Ordinal);
    private readonly HashSet<string> _inputs;
    private readonly HashSet<string> _outputs;
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private readonly bool _inputsOverride;

    private readonly GraphProto _main;

    /// <summary>Indexes the model's main graph.</summary>
    public OnnxGraph(OnnxModel model) : this(model, [])
    {
    }

    /// <summary>
    /// Indexes a body of If, Loop or Scan. Its constants are the main graph's, to which constants are added, too: a body can read them.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="scopes">The body and the bodies around it, innermost first (<see cref="GraphBodies.Of"/>); empty for the main graph.</param>
    public OnnxGraph(OnnxModel model, IReadOnlyList<GraphProto> scopes)
    {
        _main = model.Graph;
        Proto = scopes.Count == 0 ? _main : scopes[0];
        // Up to IR version 3 every initializer had to be an input as well; since then such an input may replace it at run time.
        _inputsOverride = model.Proto.IrVersion >= 4;
        foreach (var tensor in _main.Initializer)
        {
            _initializers[tensor.Name] = tensor;
        }

        foreach (var hidden in scopes.SelectMany(GraphBodies.Defined))
        {
            _initializers.Remove(hidden);
        }

        _inputs = Proto.Input.Concat(_main.Input).Select(i => i.Name).ToHashSet(StringComparer.Ordinal);
        _outputs = Proto.Output.Select(o => o.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var info in Proto.ValueInfo.Concat(Proto.Input).Concat(Proto.Output))
        {
            _types[info.Name] = info;
        }

        foreach (var node in Proto.Node)
        {
            foreach (var output in node.Output.Where(o => o.Length > 0))
            {
                _producers[output] = node;
            }

            foreach (var read in GraphOrder.Reads(node).Distinct(StringComparer.Ordinal))
            {
                if (!_readers.TryGetValue(read, out var list))
                {
                    _readers[read] = list = [];
                }

                list.Add(node);
            }
        }

        Collect(_main);
    }

    /// <summary>The graph or body.</summary>
    public GraphProto Proto { get; }

    /// <summary>The node that makes a value; null for inputs, initializers and unknown names.</summary>
    public NodeProto? Producer(string value) => _producers.GetValueOrDefault(value);

    /// <summary>Nodes that read a value, also from inside their subgraphs.</summary>
    public IReadOnlyList<NodeProto> Readers(string value) => _readers.TryGetValue(value, out var list) ? list : [];

    /// <summary>Whether the value leaves the graph.</summary>
    public bool IsOutput(string value) => _outputs.Contains(value);

    /// <summary>Whether the value enters the graph from outside.</summary>
    public bool IsInput(string value) => _inputs.Contains(value) && !_initializers.ContainsKey(value);

    /// <summary>The constant behind a name: an initializer that no input can replace; null otherwise.</summary>
    public TensorProto? Constant(string value) =>
        _initializers.TryGetValue(value, out var tensor) && !(_inputsOverride && _inputs.Contains(value)) ? tensor : null;

    /// <summary>Declared type of a value: element type and dimensions (-1 where open); null where the model does not tell.</summary>
    public (int ElemType, long[] Dims)? TypeOf(string value)
    {
        if (_initializers.TryGetValue(value, out var tensor))
        {
            return (tensor.DataType, [.. tensor.Dims]);
        }

        return _types.TryGetValue(value, out var info) && info.Type?.TensorType is { Shape: { } shape } type
            ? (type.ElemType, shape.Dim.Select(d => d.HasDimValue && d.DimValue >= 0 ? d.DimValue : -1).ToArray())
            : null;
    }

    /// <summary>A name that nothing in the graph or its subgraphs uses, as close to the wish as can be; it is taken from now on.</summary>
    public string UniqueName(string wish)
    {
        var name = wish;
        for (var i = 2; !_names.Add(name); i++)
        {
            name = $"{wish}_{i}";
        }

        return name;
    }

    /// <summary>Adds a constant to the graph; its name must come from <see cref="UniqueName"/>.</summary>
    public string AddInitializer(TensorProto tensor)
    {
        _main.Initializer.Add(tensor);
        _initializers[tensor.Name] = tensor;
        return tensor.Name;
    }

    /// <summary>Replaces all nodes.</summary>
    public void ReplaceNodes(IEnumerable<NodeProto> nodes)
    {
        var list = nodes.ToList();
        Proto.Node.Clear();
        Proto.Node.AddRange(list);
    }

    private void Collect(GraphProto graph)
    {
        _names.UnionWith(graph.Initializer.Select(t => t.Name));
        _names.UnionWith(graph.Input.Select(i => i.Name));
        _names.UnionWith(graph.ValueInfo.Select(i => i.Name));
        _names.UnionWith(graph.SparseInitializer.Select(s => s.Values.Name));
        foreach (var node in graph.Node)
        {
            _names.Add(node.Name);
            _names.UnionWith(node.Output);
            foreach (var body in GraphOrder.Subgraphs(node))
            {
                Collect(body);
            }
        }
    }
}
