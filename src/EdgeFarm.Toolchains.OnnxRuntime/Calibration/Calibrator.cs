using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>
/// Runs a model on calibration samples with inner values as further outputs, one sample at a time, so that memory does not grow with
/// the number of samples. The graph is run as it is written: fused operators would hide values.
/// </summary>
internal sealed class Calibrator : IDisposable
{
    // Samples of seeded input where no data is given: enough for stable bounds of random numbers.
    private const int SyntheticSamples = 16;

    // Values of all samples are kept up to this size: their histograms are exact.
    private const long KeptBytes = 16L << 20;

    // Operators whose output has the values of their first input, in another shape or order: one look at them is enough.
    private static readonly HashSet<string> Movers = new(StringComparer.Ordinal) { "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten" };

    private readonly OrtSession _session;
    private readonly SampleSource _samples;
    private readonly PassContext _context;
    private readonly IReadOnlyDictionary<string, string> _moved;

    // The session maps the weights in it.
    private readonly DirectoryInfo _directory;

    private Calibrator(OrtSession session, DirectoryInfo directory, SampleSource samples, PassContext context, IReadOnlyList<string> tensors, IReadOnlyDictionary<string, string> moved) =>
        (_session, _directory, _samples, _context, Tensors, _moved) = (session, directory, samples, context, tensors, moved);

    /// <summary>The wanted tensors that hold floats, in the order asked for.</summary>
    public IReadOnlyList<string> Tensors { get; }

    /// <summary>Samples that are run.</summary>
    public int SampleCount => _samples.Count;

    /// <summary>Shape of each input in the samples, as the model is run on them.</summary>
    public IReadOnlyDictionary<string, long[]> InputShapes => _samples.Batches.First().Arrays.ToDictionary(a => a.Key, a => a.Value.Shape.ToArray(), StringComparer.Ordinal);

    /// <summary>Samples that are run at a time.</summary>
    public int Batch => _samples.Batch;

    /// <summary>Loads the model with the wanted tensors as outputs.</summary>
    /// <param name="model">The model; it is not changed.</param>
    /// <param name="wanted">Inputs or inner values, without initializers.</param>
    /// <param name="maxSamples">Most samples; 0 for all.</param>
    /// <param name="context">Samples, threads, cancellation.</param>
    /// <param name="keepsMemory">Whether the session keeps the memory of values from one sample to the next.</param>
    public static Calibrator Create(OnnxModel model, IEnumerable<string> wanted, int maxSamples, PassContext context, bool keepsMemory = true)
    {
        var names = wanted.Distinct(StringComparer.Ordinal).ToList();
        var graph = model.Graph;
        var inputs = graph.Input.Select(i => i.Name).ToHashSet(StringComparer.Ordinal);
        var outputs = graph.Output.Select(o => o.Name).ToHashSet(StringComparer.Ordinal);
        var added = names.Where(n => !inputs.Contains(n) && !outputs.Contains(n)).Select(n => new ValueInfoProto { Name = n }).ToList();
        var directory = Directory.CreateTempSubdirectory("edgefarm-calibration-");
        OrtSession? session = null;
        try
        {
            var path = Path.Combine(directory.FullName, "model.onnx");
            var before = graph.Output.Count;
            graph.Output.AddRange(added);
            try
            {
                // ONNX Runtime copies weights that stand in the model file, and maps those beside it.
                if (model.Save(path, externalThreshold: 0) is { Failure: { } failure })
                {
                    throw new FailureException(failure);
                }
            }
            finally
            {
                while (graph.Output.Count > before)
                {
                    graph.Output.RemoveAt(graph.Output.Count - 1);
                }
            }

            model.ReleasePages();
            session = OrtSession.Load(path, new OrtSettings { IntraOpThreads = context.Threads, GraphOptimization = "disabled", AllowSpinning = false, KeepsMemory = keepsMemory });
            return new Calibrator(session, directory, Samples(session, context, maxSamples), context, [.. names.Where(n => IsFloat(session, n))], Moved(graph));
        }
        catch
        {
            session?.Dispose();
            directory.Delete(recursive: true);
            throw;
        }
    }

    /// <summary>The calibration samples for a session, or seeded ones where there are none: the same for every session of a model.</summary>
    public static SampleSource Samples(OrtSession session, PassContext context, int maxSamples) => context.Calibration is { } data
        ? SampleSource.From(session, data.Samples, maxSamples)
        : SampleSource.Seeded(
            session, Shapes(session, context), 1, maxSamples > 0 ? Math.Min(maxSamples, SyntheticSamples) : SyntheticSamples);

    /// <summary>The shapes of random input: the declared ones of the inputs that are still there, else the model's.</summary>
    private static IReadOnlyDictionary<string, long[]> Shapes(OrtSession session, PassContext context)
    {
        try
        {
            return ModelInputs.Shapes(session, context.Dims.Where(d => session.Inputs.Contains(d.Key)).ToDictionary());
        }
        catch (FailureException e) when (e.Failure.Type == FailureType.InvalidInput)
        {
            throw new FailureException(e.Failure with { Message = $"{e.Failure.Message}, or give calibration data" });
        }
    }

    /// <summary>Runs every sample and hands out each tensor's values. Values are valid during the call only.</summary>
    /// <param name="tensors">Names among <see cref="Tensors"/>.</param>
    /// <param name="take">Takes the sample's number, the tensor's position in <paramref name="tensors"/>, its shape, its values.</param>
    /// <param name="maxSamples">Samples after which it ends.</param>
    /// <param name="parallel">Whether the tensors of one sample may be handed out at the same time, each to one thread.</param>
    public void Visit(IReadOnlyList<string> tensors, Action<int, int, long[], ReadOnlySpan<float>> take, int maxSamples = int.MaxValue, bool parallel = false)
    {
        var fetched = tensors.Where(t => !_session.Inputs.Contains(t)).ToList();
        var positions = tensors.Select((name, i) => (name, i)).ToDictionary(p => p.name, p => p.i, StringComparer.Ordinal);
        foreach (var (first, arrays) in _samples.Batches.TakeWhile(b => b.First < maxSamples))
        {
            _context.Cancellation.ThrowIfCancellationRequested();
            foreach (var (name, array) in arrays.Where(a => positions.ContainsKey(a.Key)))
            {
                take(first, positions[name], [.. array.Shape], array.ToFloats());
            }

            if (fetched.Count == 0)
            {
                continue;
            }

            var inputs = arrays.ToDictionary(a => a.Key, a => ModelInputs.ToOrt(_session, a.Key, a.Value), StringComparer.Ordinal);
            try
            {
                using var values = _session.Run(inputs, fetched);
                Each(fetched.Count, parallel, i => take(first, positions[fetched[i]], values[i].GetTensorTypeAndShape().Shape, values[i].GetTensorDataAsSpan<float>()));
            }
            finally
            {
                foreach (var value in inputs.Values)
                {
                    value.Dispose();
                }
            }
        }
    }

    /// <summary>Bounds of every tensor.</summary>
    /// <exception cref="FailureException">InvalidInput: values that are not finite.</exception>
    public IReadOnlyDictionary<string, TensorRange> Ranges(CalibrationSettings settings) => Ranges(settings, KeptBytes);

    /// <summary>As <see cref="Ranges(CalibrationSettings)"/>, with the bytes of values that may be kept.</summary>
    internal IReadOnlyDictionary<string, TensorRange> Ranges(CalibrationSettings settings, long keptBytes)
    {
        var known = Tensors.ToHashSet(StringComparer.Ordinal);
        var tensors = Tensors.Where(t => Source(t) == t).ToList();
        var gathered = tensors.Select(name => new TensorStatistics(name)).ToArray();
        var needsHistogram = settings.Method is CalibrationMethod.Percentile or CalibrationMethod.Entropy or CalibrationMethod.Mse;
        // Coarser than this a histogram made as the values come would no longer tell one wanted bin from the next.
        var inOnePass = settings.Bins <= GrowingHistogram.Bins / 8;
        var kept = 0L;
        Visit(
            tensors,
            (_, t, _, values) => gathered[t].Add(values, needsHistogram, ref kept, keptBytes, inOnePass),
            parallel: true);
        var again = Enumerable.Range(0, gathered.Length).Where(t => needsHistogram && gathered[t].NeedsSecondPass).ToList();
        var histograms = new Histogram?[gathered.Length];
        Each(gathered.Length, parallel: true, t => histograms[t] = needsHistogram && gathered[t].Steps > 0 ? gathered[t].Histogram(settings) : null);
        if (again.Count > 0)
        {
            Visit([.. again.Select(t => tensors[t])], (_, i, _, values) => histograms[again[i]]!.Add(values), parallel: true);
        }

        var bounds = new TensorRange[gathered.Length];
        Each(gathered.Length, parallel: true, t => bounds[t] = gathered[t].Steps == 0 ? default : Bounds(settings, gathered[t], histograms[t]));
        var found = Enumerable.Range(0, gathered.Length).Where(t => gathered[t].Steps > 0).ToDictionary(t => tensors[t], t => bounds[t], StringComparer.Ordinal);
        return Tensors.Where(t => found.ContainsKey(Source(t))).ToDictionary(t => t, t => found[Source(t)], StringComparer.Ordinal);

        // The wanted tensor that has the same values, the tensor itself where there is no other.
        string Source(string tensor)
        {
            var source = tensor;
            for (var next = tensor; _moved.TryGetValue(next, out var before); next = before)
            {
                source = known.Contains(before) ? before : source;
            }

            return source;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _session.Dispose();
        _directory.Delete(recursive: true);
    }

    private static TensorRange Bounds(CalibrationSettings settings, TensorStatistics gathered, Histogram? histogram) => settings.Method switch
    {
        CalibrationMethod.MovingAverage => gathered.Mean,
        CalibrationMethod.Percentile => Thresholds.Percentile(histogram!, settings, gathered.Observed),
        CalibrationMethod.Entropy => Thresholds.Entropy(histogram!, gathered.Observed),
        CalibrationMethod.Mse => Thresholds.Mse(histogram!, gathered.Observed),
        _ => gathered.Observed,
    };

    private void Each(int count, bool parallel, Action<int> take)
    {
        if (!parallel || _context.Threads == 1)
        {
            for (var i = 0; i < count; i++)
            {
                take(i);
            }

            return;
        }

        try
        {
            Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = _context.Threads }, take);
        }
        catch (AggregateException e) when (e.InnerException is FailureException or OperationCanceledException)
        {
            throw e.InnerException;
        }
    }

    private static Dictionary<string, string> Moved(GraphProto graph) => graph.Node
        .Where(n => n.Domain is "" or "ai.onnx" && Movers.Contains(n.OpType) && n.Input.Count > 0)
        .ToDictionary(n => n.Output[0], n => n.Input[0], StringComparer.Ordinal);

    private static bool IsFloat(OrtSession session, string name)
    {
        // An initializer that a caller may replace is neither.
        return (session.Inner.InputMetadata.TryGetValue(name, out var meta) || session.Inner.OutputMetadata.TryGetValue(name, out meta))
            && meta.IsTensor && meta.ElementDataType == TensorElementType.Float;
    }
}
