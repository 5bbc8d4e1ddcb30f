using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;
using static EdgeFarm.ModelFormats.Onnx.Proto.AttributeProto.Types;

namespace EdgeFarm.ModelFormats.Onnx.Graphs;

/// <summary>Nodes and their attributes by name.</summary>
public static class NodeAttributes
{
    /// <summary>A node of an operator set (empty domain: the standard one).</summary>
    public static NodeProto Create(string opType, string name, IEnumerable<string> inputs, IEnumerable<string> outputs, string domain = "")
    {
        var node = new NodeProto { OpType = opType, Name = name };
        if (domain.Length > 0)
        {
            node.Domain = domain;
        }

        node.Input.AddRange(inputs);
        node.Output.AddRange(outputs);
        return node;
    }

    /// <summary>Whether the node is this operator of the standard set.</summary>
    public static bool Is(this NodeProto node, string opType) => node.OpType == opType && node.Domain is "" or "ai.onnx";

    /// <summary>The attribute, or null.</summary>
    public static AttributeProto? Find(this NodeProto node, string name) => node.Attribute.FirstOrDefault(a => a.Name == name);

    /// <summary>An integer attribute, or the default.</summary>
    public static long Int(this NodeProto node, string name, long fallback) => node.Find(name) is { HasI: true } a ? a.I : fallback;

    /// <summary>A float attribute, or the default.</summary>
    public static float Float(this NodeProto node, string name, float fallback) => node.Find(name) is { HasF: true } a ? a.F : fallback;

    /// <summary>A text attribute, or the default.</summary>
    public static string Text(this NodeProto node, string name, string fallback) => node.Find(name) is { HasS: true } a ? a.S.ToStringUtf8() : fallback;

    /// <summary>An integer list, or null.</summary>
    public static IReadOnlyList<long>? Ints(this NodeProto node, string name) => node.Find(name)?.Ints;

    /// <summary>Sets an integer attribute.</summary>
    public static NodeProto With(this NodeProto node, string name, long value) =>
        node.Set(new AttributeProto { Name = name, Type = AttributeType.Int, I = value });

    /// <summary>Sets a float attribute.</summary>
    public static NodeProto With(this NodeProto node, string name, float value) =>
        node.Set(new AttributeProto { Name = name, Type = AttributeType.Float, F = value });

    /// <summary>Sets a text attribute.</summary>
    public static NodeProto With(this NodeProto node, string name, string value) =>
        node.Set(new AttributeProto { Name = name, Type = AttributeType.String, S = ByteString.CopyFromUtf8(value) });

    /// <summary>Removes an attribute and returns it, or null.</summary>
    public static AttributeProto? Take(this NodeProto node, string name)
    {
        var attribute = node.Find(name);
        if (attribute is not null)
        {
            node.Attribute.Remove(attribute);
        }

        return attribute;
    }

    private static NodeProto Set(this NodeProto node, AttributeProto attribute)
    {
        node.Take(attribute.Name);
        node.Attribute.Add(attribute);
        return node;
    }
}
