namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>How serious a line of llama.cpp's log is.</summary>
public enum LlamaLogLevel
{
    /// <summary>Of use to developers of the library.</summary>
    Debug = 1,

    /// <summary>The course of events.</summary>
    Info = 2,

    /// <summary>Something to look at.</summary>
    Warning = 3,

    /// <summary>Why an operation failed.</summary>
    Error = 4,
}

/// <summary>How far an operation has come.</summary>
/// <param name="Stage">What is being done (<c>load</c>, <c>quantize</c>, <c>pp</c>, <c>perplexity</c>, ...).</param>
/// <param name="Fraction">Share of the stage that is done, 0 to 1.</param>
/// <param name="Detail">What is at hand: a tensor's name, a repetition; may be empty.</param>
public sealed record LlamaProgress(string Stage, double Fraction, string Detail = "");

/// <summary>What an operation reports to while it runs, and how it is stopped. Callbacks run on the operation's threads and should return soon.</summary>
/// <param name="Log">Receives each whole line of the library's log.</param>
/// <param name="Progress">Receives progress.</param>
/// <param name="Cancellation">
/// Ends the operation with a Cancelled failure at the next batch. Quantization has no way to stop early: there the process must be ended.
/// </param>
public sealed record LlamaHooks(
    Action<LlamaLogLevel, string>? Log = null,
    Action<LlamaProgress>? Progress = null,
    CancellationToken Cancellation = default)
{
    /// <summary>Reports nothing and is never cancelled.</summary>
    public static LlamaHooks None { get; } = new();
}
