using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>How far one inner value of a form is from the baseline's.</summary>
/// <param name="Tensor">The value, which both models have.</param>
/// <param name="Node">The baseline's node that computes it.</param>
/// <param name="OpType">Its operator.</param>
/// <param name="SqnrDb">Signal to noise, dB; null where it is not finite.</param>
/// <param name="LostDb">What this node lost: the least SQNR among its measured inputs less its own, dB; null where none was measured.</param>
/// <param name="Cosine">Mean cosine of the samples; null where values are not finite.</param>
/// <param name="MaxError">Greatest absolute difference.</param>
public sealed record LayerError(string Tensor, string Node, string OpType, double? SqnrDb, double? LostDb, double? Cosine, double MaxError);

/// <summary>
/// Runs baseline and form unfused on the same samples and compares every inner float value that both compute under the same name. Values are
/// fetched in groups that stay below a bound, so that memory does not grow with the model.
/// </summary>
internal static class LayerErrors
{
    private const long GroupBytes = 48L << 20;

    // Numerical noise of another order of additions, not an error of the form.
    private const double HardlyDifferentDb = 90;

    /// <summary>Measures, in the order of the baseline's graph; values that hardly differ are left out.</summary>
    /// <param name="formPath">The form.</param>
    /// <param name="baselinePath">The baseline.</param>
    /// <param name="open">Samples for a session of the baseline.</param>
    /// <param name="settings">Threads and provider; graph rewriting is turned off, because fused operators hide values.</param>
    /// <param name="cancellation">Cancels between runs.</param>
    public static IReadOnlyList<LayerError> Measure(string formPath, string baselinePath, Func<OrtSession, SampleSource> open, OrtSettings settings, CancellationToken cancellation)
    {
        using var baselineModel = Load(baselinePath);
        using var formModel = Load(formPath);
        var common = Values(formModel.Graph);
        common.IntersectWith(Values(baselineModel.Graph));
        var directory = Directory.CreateTempSubdirectory("edgefarm-layers-");
        try
        {
            var unfused = settings with { GraphOptimization = "disabled", AllowSpinning = false };
            using var baseline = Session(baselineModel, common, Path.Combine(directory.FullName, "baseline.onnx"), unfused);
            using var form = Session(formModel, common, Path.Combine(directory.FullName, "form.onnx"), unfused);
            var measured = Compare(baseline, form, baselineModel.Graph.Node.SelectMany(n => n.Output).Where(common.Contains).ToList(), open(baseline), cancellation);
            return Report(baselineModel.Graph, measured);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private static Dictionary<string, OutputComparison> Compare(OrtSession baseline, OrtSession form, List<string> wanted, SampleSource samples, CancellationToken cancellation)
    {
        var measured = new Dictionary<string, OutputComparison>(StringComparer.Ordinal);
        foreach (var (_, arrays) in samples.Batches)
        {
            var (at, group) = (0, 8);
            while (at < wanted.Count)
            {
                cancellation.ThrowIfCancellationRequested();
                var names = wanted.GetRange(at, Math.Min(group, wanted.Count - at));
                var expected = OnnxEvaluation.RunAll(baseline, names, arrays);
                var actual = OnnxEvaluation.RunAll(form, names, arrays);
                for (var i = 0; i < names.Count; i++)
                {
                    if (expected[i].Values is { Length: > 0 } e && actual[i].Values is { } a && a.Length == e.Length)
                    {
                        measured.TryAdd(names[i], new OutputComparison());
                        OnnxEvaluation.Compare(measured[names[i]], expected[i], actual[i], OnnxEvaluation.Mask(arrays), names[i]);
                    }
                }

                at += names.Count;
                var bytes = expected.Sum(e => (e.Values?.LongLength ?? 0) * 2 * sizeof(float));
                group = bytes > GroupBytes ? Math.Max(1, group / 4) : bytes < GroupBytes / 4 ? group * 2 : group;
            }
        }

        return measured;
    }

    private static List<LayerError> Report(GraphProto graph, Dictionary<string, OutputComparison> measured)
    {
        var layers = new List<LayerError>();
        foreach (var node in graph.Node)
        {
            foreach (var tensor in node.Output.Where(measured.ContainsKey))
            {
                var comparison = measured[tensor];
                if (comparison.Identical || comparison.SqnrDb > HardlyDifferentDb)
                {
                    continue;
                }

                // An input that is bit for bit the same has no finite figure and loses nothing: 90 dB stand for it.
                var before = node.Input.Where(measured.ContainsKey).Select(i => measured[i].Identical ? HardlyDifferentDb : measured[i].SqnrDb).Min();
                layers.Add(new LayerError(tensor, PassNodes.Label(node), node.OpType, comparison.SqnrDb, before - comparison.SqnrDb, comparison.Cosine, comparison.MaxError));
            }
        }

        return layers;
    }

    private static OnnxModel Load(string path)
    {
        var loaded = OnnxModel.Load(path);
        return loaded.IsOk ? loaded.Value : throw new FailureException(loaded.Failure!);
    }

    private static HashSet<string> Values(GraphProto graph) => graph.Node.SelectMany(n => n.Output).Where(o => o.Length > 0).ToHashSet(StringComparer.Ordinal);

    private static OrtSession Session(OnnxModel model, HashSet<string> values, string path, OrtSettings settings)
    {
        var outputs = model.Graph.Output.Select(o => o.Name).ToHashSet(StringComparer.Ordinal);
        model.Graph.Output.AddRange(model.Graph.Node.SelectMany(n => n.Output).Where(o => values.Contains(o) && !outputs.Contains(o)).Select(o => new ValueInfoProto { Name = o }));
        if (model.Save(path) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        return OrtSession.Load(path, settings);
    }
}
