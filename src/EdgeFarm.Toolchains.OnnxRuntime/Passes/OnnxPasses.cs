using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Dynamic;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.HalfPrecision;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Preparation;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Qnn;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.WeightOnly;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>A pass with the values that a recipe gives it.</summary>
/// <param name="Type">Olive's name of the pass.</param>
/// <param name="Parameters">Values by name; what is left out has its default.</param>
public sealed record PassStep(string Type, IReadOnlyDictionary<string, string> Parameters);

/// <summary>All passes, by name.</summary>
public static class OnnxPasses
{
    /// <summary>Every pass that a recipe can name.</summary>
    public static IReadOnlyList<OnnxPass> All { get; } =
    [
        new OnnxPeepholeOptimizer(),
        new OnnxSmoothQuant(),
        new OnnxDynamicQuantization(),
        new OnnxMatMulNBits(),
        new OnnxFloatToFloat16(),
        new OnnxStaticQuantization(),
        new OnnxAutoMixedPrecision(),
        new QnnPreparation(),
        new OnnxAutoOpt(),
    ];

    /// <summary>The pass of this name, in any case; InvalidInput names the ones there are.</summary>
    public static Outcome<OnnxPass> Find(string type) =>
        All.FirstOrDefault(p => p.Type.Equals(type, StringComparison.OrdinalIgnoreCase)) is { } pass
            ? Outcome<OnnxPass>.Ok(pass)
            : Failure.InvalidInput($"there is no ONNX pass '{type}'; there are {string.Join(", ", All.Select(p => p.Type))}");
}
