using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Qnn;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// Static quantization in QDQ form: activations get scales from calibration samples, weights and biases from their values. Scales and
/// zero points are those of ONNX Runtime's own quantizer for MinMax; Percentile and Entropy follow its calibrators. What it writes is
/// run on the CPU provider beside the float model, whose outputs it is held against.
/// </summary>
public sealed class OnnxStaticQuantization : OnnxPass
{
    // QuantizeLinear with an axis came with 13; 16-bit and 4-bit types with 21.
    private const long NeededOpset = 13;
    private const long WideOpset = 21;

    // The least range that Qualcomm's provider computes with.
    private const float QnnLeastRange = 1e-4f;

    private static readonly HashSet<string> QnnLeft = new(StringComparer.Ordinal) { "Cast", "If", "Loop", "Scan", "Constant", "Shape", "Size", "QuantizeLinear", "DequantizeLinear" };

    /// <inheritdoc/>
    public override string Type => "OnnxStaticQuantization";

    /// <inheritdoc/>
    public override string Summary => "integer weights and activations (QDQ) with scales from calibration samples";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("flavour", PassParameterKind.Choice, "ort", "whose rules the layout follows: ort for CPUs, qnn for Qualcomm's NPU (every operator, nothing that it refuses), openvino (only what is multiplied with constant weights)")
        {
            Choices = ["ort", "qnn", "openvino"],
        },
        .. StaticParameters.Layout(perChannel: false),
        .. StaticParameters.Calibration,
        new("activation_symmetric", PassParameterKind.Boolean, "false", "ranges of activations even about 0"),
        new("minimum_real_range", PassParameterKind.Number, "0", "least width of a range; qnn takes at least 0.0001") { Minimum = 0, Maximum = 1 },
        new("keep_removable_activations", PassParameterKind.Boolean, "false", "leave Relu and Clip where the range would do their work"),
        new("dedicated_qdq_pair", PassParameterKind.Boolean, "false", "a pair of QuantizeLinear and DequantizeLinear for each reader of a value"),
        new("bias_correction", PassParameterKind.Boolean, "false", "take the mean error of rounded weights out of the biases"),
        new("op_types_to_quantize", PassParameterKind.Names, "", "operators to quantize; empty for the flavour's own") { Choices = (StaticParameters.DefaultOps + StaticParameters.MoreOps).Split(',') },
        new("op_types_to_exclude_output_quantization", PassParameterKind.Names, "", "operators whose outputs stay floating point") { Choices = (StaticParameters.DefaultOps + StaticParameters.MoreOps).Split(',') },
        .. CommonParameters.Nodes,
        new("judged_samples", PassParameterKind.Integer, "8", "samples on which the result's outputs are held against the float model's; 0 for none") { Minimum = 0, Maximum = 10000 },
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var options = Options(arguments);
        var notes = Prepare(model, options);
        if (options.Flavour == Flavour.Qnn)
        {
            QnnRules.RefuseOperators(model);
        }

        var filter = Filter(arguments, options);
        var skipped = new List<SkippedOp>();
        var nodes = new List<NodeProto>();
        foreach (var node in GraphOrder.Sort(model.Graph.Node)!.Where(n => n.Domain is "" or "ai.onnx" && filter.HasType(n) && !(options.Flavour == Flavour.Qnn && QnnLeft.Contains(n.OpType))))
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
        OutputJudge judge;
        int samples;
        var outputs = model.Graph.Output.Select(o => o.Name);
        using (var calibrator = Calibrator.Create(model, QdqPlanner.Candidates(graph, nodes).Concat(MaskRules.Wanted(graph, nodes)).Concat(outputs), arguments.Integer("max_samples"), context))
        {
            ranges = RangeRules.Adjust(graph, nodes, calibrator.Ranges(StaticParameters.Settings(arguments)));
            samples = calibrator.SampleCount;
            judge = OutputJudge.Capture(model, calibrator, arguments.Integer("judged_samples"), context);
            if (arguments.Flag("bias_correction"))
            {
                var correction = new BiasCorrection(graph, nodes);
                correction.Measure(calibrator);
                notes.Add($"{correction.Apply(options)} biases were corrected for the mean error of their weights");
            }
        }

        context.Log($"calibrated {ranges.Count} values on {samples} samples");
        // Shapes and indices pass through the same operators; Qualcomm's flavour takes every operator, so there they are no refusals.
        nodes.RemoveAll(n => options.Flavour == Flavour.Qnn && !n.Output.Any(ranges.ContainsKey));
        return Write(model, graph, nodes, options, ranges, arguments, context, judge, skipped, notes, samples);
    }

    internal static List<string> Prepare(OnnxModel model, StaticOptions options)
    {
        var notes = new List<string>();
        if (GraphCleanup.ConstantsToInitializers(model) is var moved and > 0)
        {
            notes.Add($"{moved} Constant nodes became initializers");
        }

        var before = model.Opset;
        var types = options.Overrides.Select(o => o.Type).Append(options.ActivationType).Append(options.WeightType);
        var wide = types.Any(t => t is DataType.Int16 or DataType.Uint16 or DataType.Int4);
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

    private static NodeFilter Filter(PassArguments arguments, StaticOptions options)
    {
        var named = arguments.Names("op_types_to_quantize");
        IReadOnlyList<string>? types = named.Count > 0 ? named : options.Flavour switch
        {
            Flavour.Qnn => null,
            Flavour.OpenVino => ["MatMul", "Gemm", "Conv", "ConvTranspose"],
            _ => StaticParameters.DefaultOps.Split(','),
        };
        return new NodeFilter(types, arguments.Names("nodes_to_quantize"), arguments.Names("nodes_to_exclude"));
    }

    private static StaticOptions Options(PassArguments arguments)
    {
        var flavour = arguments.Text("flavour") switch { "qnn" => Flavour.Qnn, "openvino" => Flavour.OpenVino, _ => Flavour.Ort };
        var options = StaticParameters.Options(arguments) with
        {
            Flavour = flavour,
            ActivationSymmetric = arguments.Flag("activation_symmetric"),
            MinimumRealRange = Math.Max((float)arguments.Number("minimum_real_range"), flavour == Flavour.Qnn ? QnnLeastRange : 0),
            // OpenVINO drops 16-bit pairs and with them any Relu that their zero point stood for.
            KeepRemovableActivations = arguments.Flag("keep_removable_activations") || flavour == Flavour.OpenVino,
            DedicatedPairs = arguments.Flag("dedicated_qdq_pair"),
            OutputsLeft = arguments.Names("op_types_to_exclude_output_quantization").ToHashSet(StringComparer.Ordinal),
        };
        if (flavour == Flavour.Qnn)
        {
            QnnRules.RefuseOptions(options);
        }
        else if (flavour == Flavour.OpenVino && options.ActivationType is not (DataType.Uint8 or DataType.Int8))
        {
            throw new FailureException(Failure.InvalidInput("flavour openvino takes activations of 8 bits: OpenVINO's CPU plug-in ignores pairs of 16 bits"));
        }

        return options;
    }

    private PassReport Write(
        OnnxModel model,
        OnnxGraph graph,
        List<NodeProto> nodes,
        StaticOptions options,
        IReadOnlyDictionary<string, TensorRange> ranges,
        PassArguments arguments,
        PassContext context,
        OutputJudge judge,
        List<SkippedOp> skipped,
        List<string> notes,
        int samples)
    {
        var types = new TensorTypes(graph, nodes, options);
        var planner = new QdqPlanner(graph, options, ranges.Keys.ToHashSet(StringComparer.Ordinal), types);
        nodes.ForEach(planner.Add);
        skipped.AddRange(planner.Skipped);
        if (planner.Plans.Count == 0)
        {
            throw PassNodes.Nothing(Type, "wanted operator", skipped, model);
        }

        var writer = new QdqWriter(graph, options, context, ranges, planner.Plans, types);
        writer.Write(planner.Removed);
        GraphCleanup.RemoveDead(model);
        if (writer.RaisedWeights > 0)
        {
            notes.Add($"the scales of {writer.RaisedWeights} weights were raised, because their biases would not have fitted 32 bits");
        }

        if (writer.Conversions > 0)
        {
            notes.Add($"{writer.Conversions} values are converted between integer types");
        }

        notes.Add($"{samples} calibration samples{(context.Calibration is null ? " of seeded random input" : "")}");
        var warnings = new List<string>();
        if (context.Calibration is null)
        {
            warnings.Add("calibrated on random input, because no calibration data was given: its ranges say little about real input");
        }

        if (options.Flavour == Flavour.Qnn)
        {
            warnings.AddRange(QnnRules.Prove(model, notes));
        }

        return new PassReport(Type, arguments.Values, planner.Changed, skipped, notes)
        {
            Figures = Judge(model, judge),
            Synthetic = context.Calibration?.Synthetic ?? true,
            Warnings = warnings,
        };
    }

    private static SortedDictionary<string, double> Judge(OnnxModel model, OutputJudge judge)
    {
        var figures = new SortedDictionary<string, double>(StringComparer.Ordinal);
        if (judge.IsEmpty)
        {
            return figures;
        }

        OutputComparison comparison;
        try
        {
            comparison = judge.Judge(model);
        }
        catch (FailureException e) when (e.Failure.Type == FailureType.Unsupported)
        {
            // The CPU provider has no kernels for this form; the proof of the whole chain says so.
            return figures;
        }

        figures["judged_samples"] = judge.Samples;
        if (comparison.Cosine is { } cosine)
        {
            figures["cosine"] = cosine;
        }

        if (comparison.SqnrDb is { } decibel)
        {
            figures["sqnr_db"] = decibel;
        }

        return figures;
    }
}
