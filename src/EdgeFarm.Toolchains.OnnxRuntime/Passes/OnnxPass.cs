using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>One step over an ONNX model, under Olive's name for it.</summary>
public abstract class OnnxPass
{
    /// <summary>Olive's name of the pass.</summary>
    public abstract string Type { get; }

    /// <summary>One sentence for the user.</summary>
    public abstract string Summary { get; }

    /// <summary>Its parameters.</summary>
    public abstract IReadOnlyList<PassParameter> Parameters { get; }

    /// <summary>Whether it runs the model on calibration samples, and so needs ONNX Runtime.</summary>
    public virtual bool UsesCalibration => false;

    /// <summary>
    /// Whether it measures times and chooses by them: what it makes belongs to the machine that it ran on, which it must have alone.
    /// </summary>
    public virtual bool Measures => false;

    /// <summary>Whether the model's inputs and outputs stay what they were with these values.</summary>
    internal virtual bool KeepsSignature(PassArguments arguments) => true;

    /// <summary>Checks values for this pass.</summary>
    public Outcome<PassArguments> Parse(IReadOnlyDictionary<string, string> given) => PassArguments.Parse(Type, Parameters, given);

    /// <summary>
    /// Changes the model in place. Unsupported where nothing in the model is what the pass changes: it never passes a copy off as a result.
    /// After a failure the model must be thrown away.
    /// </summary>
    public Outcome<PassReport> Apply(OnnxModel model, PassArguments arguments, PassContext context)
    {
        try
        {
            var unmatched = UnmatchedNames.Of(model, Parameters, arguments);
            var report = Run(model, arguments, context);
            return unmatched.Count == 0 ? report : report with { Warnings = [.. report.Warnings, .. unmatched] };
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (OperationCanceledException)
        {
            return new Failure(FailureType.Cancelled, $"{Type} was cancelled");
        }
    }

    /// <summary>As <see cref="Apply"/>; expected failures are thrown as <see cref="FailureException"/>.</summary>
    protected abstract PassReport Run(OnnxModel model, PassArguments arguments, PassContext context);
}

/// <summary>What a pass gets besides the model, and what it leaves for the proof of its output.</summary>
public sealed class PassContext
{
    /// <summary>Cancels the pass between tensors.</summary>
    public CancellationToken Cancellation { get; init; }

    /// <summary>Takes lines for the job's log.</summary>
    public Action<string> Log { get; init; } = _ => { };

    /// <summary>Takes how far the pass is, 0 to 1, and what it is doing.</summary>
    public Action<double, string> Progress { get; init; } = (_, _) => { };

    /// <summary>Calibration samples; null where none were given.</summary>
    public CalibrationData? Calibration { get; init; }

    /// <summary>Declared shapes of inputs, by name, for random input where no calibration samples were given.</summary>
    public IReadOnlyDictionary<string, long[]> Dims { get; init; } = new Dictionary<string, long[]>();

    /// <summary>Threads that the pass may use, for its own arithmetic and for sessions; at least 1.</summary>
    public int Threads { get; init; } = Math.Max(1, Environment.ProcessorCount);

    /// <summary>Execution provider or device of sessions that stand for the model in use.</summary>
    public string Provider { get; init; } = "cpu";

    /// <summary>Errors of weights that were measured already, on files that the pass wrote on its way.</summary>
    internal List<WeightError> Measured { get; } = [];

    /// <summary>What the model relies on from now on; disposed of when the model is.</summary>
    internal List<IDisposable> Owned { get; } = [];

    /// <summary>Weights that were quantized: each is checked against its source in the file that is written in the end.</summary>
    internal List<QuantizedWeight> Weights { get; } = [];
}
