namespace EdgeFarm.Core.Jobs;

/// <summary>Why a job failed. The type decides retry and placement, and what the user reads.</summary>
public enum FailureType
{
    /// <summary>Never set; a wire default that means "no type was given".</summary>
    Unspecified = 0,

    /// <summary>The input is broken or contradicts itself. Deterministic: never retried, cached.</summary>
    InvalidInput = 1,

    /// <summary>The input is sound, but this toolchain version cannot do what was asked. Deterministic: never retried, cached.</summary>
    Unsupported = 2,

    /// <summary>The child ran out of memory or was killed for it. Retried on a worker with more memory.</summary>
    OutOfMemory = 3,

    /// <summary>The child died by a signal or without a result. Retried once elsewhere.</summary>
    Crashed = 4,

    /// <summary>The execution deadline passed and the child was killed. Retried once.</summary>
    TimedOut = 5,

    /// <summary>The worker was lost while it held the lease. Requeued; does not count as an attempt that failed.</summary>
    WorkerLost = 6,

    /// <summary>A user cancelled the sweep.</summary>
    Cancelled = 7,

    /// <summary>EdgeFarm itself failed (a bug, a full disk, a broken store). Retried.</summary>
    Internal = 8,

    /// <summary>The worker was asked to stop and handed the lease back. Requeued as often as it happens: it tells nothing about the job.</summary>
    HandedBack = 9,
}

/// <summary>An expected failure as a value, with the evidence that a user needs to act on it.</summary>
/// <param name="Type">The kind of failure.</param>
/// <param name="Message">Names the input, what was wrong with it, and what to do. One paragraph.</param>
/// <param name="LogTail">The last lines of the log of the job, at most <see cref="MaxLogTail"/> characters; empty when there is none.</param>
/// <param name="ExitCode">Exit code of the child process, when there was one.</param>
/// <param name="Signal">Number of the signal that ended the child, when one did.</param>
public sealed record Failure(FailureType Type, string Message, string LogTail = "", int? ExitCode = null, int? Signal = null)
{
    /// <summary>The most characters of a log that a failure carries.</summary>
    public const int MaxLogTail = 8192;

    /// <summary>The same input would fail the same way again, so the outcome may be cached.</summary>
    public bool IsDeterministic => Type is FailureType.InvalidInput or FailureType.Unsupported;

    /// <summary>An input that is broken.</summary>
    public static Failure InvalidInput(string message) => new(FailureType.InvalidInput, message);

    /// <summary>A sound input that cannot be served.</summary>
    public static Failure Unsupported(string message) => new(FailureType.Unsupported, message);

    /// <inheritdoc/>
    public override string ToString() => $"{Type}: {Message}";
}

/// <summary>
/// Carries a <see cref="Jobs.Failure"/> out of deep code (a parser, an engine) to the nearest place that returns it as a value.
/// It never crosses a project's public operation: that catches it and returns the failure.
/// </summary>
/// <param name="failure">The failure to return.</param>
public sealed class FailureException(Failure failure) : Exception(failure.Message)
{
    /// <summary>The failure that is carried.</summary>
    public Failure Failure { get; } = failure;
}

/// <summary>A value or the failure that took its place.</summary>
/// <typeparam name="T">What a success holds.</typeparam>
public readonly record struct Outcome<T>
{
    private readonly T? _value;

    private Outcome(T? value, Failure? failure) => (_value, Failure) = (value, failure);

    /// <summary>The failure, or null for a success.</summary>
    public Failure? Failure { get; }

    /// <summary>Whether there is a value.</summary>
    public bool IsOk => Failure is null;

    /// <summary>The value. Throws <see cref="InvalidOperationException"/> when this is a failure.</summary>
    public T Value => Failure is null ? _value! : throw new InvalidOperationException($"no value: {Failure}");

    /// <summary>A success.</summary>
    public static Outcome<T> Ok(T value) => new(value, null);

    /// <summary>A failure.</summary>
    public static Outcome<T> Fail(Failure failure) => new(default, failure);

    /// <summary>A success, from its value.</summary>
    public static implicit operator Outcome<T>(T value) => Ok(value);

    /// <summary>A failure, from itself.</summary>
    public static implicit operator Outcome<T>(Failure failure) => Fail(failure);
}
