using System.Collections.Immutable;

namespace EdgeFarm.Core.Planning;

/// <summary>Which build of an engine made or measured something.</summary>
/// <param name="Id">Toolchain or runtime id: <c>llama.cpp</c>, <c>onnxruntime</c>.</param>
/// <param name="Release">Its released version.</param>
/// <param name="SourceCommit">Its source commit; for a build of the user's own, <c>library:</c> and the library's digest.</param>
public sealed record EngineIdentity(string Id, string Release, string SourceCommit)
{
    /// <inheritdoc/>
    public override string ToString() => SourceCommit.Length == 0 ? $"{Id} {Release}" : $"{Id} {Release} ({SourceCommit})";
}

/// <summary>What type a pass parameter has in a sweep file.</summary>
public enum ParameterType
{
    /// <summary>Free text.</summary>
    Text = 0,

    /// <summary>A whole number within bounds.</summary>
    Integer = 1,

    /// <summary>A finite number within bounds.</summary>
    Number = 2,

    /// <summary>true or false.</summary>
    Boolean = 3,

    /// <summary>One of a list of words.</summary>
    Choice = 4,

    /// <summary>The id of a data set of the sweep; becomes a job input.</summary>
    DataSet = 5,
}

/// <summary>One parameter of a pass, a benchmark or an evaluation.</summary>
/// <param name="Name">Its name in sweep files and JSON.</param>
/// <param name="Type">Its type.</param>
/// <param name="Default">Canonical text of its default, or null when it is optional without one.</param>
/// <param name="Description">One line: meaning, unit, range.</param>
public sealed record ParameterDescriptor(string Name, ParameterType Type, string? Default, string Description)
{
    /// <summary>Accepted words of a <see cref="ParameterType.Choice"/>; for a number, words that may stand in its place (<c>auto</c>).</summary>
    public ImmutableArray<string> Choices { get; init; } = [];

    /// <summary>Least accepted number.</summary>
    public double Minimum { get; init; } = double.NegativeInfinity;

    /// <summary>Greatest accepted number.</summary>
    public double Maximum { get; init; } = double.PositiveInfinity;

    /// <summary>
    /// For a <see cref="ParameterType.DataSet"/>: the <see cref="PreparationDescriptor"/> that makes this input of a data set of one of its
    /// formats; null when the data set is the input. Parameters of the preparation are the pass's, after this one's name and an underscore.
    /// </summary>
    public string? PreparedBy { get; init; }
}

/// <summary>A pass: one conversion, optimization or quantization step.</summary>
/// <param name="Type">Olive's word where it has one, e.g. <c>OnnxDynamicQuantization</c>.</param>
/// <param name="InputFormats">Formats that it reads.</param>
/// <param name="OutputFormat">Format that it writes.</param>
/// <param name="Parameters">Its parameters.</param>
/// <param name="Description">One line.</param>
public sealed record PassDescriptor(
    string Type,
    ImmutableArray<string> InputFormats,
    string OutputFormat,
    ImmutableArray<ParameterDescriptor> Parameters,
    string Description)
{
    /// <summary>What tells the precision of its output, or null.</summary>
    public PrecisionRule? Precision { get; init; }

    /// <summary>
    /// Whether it chooses by times that it measures. Then it runs once for each device that its form is measured on, there, alone, as a
    /// benchmark does, and its result is not cached: it belongs to that device.
    /// </summary>
    public bool Measures { get; init; }
}

/// <summary>The parameter of a pass that tells the precision of its output.</summary>
/// <param name="Parameter">Its name.</param>
/// <param name="Classes">Value to precision class; of a value that is absent only the result tells it.</param>
public sealed record PrecisionRule(string Parameter, ImmutableSortedDictionary<string, string> Classes)
{
    /// <summary>Value to the size of what the pass makes; values that are absent have none that can be told beforehand.</summary>
    public ImmutableSortedDictionary<string, FormSize> Sizes { get; init; } = ImmutableSortedDictionary.Create<string, FormSize>(StringComparer.Ordinal);

    /// <summary>Further parameters that change the size: when one has not its default, the size cannot be told beforehand.</summary>
    public ImmutableArray<string> SizedBy { get; init; } = [];
}

/// <summary>
/// A job that makes an input of passes out of a model and a data set, such as an importance matrix out of a text. All forms that need the
/// same one share it.
/// </summary>
/// <param name="Operation">Its name among the operations of the toolchain.</param>
/// <param name="DataInput">Name of its input for the data set.</param>
/// <param name="DataFormats">Formats of data sets that it takes.</param>
/// <param name="Output">Name of its output.</param>
/// <param name="OutputFormat">Format of its output; a data set of this format needs no preparation.</param>
/// <param name="Parameters">Its parameters.</param>
public sealed record PreparationDescriptor(
    string Operation,
    string DataInput,
    ImmutableArray<string> DataFormats,
    string Output,
    string OutputFormat,
    ImmutableArray<ParameterDescriptor> Parameters);

/// <summary>One use of a pass with resolved parameters.</summary>
/// <param name="Type">The pass.</param>
/// <param name="Parameters">Name to canonical text; defaults filled in.</param>
public sealed record PassStep(string Type, ImmutableSortedDictionary<string, string> Parameters);

/// <summary>A named form of a toolchain: what <c>types:</c> in a recipe lists.</summary>
/// <param name="Name">Canonical name, e.g. <c>Q4_K_M</c>; matched ignoring case.</param>
/// <param name="Steps">The passes that make it; empty for the form that the source already is.</param>
/// <param name="PrecisionClass"><c>1-2</c>, <c>3-4</c>, <c>5-8</c>, <c>half</c> or <c>full</c>.</param>
/// <param name="Description">One line.</param>
public sealed record FormDescriptor(string Name, ImmutableArray<PassStep> Steps, string PrecisionClass, string Description)
{
    /// <summary>Other names that a recipe may use.</summary>
    public ImmutableArray<string> Aliases { get; init; } = [];

    /// <summary>The parameter of its last pass that the recipe's calibration data set fills; null when the form needs none.</summary>
    public string? Calibration { get; init; }

    /// <summary>Whether a recipe may call it so, ignoring case.</summary>
    public bool IsCalled(string name) =>
        Name.Equals(name, StringComparison.OrdinalIgnoreCase) || Aliases.Contains(name, StringComparer.OrdinalIgnoreCase);
}

/// <summary>What can be asked of a runtime after a form was made: one evaluation operation.</summary>
/// <param name="Operation">E.g. <c>Perplexity</c>, <c>CompareOutputs</c>.</param>
/// <param name="NeedsText">Needs a text data set; without one the evaluation is left out.</param>
/// <param name="NeedsBaseline">Takes the baseline's artifact as the input <c>baseline</c>.</param>
/// <param name="TakesData">Takes a data set as the input <c>data</c> when the sweep names one.</param>
/// <param name="Parameters">Its parameters.</param>
/// <param name="Metrics">Metrics that it yields.</param>
public sealed record EvaluationDescriptor(
    string Operation,
    bool NeedsText,
    bool NeedsBaseline,
    bool TakesData,
    ImmutableArray<ParameterDescriptor> Parameters,
    ImmutableArray<string> Metrics)
{
    /// <summary>How it compares with what the same evaluation of the baseline saved; null when it does not.</summary>
    public ReferenceDescriptor? Reference { get; init; }
}

/// <summary>
/// What an evaluation of the baseline saves for those of all other forms, computed once per model, data and parameters.
/// </summary>
/// <param name="Output">Name of the baseline's output, and of the input of the others.</param>
/// <param name="Save">The job parameter that makes the evaluation save it.</param>
/// <param name="Switch">The boolean parameter by which a sweep does without the comparison.</param>
/// <param name="Neutral">Parameters whose default the baseline is evaluated with, because their effect is part of what is measured.</param>
public sealed record ReferenceDescriptor(string Output, string Save, string Switch, ImmutableArray<string> Neutral);

/// <summary>An engine that measures, as data.</summary>
/// <param name="Identity">The build that EdgeFarm ships; the key of cached results.</param>
/// <param name="Reads">Formats that it loads.</param>
/// <param name="BenchmarkParameters">Parameters of its benchmark.</param>
/// <param name="BenchmarkMetrics">Metrics of its benchmark.</param>
/// <param name="Evaluations">Its evaluations.</param>
public sealed record RuntimeDescriptor(
    EngineIdentity Identity,
    ImmutableArray<string> Reads,
    ImmutableArray<ParameterDescriptor> BenchmarkParameters,
    ImmutableArray<string> BenchmarkMetrics,
    ImmutableArray<EvaluationDescriptor> Evaluations)
{
    /// <summary>What tells its memory; null when nothing does.</summary>
    public MemoryEstimate? Memory { get; init; }
}

/// <summary>
/// A toolchain as pure data: the planner and the sweep-file parser know every form without touching native code.
/// </summary>
/// <param name="Identity">The build that EdgeFarm ships; the key of cached results.</param>
/// <param name="Reads">Formats of model sources that its recipes apply to.</param>
/// <param name="BaselineForm">Name of the unquantized form that others are compared with.</param>
/// <param name="Forms">Named forms.</param>
/// <param name="Passes">Passes.</param>
/// <param name="Runtime">The runtime that it brings, or null for one that only makes forms.</param>
public sealed record ToolchainDescriptor(
    EngineIdentity Identity,
    ImmutableArray<string> Reads,
    string BaselineForm,
    ImmutableArray<FormDescriptor> Forms,
    ImmutableArray<PassDescriptor> Passes,
    RuntimeDescriptor? Runtime)
{
    /// <summary>Jobs that make inputs of passes.</summary>
    public ImmutableArray<PreparationDescriptor> Preparations { get; init; } = [];

    /// <summary>The form of a name, ignoring case, or null.</summary>
    public FormDescriptor? FindForm(string name) => Forms.FirstOrDefault(f => f.IsCalled(name));

    /// <summary>The preparation of an operation, or null.</summary>
    public PreparationDescriptor? FindPreparation(string? operation) => Preparations.FirstOrDefault(p => p.Operation == operation);

    /// <summary>The pass of a type, or null.</summary>
    public PassDescriptor? FindPass(string type) => Passes.FirstOrDefault(p => p.Type == type);
}

/// <summary>Every toolchain that the farm knows.</summary>
/// <param name="Toolchains">Ordered as shown to users.</param>
public sealed record ToolchainCatalog(ImmutableArray<ToolchainDescriptor> Toolchains)
{
    /// <summary>The toolchain of an id, or null.</summary>
    public ToolchainDescriptor? Find(string id) => Toolchains.FirstOrDefault(t => t.Identity.Id == id);

    /// <summary>Every runtime.</summary>
    public IEnumerable<RuntimeDescriptor> Runtimes => Toolchains.Where(t => t.Runtime is not null).Select(t => t.Runtime!);
}
