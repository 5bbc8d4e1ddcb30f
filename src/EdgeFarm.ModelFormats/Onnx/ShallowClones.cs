using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>Copies of messages that share the heavy parts, which protobuf's own Clone would copy.</summary>
internal static class ShallowClones
{
    /// <summary>The model with everything but its graph.</summary>
    public static ModelProto WithoutGraph(this ModelProto model)
    {
        var graph = model.Graph;
        model.Graph = null;
        try
        {
            return model.Clone();
        }
        finally
        {
            model.Graph = graph;
        }
    }

    /// <summary>The graph, its nodes shared, with everything but its initializers.</summary>
    public static GraphProto WithoutInitializers(this GraphProto graph)
    {
        var copy = new GraphProto();
        if (graph.HasName)
        {
            copy.Name = graph.Name;
        }

        if (graph.HasDocString)
        {
            copy.DocString = graph.DocString;
        }

        copy.Node.AddRange(graph.Node);
        copy.Input.AddRange(graph.Input);
        copy.Output.AddRange(graph.Output);
        copy.ValueInfo.AddRange(graph.ValueInfo);
        copy.QuantizationAnnotation.AddRange(graph.QuantizationAnnotation);
        copy.SparseInitializer.AddRange(graph.SparseInitializer);
        copy.MetadataProps.AddRange(graph.MetadataProps);
        return copy;
    }
}
