using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>Remembers a float model's outputs on some samples and holds changed models against them, by running these on the CPU.</summary>
internal sealed class OutputJudge
{
    // Without VNNI sums saturate in 16 bits: a search would find another form on such a machine, and a cache would hand it to all.
    private static readonly Dictionary<string, string> Precise = new() { ["session.x64quantprecision"] = "1" };

    // What a rewritten model must keep of its source's outputs, and how much further than ONNX Runtime's own rounding it may be.
    private const double LeastDecibel = 60, RoundingMargin = 10;

    private readonly List<string> _outputs;
    private readonly Dictionary<(int Sample, int Output), (float[] Values, long[] Shape)> _expected = [];
    private readonly PassContext _context;

    private OutputJudge(List<string> outputs, int samples, PassContext context) => (_outputs, Samples, _context) = (outputs, samples, context);

    /// <summary>Samples that are compared.</summary>
    public int Samples { get; }

    /// <summary>Whether there is anything to compare.</summary>
    public bool IsEmpty => _outputs.Count == 0 || Samples == 0;

    /// <summary>Runs the float model.</summary>
    /// <param name="model">Names the outputs.</param>
    /// <param name="calibrator">Runs it; the outputs are among its tensors where they are floats.</param>
    /// <param name="samples">Most samples.</param>
    /// <param name="context">Samples, threads, cancellation.</param>
    public static OutputJudge Capture(OnnxModel model, Calibrator calibrator, int samples, PassContext context)
    {
        var judge = new OutputJudge([.. model.Graph.Output.Select(o => o.Name).Where(calibrator.Tensors.Contains)], Math.Min((samples + calibrator.Batch - 1) / calibrator.Batch * calibrator.Batch, calibrator.SampleCount), context);
        if (!judge.IsEmpty)
        {
            calibrator.Visit(judge._outputs, (sample, output, shape, values) => judge._expected[(sample, output)] = (values.ToArray(), shape), judge.Samples);
        }

        return judge;
    }

    /// <summary>Runs another model with the same inputs and outputs.</summary>
    /// <exception cref="FailureException">What ONNX Runtime has against it.</exception>
    public OutputComparison Judge(OnnxModel changed)
    {
        var directory = Directory.CreateTempSubdirectory("edgefarm-judge-");
        try
        {
            var path = Path.Combine(directory.FullName, "model.onnx");
            if (changed.Save(path, externalThreshold: 0) is { Failure: { } failure })
            {
                throw new FailureException(failure);
            }

            changed.ReleasePages();
            var settings = new OrtSettings { IntraOpThreads = _context.Threads, AllowSpinning = false };
            try
            {
                using var precise = OrtSession.Load(path, settings with { Config = Precise });
                return Compare(precise);
            }
            catch (FailureException e) when (e.Failure.Type == FailureType.InvalidInput)
            {
                // ONNX Runtime 1.31 does not load so what has a signed weight with two readers (it rewrites the weight for each under one
                // name), and does not run signed weights in blocks (it gives each a zero point of another shape than its scales).
                using var plain = OrtSession.Load(path, settings);
                return Compare(plain);
            }
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>
    /// Holds a model that a pass rewrote without wanting to change anything against its source. Where the source's outputs are mostly
    /// rounding (a detector that sees nothing), ONNX Runtime's own rewriting at load moves them as much: no more is asked of the pass.
    /// </summary>
    /// <param name="pass">Who rewrote it.</param>
    /// <param name="source">The model as it was.</param>
    /// <param name="changed">The model as it is.</param>
    /// <param name="notes">Takes what the user should know of the proof.</param>
    /// <exception cref="FailureException">Internal: the outputs moved by more than rounding.</exception>
    public void RequireSame(string pass, OnnxModel source, OnnxModel changed, List<string> notes)
    {
        var comparison = Judge(changed);
        if (comparison.Identical || comparison.SqnrDb is >= LeastDecibel)
        {
            return;
        }

        var rounding = Judge(source);
        if (rounding.SqnrDb is not { } own || own - RoundingMargin >= LeastDecibel || comparison.SqnrDb is not { } left || left < own - RoundingMargin)
        {
            throw new FailureException(new Failure(
                FailureType.Internal, FormattableString.Invariant($"{pass} changed the model's outputs: {comparison.SqnrDb:F1} dB are left, {LeastDecibel} are required")));
        }

        notes.Add(FormattableString.Invariant(
            $"the outputs on the samples are mostly rounding: {left:F1} dB are left of them, and ONNX Runtime's own rewriting of the source leaves {own:F1} dB; samples that the model has something to say about prove more"));
    }

    private OutputComparison Compare(OrtSession session)
    {
        var comparison = new OutputComparison();
        foreach (var (first, arrays) in Calibrator.Samples(session, _context, Samples).Batches)
        {
            _context.Cancellation.ThrowIfCancellationRequested();
            var actual = OnnxEvaluation.RunAll(session, _outputs, arrays);
            for (var o = 0; o < actual.Count; o++)
            {
                OnnxEvaluation.Compare(comparison, _expected[(first, o)], actual[o], OnnxEvaluation.Mask(arrays), _outputs[o]);
            }
        }

        return comparison;
    }
}
