using System.Text.RegularExpressions;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>Which nodes a user wants changed: by operator, by name, by pattern.</summary>
internal sealed class NodeFilter
{
    private readonly HashSet<string> _types;
    private readonly IReadOnlyList<Regex> _include;
    private readonly IReadOnlyList<Regex> _exclude;

    /// <summary>Makes a filter.</summary>
    /// <param name="types">Operators to change; null for any.</param>
    /// <param name="include">Node names with <c>*</c> and <c>?</c>; empty for all.</param>
    /// <param name="exclude">Node names with <c>*</c> and <c>?</c>.</param>
    public NodeFilter(IEnumerable<string>? types, IReadOnlyList<string> include, IReadOnlyList<string> exclude)
    {
        _types = types?.ToHashSet(StringComparer.Ordinal) ?? [];
        _include = [.. include.Select(Pattern)];
        _exclude = [.. exclude.Select(Pattern)];
    }

    /// <summary>Whether the operator is one to change.</summary>
    public bool HasType(NodeProto node) => _types.Count == 0 || _types.Contains(node.OpType);

    /// <summary>Why the user does not want this node changed; null where he does.</summary>
    public string? Refusal(NodeProto node)
    {
        var name = PassNodes.Label(node);
        if (_exclude.Any(p => p.IsMatch(name)))
        {
            return "excluded by name";
        }

        return _include.Count == 0 || _include.Any(p => p.IsMatch(name)) ? null : "not among the named nodes";
    }

    /// <summary>A name with <c>*</c> and <c>?</c> as an expression that costs linear time.</summary>
    public static Regex Pattern(string glob) =>
        new("^" + Regex.Escape(glob).Replace("\\*", ".*", StringComparison.Ordinal).Replace("\\?", ".", StringComparison.Ordinal) + "$",
            RegexOptions.CultureInvariant | RegexOptions.NonBacktracking);
}

/// <summary>Small helpers that several passes share.</summary>
internal static class PassNodes
{
    private static readonly HashSet<string> Weighted = new(StringComparer.Ordinal) { "Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU" };

    /// <summary>Name to show for a node.</summary>
    public static string Label(NodeProto node) => node.Name.Length > 0 ? node.Name : node.Output.FirstOrDefault() ?? node.OpType;

    /// <summary>The failure of a pass that found nothing to do; says what it saw.</summary>
    public static FailureException Nothing(string pass, string what, IReadOnlyList<SkippedOp> skipped, OnnxModel model)
    {
        var reasons = skipped.GroupBy(s => s.Reason).OrderByDescending(g => g.Count()).Take(3).Select(g => $"{g.Count()} {g.First().OpType}: {g.Key}");
        var seen = skipped.Count == 0 ? "the model has no such node" : string.Join("; ", reasons);
        var inside = GraphBodies.Of(model.Graph).SelectMany(b => b[0].Node).Count(n => Weighted.Contains(n.OpType));
        var hint = inside == 0 ? "" : $"; {inside} nodes with weights stand inside If, Loop or Scan (enable_subgraph=true reaches them where a pass has it; OnnxPeepholeOptimizer with fixed_inputs decides branches beforehand)";
        var convolutions = model.Graph.Node.Count(n => n.OpType is "Conv" or "ConvTranspose");
        var instead = convolutions == 0 ? "" : $"; its {convolutions} convolutions are quantized by the static forms (static-int8), or dynamically with op_types_to_quantize=Conv";
        return new(Failure.Unsupported($"{pass} quantized nothing, because no {what} could be: {seen}{instead}{hint}"));
    }
}
