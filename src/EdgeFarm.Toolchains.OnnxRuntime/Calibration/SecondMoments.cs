using System.Numerics.Tensors;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>
/// X'X of what multiplications read, over all samples and positions. ONNX Runtime itself multiplies, so that activations never leave it,
/// and as many values are taken in one go as memory allows.
/// </summary>
internal static class SecondMoments
{
    // Bytes of moments in memory at a time.
    private const long Budget = 64L << 20;

    /// <summary>Hands out each value's moment, row-major [width, width], and the samples that were run.</summary>
    /// <param name="model">The float model; it is not changed.</param>
    /// <param name="widths">Size of the last dimension, by value.</param>
    /// <param name="maxSamples">Most samples; 0 for all.</param>
    /// <param name="context">Samples, threads, cancellation.</param>
    /// <param name="take">Takes a value's moment; the array is used again afterwards.</param>
    /// <returns>Samples that were run.</returns>
    public static int Visit(OnnxModel model, IReadOnlyDictionary<string, int> widths, int maxSamples, PassContext context, Action<string, float[]> take)
    {
        var samples = 0;
        var waiting = new Queue<KeyValuePair<string, int>>(widths);
        while (waiting.Count > 0)
        {
            var group = new List<KeyValuePair<string, int>>();
            long bytes = 0;
            while (waiting.TryPeek(out var next) && (group.Count == 0 || bytes + Bytes(next.Value) <= Budget))
            {
                // Sums and what one sample gives: both stand in memory.
                bytes += Bytes(next.Value);
                group.Add(waiting.Dequeue());
            }

            samples = Collect(model, group, maxSamples, context, take);
            // Large arrays of this group would stand beside those of the next.
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        }

        return samples;

        static long Bytes(int width) => 2L * width * width * sizeof(float);
    }

    private static int Collect(OnnxModel model, List<KeyValuePair<string, int>> group, int maxSamples, PassContext context, Action<string, float[]> take)
    {
        using var copy = model.CopySharingWeights();
        var graph = new OnnxGraph(copy);
        var names = new List<string>();
        foreach (var (value, width) in group)
        {
            var shape = graph.AddInitializer(OnnxTensors.Create(graph.UniqueName($"{value}_rows"), [2], [-1L, width]));
            var (flat, turned, moment) = (graph.UniqueName($"{value}_flat"), graph.UniqueName($"{value}_turned"), graph.UniqueName($"{value}_moment"));
            copy.Graph.Node.Add(NodeAttributes.Create("Reshape", flat, [value, shape], [flat]));
            copy.Graph.Node.Add(NodeAttributes.Create("Transpose", turned, [flat], [turned]));
            copy.Graph.Node.Add(NodeAttributes.Create("MatMul", moment, [turned, flat], [moment]));
            names.Add(moment);
        }

        using var calibrator = Calibrator.Create(copy, names, maxSamples, context, keepsMemory: false);
        var sums = group.Select(g => new float[checked(g.Value * g.Value)]).ToArray();
        calibrator.Visit(names, (_, i, _, values) => TensorPrimitives.Add(values, sums[i], sums[i]));
        for (var i = 0; i < group.Count; i++)
        {
            context.Cancellation.ThrowIfCancellationRequested();
            take(group[i].Key, sums[i]);
            sums[i] = [];
        }

        return calibrator.SampleCount;
    }
}
