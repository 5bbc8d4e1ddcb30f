using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.ModelFormats.Onnx.Graphs;

/// <summary>Order and reach of a graph's nodes.</summary>
public static class GraphOrder
{
    /// <summary>
    /// The nodes in an order in which each comes after all that it reads, otherwise as they stood; null where the graph is cyclic.
    /// Needs time linear in the graph, and no recursion but into subgraphs.
    /// </summary>
    public static IReadOnlyList<NodeProto>? Sort(IReadOnlyList<NodeProto> nodes)
    {
        var producers = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var i = 0; i < nodes.Count; i++)
        {
            foreach (var output in nodes[i].Output)
            {
                producers.TryAdd(output, i);
            }
        }

        return Sort(nodes, producers);
    }

    /// <summary>All values that a node reads: its inputs, and what its subgraphs capture from outside.</summary>
    public static IEnumerable<string> Reads(NodeProto node)
    {
        IEnumerable<string> reads = node.Input.Where(i => i.Length > 0);
        foreach (var graph in Subgraphs(node))
        {
            reads = reads.Concat(Captures(graph));
        }

        return reads;
    }

    /// <summary>The bodies of If, Loop, Scan and their like.</summary>
    public static IEnumerable<GraphProto> Subgraphs(NodeProto node) =>
        node.Attribute.SelectMany(a => a.G is null ? a.Graphs : a.Graphs.Prepend(a.G));

    /// <summary>Names that a subgraph reads and does not make itself.</summary>
    public static IEnumerable<string> Captures(GraphProto graph)
    {
        var own = graph.Initializer.Select(t => t.Name).Concat(graph.Input.Select(i => i.Name)).Concat(graph.Node.SelectMany(n => n.Output)).ToHashSet(StringComparer.Ordinal);
        return graph.Node.SelectMany(Reads).Concat(graph.Output.Select(o => o.Name)).Where(name => !own.Contains(name)).Distinct(StringComparer.Ordinal).ToList();
    }

    internal static IReadOnlyList<NodeProto>? Sort(IReadOnlyList<NodeProto> nodes, Dictionary<string, int> producers)
    {
        var waits = new int[nodes.Count];
        var readers = new List<int>[nodes.Count];
        var sorted = true;
        for (var i = 0; i < nodes.Count; i++)
        {
            foreach (var read in Reads(nodes[i]))
            {
                if (producers.TryGetValue(read, out var producer))
                {
                    (readers[producer] ??= []).Add(i);
                    waits[i]++;
                    sorted &= producer < i;
                }
            }
        }

        if (sorted)
        {
            return nodes;
        }

        var ready = new PriorityQueue<int, int>();
        for (var i = 0; i < nodes.Count; i++)
        {
            if (waits[i] == 0)
            {
                ready.Enqueue(i, i);
            }
        }

        var order = new List<NodeProto>(nodes.Count);
        while (ready.TryDequeue(out var next, out _))
        {
            order.Add(nodes[next]);
            foreach (var reader in readers[next] ?? [])
            {
                if (--waits[reader] == 0)
                {
                    ready.Enqueue(reader, reader);
                }
            }
        }

        return order.Count == nodes.Count ? order : null;
    }
}
