using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Sweeps;

/// <summary>All that a sweep's events said, at one moment, as plain data.</summary>
/// <param name="Id">The sweep.</param>
/// <param name="Submission">What was submitted, without jobs and entries; null when nothing was.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="CreatedAt">When it was submitted.</param>
/// <param name="EndedAt">When it ended, or null.</param>
/// <param name="Jobs">Its jobs in plan order.</param>
/// <param name="Entries">Its entries in plan order.</param>
/// <param name="Bindings">Group of benchmarks to the device that measures it.</param>
public sealed record SweepSnapshot(
    string Id,
    SweepSubmission? Submission,
    SweepStatus Status,
    DateTimeOffset CreatedAt,
    DateTimeOffset? EndedAt,
    ImmutableArray<JobSnapshot> Jobs,
    ImmutableArray<PlannedEntry> Entries,
    ImmutableSortedDictionary<string, DeviceAddress> Bindings);

/// <summary>One job in a snapshot.</summary>
/// <param name="Spec">As planned; after a lost device it names its new group.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Past">Its attempts that ended, oldest first.</param>
/// <param name="Failures">Failures since it was last made to run.</param>
/// <param name="Losses">Lost attempts since it was last made to run.</param>
/// <param name="NextAttempt">Number of its next attempt.</param>
/// <param name="MinimumMemory">Bytes of memory to ask for; 0 for none.</param>
/// <param name="Avoid">Hosts where it crashed.</param>
/// <param name="Outputs">Its artifacts.</param>
/// <param name="Cached">Whether its result came from the cache.</param>
public sealed record JobSnapshot(
    JobSpec Spec,
    JobStatus Status,
    ImmutableArray<PastAttempt> Past,
    int Failures,
    int Losses,
    int NextAttempt,
    long MinimumMemory,
    ImmutableSortedSet<string> Avoid,
    ImmutableSortedDictionary<string, ArtifactRef> Outputs,
    bool Cached)
{
    /// <summary>Variant of the library that an evaluation ran with, where others compare with its outputs; otherwise empty.</summary>
    public string LibraryVariant { get; init; } = "";
}

public sealed partial class SweepState
{
    /// <summary>Everything that replaying the events so far would give.</summary>
    public SweepSnapshot ToSnapshot() => new(
        Id,
        Submission,
        Status,
        _createdAt,
        _endedAt,
        [
            .. _order.Select(j => new JobSnapshot(
                j.Spec, j.Status, [.. j.Past], j.Failures, j.Losses, j.NextAttempt, j.MinimumMemory, j.Avoid, j.Outputs, j.Cached)
            {
                LibraryVariant = j.LibraryVariant,
            }),
        ],
        [.. _entries],
        _bindings.ToImmutableSortedDictionary(StringComparer.Ordinal));

    /// <summary>The state that a snapshot was taken of.</summary>
    public static SweepState FromSnapshot(SweepSnapshot snapshot)
    {
        var sweep = new SweepState(snapshot.Id)
        {
            Submission = snapshot.Submission,
            Status = snapshot.Status,
            _createdAt = snapshot.CreatedAt,
            _endedAt = snapshot.EndedAt,
        };
        foreach (var saved in snapshot.Jobs)
        {
            var job = sweep.AddJob(saved.Spec);
            foreach (var past in saved.Past)
            {
                job.AddPast(past);
            }

            (job.Failures, job.Losses, job.NextAttempt) = (saved.Failures, saved.Losses, saved.NextAttempt);
            (job.MinimumMemory, job.Avoid, job.Outputs, job.Cached) = (saved.MinimumMemory, saved.Avoid, saved.Outputs, saved.Cached);
            job.LibraryVariant = saved.LibraryVariant;
            sweep._cacheHits += saved.Cached ? 1 : 0;

            // Producers stand before their dependents, so what a job still misses is known when it is added.
            sweep.SetStatus(job, saved.Status);
        }

        foreach (var entry in snapshot.Entries)
        {
            sweep.AddEntry(entry);
        }

        foreach (var (group, device) in snapshot.Bindings)
        {
            sweep._bindings[group] = device;
        }

        return sweep;
    }
}
