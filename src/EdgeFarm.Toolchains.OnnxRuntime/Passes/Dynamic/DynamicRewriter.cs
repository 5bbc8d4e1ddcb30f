using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Dynamic;

/// <summary>Rewrites one graph (the main one or a body) for dynamic quantization, node by node.</summary>
internal sealed class DynamicRewriter(OnnxGraph graph, WeightStore weights, PassContext context, NodeFilter filter)
{
    private readonly OnnxGraph _graph = graph;
    private readonly List<NodeProto> _nodes = new(graph.Proto.Node.Count * 2);
    private readonly Dictionary<string, (string Codes, string Scale, string Zero)> _activations = new(StringComparer.Ordinal);
    private readonly WeightStore _weights = weights;

    /// <summary>Nodes that were changed.</summary>
    public List<ChangedOp> Changed { get; } = [];

    /// <summary>Nodes of the wanted types that were not.</summary>
    public List<SkippedOp> Skipped { get; } = [];

    /// <summary>Rewrites the graph's nodes; weights that nothing reads any more stay until dead values are removed.</summary>
    public void Run()
    {
        foreach (var node in GraphOrder.Sort(_graph.Proto.Node)!)
        {
            context.Cancellation.ThrowIfCancellationRequested();
            if (node.Domain != (node.OpType == "Attention" ? OnnxDynamicQuantization.Microsoft : "") && node.Domain != "ai.onnx" || !filter.HasType(node))
            {
                _nodes.Add(node);
                continue;
            }

            var refusal = filter.Refusal(node) ?? node.OpType switch
            {
                "MatMul" => MatMul(node),
                "Gemm" => Gemm(node),
                "Gather" => Gather(node),
                "Conv" => Conv(node),
                "LSTM" => Lstm(node),
                "Attention" => Attention(node),
                _ => throw new InvalidOperationException(node.OpType),
            };
            if (refusal is not null)
            {
                Skipped.Add(new SkippedOp(PassNodes.Label(node), node.OpType, refusal));
                _nodes.Add(node);
            }
        }

        _graph.ReplaceNodes(_nodes);
    }

    private string? MatMul(NodeProto node)
    {
        if (Weight(node, 1, out var weight) is { } refusal)
        {
            return refusal;
        }

        if (weight!.Dims.Count < 2)
        {
            return "its weight is a vector";
        }

        var stored = _weights.Get(_graph, weight, perChannelAxis: weight.Dims.Count == 2 ? 1 : null, transpose: false);
        return stored.Refusal ?? EmitMatMul(node, stored, null);
    }

    private string? Gemm(NodeProto node)
    {
        if (Weight(node, 1, out var weight) is { } refusal)
        {
            return refusal;
        }

        var hasBias = node.Input.Count > 2 && node.Input[2].Length > 0;
        if (node.Float("alpha", 1) != 1 || (hasBias && node.Float("beta", 1) != 1) || node.Int("transA", 0) != 0)
        {
            return "alpha, beta or transA is not the default";
        }

        var stored = _weights.Get(_graph, weight!, perChannelAxis: 1, transpose: node.Int("transB", 0) != 0);
        return stored.Refusal ?? EmitMatMul(node, stored, hasBias ? node.Input[2] : null);
    }

    private string? EmitMatMul(NodeProto node, StoredWeight weight, string? bias)
    {
        var activation = Activation(node.Input[0]);
        var (name, output) = (PassNodes.Label(node), node.Output[0]);
        var product = Value($"{output}_quantized");
        Add("MatMulInteger", $"{name}_quant", [activation.Codes, weight.Codes, activation.Zero, weight.Zero!], product);
        Rescale(name, activation.Scale, weight.Scale, product, output, bias);
        Changed.Add(new ChangedOp(name, node.OpType, $"MatMulInteger, {weight.Format}"));
        return null;
    }

    private string? Conv(NodeProto node)
    {
        if (Weight(node, 1, out var weight) is { } refusal)
        {
            return refusal;
        }

        // ConvInteger takes one zero point for all channels, so only symmetric weights can have a scale each.
        var rank = weight!.Dims.Count;
        long[] broadcast = [1, weight.Dims[0], .. Enumerable.Repeat(1L, Math.Max(0, rank - 2))];
        var stored = _weights.Get(_graph, weight, perChannelAxis: _weights.IsSymmetric ? 0 : null, transpose: false, broadcast);
        if (stored.Refusal is not null)
        {
            return stored.Refusal;
        }

        string? bias = null;
        if (node.Input.Count > 2 && node.Input[2].Length > 0)
        {
            bias = Value($"{node.Input[2]}_reshaped");
            var shape = _graph.AddInitializer(OnnxTensors.Create(Value($"{node.Input[2]}_shape"), [rank], broadcast));
            Add("Reshape", $"{PassNodes.Label(node)}_bias", [node.Input[2], shape], bias);
        }

        var activation = Activation(node.Input[0]);
        var (name, output) = (PassNodes.Label(node), node.Output[0]);
        var product = Value($"{output}_quantized");
        List<string> inputs = [activation.Codes, stored.Codes, activation.Zero];
        if (!_weights.IsSymmetric)
        {
            inputs.Add(stored.Zero!);
        }

        Add("ConvInteger", $"{name}_quant", inputs, product).Attribute.AddRange(node.Attribute);
        Rescale(name, activation.Scale, stored.Scale, product, output, bias);
        Changed.Add(new ChangedOp(name, node.OpType, $"ConvInteger, {stored.Format}"));
        return null;
    }

    // The runtime's operator takes the weights as they are multiplied: [directions, inputs, 4 x hidden].
    private string? Lstm(NodeProto node)
    {
        if ((Weight(node, 1, out var weight) ?? Weight(node, 2, out _)) is { } refusal)
        {
            return refusal;
        }

        Weight(node, 2, out var recurrence);
        if (weight!.Dims.Count != 3 || recurrence!.Dims.Count != 3 || node.Int("layout", 0) != 0 || node.Int("input_forget", 0) != 0)
        {
            return "layout or input_forget is not the default, or a weight is no stack of matrices";
        }

        var (w, r) = (_weights.Stack(_graph, weight), _weights.Stack(_graph, recurrence));
        if ((w.Refusal ?? r.Refusal) is { } bad)
        {
            return bad;
        }

        var name = PassNodes.Label(node);
        // Optional inputs in between stand as empty names: B, sequence_lens, initial_h, initial_c, P.
        var optional = Enumerable.Range(3, 5).Select(i => node.Input.Count > i ? node.Input[i] : "");
        var made = NodeAttributes.Create(
            "DynamicQuantizeLSTM", _graph.UniqueName($"{name}_quant"), [node.Input[0], w.Codes, r.Codes, .. optional, w.Scale, w.Zero!, r.Scale, r.Zero!], node.Output, OnnxDynamicQuantization.Microsoft);
        made.Attribute.AddRange(node.Attribute.Where(a => a.Name != "layout"));
        _nodes.Add(made);
        Changed.Add(new ChangedOp(name, node.OpType, $"DynamicQuantizeLSTM, {w.Format}"));
        return null;
    }

    private string? Attention(NodeProto node)
    {
        if (Weight(node, 1, out var weight) is { } refusal)
        {
            return refusal;
        }

        if (node.Input.Skip(5).Any(i => i.Length > 0) || node.Find("qkv_hidden_sizes") is not null || node.Input.Count < 3 || node.Input[2].Length == 0)
        {
            return "it has a bias for the scores, sizes of its own for query and value, or no bias: the integer form takes none of them";
        }

        var stored = _weights.Get(_graph, weight!, perChannelAxis: 1, transpose: false);
        if (stored.Refusal is not null)
        {
            return stored.Refusal;
        }

        var activation = Activation(node.Input[0]);
        var name = PassNodes.Label(node);
        string Optional(int input) => node.Input.Count > input ? node.Input[input] : "";
        var made = NodeAttributes.Create(
            "QAttention",
            _graph.UniqueName($"{name}_quant"),
            [activation.Codes, stored.Codes, node.Input[2], activation.Scale, stored.Scale, Optional(3), activation.Zero, stored.Zero!, Optional(4)],
            node.Output,
            OnnxDynamicQuantization.Microsoft);
        made.Attribute.AddRange(node.Attribute);
        _nodes.Add(made);
        Changed.Add(new ChangedOp(name, node.OpType, $"QAttention, {stored.Format}"));
        return null;
    }

    private string? Gather(NodeProto node)
    {
        if (Weight(node, 0, out var table) is { } refusal)
        {
            return refusal;
        }

        if (OnnxTensors.ElementCount(table!.Dims) < WeightStore.LeastTable)
        {
            return $"its table has fewer than {WeightStore.LeastTable} values";
        }

        var stored = _weights.Table(_graph, table);
        if (stored.Refusal is not null)
        {
            return stored.Refusal;
        }

        var (name, output) = (PassNodes.Label(node), node.Output[0]);
        var codes = Value($"{output}_quantized");
        Add("Gather", $"{name}_quant", [stored.Codes, node.Input[1]], codes).Attribute.AddRange(node.Attribute);
        Add("DequantizeLinear", $"{output}_DequantizeLinear", [codes, stored.Scale, stored.Zero!], output);
        Changed.Add(new ChangedOp(name, node.OpType, $"Gather of {stored.Format} and DequantizeLinear"));
        return null;
    }

    // All readers of one value share its quantization.
    private (string Codes, string Scale, string Zero) Activation(string value)
    {
        if (!_activations.TryGetValue(value, out var made))
        {
            made = (Value($"{value}_quantized"), Value($"{value}_scale"), Value($"{value}_zero_point"));
            var node = Add("DynamicQuantizeLinear", $"{value}_QuantizeLinear", [value], made.Codes);
            node.Output.Add(made.Scale);
            node.Output.Add(made.Zero);
            _activations[value] = made;
        }

        return made;
    }

    private void Rescale(string name, string activationScale, string weightScale, string product, string output, string? bias)
    {
        var (scale, cast) = (Value($"{name}_scales"), Value($"{product}_cast"));
        Add("Mul", $"{name}_quant_scales_mul", [activationScale, weightScale], scale);
        Add("Cast", $"{product}_cast", [product], cast).With("to", (long)DataType.Float);
        var scaled = bias is null ? output : Value($"{output}_scaled");
        Add("Mul", $"{name}_quant_output_scale_mul", [cast, scale], scaled);
        if (bias is not null)
        {
            Add("Add", $"{name}_bias_add", [scaled, bias], output);
        }
    }

    private string? Weight(NodeProto node, int input, out TensorProto? weight)
    {
        weight = node.Input.Count > input ? _graph.Constant(node.Input[input]) : null;
        if (weight is null)
        {
            return node.OpType == "Gather" ? "what it reads is not a constant table" : "its weight is not a constant";
        }

        return weight.DataType == (int)DataType.Float ? null : $"its weight is {OnnxTensors.TypeName(weight.DataType)}";
    }

    private NodeProto Add(string opType, string name, IEnumerable<string> inputs, string output)
    {
        var node = NodeAttributes.Create(opType, _graph.UniqueName(name), inputs, [output]);
        _nodes.Add(node);
        return node;
    }

    private string Value(string wish) => _graph.UniqueName(wish);
}
