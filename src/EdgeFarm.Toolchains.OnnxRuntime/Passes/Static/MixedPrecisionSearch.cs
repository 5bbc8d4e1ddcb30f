using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// Finds what has to stay floating point for a quality goal, and keeps everything else integer. Every step builds the whole model with
/// all choices so far and runs it: errors add up and cancel in ways that no tensor's own error tells.
/// </summary>
internal sealed class MixedPrecisionSearch
{
    private const string OutputUnit = "outputs of multiplications";

    private static readonly HashSet<string> Weighted = new(StringComparer.Ordinal) { "Conv", "ConvTranspose", "Gemm", "MatMul" };

    private readonly OnnxModel _model;
    private readonly StaticOptions _options;
    private readonly IReadOnlyDictionary<string, TensorRange> _ranges;
    private readonly PassContext _context;
    private readonly double _goal;
    private readonly List<string> _nodes;
    private readonly HashSet<string> _withWeights = new(StringComparer.Ordinal);
    private readonly Dictionary<string, NodeProto> _byOutput;
    private readonly OutputJudge _judge;
    private readonly QdqWriter.WeightCache _cache = new();

    /// <summary>Prepares a search.</summary>
    /// <param name="model">The prepared float model; it is not changed.</param>
    /// <param name="nodes">Candidates, in order.</param>
    /// <param name="judge">Knows the float model's outputs.</param>
    /// <param name="options">Layout.</param>
    /// <param name="ranges">Bounds of all values of the candidates.</param>
    /// <param name="goal">Least mean cosine of the outputs with the float model's.</param>
    /// <param name="context">Samples, threads, cancellation.</param>
    public MixedPrecisionSearch(
        OnnxModel model, IReadOnlyList<NodeProto> nodes, OutputJudge judge, StaticOptions options, IReadOnlyDictionary<string, TensorRange> ranges, double goal, PassContext context)
    {
        (_model, _options, _ranges, _goal, _judge, _context) = (model, options, ranges, goal, judge, context);
        _nodes = [.. nodes.Select(n => n.Output[0])];
        _byOutput = nodes.ToDictionary(n => n.Output[0], StringComparer.Ordinal);
        var graph = new OnnxGraph(model);
        _withWeights.UnionWith(nodes.Where(n => Weighted.Contains(n.OpType) && n.Input.Any(i => graph.Constant(i) is { DataType: (int)TensorProto.Types.DataType.Float })).Select(n => n.Output[0]));
    }

    /// <summary>Models that were built and run, in order.</summary>
    public List<SearchStep> Steps { get; } = [];

    /// <summary>Candidates with constant weights.</summary>
    public int WeightedCandidates => _withWeights.Count;

    /// <summary>First outputs of the nodes to quantize, which operators' outputs stay floating point, and the cosine; null where no weight can be integer.</summary>
    public (HashSet<string> Nodes, HashSet<string> OutputsLeft, double Cosine)? Run()
    {
        var units = _nodes.GroupBy(n => _byOutput[n].OpType).Where(g => !Weighted.Contains(g.Key)).ToDictionary(g => g.Key, g => g.ToList(), StringComparer.Ordinal);
        var multiplied = _nodes.Where(n => Weighted.Contains(_byOutput[n].OpType)).ToList();
        if (_withWeights.Count == 0)
        {
            return null;
        }

        var everything = new Choice([.. _nodes], []);
        if (Try("everything integer", everything) is var all && all >= _goal)
        {
            return (everything.Nodes, everything.OutputsLeft, all);
        }

        var state = new Choice([.. multiplied], [.. Weighted]);
        var quality = Try($"the {multiplied.Count} multiplications integer, all else floating point", state);
        if (quality < _goal)
        {
            (state, quality) = ChooseMultiplied(state, multiplied);
            if (quality < _goal || !state.Nodes.Overlaps(_withWeights))
            {
                return null;
            }
        }

        // The least harmful first, each judged together with all that was taken before it.
        var core = state;
        var order = units.Keys.Append(OutputUnit).Select(name => (name, cosine: Measure(With(core, name, units)))).OrderByDescending(c => c.cosine).ToList();
        foreach (var (name, alone) in order)
        {
            var choice = With(state, name, units);
            if (alone < _goal)
            {
                Steps.Add(new SearchStep($"{name} integer, too", alone, Count(core), Kept: false));
            }
            else if (Try($"{name} integer, too", choice) is var cosine && cosine >= _goal)
            {
                (state, quality) = (choice, cosine);
            }
        }

        return (state.Nodes, state.OutputsLeft, quality);
    }

    /// <summary>Writes a choice into a model that is a copy of the searched one.</summary>
    public QdqPlanner Apply(OnnxModel copy, HashSet<string> nodes, HashSet<string> outputsLeft, PassContext context)
    {
        var options = _options with { OutputsLeft = outputsLeft };
        var graph = new OnnxGraph(copy);
        var chosen = GraphOrder.Sort(copy.Graph.Node)!.Where(n => n.Output.Count > 0 && nodes.Contains(n.Output[0])).ToList();
        var types = new TensorTypes(graph, chosen, options);
        var planner = new QdqPlanner(graph, options, _ranges.Keys.ToHashSet(StringComparer.Ordinal), types);
        chosen.ForEach(planner.Add);
        new QdqWriter(graph, options, context, _ranges, planner.Plans, types, _cache).Write(planner.Removed);
        GraphCleanup.RemoveDead(copy);
        return planner;
    }

    // The multiplications themselves. Alone, each tells its place in the order; the longest beginning that meets the goal is taken by
    // halving; what comes after it is tried one by one on top, since the harm of two is not the sum of each.
    private (Choice State, double Quality) ChooseMultiplied(Choice state, List<string> multiplied)
    {
        var order = multiplied
            .Select(node => (node, cosine: Try($"{PassNodes.Label(_byOutput[node])} alone", state with { Nodes = [node] }, ranking: true)))
            .OrderByDescending(c => c.cosine).Select(c => c.node).ToList();
        var (low, high) = (0, order.Count - 1);
        var best = (State: state with { Nodes = [] }, Quality: -1.0);
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            var choice = state with { Nodes = [.. order.Take(middle)] };
            var cosine = Try($"the {middle} least harmful of {order.Count} multiplications integer", choice);
            if (cosine >= _goal)
            {
                (low, best) = (middle, (choice, cosine));
            }
            else
            {
                high = middle - 1;
            }
        }

        // The one right after the beginning is known to break the goal.
        foreach (var node in order.Skip(low + 1))
        {
            var choice = best.State with { Nodes = [.. best.State.Nodes, node] };
            if (Try($"{PassNodes.Label(_byOutput[node])} integer, too", choice) is var cosine && cosine >= _goal)
            {
                best = (choice, cosine);
            }
        }

        return best;
    }

    private static Choice With(Choice state, string name, Dictionary<string, List<string>> units) => name == OutputUnit
        ? state with { OutputsLeft = [] }
        : state with { Nodes = [.. state.Nodes, .. units[name]] };

    private int Count(Choice choice) => choice.Nodes.Count(_withWeights.Contains);

    private double Try(string what, Choice choice, bool ranking = false)
    {
        var cosine = Measure(choice);
        Steps.Add(new SearchStep(what, cosine, Count(choice), !ranking && cosine >= _goal));
        _context.Log(FormattableString.Invariant($"{what}: cosine {cosine:F4}"));
        return cosine;
    }

    private double Measure(Choice choice)
    {
        _context.Cancellation.ThrowIfCancellationRequested();
        using var copy = _model.CopySharingWeights();
        Apply(copy, choice.Nodes, choice.OutputsLeft, new PassContext { Cancellation = _context.Cancellation, Threads = _context.Threads });
        return _judge.Judge(copy).Cosine ?? -1;
    }

    private sealed record Choice(HashSet<string> Nodes, HashSet<string> OutputsLeft);
}
