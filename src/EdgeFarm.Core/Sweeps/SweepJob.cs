using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Core.Sweeps;

/// <summary>The end of an attempt as a sweep remembers it: what views show and duplicates are told by.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Fence">Fence of its lease; 0 for a cached result.</param>
/// <param name="Worker">Name of the worker; empty for a cached result.</param>
/// <param name="Device">Where it ran, or null.</param>
/// <param name="StartedAt">By the worker's clock.</param>
/// <param name="FinishedAt">By the worker's clock.</param>
/// <param name="Failure">How it failed, or null.</param>
/// <param name="Log">Its log in the artifact store, or the default value.</param>
public sealed record PastAttempt(
    int Number,
    long Fence,
    string Worker,
    DeviceAddress? Device,
    DateTimeOffset StartedAt,
    DateTimeOffset FinishedAt,
    Failure? Failure,
    Digest Log);

/// <summary>An attempt that the dispatcher says runs. For views only: it is neither journaled nor in a snapshot.</summary>
internal sealed record RunningAttempt(AttemptKey Key, string Worker, DeviceAddress Device, DateTimeOffset Since)
{
    public double Progress { get; init; }

    public string Text { get; init; } = "";
}

/// <summary>One job of a sweep and all that the journal said of it.</summary>
/// <param name="spec">As planned.</param>
/// <param name="number">The number in its id.</param>
internal sealed class SweepJob(JobSpec spec, int number)
{
    private static readonly ImmutableSortedDictionary<string, ArtifactRef> NoArtifacts =
        ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal);

    private static readonly ImmutableSortedSet<string> NoHosts = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    // Most of a large sweep's jobs have neither, and a million lists are 64 MiB.
    private List<SweepJob>? _dependents;
    private List<PastAttempt>? _past;

    public JobSpec Spec { get; set; } = spec;

    public int Number { get; } = number;

    public JobStatus Status { get; set; } = JobStatus.Blocked;

    /// <summary>The job with its inputs, once it was asked for and until it succeeds: its digest takes longer than all else that is decided about it.</summary>
    public ReadyJob? Ready { get; set; }

    /// <summary>Its action digest once it was asked for; what it is of never changes again.</summary>
    public Digest Action { get; set; }

    /// <summary>Inputs whose producer has not succeeded.</summary>
    public int Missing { get; set; }

    public IReadOnlyList<SweepJob> Dependents => _dependents ?? (IReadOnlyList<SweepJob>)[];

    public IReadOnlyList<PastAttempt> Past => _past ?? (IReadOnlyList<PastAttempt>)[];

    /// <summary>Attempts that failed by the job's own doing since it was last made to run.</summary>
    public int Failures { get; set; }

    /// <summary>Attempts that were lost through no fault of the job since it was last made to run.</summary>
    public int Losses { get; set; }

    public int NextAttempt { get; set; } = 1;

    public long MinimumMemory { get; set; }

    public ImmutableSortedSet<string> Avoid { get; set; } = NoHosts;

    public ImmutableSortedDictionary<string, ArtifactRef> Outputs { get; set; } = NoArtifacts;

    /// <summary>Variant of the library that an evaluation ran with, where others compare with its outputs; otherwise empty.</summary>
    public string LibraryVariant { get; set; } = "";

    public bool Cached { get; set; }

    public RunningAttempt? Running { get; set; }

    /// <summary>Nothing more will happen to it, unless it is retried.</summary>
    public bool IsFinished => Status is JobStatus.Succeeded or JobStatus.Failed or JobStatus.Skipped or JobStatus.Cancelled;

    public void AddDependent(SweepJob job) => (_dependents ??= new List<SweepJob>(1)).Add(job);

    public void AddPast(PastAttempt past) => (_past ??= new List<PastAttempt>(1)).Add(past);

    /// <summary>Whether the end of an attempt is known already.</summary>
    public bool Knows(int attempt, long fence)
    {
        for (var i = 0; i < Past.Count; i++)
        {
            if (Past[i].Number == attempt && Past[i].Fence == fence)
            {
                return true;
            }
        }

        return false;
    }
}
