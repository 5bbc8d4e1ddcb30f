using System.Collections.Immutable;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Sweeps;

/// <summary>A message to one sweep, routed by its id.</summary>
public interface ISweepMessage : IFarmMessage
{
    /// <summary>Id of the sweep.</summary>
    string SweepId { get; }
}

/// <summary>What a sweep is told and asked.</summary>
public static class SweepMessages
{
    /// <summary>Decide on a command. Submit, Cancel and Retry are answered with <see cref="SweepReply"/>, the others by their effects.</summary>
    public sealed record Execute(string SweepId, SweepCommand Command) : ISweepMessage;

    /// <summary>An attempt started; for views.</summary>
    public sealed record Started(string SweepId, AttemptKey Key, string Worker, DeviceAddress Device) : ISweepMessage;

    /// <summary>An attempt was lost and its job waits again; for views.</summary>
    public sealed record Requeued(string SweepId, string JobId, string Reason) : ISweepMessage;

    /// <summary>How far an attempt is; for views.</summary>
    /// <param name="SweepId">The sweep.</param>
    /// <param name="Key">The attempt.</param>
    /// <param name="Fraction">0 to 1.</param>
    /// <param name="Text">What it is doing.</param>
    public sealed record Progressed(string SweepId, AttemptKey Key, double Fraction, string Text) : ISweepMessage;

    /// <summary>A dispatcher knows so many jobs of the sweep. The sweep hands it what it lacks.</summary>
    /// <param name="SweepId">The sweep.</param>
    /// <param name="Epoch">The dispatcher's life: a new one has an empty queue and gets everything at once.</param>
    /// <param name="Known">Jobs of the sweep that it knows; null when it was not counted.</param>
    public sealed record Wake(string SweepId, string Epoch, int? Known) : ISweepMessage;

    /// <summary>Answered with <see cref="SweepReply"/>.</summary>
    public sealed record Get(string SweepId) : ISweepMessage;

    /// <summary>Answered with <see cref="SweepChanged"/>, or <see cref="SweepReply"/> with a failure.</summary>
    public sealed record GetSnapshot(string SweepId) : ISweepMessage
    {
        /// <summary>Ids of the jobs that are wanted; empty for all.</summary>
        public ImmutableArray<string> Jobs { get; init; } = [];
    }

    /// <summary>Makes the sender a watcher: a snapshot (or the changes after a number), then every change, until it unwatches or dies.</summary>
    public sealed record Watch(string SweepId, long? After) : ISweepMessage;

    /// <summary>Answered with <see cref="JobExplained"/>.</summary>
    public sealed record Explain(string SweepId, string JobId) : ISweepMessage;
}

/// <summary>The answer to a command.</summary>
/// <param name="View">The sweep after it; null with a failure.</param>
/// <param name="Failure">Why it was refused, or null.</param>
/// <param name="Affected">How many jobs a retry made to run again.</param>
public sealed record SweepReply(SweepView? View, Failure? Failure, int Affected) : IFarmMessage;

/// <summary>A snapshot or a numbered change, to a watcher.</summary>
public sealed record SweepChanged(SweepChange Change) : IFarmMessage;

/// <summary>What a sweep knows about why a job waits or failed; the dispatcher knows the rest.</summary>
/// <param name="Job">The job, or null with a failure.</param>
/// <param name="BlockedBy">Jobs whose outputs it needs.</param>
/// <param name="Digest">Components of its action digest.</param>
/// <param name="Failure">Why there is no answer, or null.</param>
public sealed record JobExplained(
    JobView? Job,
    ImmutableArray<string> BlockedBy,
    ImmutableArray<KeyValuePair<string, string>> Digest,
    Failure? Failure) : IFarmMessage;

/// <summary>One event as journaled.</summary>
/// <param name="Sweep">Id of the sweep.</param>
/// <param name="Owner">Its owner.</param>
/// <param name="Labels">Its labels.</param>
/// <param name="Event">What happened.</param>
public sealed record SweepRecord(string Sweep, string Owner, ImmutableSortedDictionary<string, string> Labels, SweepEvent Event) : IFarmMessage;

/// <summary>A sweep's state in the snapshot store.</summary>
public sealed record SweepSaved(SweepSnapshot Snapshot) : IFarmMessage;
