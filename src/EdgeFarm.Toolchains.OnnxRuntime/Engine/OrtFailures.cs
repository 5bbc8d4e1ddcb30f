using EdgeFarm.Core.Jobs;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>Turns what ONNX Runtime throws into typed failures.</summary>
internal static class OrtFailures
{
    /// <summary>Whether the exception comes from ONNX Runtime or from loading its library.</summary>
    public static bool IsExpected(Exception e) => e is OnnxRuntimeException or DllNotFoundException or EntryPointNotFoundException or BadImageFormatException
        || (e is TypeInitializationException { InnerException: { } inner } && IsExpected(inner));

    /// <summary>The failure that the exception means for this model.</summary>
    /// <param name="e">What was thrown.</param>
    /// <param name="model">Name to show.</param>
    /// <param name="doing"><c>load</c> or <c>run</c>.</param>
    public static Failure From(Exception e, string model, string doing)
    {
        var text = e.Message;
        if (e is not OnnxRuntimeException)
        {
            return Failure.Unsupported($"ONNX Runtime's native library cannot be used on this machine: {(e.InnerException ?? e).Message}");
        }

        // The wrapper prefixes the code of the native status: "[ErrorCode:NotImplemented] ...".
        var type = text switch
        {
            _ when Has("Failed to allocate memory") || Has("bad_alloc") || Has("bad allocation") => FailureType.OutOfMemory,
            _ when Has("ErrorCode:NotImplemented") || Has("Could not find an implementation") || Has("is not a registered function/op") || Has("No Op registered for")
                || Has("NOT_IMPLEMENTED") || Has("is under development and support for this is limited") || Has("Unsupported model IR version") => FailureType.Unsupported,
            _ when Has("ErrorCode:EngineError") || Has("ErrorCode:EPFail") => FailureType.Internal,
            _ => FailureType.InvalidInput,
        };
        return new Failure(type, $"ONNX Runtime cannot {doing} '{model}': {text}");

        bool Has(string part) => text.Contains(part, StringComparison.OrdinalIgnoreCase);
    }
}
