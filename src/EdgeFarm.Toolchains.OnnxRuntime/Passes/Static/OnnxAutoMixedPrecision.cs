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
        .. StaticParameters.Layout(perChannel: true),
        .. StaticParameters.Calibration,
        .. CommonParameters.Nodes,
        new("judged_samples", PassParameterKind.Integer, "16", "samples that each step of the search is judged on") { Minimum = 1, Maximum = 10000 },
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var options = StaticParameters.Options(arguments);
        var notes = OnnxStaticQuantization.Prepare(model, options);
        var filter = new NodeFilter([.. StaticParameters.DefaultOps.Split(','), "Gelu"], arguments.Names("nodes_to_quantize"), arguments.Names("nodes_to_exclude"));
        var nodes = GraphOrder.Sort(model.Graph.Node)!.Where(n => n.Domain is "" or "ai.onnx" && filter.HasType(n)).ToList();
        var skipped = nodes.Where(n => filter.Refusal(n) is not null).Select(n => new SkippedOp(PassNodes.Label(n), n.OpType, filter.Refusal(n)!)).ToList();
        nodes.RemoveAll(n => filter.Refusal(n) is not null);
        var graph = new OnnxGraph(model);
        IReadOnlyDictionary<string, TensorRange> ranges;
        OutputJudge judge;
        using (var calibrator = Calibrator.Create(
            model, QdqPlanner.Candidates(graph, nodes).Concat(MaskRules.Wanted(graph, nodes)).Concat(model.Graph.Output.Select(o => o.Name)), arguments.Integer("max_samples"), context))
        {
            ranges = RangeRules.Adjust(graph, nodes, calibrator.Ranges(StaticParameters.Settings(arguments)));
            judge = OutputJudge.Capture(model, calibrator, arguments.Integer("judged_samples"), context);
        }

        // Shapes and indices pass through the same operators; they are no candidates.
        nodes.RemoveAll(n => !n.Output.Any(ranges.ContainsKey));
        var goal = arguments.Number("goal_cosine");
        var search = new MixedPrecisionSearch(model, nodes, judge, options, ranges, goal, context);
        if (search.Run() is not { } found)
        {
            throw new FailureException(Failure.Unsupported(string.Create(
                CultureInfo.InvariantCulture,
                $"{Type} found no form with integer weights whose outputs reach cosine {goal} with the float model's; its steps: {string.Join("; ", search.Steps.Select(s => FormattableString.Invariant($"{s.What}: cosine {s.Cosine:F4}")))}")));
        }

        var left = nodes.Where(n => !found.Nodes.Contains(n.Output[0]))
            .Select(n => new SkippedOp(PassNodes.Label(n), n.OpType, "kept in floating point for the quality goal")).ToList();
        var planner = search.Apply(model, found.Nodes, found.OutputsLeft, context);
        if (found.OutputsLeft.Count > 0)
        {
            notes.Add($"outputs of {string.Join(" and ", found.OutputsLeft.Order(StringComparer.Ordinal))} stay floating point");
        }

        return new PassReport(Type, arguments.Values, planner.Changed, [.. skipped, .. planner.Skipped, .. left], notes)
        {
            Search = search.Steps,
            Figures = new SortedDictionary<string, double>(StringComparer.Ordinal)
            {
                ["cosine"] = found.Cosine,
                ["judged_samples"] = judge.Samples,
                ["integer_nodes"] = planner.Changed.Count,
                ["candidate_nodes"] = nodes.Count,
                ["integer_weighted_nodes"] = search.Steps.Last(s => s.Kept).IntegerWeights,
                ["candidate_weighted_nodes"] = search.WeightedCandidates,
                ["models_run"] = search.Steps.Count,
            },
            Synthetic = context.Calibration?.Synthetic ?? true,
            Warnings = context.Calibration is null ? ["calibrated and judged on random input, because no calibration data was given"] : [],
        };
    }
}
