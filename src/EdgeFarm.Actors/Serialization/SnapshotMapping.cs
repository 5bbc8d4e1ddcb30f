using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Serialization;

/// <summary>Snapshots as journal.proto and back.</summary>
internal static class SnapshotMapping
{
    public static Wire.SweepSnapshot Wire(SweepSnapshot s)
    {
        var wire = new Wire.SweepSnapshot
        {
            Id = s.Id,
            Submission = s.Submission?.Wire(),
            SweepStatus = (int)s.Status,
            CreatedAt = s.CreatedAt.Wire(),
            EndedAt = s.EndedAt.Wire(),
        };
        wire.Jobs.Put(s.Jobs, Wire);
        wire.Entries.Put(s.Entries, RecordMapping.Wire);
        wire.Bindings.Put(s.Bindings, RecordMapping.Wire);
        return wire;
    }

    public static SweepSnapshot ToCore(Wire.SweepSnapshot s) => new(
        s.Id,
        s.Submission?.ToCore(),
        (SweepStatus)s.SweepStatus,
        s.CreatedAt.ToTime(),
        s.EndedAt?.ToTime(),
        s.Jobs.Array(ToCore),
        s.Entries.Array(RecordMapping.ToCore),
        s.Bindings.Sorted(RecordMapping.ToCore));

    private static Wire.JobSnapshot Wire(JobSnapshot j)
    {
        var wire = new Wire.JobSnapshot
        {
            Job = j.Spec.Wire(),
            JobStatus = (int)j.Status,
            Failures = j.Failures,
            Losses = j.Losses,
            NextAttempt = j.NextAttempt,
            MinimumMemory = j.MinimumMemory,
            Cached = j.Cached,
        };
        wire.Past.Put(j.Past, Wire);
        wire.Avoid.Add(j.Avoid);
        wire.Outputs.Put(j.Outputs, RecordMapping.Wire);
        return wire;
    }

    private static JobSnapshot ToCore(Wire.JobSnapshot j) => new(
        j.Job.ToCore(),
        (JobStatus)j.JobStatus,
        j.Past.Array(ToCore),
        j.Failures,
        j.Losses,
        j.NextAttempt,
        j.MinimumMemory,
        j.Avoid.SortedSet(),
        j.Outputs.Sorted(RecordMapping.ToCore),
        j.Cached);

    private static Wire.PastAttempt Wire(PastAttempt p) => new()
    {
        Number = p.Number,
        Fence = p.Fence,
        Worker = p.Worker,
        Device = p.Device?.Wire(),
        StartedAt = p.StartedAt.Wire(),
        FinishedAt = p.FinishedAt.Wire(),
        Failure = p.Failure?.Wire(),
        Log = p.Log.Wire(),
    };

    private static PastAttempt ToCore(Wire.PastAttempt p) => new(
        p.Number, p.Fence, p.Worker, p.Device?.ToCore(), p.StartedAt.ToTime(), p.FinishedAt.ToTime(), p.Failure?.ToCore(), p.Log.ToDigest());
}
