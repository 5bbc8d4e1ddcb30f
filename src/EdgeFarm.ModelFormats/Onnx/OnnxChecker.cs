using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf.Collections;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>
/// Whether a parsed model is one that later code may trust: names resolve, each value is made once, no cycles, every tensor holds
/// exactly the bytes that its dimensions ask for. Throws <see cref="FailureException"/> with what is wrong and where.
/// </summary>
internal sealed class OnnxChecker
{
    // Version 13 is the newest that ONNX Runtime 1.31 loads.
    private const long MaxIrVersion = 13;
    private const int MaxDepth = 30;
    private const int MaxRank = 64;

    // A sparse tensor's dimensions cost its author nothing: what it would expand to is bounded.
    private const long MaxSparseExpansion = 1L << 28;

    private readonly string _file;
    private readonly ExternalData? _external;

    private OnnxChecker(ExternalData? external, string file) => (_external, _file) = (external, file);

    /// <summary>Checks a model; external tensors are attached on the way, and refused where <paramref name="external"/> is null.</summary>
    public static void Check(ModelProto model, ExternalData? external, string file)
    {
        var checker = new OnnxChecker(external, file);
        if (model.Graph is null || (!model.HasIrVersion && model.Graph.Node.Count == 0))
        {
            throw checker.Invalid("is not an ONNX model: it has no graph");
        }

        if (model.IrVersion is < 1 or > MaxIrVersion)
        {
            throw model.IrVersion < 1
                ? checker.Invalid($"has IR version {model.IrVersion}; versions start at 1")
                : new FailureException(Failure.Unsupported($"'{file}' has IR version {model.IrVersion}; up to {MaxIrVersion} is read"));
        }

        if (model.IrVersion >= 3 && model.OpsetImport.Count == 0)
        {
            throw checker.Invalid("imports no operator set");
        }

        if (model.OpsetImport.FirstOrDefault(o => o.Version < 1) is { } bad)
        {
            throw checker.Invalid($"imports version {bad.Version} of operator set '{OnnxText.Clip(bad.Domain)}'");
        }

        checker.CheckGraph(model.Graph, null, 0);
        checker.CheckFunctions(model);
    }

    private void CheckGraph(GraphProto graph, NameScope? outer, int depth)
    {
        if (depth > MaxDepth)
        {
            throw Invalid($"nests subgraphs deeper than {MaxDepth}");
        }

        var scope = new NameScope(outer);
        var dims = new Dictionary<string, TensorProto>(StringComparer.Ordinal);
        foreach (var tensor in graph.Initializer)
        {
            CheckTensor(tensor, $"initializer '{OnnxText.Clip(tensor.Name)}'");
            if (tensor.Name.Length == 0 || !scope.Add(tensor.Name))
            {
                throw Invalid($"has two initializers named '{OnnxText.Clip(tensor.Name)}', or one without a name");
            }

            dims[tensor.Name] = tensor;
        }

        foreach (var sparse in graph.SparseInitializer)
        {
            CheckSparse(sparse);
            if (sparse.Values is null || !scope.Add(sparse.Values.Name))
            {
                throw Invalid($"has two initializers named '{OnnxText.Clip(sparse.Values?.Name ?? "")}'");
            }
        }

        var inputs = new HashSet<string>(StringComparer.Ordinal);
        foreach (var input in graph.Input)
        {
            if (input.Name.Length == 0 || !inputs.Add(input.Name))
            {
                throw Invalid($"has two inputs named '{OnnxText.Clip(input.Name)}', or one without a name");
            }

            CheckType(input, dims);
            scope.Add(input.Name);
        }

        var producers = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var i = 0; i < graph.Node.Count; i++)
        {
            foreach (var output in graph.Node[i].Output.Where(o => o.Length > 0))
            {
                if (!scope.Add(output))
                {
                    throw Invalid($"makes value '{OnnxText.Clip(output)}' twice (second time in {Describe(graph.Node[i], i)})");
                }

                producers[output] = i;
            }
        }

        foreach (var info in graph.ValueInfo)
        {
            CheckType(info, dims);
        }

        CheckNodes(graph.Node, scope, producers, depth);
        foreach (var output in graph.Output)
        {
            CheckType(output, dims);
            if (!scope.Contains(output.Name))
            {
                throw Invalid($"has output '{OnnxText.Clip(output.Name)}', which nothing makes");
            }
        }
    }

    private void CheckNodes(RepeatedField<NodeProto> nodes, NameScope scope, Dictionary<string, int> producers, int depth)
    {
        for (var i = 0; i < nodes.Count; i++)
        {
            if (nodes[i].OpType.Length == 0)
            {
                throw Invalid($"has {Describe(nodes[i], i)} without an operator");
            }

            if (nodes[i].Domain is "" or "ai.onnx" && OperatorInputs.Missing(nodes[i]) is { } missing)
            {
                throw Invalid($"has {Describe(nodes[i], i)} {missing}");
            }

            foreach (var input in nodes[i].Input)
            {
                if (input.Length > 0 && !scope.Contains(input))
                {
                    throw Invalid($"reads value '{OnnxText.Clip(input)}' in {Describe(nodes[i], i)}, which nothing makes");
                }
            }
        }

        if (GraphOrder.Sort(nodes, producers) is null)
        {
            throw Invalid("is cyclic: some nodes read, directly or through others, what they make");
        }

        for (var i = 0; i < nodes.Count; i++)
        {
            foreach (var attribute in nodes[i].Attribute)
            {
                CheckAttribute(attribute, scope, depth, () => Describe(nodes[i], i));
            }
        }
    }

    private void CheckAttribute(AttributeProto attribute, NameScope scope, int depth, Func<string> where)
    {
        foreach (var tensor in attribute.T is null ? attribute.Tensors : attribute.Tensors.Prepend(attribute.T))
        {
            CheckTensor(tensor, $"attribute '{OnnxText.Clip(attribute.Name)}' of {where()}");
        }

        foreach (var sparse in attribute.SparseTensor is null ? attribute.SparseTensors : attribute.SparseTensors.Prepend(attribute.SparseTensor))
        {
            CheckSparse(sparse);
        }

        foreach (var graph in attribute.G is null ? attribute.Graphs : attribute.Graphs.Prepend(attribute.G))
        {
            CheckGraph(graph, scope, depth + 1);
        }
    }

    private void CheckTensor(TensorProto tensor, string what)
    {
        if (tensor.Dims.Count > MaxRank || OnnxTensors.ElementCount(tensor.Dims) is not { } count)
        {
            throw Invalid($"{what}: dimensions [{string.Join(',', tensor.Dims.Take(MaxRank))}] are negative or too large");
        }

        if (tensor.Segment is not null)
        {
            throw new FailureException(Failure.Unsupported($"'{_file}': {what} is stored in segments, which no runtime reads"));
        }

        var type = (DataType)tensor.DataType;
        if (type == DataType.String)
        {
            Expect(tensor.StringData.Count, count, "strings");
            return;
        }

        if (OnnxTensors.BitsPerElement(tensor.DataType) == 0 || OnnxTensors.RawLength(tensor.DataType, count) is not { } bytes)
        {
            throw Invalid($"{what}: {OnnxTensors.TypeName(tensor.DataType)} [{string.Join(',', tensor.Dims)}] has no size in bytes");
        }

        if (tensor.DataLocation == DataLocation.External)
        {
            if (_external is null)
            {
                throw Invalid($"{what}: its external data was not read");
            }

            _external.Attach(tensor);
        }

        if (tensor.HasRawData)
        {
            Expect(tensor.RawData.Length, bytes, "bytes");
            return;
        }

        var perField = OnnxTensors.BitsPerElement(tensor.DataType) < 8 ? (count * OnnxTensors.BitsPerElement(tensor.DataType) + 7) / 8 : count;
        switch (type)
        {
            case DataType.Float:
                Expect(tensor.FloatData.Count, count, "floats");
                break;
            case DataType.Complex64:
                Expect(tensor.FloatData.Count, checked(count * 2), "floats");
                break;
            case DataType.Double:
                Expect(tensor.DoubleData.Count, count, "doubles");
                break;
            case DataType.Complex128:
                Expect(tensor.DoubleData.Count, checked(count * 2), "doubles");
                break;
            case DataType.Int64:
                Expect(tensor.Int64Data.Count, count, "int64 values");
                break;
            case DataType.Uint64 or DataType.Uint32:
                Expect(tensor.Uint64Data.Count, count, "uint64 values");
                break;
            default:
                Expect(tensor.Int32Data.Count, perField, "int32 values");
                break;
        }

        void Expect(long have, long need, string unit)
        {
            if (have != need)
            {
                throw Invalid($"{what}: {OnnxTensors.TypeName(tensor.DataType)} [{string.Join(',', tensor.Dims)}] needs {need} {unit}, the file holds {have}");
            }
        }
    }

    private void CheckSparse(SparseTensorProto sparse)
    {
        var what = $"sparse tensor '{OnnxText.Clip(sparse.Values?.Name ?? "")}'";
        if (sparse.Values is null || sparse.Indices is null || sparse.Values.Dims.Count != 1)
        {
            throw Invalid($"{what} lacks its values or indices");
        }

        CheckTensor(sparse.Values, what);
        CheckTensor(sparse.Indices, what);
        if (OnnxTensors.ElementCount(sparse.Dims) is not { } dense || sparse.Dims.Count is 0 or > MaxRank)
        {
            throw Invalid($"{what}: dimensions [{string.Join(',', sparse.Dims.Take(MaxRank))}] are negative or too large");
        }

        var stored = sparse.Values.Dims[0];
        if (dense > MaxSparseExpansion || stored > dense)
        {
            throw Invalid($"{what}: {stored} values stand for {dense} elements; at most {MaxSparseExpansion} elements are taken from a sparse tensor");
        }

        if ((DataType)sparse.Indices.DataType != DataType.Int64)
        {
            throw Invalid($"{what}: its indices are {OnnxTensors.TypeName(sparse.Indices.DataType)}, not int64");
        }

        var indices = OnnxTensors.ToInt64s(sparse.Indices);
        var rank = sparse.Indices.Dims.Count == 2 ? sparse.Dims.Count : 1;
        if (indices.LongLength != stored * rank)
        {
            throw Invalid($"{what}: {stored} values need {stored * rank} index numbers, the file holds {indices.LongLength}");
        }

        for (var i = 0; i < indices.Length; i++)
        {
            var limit = rank == 1 ? dense : sparse.Dims[i % rank];
            if (indices[i] < 0 || indices[i] >= limit)
            {
                throw Invalid($"{what}: index {indices[i]} lies outside 0 to {limit - 1}");
            }
        }
    }

    private void CheckType(ValueInfoProto info, Dictionary<string, TensorProto> initializers)
    {
        if (info.Type?.TensorType?.Shape is not { } shape)
        {
            return;
        }

        if (shape.Dim.Count > MaxRank || shape.Dim.Any(d => d.HasDimValue && d.DimValue < -1))
        {
            throw Invalid($"declares '{OnnxText.Clip(info.Name)}' with a negative dimension or more than {MaxRank} of them");
        }

        if (initializers.TryGetValue(info.Name, out var tensor))
        {
            var lies = shape.Dim.Count != tensor.Dims.Count
                || shape.Dim.Where((d, i) => d.HasDimValue && d.DimValue > 0 && d.DimValue != tensor.Dims[i]).Any()
                || (info.Type.TensorType.ElemType != 0 && info.Type.TensorType.ElemType != tensor.DataType);
            if (lies)
            {
                throw Invalid($"declares '{OnnxText.Clip(info.Name)}' otherwise than its initializer of {OnnxTensors.TypeName(tensor.DataType)} [{string.Join(',', tensor.Dims)}]");
            }
        }
    }

    private void CheckFunctions(ModelProto model)
    {
        var bodies = model.Functions.ToLookup(f => (f.Domain, f.Name));
        foreach (var function in model.Functions)
        {
            var scope = new NameScope(null);
            foreach (var input in function.Input)
            {
                scope.Add(input);
            }

            var producers = new Dictionary<string, int>(StringComparer.Ordinal);
            for (var i = 0; i < function.Node.Count; i++)
            {
                foreach (var output in function.Node[i].Output.Where(o => o.Length > 0))
                {
                    if (!scope.Add(output))
                    {
                        throw Invalid($"makes value '{OnnxText.Clip(output)}' twice in function '{OnnxText.Clip(function.Name)}'");
                    }

                    producers[output] = i;
                }
            }

            CheckNodes(function.Node, scope, producers, 0);
        }

        // A function that reaches itself would be inlined for ever.
        var state = new Dictionary<FunctionProto, bool>();
        foreach (var start in model.Functions)
        {
            var stack = new Stack<(FunctionProto Function, bool Leave)>([(start, false)]);
            while (stack.TryPop(out var top))
            {
                if (top.Leave)
                {
                    state[top.Function] = true;
                }
                else if (state.TryAdd(top.Function, false))
                {
                    stack.Push((top.Function, true));
                    foreach (var call in top.Function.Node.SelectMany(n => bodies[(n.Domain, n.OpType)]))
                    {
                        if (state.TryGetValue(call, out var done) && !done)
                        {
                            throw Invalid($"has function '{OnnxText.Clip(call.Name)}', which calls itself");
                        }

                        stack.Push((call, false));
                    }
                }
            }
        }
    }

    private static string Describe(NodeProto node, int index) =>
        $"node {index} ({OnnxText.Clip(node.OpType)}{(node.Name.Length > 0 ? $" '{OnnxText.Clip(node.Name)}'" : "")})";

    private FailureException Invalid(string what) => new(Failure.InvalidInput($"'{_file}' {what}"));
}
