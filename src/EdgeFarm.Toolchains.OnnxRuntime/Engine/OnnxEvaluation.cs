using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Data;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>An evaluation of a form against its unquantized baseline.</summary>
/// <param name="ModelPath">The form.</param>
/// <param name="BaselinePath">The baseline; the same path as the form's for the baseline's own row.</param>
public sealed record OnnxEvaluationRequest(string ModelPath, string BaselinePath)
{
    /// <summary>Session settings.</summary>
    public OrtSettings Settings { get; init; } = new();

    /// <summary>Data set, as <see cref="DataSet"/> reads it; null for seeded input.</summary>
    public string? DataPath { get; init; }

    /// <summary>Where the model's tokenizer.json may lie, for texts; the directories of form and baseline are looked in anyway.</summary>
    public IReadOnlyList<string> ModelDirectories { get; init; } = [];

    /// <summary>Samples on which inner values are compared, for the report of errors by layer; 0 for no report.</summary>
    public int LayerSamples { get; init; }

    /// <summary>Array of class numbers in the data set; null where it has none.</summary>
    public string? Labels { get; init; }

    /// <summary>Shapes of inputs by name for seeded input.</summary>
    public IReadOnlyDictionary<string, long[]> Dims { get; init; } = new Dictionary<string, long[]>();

    /// <summary>Most samples of the data set that are used; 0 for all.</summary>
    public int MaxSamples { get; init; }

    /// <summary>Samples of seeded input.</summary>
    public int SyntheticSamples { get; init; } = 16;

    /// <summary>Seed of seeded input.</summary>
    public int Seed { get; init; } = 1;
}

/// <summary>What an evaluation found.</summary>
/// <param name="Metrics"><c>cosine</c>, <c>sqnr</c>, <c>max_error</c>, <c>top1_agreement</c>, <c>top5_agreement</c>, <c>accuracy</c>, <c>recall_at_1</c>, <c>recall_at_10</c>, <c>mrr</c>, <c>embedding_cosine</c>: those that have a finite value.</param>
/// <param name="Samples">Samples that were run.</param>
/// <param name="Flags"><c>synthetic_input</c> where no data set was given.</param>
/// <param name="Notes">What else the user should know.</param>
/// <param name="RuntimeVersion">ONNX Runtime's release.</param>
public sealed record OnnxEvaluationResult(
    IReadOnlyList<OnnxMetric> Metrics,
    int Samples,
    IReadOnlyList<string> Flags,
    IReadOnlyList<string> Notes,
    string RuntimeVersion)
{
    /// <summary>Errors of inner values, in the baseline's order; empty where none were asked for or all are the same.</summary>
    public IReadOnlyList<LayerError> Layers { get; init; } = [];
}

/// <summary>
/// Compares a form's outputs with the baseline's on the same samples, one sample (or one fixed batch) at a time. Where a sample has a
/// two-dimensional mask (<c>attention_mask</c>), output positions that it hides are left out.
/// </summary>
public static class OnnxEvaluation
{
    /// <summary>Runs the evaluation.</summary>
    public static Outcome<OnnxEvaluationResult> Run(OnnxEvaluationRequest request, Action<string>? log = null, CancellationToken cancellation = default)
    {
        try
        {
            return Evaluate(request, log ?? (_ => { }), cancellation);
        }
        catch (FailureException e)
        {
            return Explain(e.Failure, request.Settings);
        }
        catch (OperationCanceledException)
        {
            return new Failure(FailureType.Cancelled, "the evaluation was cancelled");
        }
        catch (Exception e) when (OrtFailures.IsExpected(e))
        {
            return Explain(OrtFailures.From(e, Path.GetFileName(request.ModelPath), "run"), request.Settings);
        }
    }

    // For exact products ONNX Runtime rewrites signed weights, and cannot load or run what it made of shared ones and of blocks.
    private static Failure Explain(Failure failure, OrtSettings settings) =>
        failure.Type == FailureType.InvalidInput && settings.Config.GetValueOrDefault("session.x64quantprecision") == "1"
            && failure.Message.StartsWith("ONNX Runtime cannot", StringComparison.Ordinal)
            ? new Failure(FailureType.Unsupported, failure.Message + "; x64_quant_precision is on, and ONNX Runtime does not have it for every model: evaluate without it")
            : failure;

    private static OnnxEvaluationResult Evaluate(OnnxEvaluationRequest request, Action<string> log, CancellationToken cancellation)
    {
        using var form = OrtSession.Load(request.ModelPath, request.Settings);
        // The baseline's own row: nothing is run twice.
        var isBaseline = Path.GetFullPath(request.BaselinePath) == Path.GetFullPath(request.ModelPath);
        using var other = isBaseline ? null : OrtSession.Load(request.BaselinePath, request.Settings);
        var baseline = other ?? form;
        if (!form.Outputs.Order(StringComparer.Ordinal).SequenceEqual(baseline.Outputs.Order(StringComparer.Ordinal)))
        {
            throw new FailureException(Failure.InvalidInput(
                $"'{form.Name}' gives {string.Join(", ", form.Outputs)}, its baseline '{baseline.Name}' gives {string.Join(", ", baseline.Outputs)}: they cannot be compared"));
        }

        var data = request.DataPath is null ? null : LoadData(request);
        var labels = request.Labels is { } name ? Labels(data, name) : data?.Labels;
        var samples = Samples(baseline, request.MaxSamples);
        log($"{samples.Count} samples{(data is null ? " of seeded input" : "")}");

        var comparison = new OutputComparison();
        var (formRanks, baselineRanks) = (new Retrieval(), new Retrieval());
        var (right, judged, count) = (0L, 0L, 0);
        foreach (var (first, arrays) in samples.Batches)
        {
            cancellation.ThrowIfCancellationRequested();
            var expected = RunAll(baseline, baseline.Outputs, arrays);
            var actual = isBaseline ? expected : RunAll(form, baseline.Outputs, arrays);
            var mask = Mask(arrays);
            for (var o = 0; o < expected.Count; o++)
            {
                Compare(comparison, expected[o], actual[o], mask, baseline.Outputs[o]);
            }

            if (labels is not null)
            {
                var (correct, of) = CountRight(actual, labels, first, form.Name);
                (right, judged) = (right + correct, judged + of);
            }

            if (data?.Retrieval is not null)
            {
                formRanks.Add(actual, mask, ofPassages: false, form.Name);
                baselineRanks.Add(expected, mask, ofPassages: false, baseline.Name);
            }

            count = first + samples.Batch;
        }

        (double RecallAt1, double RecallAt10, double Mrr, double Cosine)? retrieval = null;
        if (data?.Retrieval is { } set)
        {
            foreach (var (_, arrays) in SampleSource.From(form, set.Passages, request.MaxSamples).Batches)
            {
                cancellation.ThrowIfCancellationRequested();
                formRanks.Add(RunAll(form, baseline.Outputs, arrays), Mask(arrays), ofPassages: true, form.Name);
            }

            var (at1, at10, mrr) = formRanks.Rank(set);
            retrieval = (at1, at10, mrr, formRanks.Cosine(baselineRanks));
        }

        var result = Result(comparison, count, judged == 0 ? null : (double)right / judged, retrieval, data?.Synthetic ?? true);
        return request.LayerSamples == 0 || comparison.Identical ? result : WithLayers(result);

        SampleSource Samples(OrtSession session, int most) => data is null
            ? SampleSource.Seeded(session, ModelInputs.Shapes(session, request.Dims), request.Seed, most > 0 ? Math.Min(most, request.SyntheticSamples) : request.SyntheticSamples)
            : SampleSource.From(session, data.Samples, most);

        OnnxEvaluationResult WithLayers(OnnxEvaluationResult without)
        {
            log("errors by layer");
            try
            {
                return without with { Layers = LayerErrors.Measure(request.ModelPath, request.BaselinePath, s => Samples(s, request.LayerSamples), request.Settings, cancellation) };
            }
            catch (FailureException e)
            {
                // What a model needs rewritten before it runs at all has no unfused values; its figures stand all the same.
                return without with { Notes = [.. without.Notes, $"no errors by layer: {e.Failure.Message}"] };
            }
        }
    }

    private static OnnxEvaluationResult Result(
        OutputComparison comparison, int samples, double? accuracy, (double RecallAt1, double RecallAt10, double Mrr, double Cosine)? retrieval, bool synthetic)
    {
        var metrics = new List<OnnxMetric>();
        Add("cosine", "1", true, comparison.Cosine);
        Add("sqnr", "dB", true, comparison.SqnrDb);
        Add("max_error", "1", false, comparison.NonFinite == 0 ? comparison.MaxError : null);
        Add("top1_agreement", "1", true, comparison.Top1);
        Add("top5_agreement", "1", true, comparison.Top5);
        Add("accuracy", "1", true, accuracy);
        Add("recall_at_1", "1", true, retrieval?.RecallAt1);
        Add("recall_at_10", "1", true, retrieval?.RecallAt10);
        Add("mrr", "1", true, retrieval?.Mrr);
        Add("embedding_cosine", "1", true, retrieval?.Cosine);
        var notes = new List<string>();
        if (comparison.NonFinite > 0)
        {
            notes.Add($"{comparison.NonFinite} output values are infinite or NaN where the baseline's are not");
        }

        if (comparison.Identical)
        {
            notes.Add("the outputs are the baseline's, bit for bit");
        }

        return new OnnxEvaluationResult(metrics, samples, synthetic ? ["synthetic_input"] : [], notes, OrtEnv.Instance().GetVersionString());

        void Add(string name, string unit, bool higher, double? value)
        {
            if (value is { } v && double.IsFinite(v))
            {
                metrics.Add(new OnnxMetric(name, unit, higher, [v]));
            }
        }
    }

    private static DataSet LoadData(OnnxEvaluationRequest request)
    {
        var loaded = DataSet.Open(
            request.DataPath!, [.. request.ModelDirectories, Path.GetDirectoryName(Path.GetFullPath(request.ModelPath))!, Path.GetDirectoryName(Path.GetFullPath(request.BaselinePath))!]);
        return loaded.IsOk ? loaded.Value : throw new FailureException(loaded.Failure!);
    }

    private static long[] Labels(DataSet? data, string name)
    {
        if (data is null)
        {
            throw new FailureException(Failure.InvalidInput($"labels '{name}' are named, but no data set is"));
        }

        if (data.Arrays is null || !data.Arrays.TryGetValue(name, out var array))
        {
            throw new FailureException(Failure.InvalidInput($"the data set has no array '{name}' for labels; it has {string.Join(", ", data.Samples.Names)}"));
        }

        return ClassNumbers(array, name);
    }

    /// <summary>An array of labels.</summary>
    /// <exception cref="FailureException">InvalidInput: it holds no integers.</exception>
    internal static long[] ClassNumbers(NpyArray array, string name) => array.Type is NpyType.Float16 or NpyType.Float32 or NpyType.Float64
        ? throw new FailureException(Failure.InvalidInput($"labels '{name}' are {array.Type}; class numbers are integers"))
        : array.ToInt64s();

    /// <summary>How many samples of a batch have their label's class as the best, of how many that have a label.</summary>
    /// <exception cref="FailureException">InvalidInput: no output is a row of classes for each sample.</exception>
    internal static (long Right, long Of) CountRight(List<(float[]? Values, long[] Shape)> outputs, long[] labels, int first, string model)
    {
        var (values, shape) = outputs.FirstOrDefault(a => a.Shape.Length == 2);
        if (values is null)
        {
            throw new FailureException(Failure.InvalidInput($"'{model}' has no output of one row of classes per sample, so labels cannot be compared"));
        }

        var (right, judged) = (0L, 0L);
        for (var row = 0; row < shape[0] && first + row < labels.Length; row++)
        {
            judged++;
            right += OutputComparison.Best(values.AsSpan(row * (int)shape[1], (int)shape[1])) == labels[first + row] ? 1 : 0;
        }

        return (right, judged);
    }

    /// <summary>Runs one batch; an output that holds no floats is null. Inputs that a form has no more, because they were fixed, are left out.</summary>
    internal static List<(float[]? Values, long[] Shape)> RunAll(OrtSession session, IReadOnlyList<string> outputs, IReadOnlyDictionary<string, NpyArray> arrays)
    {
        var inputs = arrays.Where(a => session.Inputs.Contains(a.Key)).ToDictionary(a => a.Key, a => ModelInputs.ToOrt(session, a.Key, a.Value), StringComparer.Ordinal);
        try
        {
            using var values = session.Run(inputs, [.. outputs]);
            return values.Select(v => (ModelInputs.Floats(v), v.IsTensor ? v.GetTensorTypeAndShape().Shape : [])).ToList();
        }
        finally
        {
            foreach (var value in inputs.Values)
            {
                value.Dispose();
            }
        }
    }

    /// <summary>Adds one output; positions that a mask hides are left out.</summary>
    internal static void Compare(OutputComparison comparison, (float[]? Values, long[] Shape) expected, (float[]? Values, long[] Shape) actual, NpyArray? mask, string output)
    {
        if (expected.Values is not { Length: > 0 } e || actual.Values is not { } a)
        {
            return;
        }

        if (a.Length != e.Length)
        {
            throw new FailureException(Failure.InvalidInput(
                $"output '{output}' is [{string.Join(",", actual.Shape)}], the baseline's is [{string.Join(",", expected.Shape)}]: they cannot be compared"));
        }

        var rank = expected.Shape.Length;
        var rows = rank < 2 ? 1 : (int)expected.Shape[0];
        var stride = e.Length / rows;
        var classes = rank == 0 ? 1 : expected.Shape[^1];
        var masked = mask is not null && rank == 3 && mask.Shape.Count == 2 && mask.Shape[0] == expected.Shape[0] && mask.Shape[1] == expected.Shape[1];
        var visible = masked ? mask!.ToInt64s() : [];
        for (var row = 0; row < rows; row++)
        {
            if (!masked)
            {
                comparison.Add(e.AsSpan(row * stride, stride), a.AsSpan(row * stride, stride), classes);
                continue;
            }

            var positions = Enumerable.Range(0, (int)expected.Shape[1]).Where(p => visible[(row * expected.Shape[1]) + p] != 0).ToList();
            comparison.Add(Pick(e, row, positions), Pick(a, row, positions), classes);
        }

        float[] Pick(float[] values, int row, List<int> positions)
        {
            var width = (int)classes;
            var picked = new float[positions.Count * width];
            for (var i = 0; i < positions.Count; i++)
            {
                values.AsSpan((row * stride) + (positions[i] * width), width).CopyTo(picked.AsSpan(i * width));
            }

            return picked;
        }
    }

    /// <summary>The mask among a model's inputs; null where it has none.</summary>
    internal static NpyArray? Mask(IReadOnlyDictionary<string, NpyArray> arrays) =>
        arrays.FirstOrDefault(a => a.Key.Contains("mask", StringComparison.OrdinalIgnoreCase) && a.Value.Shape.Count == 2).Value;
}
