using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>Remembers the source's outputs on the judged samples and holds forms against them, each run where it is meant to run.</summary>
internal sealed class FormJudge
{
    // Outputs are kept up to this size; a model with larger ones is judged on fewer samples.
    private const long MostKept = 256L << 20;
    private const int TimedBatches = 4;

    private readonly SampleSource _samples;
    private readonly IReadOnlyList<string> _outputs;
    private readonly List<List<(float[]? Values, long[] Shape)>> _expected = [];
    private readonly long[]? _labels;
    private readonly CancellationToken _cancellation;

    private FormJudge(SampleSource samples, IReadOnlyList<string> outputs, long[]? labels, CancellationToken cancellation) =>
        (_samples, _outputs, _labels, _cancellation) = (samples, outputs, labels, cancellation);

    /// <summary>Samples that forms are judged on.</summary>
    public int Samples { get; private set; }

    /// <summary>The source's own figures.</summary>
    public QualityFigures Source { get; private set; } = new(null, null, null, null);

    /// <summary>Inputs of some batches, to measure times with.</summary>
    public List<IReadOnlyDictionary<string, NpyArray>> Timed { get; } = [];

    /// <summary>Runs the source.</summary>
    /// <param name="source">The source, loaded as forms will be.</param>
    /// <param name="samples">What to run it on.</param>
    /// <param name="labels">Class of each sample; null where there are none.</param>
    /// <param name="cancellation">Cancels between batches.</param>
    /// <exception cref="FailureException">What ONNX Runtime has against it; InvalidInput where its outputs are not to be compared.</exception>
    public static FormJudge Capture(OrtSession source, SampleSource samples, long[]? labels, CancellationToken cancellation)
    {
        var judge = new FormJudge(samples, [.. source.Outputs], labels, cancellation);
        var kept = 0L;
        foreach (var (first, arrays) in samples.Batches)
        {
            cancellation.ThrowIfCancellationRequested();
            var outputs = OnnxEvaluation.RunAll(source, judge._outputs, arrays);
            judge._expected.Add(outputs);
            judge.Samples = first + samples.Batch;
            if (judge.Timed.Count < TimedBatches)
            {
                judge.Timed.Add(arrays);
            }

            if ((kept += outputs.Sum(o => (o.Values?.Length ?? 0L) * sizeof(float))) > MostKept)
            {
                break;
            }
        }

        if (judge._expected.All(outputs => outputs.All(o => o.Values is not { Length: > 0 })))
        {
            throw new FailureException(Failure.Unsupported($"'{source.Name}' has no floating-point output, so forms of it cannot be judged"));
        }

        judge.Source = judge.Compare((batch, _) => judge._expected[batch], source.Name);
        return judge;
    }

    /// <summary>Runs a form.</summary>
    /// <exception cref="FailureException">What ONNX Runtime has against it.</exception>
    public QualityFigures Judge(OrtSession form) => Compare((_, arrays) => OnnxEvaluation.RunAll(form, _outputs, arrays), form.Name);

    private QualityFigures Compare(Func<int, IReadOnlyDictionary<string, NpyArray>, List<(float[]? Values, long[] Shape)>> run, string name)
    {
        var comparison = new OutputComparison();
        var (right, judged) = (0L, 0L);
        var number = 0;
        foreach (var (first, arrays) in _samples.Batches.Take(_expected.Count))
        {
            _cancellation.ThrowIfCancellationRequested();
            var (expected, actual) = (_expected[number], run(number, arrays));
            number++;
            for (var o = 0; o < actual.Count; o++)
            {
                OnnxEvaluation.Compare(comparison, expected[o], actual[o], OnnxEvaluation.Mask(arrays), _outputs[o]);
            }

            if (_labels is not null)
            {
                var (correct, of) = OnnxEvaluation.CountRight(actual, _labels, first, name);
                (right, judged) = (right + correct, judged + of);
            }
        }

        // Without any noise there is no ratio to take.
        var relative = comparison.Identical ? 0 : comparison.SqnrDb is { } db ? Math.Pow(10, -db / 20) : (double?)null;
        return new QualityFigures(comparison.Cosine, relative, comparison.NonFinite == 0 ? comparison.Top1 : null, judged > 0 ? (double)right / judged : null);
    }
}
