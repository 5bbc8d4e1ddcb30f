using System.Collections.Immutable;

namespace EdgeFarm.Core.Sweeps;

/// <summary>A sweep as its file says, validated in form; names are resolved by the planner.</summary>
/// <param name="Name">metadata.name.</param>
/// <param name="Labels">metadata.labels.</param>
/// <param name="Models">At least one.</param>
/// <param name="Data">Named data sets.</param>
/// <param name="Recipes">At least one.</param>
/// <param name="Targets">Where benchmarks run; empty means one target <c>any</c> without conditions.</param>
/// <param name="Benchmark">Benchmark parameters that the file sets: name to canonical text.</param>
/// <param name="Quality">Quality measurements; empty means each runtime's evaluation that needs no data set.</param>
public sealed record SweepSpec(
    string Name,
    ImmutableSortedDictionary<string, string> Labels,
    ImmutableArray<ModelSpec> Models,
    ImmutableArray<DataSetSpec> Data,
    ImmutableArray<RecipeSpec> Recipes,
    ImmutableArray<TargetSpec> Targets,
    ImmutableSortedDictionary<string, string> Benchmark,
    ImmutableArray<QualitySpec> Quality)
{
    /// <summary>What forms must keep to.</summary>
    public SweepLimits Limits { get; init; } = new(null, null);
}

/// <summary>Limits of a sweep: a form that is predicted to exceed one is not made. The baseline always is.</summary>
/// <param name="Size">Most bytes of a form, or null.</param>
/// <param name="Memory">Most bytes of memory that running one may take, or null.</param>
public sealed record SweepLimits(long? Size, long? Memory);

/// <summary>One model of a sweep.</summary>
/// <param name="Id">Unique among models and data sets.</param>
/// <param name="Source">As written, e.g. <c>bundled:edgefarm-tiny</c>, <c>file:model.onnx</c>.</param>
/// <param name="Dims">Shapes of dynamic inputs, by input name.</param>
public sealed record ModelSpec(string Id, string Source, ImmutableSortedDictionary<string, ImmutableArray<long>> Dims);

/// <summary>One named data set.</summary>
/// <param name="Id">Unique among models and data sets.</param>
/// <param name="Source">As written.</param>
/// <param name="Labels">Name of the array of labels in it, or null.</param>
public sealed record DataSetSpec(string Id, string Source, string? Labels);

/// <summary>A recipe: named forms, or one chain of passes.</summary>
/// <param name="Toolchain">Toolchain id.</param>
/// <param name="Name">Name of a chain's form; null for named forms.</param>
/// <param name="Types">Named forms; empty for a chain.</param>
/// <param name="Passes">The chain; empty for named forms.</param>
/// <param name="Models">Ids of the models it applies to; empty means every model whose format it reads.</param>
/// <param name="On">Ids of the targets it applies to; empty means all.</param>
public sealed record RecipeSpec(
    string Toolchain,
    string? Name,
    ImmutableArray<string> Types,
    ImmutableArray<PassSpec> Passes,
    ImmutableArray<string> Models,
    ImmutableArray<string> On)
{
    /// <summary>Id of the data set that named forms are calibrated with, or null.</summary>
    public string? Calibration { get; init; }
}

/// <summary>One pass of a chain.</summary>
/// <param name="Type">Pass type.</param>
/// <param name="Parameters">Name to its values; several values expand to their product.</param>
public sealed record PassSpec(string Type, ImmutableSortedDictionary<string, ImmutableArray<string>> Parameters);

/// <summary>Where to benchmark.</summary>
/// <param name="Id">Unique.</param>
/// <param name="Require">Property name to required value.</param>
/// <param name="Devices">How many physical devices measure: 1 for <c>one</c>, N, or 0 for <c>each</c>.</param>
public sealed record TargetSpec(string Id, ImmutableSortedDictionary<string, string> Require, int Devices);

/// <summary>Quality to measure.</summary>
/// <param name="Text">Id of a text data set, or null.</param>
/// <param name="Data">Id of a data set of tensors, or null.</param>
/// <param name="Models">Ids of the models it applies to; empty means all.</param>
/// <param name="OnTarget">Measured on each target's device (true) or once on any worker (false).</param>
/// <param name="Parameters">Evaluation parameters: name to canonical text; several values, separated by commas, expand to their product.</param>
public sealed record QualitySpec(
    string? Text,
    string? Data,
    ImmutableArray<string> Models,
    bool OnTarget,
    ImmutableSortedDictionary<string, string> Parameters);
