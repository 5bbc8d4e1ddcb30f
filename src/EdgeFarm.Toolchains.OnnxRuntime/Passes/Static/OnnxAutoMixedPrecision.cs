using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// Static quantization of as much as a quality goal allows. From samples and the goal alone it decides which operators, and where these
/// do not suffice which multiplications, stay floating point. An answer without any integer weight is a failure.
/// </summary>
public sealed class OnnxAutoMixedPrecision : OnnxPass
{
    /// <inheritdoc/>
    public override string Type => "OnnxAutoMixedPrecision";

    /// <inheritdoc/>
    public override string Summary => "integer weights and activations wherever a quality goal on calibration samples allows it";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("goal_cosine", PassParameterKind.Number, "0.98", "least mean cosine of the outputs with the float model's on the samples") { Minimum = 0, Maximum = 1 },
        new("activation_type", PassParameterKind.Choice, "uint8", "type of the activations") { Choices = ["uint8", "int8", "uint16", "int16"], Aliases = OnnxStaticQuantization.Olive },
        new("weight_type", PassParameterKind.Choice, "int8", "type of the weights; signed types are symmetric") { Choices = ["int8", "uint8"], Aliases = OnnxStaticQuantization.Olive },
        new("per_channel", PassParameterKind.Boolean, "true", "one scale per output channel of a weight"),
        new("reduce_range", PassParameterKind.Boolean, "false", "7-bit weights: avoids saturation on CPUs without VNNI"),
        new("calibrate_method", PassParameterKind.Choice, "MinMax", "how the range of an activation is found") { Choices = ["MinMax", "MovingAverage", "Percentile", "Entropy", "MSE"] },
        new("percentile", PassParameterKind.Number, "99.999", "share of values within the range, percent; for Percentile") { Minimum = 50, Maximum = 100 },
        new("num_bins", PassParameterKind.Integer, "2048", "bins of the histogram; for Percentile, Entropy and MSE") { Minimum = 128, Maximum = 65536 },
        new("max_samples", PassParameterKind.Integer, "0", "most calibration samples; 0 for all") { Minimum = 0, Maximum = int.MaxValue },
        new("judged_samples", PassParameterKind.Integer, "16", "samples that each step of the search is judged on") { Minimum = 1, Maximum = 10000 },
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var options = new StaticOptions
        {
            ActivationType = OnnxStaticQuantization.ParseType(arguments.Text("activation_type")),
            WeightType = OnnxStaticQuantization.ParseType(arguments.Text("weight_type")),
            WeightSymmetric = arguments.Text("weight_type") == "int8",
            PerChannel = arguments.Flag("per_channel"),
            ReduceRange = arguments.Flag("reduce_range"),
        };
        var notes = OnnxStaticQuantization.Prepare(model, options);
        var types = OnnxStaticQuantization.DefaultOps.Split(',').Append("Gelu").ToHashSet(StringComparer.Ordinal);
        var nodes = GraphOrder.Sort(model.Graph.Node)!.Where(n => n.Domain is "" or "ai.onnx" && types.Contains(n.OpType)).ToList();
        var graph = new OnnxGraph(model);
        var settings = new CalibrationSettings(OnnxStaticQuantization.Method(arguments), arguments.Number("percentile"), arguments.Integer("num_bins"));
        using var calibrator = Calibrator.Create(
            model, QdqPlanner.Candidates(graph, nodes).Concat(model.Graph.Output.Select(o => o.Name)), arguments.Integer("max_samples"), context);
        var ranges = OnnxStaticQuantization.AdjustedRanges(graph, nodes, calibrator.Ranges(settings));
        // Shapes and indices pass through the same operators; they are no candidates.
        nodes.RemoveAll(n => !n.Output.Any(ranges.ContainsKey));
        var goal = arguments.Number("goal_cosine");
        var judged = Math.Min(arguments.Integer("judged_samples"), calibrator.SampleCount);
        var search = new MixedPrecisionSearch(model, nodes, calibrator, options, ranges, goal, judged, context);
        if (search.Run() is not { } found)
        {
            throw new FailureException(Failure.Unsupported(string.Create(
                CultureInfo.InvariantCulture,
                $"{Type} found no form with integer weights whose outputs reach cosine {goal} with the float model's; its steps: {string.Join("; ", search.Steps)}")));
        }

        var left = nodes.Where(n => !found.Nodes.Contains(n.Output[0]))
            .Select(n => new SkippedOp(PassNodes.Label(n), n.OpType, "kept in floating point for the quality goal")).ToList();
        var planner = search.Apply(model, found.Nodes, found.OutputsLeft, context);
        notes.AddRange(search.Steps.Select((step, i) => $"step {i + 1}: {step}"));
        notes.Add(string.Create(
            CultureInfo.InvariantCulture,
            $"{planner.Changed.Count} of {nodes.Count} candidate nodes are integer, cosine {found.Cosine:F4} on {judged} samples, {search.Evaluations} models were run"));
        if (found.OutputsLeft.Count > 0)
        {
            notes.Add($"outputs of {string.Join(" and ", found.OutputsLeft.Order(StringComparer.Ordinal))} stay floating point");
        }

        return new PassReport(Type, arguments.Values, planner.Changed, [.. planner.Skipped, .. left], notes)
        {
            Synthetic = context.Calibration?.Synthetic ?? true,
            Warnings = context.Calibration is null ? ["calibrated and judged on random input, because no calibration data was given"] : [],
        };
    }
}
