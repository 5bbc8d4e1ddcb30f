using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.WeightOnly;

/// <summary>Rewrites one graph for weights in blocks, node by node.</summary>
internal sealed class BlockRewriter
{
    private const string Domain = "com.microsoft";

    // Below this a table's scales and the dearer operator cost more than it saves.
    private const long LeastTable = 4096;

    private readonly OnnxModel _model;
    private readonly PassContext _context;
    private readonly NodeFilter _filter;
    private readonly OnnxGraph _graph;
    private readonly BlockFormat _format;
    private readonly bool _hqq;
    private readonly int _accuracyLevel;
    private readonly List<NodeProto> _nodes;
    private readonly Dictionary<(string Name, bool Transposed), Stored> _stored = [];

    public BlockRewriter(OnnxModel model, PassArguments arguments, PassContext context, NodeFilter filter)
    {
        (_model, _context, _filter) = (model, context, filter);
        _graph = new OnnxGraph(model);
        _hqq = arguments.Text("algorithm") == "hqq";
        _format = new BlockFormat(arguments.Integer("bits"), arguments.Integer("block_size"), arguments.Flag("is_symmetric") && !_hqq);
        _accuracyLevel = arguments.Integer("accuracy_level");
        _nodes = new List<NodeProto>(model.Graph.Node.Count);
    }

    /// <summary>Nodes that were changed.</summary>
    public List<ChangedOp> Changed { get; } = [];

    /// <summary>Nodes of the wanted types that were not.</summary>
    public List<SkippedOp> Skipped { get; } = [];

    /// <summary>Rewrites the graph's nodes; weights that nothing reads any more stay until dead values are removed.</summary>
    public void Run()
    {
        foreach (var node in GraphOrder.Sort(_model.Graph.Node)!)
        {
            _context.Cancellation.ThrowIfCancellationRequested();
            if (node.Domain is not ("" or "ai.onnx") || !_filter.HasType(node))
            {
                _nodes.Add(node);
                continue;
            }

            var refusal = _filter.Refusal(node) ?? (node.OpType == "Gather" ? Gather(node) : Multiply(node));
            if (refusal is not null)
            {
                Skipped.Add(new SkippedOp(PassNodes.Label(node), node.OpType, refusal));
                _nodes.Add(node);
            }
        }

        _graph.ReplaceNodes(_nodes);
    }

    private string? Multiply(NodeProto node)
    {
        if (_graph.Constant(node.Input[1]) is not { } weight)
        {
            return "its weight is not a constant";
        }

        var gemm = node.OpType == "Gemm";
        var hasBias = gemm && node.Input.Count > 2 && node.Input[2].Length > 0;
        if (gemm && (node.Float("alpha", 1) != 1 || (hasBias && node.Float("beta", 1) != 1) || node.Int("transA", 0) != 0))
        {
            return "alpha, beta or transA is not the default";
        }

        var transposed = gemm && node.Int("transB", 0) != 0;
        if (Refusal(weight, 2) is { } refusal)
        {
            return refusal;
        }

        if (!_stored.TryGetValue((weight.Name, transposed), out var stored))
        {
            _stored[(weight.Name, transposed)] = stored = Store(weight, transposed);
        }

        if (stored.Refusal is not null)
        {
            return stored.Refusal;
        }

        var label = PassNodes.Label(node);
        List<string> inputs = [node.Input[0], stored.Codes, stored.Scales];
        if (stored.Zeros is not null)
        {
            inputs.Add(stored.Zeros);
        }

        var output = hasBias ? _graph.UniqueName($"{node.Output[0]}_product") : node.Output[0];
        var multiply = NodeAttributes.Create("MatMulNBits", _graph.UniqueName($"{label}_Q{_format.Bits}"), inputs, [output], Domain)
            .With("K", (long)stored.Rows).With("N", (long)stored.Columns).With("bits", (long)_format.Bits).With("block_size", (long)_format.BlockSize);
        if (_accuracyLevel > 0)
        {
            multiply.With("accuracy_level", (long)_accuracyLevel);
        }

        _nodes.Add(multiply);
        if (hasBias)
        {
            _nodes.Add(NodeAttributes.Create("Add", _graph.UniqueName($"{label}_bias_add"), [output, node.Input[2]], [node.Output[0]]));
        }

        Changed.Add(new ChangedOp(label, node.OpType, $"MatMulNBits, {_format.Bits} bits in blocks of {_format.BlockSize}"));
        return null;
    }

    private string? Gather(NodeProto node)
    {
        if (_graph.Constant(node.Input[0]) is not { } table)
        {
            return "what it reads is not a constant table";
        }

        if (Refusal(table, 2) is { } refusal)
        {
            return refusal;
        }

        if (node.Int("axis", 0) != 0)
        {
            return "it does not gather rows";
        }

        var (rows, columns) = ((int)table.Dims[0], (int)table.Dims[1]);
        if ((long)rows * columns < LeastTable)
        {
            return $"its table has fewer than {LeastTable} values";
        }

        if (columns % 2 != 0)
        {
            return "its rows have an odd number of values";
        }

        // The table's key cannot collide with a matrix's: a tensor of the same name is stored in another layout.
        if (!_stored.TryGetValue((table.Name + "\0table", false), out var stored))
        {
            _stored[(table.Name + "\0table", false)] = stored = StoreTable(table, rows, columns);
        }

        if (stored.Refusal is not null)
        {
            return stored.Refusal;
        }

        var label = PassNodes.Label(node);
        var gather = NodeAttributes.Create(
                "GatherBlockQuantized", _graph.UniqueName($"{label}_Q{_format.Bits}"), [stored.Codes, node.Input[1], stored.Scales], [node.Output[0]], Domain)
            .With("block_size", (long)_format.BlockSize).With("gather_axis", 0L).With("quantize_axis", 1L);
        if (_format.Bits == 8)
        {
            gather.With("bits", 8L);
        }

        _nodes.Add(gather);
        Changed.Add(new ChangedOp(label, node.OpType, $"GatherBlockQuantized, {_format.Bits} bits in blocks of {_format.BlockSize}"));
        return null;
    }

    private static string? Refusal(TensorProto weight, int rank)
    {
        if (weight.DataType != (int)DataType.Float)
        {
            return $"its weight is {OnnxTensors.TypeName(weight.DataType)}";
        }

        if (weight.Dims.Count != rank)
        {
            return "its weight is no matrix";
        }

        return OnnxTensors.ElementCount(weight.Dims) == 0 ? "its weight is empty"
            : LinearQuantizer.IsFinite(OnnxTensors.Floats(weight)) ? null
            : "its weight holds infinities or NaN";
    }

    private Stored Store(TensorProto weight, bool transposed)
    {
        var (rows, columns) = ((int)weight.Dims[0], (int)weight.Dims[1]);
        ReadOnlyMemory<float> values = OnnxTensors.ToFloats(weight);
        if (transposed)
        {
            values = LinearWeight.Transpose(values.Span, rows, columns);
            (rows, columns) = (columns, rows);
        }

        var blocks = _format.Blocks(rows);
        var matrix = _hqq
            ? HqqQuantizer.Quantize(values.Span, rows, columns, _format, _context.Threads)
            : BlockQuantizer.Quantize(values, rows, columns, _format, _context.Threads);
        var (codes, scales) = (_graph.UniqueName($"{weight.Name}_Q{_format.Bits}"), _graph.UniqueName($"{weight.Name}_scales"));
        var hasZeros = matrix.ZeroPoints is not null || matrix.FloatZeroPoints is not null;
        var zeros = hasZeros ? _graph.UniqueName($"{weight.Name}_zero_points") : null;
        List<TensorProto> tensors =
        [
            OnnxTensors.Create(codes, DataType.Uint8, [columns, blocks, _format.BlobBytes], matrix.Codes),
            OnnxTensors.Create(scales, DataType.Float, [columns, blocks], MemoryMarshal.AsBytes(matrix.Scales.AsSpan()).ToArray()),
        ];
        if (matrix.ZeroPoints is { } packed)
        {
            tensors.Add(OnnxTensors.Create(zeros!, DataType.Uint8, [columns, packed.Length / columns], packed));
        }
        else if (matrix.FloatZeroPoints is { } floats)
        {
            tensors.Add(OnnxTensors.Create(zeros!, [columns, blocks], floats));
        }

        return Keep(new BlockWeight(weight, _format, codes, scales, zeros, transposed), tensors, new Stored(codes, scales, zeros, rows, columns, null));
    }

    private Stored StoreTable(TensorProto table, int rows, int columns)
    {
        var (data, scaleValues) = TableQuantizer.Quantize(OnnxTensors.ToFloats(table), rows, columns, _format, _context.Threads);
        var (codes, scales) = (_graph.UniqueName($"{table.Name}_Q{_format.Bits}"), _graph.UniqueName($"{table.Name}_scales"));
        List<TensorProto> tensors =
        [
            OnnxTensors.Create(codes, _format.Bits == 4 ? DataType.Int4 : DataType.Uint8, [rows, columns], data),
            OnnxTensors.Create(scales, [rows, _format.Blocks(columns)], scaleValues),
        ];
        return Keep(new BlockTable(table, _format, codes, scales), tensors, new Stored(codes, scales, null, rows, columns, null));
    }

    private Stored Keep(QuantizedWeight evidence, List<TensorProto> tensors, Stored stored)
    {
        if (evidence.Sqnr(name => tensors.First(t => t.Name == name)) is var decibel && decibel < evidence.FloorDb)
        {
            return stored with { Refusal = FormattableString.Invariant($"{_format.Bits} bits keep only {decibel:F1} dB of its weight") };
        }

        foreach (var tensor in tensors)
        {
            _graph.AddInitializer(tensor);
        }

        _context.Weights.Add(evidence);
        return stored;
    }

    private sealed record Stored(string Codes, string Scales, string? Zeros, int Rows, int Columns, string? Refusal);
}
