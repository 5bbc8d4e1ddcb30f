using EdgeFarm.Core.Planning;
using EdgeFarm.Toolchains.LlamaCpp;
using EdgeFarm.Toolchains.OnnxRuntime;

namespace EdgeFarm.Server;

/// <summary>The toolchains that this build knows, as data.</summary>
public static class BuiltInToolchains
{
    /// <summary>All of them, in the order in which users see them.</summary>
    public static ToolchainCatalog Catalog { get; } = new([LlamaCppDescriptor.Value, OnnxRuntimeDescriptor.Value]);
}
