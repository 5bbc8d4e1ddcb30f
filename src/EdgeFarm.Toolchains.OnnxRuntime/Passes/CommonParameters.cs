namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>Parameters that mean the same in every pass.</summary>
internal static class CommonParameters
{
    /// <summary>Which nodes are changed, by name.</summary>
    public static IReadOnlyList<PassParameter> Nodes { get; } =
    [
        new("nodes_to_quantize", PassParameterKind.Names, "", "names of the only nodes to quantize, * and ? allowed; empty for all"),
        new("nodes_to_exclude", PassParameterKind.Names, "", "names of nodes to leave alone, * and ? allowed"),
    ];

    /// <summary>The filter that <see cref="Nodes"/> and <c>op_types_to_quantize</c> give.</summary>
    public static NodeFilter Filter(PassArguments arguments) =>
        new(arguments.Names("op_types_to_quantize"), arguments.Names("nodes_to_quantize"), arguments.Names("nodes_to_exclude"));
}
