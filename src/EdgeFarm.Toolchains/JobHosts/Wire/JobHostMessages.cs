using System.Text.Json.Serialization;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.JobHosts.Wire;

/// <summary>The only thing that a worker says to a job host; after it the worker's end of the channel is silent until it closes.</summary>
internal sealed record JobHostRequest
{
    /// <summary>Id of the engine to load.</summary>
    public required string Engine { get; init; }

    /// <summary>The job to run; null asks for a probe of the engine.</summary>
    public required JobHostJob? Job { get; init; }

    /// <summary>Bytes of private memory that the child may take beyond what it has at its start; 0 for no limit.</summary>
    public required long MemoryLimitBytes { get; init; }
}

/// <summary>What a job host says: a hello, any number of progress and log messages, one completion.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "type")]
[JsonDerivedType(typeof(Hello), "hello")]
[JsonDerivedType(typeof(Progressed), "progress")]
[JsonDerivedType(typeof(Logged), "log")]
[JsonDerivedType(typeof(Completed), "completed")]
internal abstract record JobHostMessage
{
    /// <summary>First message: proves by the token that this is the child that the worker started, and names the wire's version.</summary>
    public sealed record Hello(string Token, int Version) : JobHostMessage;

    /// <summary>How far the job is, 0 to 1, and what it does.</summary>
    public sealed record Progressed(double Fraction, string Text) : JobHostMessage;

    /// <summary>A line of the engine's own for the log of the job.</summary>
    public sealed record Logged(string Line) : JobHostMessage;

    /// <summary>Last message. Exactly one of the first three is set.</summary>
    public sealed record Completed(EngineResult? Result, EngineProbe? Probe, Failure? Failure) : JobHostMessage
    {
        /// <summary>Most memory that was resident in the child, in bytes.</summary>
        public long PeakMemoryBytes { get; init; }

        /// <summary>Processor time that the child used, in seconds.</summary>
        public double ProcessorSeconds { get; init; }
    }
}

/// <summary>The wire's version. Worker and job host are of one build; another version means a mixed installation.</summary>
internal static class JobHostWire
{
    public const int Version = 1;

    /// <summary>Environment variable that carries the token.</summary>
    public const string TokenVariable = "EDGEFARM_JOBHOST_TOKEN";
}
