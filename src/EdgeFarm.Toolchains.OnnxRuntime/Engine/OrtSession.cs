using EdgeFarm.Core.Jobs;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>A loaded model.</summary>
internal sealed class OrtSession : IDisposable
{
    private readonly SessionOptions _options;

    private OrtSession(InferenceSession session, SessionOptions options, string name) => (Inner, _options, Name) = (session, options, name);

    /// <summary>ONNX Runtime's session.</summary>
    public InferenceSession Inner { get; }

    /// <summary>The model file's name, for messages.</summary>
    public string Name { get; }

    /// <summary>Input names in the model's order.</summary>
    public IReadOnlyList<string> Inputs => Inner.InputNames;

    /// <summary>Output names in the model's order.</summary>
    public IReadOnlyList<string> Outputs => Inner.OutputNames;

    /// <summary>Loads a model file.</summary>
    /// <exception cref="FailureException">What ONNX Runtime has against it.</exception>
    public static OrtSession Load(string path, OrtSettings settings)
    {
        var name = Path.GetFileName(path);
        if (!File.Exists(path))
        {
            throw new FailureException(Failure.InvalidInput($"model '{path}' does not exist"));
        }

        SessionOptions? options = null;
        try
        {
            options = settings.ToOptions();
            var session = new OrtSession(new InferenceSession(path, options), options, name);
            options = null;
            return session;
        }
        catch (Exception e) when (OrtFailures.IsExpected(e))
        {
            throw new FailureException(OrtFailures.From(e, name, "load"));
        }
        finally
        {
            options?.Dispose();
        }
    }

    /// <summary>Has ONNX Runtime rewrite a model as it would when loading it, and saves what came out.</summary>
    /// <exception cref="FailureException">What ONNX Runtime has against it.</exception>
    public static void SaveOptimized(string source, string target, OrtSettings settings)
    {
        try
        {
            using var options = settings.ToOptions();
            options.OptimizedModelFilePath = target;
            using var session = new InferenceSession(source, options);
        }
        catch (Exception e) when (OrtFailures.IsExpected(e))
        {
            throw new FailureException(OrtFailures.From(e, Path.GetFileName(source), "optimize"));
        }
    }

    /// <summary>Whether a model file loads; the failure where it does not.</summary>
    public static Failure? TryLoad(string path, OrtSettings settings)
    {
        try
        {
            using var session = Load(path, settings);
            return null;
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    /// <summary>Runs once and returns the wanted outputs; the caller disposes them.</summary>
    /// <exception cref="FailureException">What ONNX Runtime has against it.</exception>
    public IDisposableReadOnlyCollection<OrtValue> Run(IReadOnlyDictionary<string, OrtValue> inputs, IReadOnlyCollection<string> outputs)
    {
        try
        {
            using var options = new RunOptions();
            return Inner.Run(options, inputs, outputs);
        }
        catch (OnnxRuntimeException e)
        {
            throw new FailureException(OrtFailures.From(e, Name, "run"));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Inner.Dispose();
        _options.Dispose();
    }
}
