using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Serialization;

/// <summary>Events as journal.proto and back.</summary>
internal static class JournalMapping
{
    public static Wire.SweepRecord Wire(SweepRecord record)
    {
        var wire = new Wire.SweepRecord { Sweep = record.Sweep, Owner = record.Owner, At = record.Event.At.Wire() };
        wire.Labels.Put(record.Labels);
        switch (record.Event)
        {
            case SweepEvent.Submitted e:
                wire.Submitted = e.Submission.Wire();
                break;
            case SweepEvent.PlanGrown e:
                wire.PlanPart = PlanMapping.Part(e.Jobs, e.Entries);
                break;
            case SweepEvent.AttemptsEnded e:
                wire.AttemptsEnded = new Wire.AttemptsEnded();
                wire.AttemptsEnded.Attempts.Put(e.Attempts, a => new Wire.AttemptEnd { Report = a.Report.Wire(), Final = a.Final });
                break;
            case SweepEvent.GroupRebound e:
                wire.GroupRebound = new Wire.GroupRebound { OldGroup = e.OldGroup, NewGroup = e.NewGroup };
                wire.GroupRebound.Jobs.Put(e.Jobs, j => j);
                break;
            case SweepEvent.JobsRetried e:
                wire.JobsRetried = new Wire.JobsRetried();
                wire.JobsRetried.Jobs.Put(e.Jobs, j => j);
                break;
            case SweepEvent.CancelRequested e:
                wire.CancelRequested = new Wire.CancelRequested { Reason = e.Reason };
                break;
            case SweepEvent.Ended e:
                wire.Ended = new Wire.Ended { SweepStatus = (int)e.Status };
                break;
            default:
                throw new ArgumentException($"no journal form for {record.Event.GetType().Name}", nameof(record));
        }

        return wire;
    }

    public static SweepRecord ToCore(Wire.SweepRecord wire)
    {
        var at = wire.At.ToTime();
        SweepEvent e = wire.BodyCase switch
        {
            Serialization.Wire.SweepRecord.BodyOneofCase.Submitted => new SweepEvent.Submitted(at, wire.Submitted.ToCore()),
            Serialization.Wire.SweepRecord.BodyOneofCase.PlanGrown => new SweepEvent.PlanGrown(
                at, wire.PlanGrown.Jobs.Array(RecordMapping.ToCore), wire.PlanGrown.Entries.Array(RecordMapping.ToCore)),
            Serialization.Wire.SweepRecord.BodyOneofCase.PlanPart => new SweepEvent.PlanGrown(
                at, PlanMapping.Jobs(wire.PlanPart, wire.Sweep), wire.PlanPart.Entries.Array(RecordMapping.ToCore)),
            Serialization.Wire.SweepRecord.BodyOneofCase.AttemptsEnded => new SweepEvent.AttemptsEnded(
                at, wire.AttemptsEnded.Attempts.Array(a => new AttemptEnd(a.Report.ToCore(), a.Final))),
            Serialization.Wire.SweepRecord.BodyOneofCase.GroupRebound => new SweepEvent.GroupRebound(
                at, wire.GroupRebound.OldGroup, wire.GroupRebound.NewGroup, [.. wire.GroupRebound.Jobs]),
            Serialization.Wire.SweepRecord.BodyOneofCase.JobsRetried => new SweepEvent.JobsRetried(at, [.. wire.JobsRetried.Jobs]),
            Serialization.Wire.SweepRecord.BodyOneofCase.CancelRequested => new SweepEvent.CancelRequested(at, wire.CancelRequested.Reason),
            Serialization.Wire.SweepRecord.BodyOneofCase.Ended => new SweepEvent.Ended(at, (SweepStatus)wire.Ended.SweepStatus),
            _ => throw new InvalidOperationException(
                $"the journal of sweep {wire.Sweep} holds an event that this release does not know; run the release that wrote it, or a later one"),
        };
        return new SweepRecord(wire.Sweep, wire.Owner, wire.Labels.Sorted(), e);
    }
}
