using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// Static quantization in QDQ form: activations get scales from calibration samples, weights and biases from their values. Scales and
/// zero points are those of ONNX Runtime's own quantizer for MinMax; Percentile and Entropy follow its calibrators.
/// </summary>
public sealed class OnnxStaticQuantization : OnnxPass
{
    internal const string DefaultOps =
        "Conv,ConvTranspose,Gemm,MatMul,Add,Mul,Relu,Clip,LeakyRelu,Sigmoid,MaxPool,GlobalAveragePool,AveragePool,Split,Reshape,Squeeze,Unsqueeze,Flatten,"
        + "Transpose,Slice,Resize,Concat,Softmax,LayerNormalization,InstanceNormalization,Gather";

    private const string MoreOps =
        ",Gelu,Sub,Div,Tanh,HardSigmoid,HardSwish,PRelu,ReduceMean,Sqrt,Pow,Erf,Pad,Expand,DepthToSpace,SpaceToDepth,BatchNormalization,Identity,Tile,GatherElements";

    // QuantizeLinear with an axis came with 13; 16-bit and 4-bit types with 21.
    private const long NeededOpset = 13;
    private const long WideOpset = 21;

    /// <inheritdoc/>
    public override string Type => "OnnxStaticQuantization";

    /// <inheritdoc/>
    public override string Summary => "integer weights and activations (QDQ) with scales from calibration samples";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("activation_type", PassParameterKind.Choice, "uint8", "type of the activations") { Choices = ["uint8", "int8", "uint16", "int16"], Aliases = Olive },
        new("weight_type", PassParameterKind.Choice, "int8", "type of the weights; signed types are symmetric") { Choices = ["int8", "uint8", "int16", "uint16", "int4"], Aliases = Olive },
        new("calibrate_method", PassParameterKind.Choice, "MinMax", "how the range of an activation is found") { Choices = ["MinMax", "MovingAverage", "Percentile", "Entropy", "MSE"] },
        new("percentile", PassParameterKind.Number, "99.999", "share of values within the range, percent; for Percentile") { Minimum = 50, Maximum = 100 },
        new("num_bins", PassParameterKind.Integer, "2048", "bins of the histogram; for Percentile, Entropy and MSE") { Minimum = 128, Maximum = 65536 },
        new("percentile_symmetric", PassParameterKind.Boolean, "true", "take the percentile of magnitudes"),
        new("per_channel", PassParameterKind.Boolean, "false", "one scale per output channel of a weight"),
        new("reduce_range", PassParameterKind.Boolean, "false", "7-bit weights: avoids saturation on CPUs without VNNI"),
        new("activation_symmetric", PassParameterKind.Boolean, "false", "ranges of activations even about 0"),
        new("minimum_real_range", PassParameterKind.Number, "0", "least width of an activation's range") { Minimum = 0, Maximum = 1 },
        new("keep_removable_activations", PassParameterKind.Boolean, "false", "leave Relu and Clip where the range would do their work"),
        new("dedicated_qdq_pair", PassParameterKind.Boolean, "false", "a pair of QuantizeLinear and DequantizeLinear for each reader of a value"),
        new("op_types_to_quantize", PassParameterKind.Names, DefaultOps, "operators to quantize") { Choices = (DefaultOps + MoreOps).Split(',') },
        new("op_types_to_exclude_output_quantization", PassParameterKind.Names, "", "operators whose outputs stay floating point") { Choices = (DefaultOps + MoreOps).Split(',') },
        new("nodes_to_quantize", PassParameterKind.Names, "", "names of the only nodes to quantize, * and ? allowed; empty for all"),
        new("nodes_to_exclude", PassParameterKind.Names, "", "names of nodes to leave alone, * and ? allowed"),
        new("max_samples", PassParameterKind.Integer, "0", "most calibration samples; 0 for all") { Minimum = 0, Maximum = int.MaxValue },
    ];

    internal static IReadOnlyDictionary<string, string> Olive => new Dictionary<string, string>
    {
        ["QInt8"] = "int8",
        ["QUInt8"] = "uint8",
        ["QInt16"] = "int16",
        ["QUInt16"] = "uint16",
        ["QInt4"] = "int4",
    };

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var options = Options(arguments);
        var notes = Prepare(model, options);
        var filter = new NodeFilter(arguments.Names("op_types_to_quantize"), arguments.Names("nodes_to_quantize"), arguments.Names("nodes_to_exclude"));
        var skipped = new List<SkippedOp>();
        var nodes = new List<NodeProto>();
        foreach (var node in GraphOrder.Sort(model.Graph.Node)!.Where(n => n.Domain is "" or "ai.onnx" && filter.HasType(n)))
        {
            if (filter.Refusal(node) is { } refusal)
            {
                skipped.Add(new SkippedOp(PassNodes.Label(node), node.OpType, refusal));
            }
            else
            {
                nodes.Add(node);
            }
        }

        var graph = new OnnxGraph(model);
        Dictionary<string, TensorRange> ranges;
        int samples;
        using (var calibrator = Calibrator.Create(model, QdqPlanner.Candidates(graph, nodes), arguments.Integer("max_samples"), context))
        {
            ranges = AdjustedRanges(graph, nodes, calibrator.Ranges(Calibration(arguments)));
            samples = calibrator.SampleCount;
        }

        context.Log($"calibrated {ranges.Count} values on {samples} samples");
        return Write(model, graph, nodes, options, ranges, arguments, context, skipped, notes, samples);
    }

    internal static StaticOptions Options(PassArguments arguments) => new()
    {
        ActivationType = ParseType(arguments.Text("activation_type")),
        WeightType = ParseType(arguments.Text("weight_type")),
        WeightSymmetric = arguments.Text("weight_type").StartsWith("int", StringComparison.Ordinal),
        ActivationSymmetric = arguments.Flag("activation_symmetric"),
        PerChannel = arguments.Flag("per_channel"),
        ReduceRange = arguments.Flag("reduce_range"),
        MinimumRealRange = (float)arguments.Number("minimum_real_range"),
        KeepRemovableActivations = arguments.Flag("keep_removable_activations"),
        DedicatedPairs = arguments.Flag("dedicated_qdq_pair"),
        OutputsLeft = arguments.Names("op_types_to_exclude_output_quantization").ToHashSet(StringComparer.Ordinal),
    };

    /// <summary>What is known without samples: Softmax gives 0 to 1, and what Relu or Clip alone reads need not reach beyond their range.</summary>
    internal static Dictionary<string, TensorRange> AdjustedRanges(OnnxGraph graph, IEnumerable<NodeProto> nodes, IReadOnlyDictionary<string, TensorRange> ranges)
    {
        var adjusted = ranges.ToDictionary(StringComparer.Ordinal);
        foreach (var node in nodes)
        {
            if (node.OpType is "Relu" or "Clip" && graph.Readers(node.Input[0]).Count == 1 && !graph.IsOutput(node.Input[0])
                && adjusted.ContainsKey(node.Input[0]) && adjusted.TryGetValue(node.Output[0], out var range))
            {
                adjusted[node.Input[0]] = range;
            }
            else if (node.OpType == "Softmax" && adjusted.ContainsKey(node.Output[0]))
            {
                adjusted[node.Output[0]] = new TensorRange(0, 1);
            }
        }

        return adjusted;
    }

    internal static List<string> Prepare(OnnxModel model, StaticOptions options)
    {
        var notes = new List<string>();
        if (GraphCleanup.ConstantsToInitializers(model) is var moved and > 0)
        {
            notes.Add($"{moved} Constant nodes became initializers");
        }

        GraphCleanup.DropInitializersFromInputs(model);
        var before = model.Opset;
        var wide = options.ActivationType is DataType.Int16 or DataType.Uint16 || options.WeightType is DataType.Int16 or DataType.Uint16 or DataType.Int4;
        if (OpsetUpgrade.Raise(model, wide ? WideOpset : NeededOpset) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        if (model.Opset != before)
        {
            notes.Add($"operator set raised from {before} to {model.Opset}");
        }

        return notes;
    }

    private PassReport Write(
        OnnxModel model,
        OnnxGraph graph,
        List<NodeProto> nodes,
        StaticOptions options,
        IReadOnlyDictionary<string, TensorRange> ranges,
        PassArguments arguments,
        PassContext context,
        List<SkippedOp> skipped,
        List<string> notes,
        int samples)
    {
        var planner = new QdqPlanner(graph, options, ranges.Keys.ToHashSet(StringComparer.Ordinal));
        nodes.ForEach(planner.Add);
        skipped.AddRange(planner.Skipped);
        if (planner.Plans.Count == 0)
        {
            throw PassNodes.Nothing(Type, "wanted operator", skipped);
        }

        var writer = new QdqWriter(graph, options, context, ranges, planner.Plans);
        writer.Write(planner.Removed);
        GraphCleanup.RemoveDead(model);
        if (writer.RaisedWeights > 0)
        {
            notes.Add($"the scales of {writer.RaisedWeights} weights were raised, because their biases would not have fitted 32 bits");
        }

        notes.Add($"{samples} calibration samples{(context.Calibration is null ? " of seeded random input" : "")}");
        return new PassReport(Type, arguments.Values, planner.Changed, skipped, notes)
        {
            Synthetic = context.Calibration?.Synthetic ?? true,
            Warnings = context.Calibration is null ? ["calibrated on random input, because no calibration data was given: its ranges say little about real input"] : [],
        };
    }

    internal static CalibrationMethod Method(PassArguments arguments) => arguments.Text("calibrate_method") switch
    {
        "MovingAverage" => CalibrationMethod.MovingAverage,
        "Percentile" => CalibrationMethod.Percentile,
        "Entropy" => CalibrationMethod.Entropy,
        "MSE" => CalibrationMethod.Mse,
        _ => CalibrationMethod.MinMax,
    };

    private static CalibrationSettings Calibration(PassArguments arguments) =>
        new(Method(arguments), arguments.Number("percentile"), arguments.Integer("num_bins"), arguments.Flag("percentile_symmetric"));

    internal static DataType ParseType(string name) => name switch
    {
        "int8" => DataType.Int8,
        "uint8" => DataType.Uint8,
        "int16" => DataType.Int16,
        "uint16" => DataType.Uint16,
        _ => DataType.Int4,
    };
}
