using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>
/// Finds what has to stay floating point for a quality goal, and keeps everything else integer. Every step builds the whole model with
/// all choices so far and runs it: errors add up and cancel in ways that no tensor's own error tells.
/// </summary>
internal sealed class MixedPrecisionSearch
{
    private static readonly HashSet<string> Weighted = new(StringComparer.Ordinal) { "Conv", "ConvTranspose", "Gemm", "MatMul" };

    private readonly OnnxModel _model;
    private readonly StaticOptions _options;
    private readonly IReadOnlyDictionary<string, TensorRange> _ranges;
    private readonly PassContext _context;
    private readonly double _goal;
    private readonly int _samples;
    private readonly List<string> _nodes;
    private readonly List<string> _outputs;
    private readonly List<float[]> _expected = [];
    private readonly QdqWriter.WeightCache _cache = new();

    /// <summary>Prepares a search.</summary>
    /// <param name="model">The prepared float model; it is not changed.</param>
    /// <param name="nodes">Candidates, by their position among the sorted nodes.</param>
    /// <param name="calibrator">Runs the float model, its outputs included.</param>
    /// <param name="options">Layout.</param>
    /// <param name="ranges">Bounds of all values of the candidates.</param>
    /// <param name="goal">Least mean cosine of the outputs with the float model's.</param>
    /// <param name="samples">Samples that each step is judged on.</param>
    /// <param name="context">Samples, threads, cancellation.</param>
    public MixedPrecisionSearch(
        OnnxModel model, IReadOnlyList<NodeProto> nodes, Calibrator calibrator, StaticOptions options, IReadOnlyDictionary<string, TensorRange> ranges, double goal, int samples, PassContext context)
    {
        (_model, _options, _ranges, _goal, _samples, _context) = (model, options, ranges, goal, samples, context);
        _nodes = [.. nodes.Select(n => n.Output[0])];
        _outputs = [.. model.Graph.Output.Select(o => o.Name).Where(calibrator.Tensors.Contains)];
        calibrator.Visit(_outputs, (sample, _, _, values) =>
        {
            if (sample < samples)
            {
                _expected.Add(values.ToArray());
            }
        });
    }

    /// <summary>Steps in order, for the user.</summary>
    public List<string> Steps { get; } = [];

    /// <summary>Models that were built and run.</summary>
    public int Evaluations { get; private set; }

    /// <summary>First outputs of the nodes to quantize, which operators' outputs stay floating point, and the cosine; null where no weight can be integer.</summary>
    public (HashSet<string> Nodes, HashSet<string> OutputsLeft, double Cosine)? Run()
    {
        var byOutput = _model.Graph.Node.Where(n => n.Output.Count > 0).ToDictionary(n => n.Output[0], StringComparer.Ordinal);
        var units = _nodes.GroupBy(n => byOutput[n].OpType).Where(g => !Weighted.Contains(g.Key)).ToDictionary(g => g.Key, g => g.ToList(), StringComparer.Ordinal);
        var multiplied = _nodes.Where(n => Weighted.Contains(byOutput[n].OpType)).ToList();
        if (multiplied.Count == 0)
        {
            return null;
        }

        var everything = new Choice([.. _nodes], []);
        var quality = Measure(everything);
        Steps.Add(Line("everything integer", quality));
        if (quality >= _goal)
        {
            return (everything.Nodes, everything.OutputsLeft, quality);
        }

        var state = new Choice([.. multiplied], ["Conv", "ConvTranspose", "Gemm", "MatMul"]);
        quality = Measure(state);
        Steps.Add(Line($"the {multiplied.Count} multiplications integer, all else floating point", quality));
        if (quality < _goal)
        {
            (state, quality) = ChooseMultiplied(state, multiplied);
            if (quality < _goal || state.Nodes.Count == 0)
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
            var cosine = alone < _goal ? alone : Measure(choice);
            Steps.Add(Line(cosine >= _goal ? $"{name} integer, too" : $"{name} stays floating point, for with it", cosine));
            if (cosine >= _goal)
            {
                (state, quality) = (choice, cosine);
            }
        }

        return (state.Nodes, state.OutputsLeft, quality);
    }

    private const string OutputUnit = "outputs of multiplications";

    // The multiplications themselves: each alone tells its place in the order, then the longest beginning that meets the goal is taken.
    private (Choice State, double Quality) ChooseMultiplied(Choice state, List<string> multiplied)
    {
        var order = multiplied
            .Select(node => (node, cosine: Measure(state with { Nodes = [node] })))
            .OrderByDescending(c => c.cosine).Select(c => c.node).ToList();
        var (low, high) = (0, order.Count - 1);
        var best = (State: state with { Nodes = [] }, Quality: -1.0);
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            var choice = state with { Nodes = [.. order.Take(middle)] };
            var cosine = Measure(choice);
            Steps.Add(Line($"the {middle} least harmful of {order.Count} multiplications integer", cosine));
            if (cosine >= _goal)
            {
                (low, best) = (middle, (choice, cosine));
            }
            else
            {
                high = middle - 1;
            }
        }

        return best;
    }

    private static Choice With(Choice state, string name, Dictionary<string, List<string>> units) => name == OutputUnit
        ? state with { OutputsLeft = [] }
        : state with { Nodes = [.. state.Nodes, .. units[name]] };

    private double Measure(Choice choice)
    {
        _context.Cancellation.ThrowIfCancellationRequested();
        Evaluations++;
        using var copy = OnnxModel.Wrap(_model.Proto.Clone());
        Apply(copy, choice.Nodes, choice.OutputsLeft, new PassContext { Cancellation = _context.Cancellation, Threads = _context.Threads });
        var directory = Directory.CreateTempSubdirectory("edgefarm-search-");
        try
        {
            var path = Path.Combine(directory.FullName, "model.onnx");
            if (copy.Save(path) is { Failure: { } failure })
            {
                throw new FailureException(failure);
            }

            using var session = OrtSession.Load(path, new OrtSettings { IntraOpThreads = _context.Threads, AllowSpinning = false });
            return Compare(session);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>Writes a choice into a model that is a copy of the searched one.</summary>
    public QdqPlanner Apply(OnnxModel copy, HashSet<string> nodes, HashSet<string> outputsLeft, PassContext context)
    {
        var options = _options with { OutputsLeft = outputsLeft };
        var graph = new OnnxGraph(copy);
        var planner = new QdqPlanner(graph, options, _ranges.Keys.ToHashSet(StringComparer.Ordinal));
        foreach (var node in GraphOrder.Sort(copy.Graph.Node)!.Where(n => n.Output.Count > 0 && nodes.Contains(n.Output[0])))
        {
            planner.Add(node);
        }

        new QdqWriter(graph, options, context, _ranges, planner.Plans, _cache).Write(planner.Removed);
        GraphCleanup.RemoveDead(copy);
        return planner;
    }

    private double Compare(OrtSession session)
    {
        var comparison = new OutputComparison();
        var at = 0;
        foreach (var (_, arrays) in Calibrator.Samples(session, _context, _samples).Batches)
        {
            var inputs = arrays.ToDictionary(a => a.Key, a => ModelInputs.ToOrt(session, a.Key, a.Value), StringComparer.Ordinal);
            try
            {
                using var values = session.Run(inputs, _outputs);
                foreach (var value in values)
                {
                    comparison.Add(_expected[at++], ModelInputs.Floats(value)!, 0);
                }
            }
            finally
            {
                foreach (var value in inputs.Values)
                {
                    value.Dispose();
                }
            }
        }

        return comparison.Cosine ?? -1;
    }

    private static string Line(string what, double cosine) => string.Create(CultureInfo.InvariantCulture, $"{what}: cosine {cosine:F4}");

    private sealed record Choice(HashSet<string> Nodes, HashSet<string> OutputsLeft);
}
