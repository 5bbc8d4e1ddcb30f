using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Preparation;

/// <summary>
/// Prepares a graph for other passes: constants to initializers, a newer operator set where wanted, ONNX Runtime's own rewriting saved
/// offline (constant folding, batch normalization into convolutions, at <c>extended</c> fused operators of ONNX Runtime's), dead nodes
/// removed. Results stay what they were up to rounding.
/// </summary>
public sealed class OnnxPeepholeOptimizer : OnnxPass
{
    /// <inheritdoc/>
    public override string Type => "OnnxPeepholeOptimizer";

    /// <inheritdoc/>
    public override string Summary => "constant folding, fusion and clean-up before other passes";

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("level", PassParameterKind.Choice, "basic", "how far ONNX Runtime rewrites: basic keeps standard operators, extended fuses to its own") { Choices = ["disabled", "basic", "extended"] },
        new("opset", PassParameterKind.Integer, "0", "operator set to raise the model to; 0 leaves it") { Minimum = 0, Maximum = OpsetUpgrade.Newest },
        new("fixed_inputs", PassParameterKind.Names, "", "inputs that become constants, as name=value; what depends on them alone is computed beforehand, branches included"),
    ];

    /// <inheritdoc/>
    internal override bool KeepsSignature(PassArguments arguments) => arguments.Names("fixed_inputs").Count == 0;

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var before = model.Graph.Node.GroupBy(n => n.OpType).ToDictionary(g => g.Key, g => g.Count(), StringComparer.Ordinal);
        var (nodes, opset) = (model.Graph.Node.Count, model.Opset);
        GraphCleanup.ConstantsToInitializers(model);
        var inputs = FixedInputs.Apply(model, arguments.Names("fixed_inputs"));
        if (arguments.Integer("opset") is var wanted and > 0 && OpsetUpgrade.Raise(model, wanted) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        if (arguments.Text("level") != "disabled")
        {
            Rewrite(model, arguments.Text("level"), context);
        }

        GraphCleanup.RemoveDead(model);
        var after = model.Graph.Node.GroupBy(n => n.OpType).ToDictionary(g => g.Key, g => g.Count(), StringComparer.Ordinal);
        var changed = inputs.Concat(before.Keys.Union(after.Keys).Order(StringComparer.Ordinal)
            .Where(op => before.GetValueOrDefault(op) != after.GetValueOrDefault(op))
            .Select(op => new ChangedOp("", op, $"{before.GetValueOrDefault(op)} became {after.GetValueOrDefault(op)}"))).ToList();
        return new PassReport(Type, arguments.Values, changed, [], [$"{nodes} nodes became {model.Graph.Node.Count}, operator set {opset} became {model.Opset}"]);
    }

    /// <summary>Has ONNX Runtime rewrite the model and reads back what it saved.</summary>
    internal static void Rewrite(OnnxModel model, string level, PassContext context)
    {
        var directory = Directory.CreateTempSubdirectory("edgefarm-prepare-");
        try
        {
            var (source, target) = (Path.Combine(directory.FullName, "in.onnx"), Path.Combine(directory.FullName, "out.onnx"));
            if (model.Save(source) is { Failure: { } unsaved })
            {
                throw new FailureException(unsaved);
            }

            if (File.Exists(source + ".data"))
            {
                throw new FailureException(Failure.Unsupported("models with more weights than one file takes are not rewritten by ONNX Runtime; use level disabled"));
            }

            OrtSession.SaveOptimized(source, target, new OrtSettings { GraphOptimization = level, IntraOpThreads = context.Threads });
            // The file goes away before the graph does.
            var loaded = OnnxModel.Load(target, mapped: false);
            if (!loaded.IsOk)
            {
                throw new FailureException(new Failure(FailureType.Internal, $"ONNX Runtime saved a model that cannot be read back: {loaded.Failure!.Message}"));
            }

            using var rewritten = loaded.Value;
            Rename(rewritten.Graph, model.Graph);
            KeepSignature(rewritten.Graph, model.Graph);
            model.Proto.Graph = rewritten.Proto.Graph;
            model.Proto.IrVersion = rewritten.Proto.IrVersion;
            model.Proto.OpsetImport.Clear();
            // ONNX Runtime imports every operator set that it knows; only those that are used matter to a reader.
            var used = model.Graph.Node.Select(n => n.Domain == "ai.onnx" ? "" : n.Domain).Append("").ToHashSet(StringComparer.Ordinal);
            model.Proto.OpsetImport.AddRange(rewritten.Proto.OpsetImport.Where(o => used.Contains(o.Domain == "ai.onnx" ? "" : o.Domain)));
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    // ONNX Runtime writes down shapes that it inferred. What a model promises its callers is not a pass's to change.
    private static void KeepSignature(GraphProto rewritten, GraphProto original)
    {
        var declared = original.Input.Concat(original.Output).DistinctBy(v => v.Name).ToDictionary(v => v.Name, v => v.Type, StringComparer.Ordinal);
        foreach (var value in rewritten.Input.Concat(rewritten.Output).Where(v => declared.ContainsKey(v.Name)))
        {
            value.Type = declared[value.Name]?.Clone();
        }
    }

    // ONNX Runtime 1.31 does not load again, at its higher levels, what it saved with names of its own: it takes the same ones again.
    private static void Rename(GraphProto rewritten, GraphProto original)
    {
        var known = original.Initializer.Select(t => t.Name).Concat(original.Input.Select(i => i.Name)).Concat(original.Node.SelectMany(n => n.Output)).ToHashSet(StringComparer.Ordinal);
        var renamed = rewritten.Initializer.Select(t => t.Name).Concat(rewritten.Node.SelectMany(n => n.Output))
            .Where(name => name.Length > 0 && !known.Contains(name)).Distinct(StringComparer.Ordinal).ToDictionary(name => name, name => $"prepared/{name}", StringComparer.Ordinal);
        foreach (var tensor in rewritten.Initializer)
        {
            tensor.Name = renamed.GetValueOrDefault(tensor.Name, tensor.Name);
        }

        foreach (var info in rewritten.ValueInfo)
        {
            info.Name = renamed.GetValueOrDefault(info.Name, info.Name);
        }

        RenameNodes(rewritten, renamed);
    }

    private static void RenameNodes(GraphProto graph, Dictionary<string, string> renamed)
    {
        foreach (var node in graph.Node)
        {
            for (var i = 0; i < node.Input.Count; i++)
            {
                node.Input[i] = renamed.GetValueOrDefault(node.Input[i], node.Input[i]);
            }

            for (var i = 0; i < node.Output.Count; i++)
            {
                node.Output[i] = renamed.GetValueOrDefault(node.Output[i], node.Output[i]);
            }

            // A body may read values from around it. Its own names cannot be among them: each name is made once in a model.
            foreach (var body in GraphOrder.Subgraphs(node))
            {
                RenameNodes(body, renamed);
                foreach (var output in body.Output)
                {
                    output.Name = renamed.GetValueOrDefault(output.Name, output.Name);
                }
            }
        }
    }
}
