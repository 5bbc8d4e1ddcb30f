using System.Collections.Immutable;
using EdgeFarm.Core.Planning;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime;

/// <summary>ONNX Runtime as data: its forms, passes, parameters and metrics. Nothing here touches native code.</summary>
public static class OnnxRuntimeDescriptor
{
    /// <summary>Environment variable that names libraries of plug-in execution providers: <c>NAME=PATH</c>, separated by semicolons.</summary>
    public const string ProvidersVariable = "EDGEFARM_ONNX_EP";

    /// <summary>Id of the toolchain and of its runtime.</summary>
    public const string Id = "onnxruntime";

    /// <summary>The evaluation against the baseline's outputs.</summary>
    public const string CompareOperation = "CompareOutputs";

    /// <summary>Release of the NuGet package that EdgeFarm ships.</summary>
    internal const string Release = "1.31.1";

    /// <summary>Source commit of that package.</summary>
    internal const string SourceCommit = "41d4d61";

    /// <summary>The runtime that EdgeFarm ships.</summary>
    public static EngineIdentity RuntimeIdentity { get; } = new(Id, Release, SourceCommit);

    /// <summary>
    /// The toolchain. The passes are EdgeFarm's own, so their version belongs to it: it is raised whenever one of them writes something
    /// else for the same input.
    /// </summary>
    public static EngineIdentity Identity { get; } = new(Id, Release, SourceCommit + "+passes-2");

    /// <summary>The toolchain.</summary>
    public static ToolchainDescriptor Value { get; } = new(
        Identity,
        [FormatNames.Onnx],
        OnnxForms.Baseline,
        [.. OnnxForms.All.Select(Form)],
        [.. OnnxPasses.All.Select(Pass)],
        new RuntimeDescriptor(
            RuntimeIdentity,
            [FormatNames.Onnx],
            [
                .. Session,
                new("seed", ParameterType.Integer, "1", "seed of the inputs' values") { Minimum = 0, Maximum = int.MaxValue },
                new("min_runs", ParameterType.Integer, "100", "fewest measured runs") { Minimum = 1, Maximum = 1_000_000 },
                new("min_seconds", ParameterType.Number, "1", "least time of all measured runs together, s") { Minimum = 0, Maximum = 3600 },
                new("profile", ParameterType.Boolean, "true", "run a few times more under ONNX Runtime's profiler: time per operator, nodes that fell back to another provider"),
            ],
            ["size", "load_time", "load_time_cold", "peak_memory", "model_memory", "latency", "throughput", "fallback_nodes"],
            [
                new EvaluationDescriptor(
                    CompareOperation,
                    NeedsText: false,
                    NeedsBaseline: true,
                    TakesData: true,
                    [
                        .. Session,
                        new("seed", ParameterType.Integer, "1", "seed of inputs where no data set is given") { Minimum = 0, Maximum = int.MaxValue },
                        new("max_samples", ParameterType.Integer, "0", "most samples of the data set; 0 for all") { Minimum = 0, Maximum = int.MaxValue },
                        new("synthetic_samples", ParameterType.Integer, "16", "samples where no data set is given") { Minimum = 1, Maximum = 100_000 },
                        new("layer_samples", ParameterType.Integer, "2", "samples on which inner values are compared for the report of errors by layer; 0 for none") { Minimum = 0, Maximum = 1000 },
                    ],
                    ["cosine", "sqnr", "max_error", "top1_agreement", "top5_agreement", "accuracy", "recall_at_1", "recall_at_10", "mrr", "embedding_cosine"]),
            ]));

    private static ImmutableArray<ParameterDescriptor> Session =>
    [
        new("threads", ParameterType.Integer, "auto", "threads inside an operator; auto takes the physical cores that may be used") { Choices = ["auto"], Minimum = 1, Maximum = 512 },
        new("inter_op_threads", ParameterType.Integer, "1", "threads across operators; above 1 the graph runs in parallel mode") { Minimum = 1, Maximum = 512 },
        new("allow_spinning", ParameterType.Boolean, "true", "idle threads spin"),
        new("graph_optimization", ParameterType.Choice, "all", "ONNX Runtime's own rewriting when it loads a model") { Choices = ["all", "extended", "basic", "disabled"] },
        new("provider", ParameterType.Text, "auto", "execution provider: auto takes the one of the device that the job runs on; cpu, or any other that this runtime or a plug-in library offers"),
        new("x64_quant_precision", ParameterType.Boolean, "false", "exact INT8 products on x64 CPUs without VNNI, where they may saturate; slower there"),
    ];

    private static FormDescriptor Form(OnnxForm form) => new(
        form.Name,
        [
            .. form.Steps.Select(step => new EdgeFarm.Core.Planning.PassStep(
                step.Type, OnnxPasses.Find(step.Type).Value.Parse(step.Parameters).Value.Values.ToImmutableSortedDictionary(StringComparer.Ordinal))),
        ],
        form.PrecisionClass,
        form.Summary);

    private static PassDescriptor Pass(OnnxPass pass) =>
        new(pass.Type, [FormatNames.Onnx], FormatNames.Onnx, [.. pass.Parameters.Select(Parameter), .. pass.UsesCalibration ? Calibration : []], pass.Summary) { Measures = pass.Measures };

    private static ImmutableArray<ParameterDescriptor> Calibration =>
        [new("calibration", ParameterType.DataSet, null, "samples for the model's inputs: tensors, texts, pictures or declared random input, as docs/toolchains.md tells; without them seeded random input is used, and said")];

    private static ParameterDescriptor Parameter(PassParameter parameter) => new(
        parameter.Name,
        parameter.Kind switch
        {
            PassParameterKind.Boolean => ParameterType.Boolean,
            PassParameterKind.Integer when parameter.Choices.Count == 0 => ParameterType.Integer,
            PassParameterKind.Number => ParameterType.Number,
            PassParameterKind.Names or PassParameterKind.Text => ParameterType.Text,
            _ => ParameterType.Choice,
        },
        parameter.Default,
        parameter.Summary)
    {
        Choices = parameter.Kind == PassParameterKind.Names ? [] : [.. parameter.Choices, .. parameter.Aliases.Keys],
        Minimum = parameter.Minimum,
        Maximum = parameter.Maximum,
    };
}
