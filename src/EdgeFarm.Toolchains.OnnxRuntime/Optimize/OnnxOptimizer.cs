using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Optimize;

/// <summary>A chain of passes over one model.</summary>
/// <param name="ModelPath">The source; external data is looked for beside it.</param>
/// <param name="OutputPath">The .onnx file to write; another than the source's.</param>
/// <param name="Steps">The chain; at least one.</param>
public sealed record OnnxOptimizeRequest(string ModelPath, string OutputPath, IReadOnlyList<PassStep> Steps)
{
    /// <summary>Calibration samples, for passes that need them.</summary>
    public CalibrationData? Calibration { get; init; }

    /// <summary>Shapes of inputs, for the random input of passes that get no calibration samples.</summary>
    public IReadOnlyDictionary<string, long[]> Dims { get; init; } = new Dictionary<string, long[]>();

    /// <summary>Threads that passes may use; 0 for the cores that this process may use.</summary>
    public int Threads { get; init; }

    /// <summary>Takes how far a long pass is, 0 to 1, and what it is doing.</summary>
    public Action<double, string> Progress { get; init; } = (_, _) => { };

    /// <summary>Execution provider or device that the result is meant for, for passes that measure.</summary>
    public string Provider { get; init; } = "cpu";
}

/// <summary>What a chain of passes made.</summary>
/// <param name="Files">Files written, the model first.</param>
/// <param name="SourceBytes">Size of the source, external data included.</param>
/// <param name="OutputBytes">Size of all files written.</param>
/// <param name="Passes">What each pass did.</param>
/// <param name="Weights">Each quantized weight, measured on the file that was written.</param>
/// <param name="NotLoaded">Why this runtime has no kernels for the result; null where it loads.</param>
public sealed record OnnxOptimizeResult(
    IReadOnlyList<string> Files,
    long SourceBytes,
    long OutputBytes,
    IReadOnlyList<PassReport> Passes,
    IReadOnlyList<WeightError> Weights,
    string? NotLoaded);

/// <summary>Runs passes and proves what they made, before anything is called a success.</summary>
public static class OnnxOptimizer
{
    /// <summary>
    /// Loads and checks the model, applies the passes, writes the result, then reads it back as a stranger: structure, signature, every
    /// quantized weight against its source, and a session of ONNX Runtime.
    /// </summary>
    public static Outcome<OnnxOptimizeResult> Run(OnnxOptimizeRequest request, Action<string>? log = null, CancellationToken cancellation = default)
    {
        try
        {
            return Optimize(request, log ?? (_ => { }), cancellation);
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (OperationCanceledException)
        {
            return new Failure(FailureType.Cancelled, "the optimization was cancelled");
        }
    }

    private static OnnxOptimizeResult Optimize(OnnxOptimizeRequest request, Action<string> log, CancellationToken cancellation)
    {
        var steps = new List<(OnnxPass Pass, PassArguments Arguments)>();
        foreach (var step in request.Steps)
        {
            var pass = Take(OnnxPasses.Find(step.Type));
            steps.Add((pass, Take(pass.Parse(step.Parameters))));
        }

        if (steps.Count == 0)
        {
            throw new FailureException(Failure.InvalidInput("a recipe needs at least one pass"));
        }

        if (Path.GetFullPath(request.ModelPath) == Path.GetFullPath(request.OutputPath))
        {
            throw new FailureException(Failure.InvalidInput("the output must be another file than the model"));
        }

        using var model = Take(OnnxModel.Load(request.ModelPath));
        var keepsSignature = steps.All(s => s.Pass.KeepsSignature(s.Arguments));
        var signature = keepsSignature ? ModelProof.Signature(model.Graph) : null;
        var context = new PassContext
        {
            Cancellation = cancellation,
            Log = log,
            Calibration = request.Calibration,
            Dims = request.Dims,
            Threads = request.Threads > 0 ? request.Threads : Math.Max(1, Environment.ProcessorCount),
            Provider = request.Provider,
            Progress = request.Progress,
        };
        try
        {
            var sourceBytes = SourceBytes(request.ModelPath, model);
            var reports = new List<PassReport>();
            foreach (var (pass, arguments) in steps)
            {
                cancellation.ThrowIfCancellationRequested();
                var report = Take(pass.Apply(model, arguments, context));
                log($"{pass.Type}: {report.Changed.Count} nodes changed, {report.Skipped.Count} left");
                reports.Add(report);
            }

            var files = Take(model.Save(request.OutputPath));
            try
            {
                var (weights, notLoaded) = ModelProof.Check(request.OutputPath, signature, context.Weights, context.Threads, cancellation);
                return new OnnxOptimizeResult(files, sourceBytes, files.Sum(f => new FileInfo(f).Length), reports, [.. context.Measured, .. weights], notLoaded);
            }
            catch
            {
                foreach (var file in files)
                {
                    File.Delete(file);
                }

                throw;
            }
        }
        finally
        {
            context.Owned.ForEach(o => o.Dispose());
        }
    }

    // External weights count as part of the model: they are attached to it by now.
    private static long SourceBytes(string path, OnnxModel model) =>
        model.HasExternalData ? model.SerializedBytes() : new FileInfo(path).Length;

    private static T Take<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);
}
