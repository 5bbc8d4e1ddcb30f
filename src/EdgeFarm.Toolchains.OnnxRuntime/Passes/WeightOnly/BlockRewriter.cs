using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.WeightOnly;

/// <summary>Rewrites one graph (the main one or a body) for weights in blocks, node by node.</summary>
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
    private readonly string _algorithm;
    private readonly bool _qdq;
    private readonly int _accuracyLevel;
    private readonly List<NodeProto> _nodes;
    private readonly Dictionary<(string Name, bool Transposed), Stored> _stored;
    private readonly Dictionary<string, string> _dequantized = new(StringComparer.Ordinal);

    /// <summary>Prepares the rewriting of a graph.</summary>
    /// <param name="model">The model.</param>
    /// <param name="graph">Its main graph, or a body.</param>
    /// <param name="arguments">The pass's parameters.</param>
    /// <param name="context">Samples, threads, cancellation.</param>
    /// <param name="filter">Which nodes are wanted.</param>
    /// <param name="before">The rewriter of another graph of the model, whose weights are not stored again.</param>
    public BlockRewriter(OnnxModel model, OnnxGraph graph, PassArguments arguments, PassContext context, NodeFilter filter, BlockRewriter? before)
    {
        (_model, _graph, _context, _filter) = (model, graph, context, filter);
        _stored = before?._stored ?? [];
        _algorithm = arguments.Text("algorithm");
        _qdq = arguments.Text("quant_format") == "QDQ";
        // The first fits fractions, the second offsets: without zero points neither is what it is called.
        _format = new BlockFormat(arguments.Integer("bits"), arguments.Integer("block_size"), arguments.Flag("is_symmetric") && _algorithm is not ("hqq" or "k_quant"));
        _accuracyLevel = arguments.Integer("accuracy_level");
        _nodes = new List<NodeProto>(graph.Proto.Node.Count);
    }

    /// <summary>Nodes that were changed.</summary>
    public List<ChangedOp> Changed { get; } = [];

    /// <summary>Nodes of the wanted types that were not.</summary>
    public List<SkippedOp> Skipped { get; } = [];

    /// <summary>Rewrites the graph's nodes; weights that nothing reads any more stay until dead values are removed.</summary>
    public void Run()
    {
        foreach (var node in GraphOrder.Sort(_graph.Proto.Node)!)
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

    /// <summary>Quantizes the weights of all wanted multiplications with what they are multiplied with on the samples.</summary>
    /// <param name="damping">For <see cref="GptqQuantizer.Factor"/>.</param>
    /// <param name="maxSamples">Most samples; 0 for all.</param>
    /// <returns>Samples that were run.</returns>
    public int Calibrate(double damping, int maxSamples)
    {
        var wanted = GraphOrder.Sort(_model.Graph.Node)!
            .Where(n => n.Domain is "" or "ai.onnx" && n.OpType is "MatMul" or "Gemm" && _filter.HasType(n) && _filter.Refusal(n) is null && Refusal(n, out _, out _) is null)
            .GroupBy(n => n.Input[0], StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.ToList(), StringComparer.Ordinal);
        return SecondMoments.Visit(_model, wanted.ToDictionary(w => w.Key, w => Rows(w.Value[0]), StringComparer.Ordinal), maxSamples, _context, (value, moment) =>
        {
            var factor = GptqQuantizer.Factor(moment, Rows(wanted[value][0]), damping, _context.Threads);
            foreach (var node in wanted[value])
            {
                Refusal(node, out var weight, out var transposed);
                if (!_stored.ContainsKey((weight!.Name, transposed)))
                {
                    _stored[(weight.Name, transposed)] = Store(weight, transposed, factor);
                    _context.Log($"{PassNodes.Label(node)} is quantized");
                }
            }
        });
    }

    private int Rows(NodeProto node) => Refusal(node, out var weight, out var transposed) is null ? (int)weight!.Dims[transposed ? 1 : 0] : 0;

    private string? Refusal(NodeProto node, out TensorProto? weight, out bool transposed)
    {
        var gemm = node.OpType == "Gemm";
        transposed = gemm && node.Int("transB", 0) != 0;
        weight = _graph.Constant(node.Input[1]);
        if (weight is null)
        {
            return "its weight is not a constant";
        }

        var hasBias = gemm && node.Input.Count > 2 && node.Input[2].Length > 0;
        return gemm && (node.Float("alpha", 1) != 1 || (hasBias && node.Float("beta", 1) != 1) || node.Int("transA", 0) != 0)
            ? "alpha, beta or transA is not the default"
            : Refusal(weight, 2);
    }

    private string? Multiply(NodeProto node)
    {
        if (Refusal(node, out var weight, out var transposed) is { } refusal)
        {
            return refusal;
        }

        var hasBias = node.OpType == "Gemm" && node.Input.Count > 2 && node.Input[2].Length > 0;
        if (!_stored.TryGetValue((weight!.Name, transposed), out var stored))
        {
            _stored[(weight.Name, transposed)] = stored = Store(weight, transposed, null);
        }

        if (stored.Refusal is not null)
        {
            return stored.Refusal;
        }

        var label = PassNodes.Label(node);
        if (_qdq)
        {
            Dequantize(node, label, stored);
            Changed.Add(new ChangedOp(label, node.OpType, $"{node.OpType} of {_format.Bits} bits in blocks of {_format.BlockSize} behind DequantizeLinear"));
            return null;
        }

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

    private void Dequantize(NodeProto node, string label, Stored stored)
    {
        if (!_dequantized.TryGetValue(stored.Codes, out var view))
        {
            _dequantized[stored.Codes] = view = _graph.UniqueName($"{stored.Codes}_output");
            List<string> inputs = [stored.Codes, stored.Scales];
            if (stored.Zeros is not null)
            {
                inputs.Add(stored.Zeros);
            }

            _nodes.Add(NodeAttributes.Create("DequantizeLinear", _graph.UniqueName($"{label}_DQ_Q{_format.Bits}"), inputs, [view])
                .With("axis", 0L).With("block_size", (long)_format.BlockSize));
        }

        // The codes stand as they are multiplied.
        node.Take("transB");
        node.Input[1] = view;
        _nodes.Add(node);
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
        List<string> inputs = [stored.Codes, node.Input[1], stored.Scales];
        if (stored.Zeros is not null)
        {
            inputs.Add(stored.Zeros);
        }

        var gather = NodeAttributes.Create("GatherBlockQuantized", _graph.UniqueName($"{label}_Q{_format.Bits}"), inputs, [node.Output[0]], Domain)
            .With("block_size", (long)_format.BlockSize).With("gather_axis", 0L).With("quantize_axis", 1L);
        if (_format.Bits == 8)
        {
            gather.With("bits", 8L);
        }

        _nodes.Add(gather);
        Changed.Add(new ChangedOp(label, node.OpType, $"GatherBlockQuantized, {_format.Bits} bits in blocks of {_format.BlockSize}"));
        return null;
    }

    private string? Refusal(TensorProto weight, int rank)
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
            : FloatScan.Of(OnnxTensors.FloatMemory(weight), _context.Threads).IsFinite ? null
            : "its weight holds infinities or NaN";
    }

    private Stored Store(TensorProto weight, bool transposed, float[]? factor)
    {
        var (rows, columns) = ((int)weight.Dims[0], (int)weight.Dims[1]);
        var values = OnnxTensors.FloatMemory(weight);
        if (transposed)
        {
            values = LinearWeight.Transpose(values.Span, rows, columns);
            (rows, columns) = (columns, rows);
        }

        var blocks = _format.Blocks(rows);
        var matrix = _algorithm switch
        {
            "hqq" => HqqQuantizer.Quantize(values.Span, rows, columns, _format, _context.Threads),
            "k_quant" => KQuantizer.Quantize(values, rows, columns, _format, _context.Threads),
            "gptq" when factor is not null => GptqQuantizer.Quantize(values, rows, columns, factor, _format, _context.Threads),
            _ => BlockQuantizer.Quantize(values, rows, columns, _format, _context.Threads),
        };
        if (_qdq)
        {
            return StoreQdq(weight, transposed, matrix);
        }

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

    // The standard's layout: codes [K, N] in rows, a scale for each block of each column in rows, too.
    private Stored StoreQdq(TensorProto weight, bool transposed, BlockMatrix matrix)
    {
        var (rows, columns, blocks) = (matrix.Rows, matrix.Columns, _format.Blocks(matrix.Rows));
        var (codes, scales) = (_graph.UniqueName($"{weight.Name}_DQ_Q{_format.Bits}"), _graph.UniqueName($"{weight.Name}_DQ_scales"));
        var zeros = matrix.ZeroPoints is null ? null : _graph.UniqueName($"{weight.Name}_DQ_zero_points");
        var type = (_format.Bits, _format.Symmetric) switch { (4, true) => DataType.Int4, (4, false) => DataType.Uint4, (_, true) => DataType.Int8, _ => DataType.Uint8 };
        var offset = _format.Symmetric ? _format.MiddleCode : 0;
        var values = new int[checked(rows * columns)];
        for (var i = 0; i < values.Length; i++)
        {
            var (row, column) = (i / columns, i % columns);
            var bit = row % _format.BlockSize * _format.Bits;
            var at = (((column * (long)blocks) + (row / _format.BlockSize)) * _format.BlobBytes) + (bit / 8);
            values[i] = ((matrix.Codes[at] >> (bit % 8)) & _format.MaxCode) - offset;
        }

        List<TensorProto> tensors =
        [
            OnnxTensors.Create(codes, type, [rows, columns], QuantCodes.Pack(type, values)),
            OnnxTensors.Create(scales, [blocks, columns], LinearWeight.Transpose(matrix.Scales, columns, blocks)),
        ];
        if (zeros is not null)
        {
            var points = new int[blocks * columns];
            for (var i = 0; i < points.Length; i++)
            {
                points[i] = BlockQuantizer.GetZero(matrix.ZeroPoints!, i % columns, i / columns, blocks, _format);
            }

            tensors.Add(OnnxTensors.Create(zeros, type, [blocks, columns], QuantCodes.Pack(type, points)));
        }

        return Keep(new BlockQdqWeight(weight, _format, codes, scales, zeros, transposed), tensors, new Stored(codes, scales, zeros, rows, columns, null));
    }

    private Stored StoreTable(TensorProto table, int rows, int columns)
    {
        var (data, scaleValues, zeroValues) = TableQuantizer.Quantize(OnnxTensors.FloatMemory(table), rows, columns, _format, _context.Threads);
        var (codes, scales) = (_graph.UniqueName($"{table.Name}_Q{_format.Bits}"), _graph.UniqueName($"{table.Name}_scales"));
        var zeros = zeroValues is null ? null : _graph.UniqueName($"{table.Name}_zero_points");
        var type = (_format.Bits, _format.Symmetric) switch { (4, true) => DataType.Int4, (4, false) => DataType.Uint4, _ => DataType.Uint8 };
        List<TensorProto> tensors =
        [
            OnnxTensors.Create(codes, type, [rows, columns], data),
            OnnxTensors.Create(scales, [rows, _format.Blocks(columns)], scaleValues),
        ];
        if (zeroValues is not null)
        {
            tensors.Add(OnnxTensors.Create(zeros!, type, [rows, _format.Blocks(columns)], zeroValues));
        }

        return Keep(new BlockTable(table, _format, codes, scales, zeros), tensors, new Stored(codes, scales, zeros, rows, columns, null));
    }

    private Stored Keep(QuantizedWeight evidence, List<TensorProto> tensors, Stored stored)
    {
        if (evidence.Sqnr(name => tensors.First(t => t.Name == name), _context.Threads) is var decibel && decibel < evidence.FloorDb)
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
