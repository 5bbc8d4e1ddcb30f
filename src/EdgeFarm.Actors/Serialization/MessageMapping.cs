using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Serialization;

/// <summary>Commands and dispatcher messages as messages.proto and back.</summary>
internal static class MessageMapping
{
    public static Wire.SweepExecute Wire(SweepMessages.Execute m)
    {
        var wire = new Wire.SweepExecute { Sweep = m.SweepId };
        switch (m.Command)
        {
            case SweepCommand.Submit c:
                wire.Submit = c.Submission.Wire();
                break;
            case SweepCommand.Cancel c:
                wire.Cancel = c.Reason;
                break;
            case SweepCommand.Retry c:
                wire.Retry = new Wire.Retry();
                if (c.Type is { } type)
                {
                    wire.Retry.FailureType = (int)type;
                }

                break;
            case SweepCommand.Report c:
                wire.Report = new Wire.Report();
                wire.Report.Reports.Put(c.Reports, RecordMapping.Wire);
                break;
            case SweepCommand.CacheAnswered c:
                wire.CacheAnswered = new Wire.CacheAnswered();
                wire.CacheAnswered.Hits.Put(c.Hits, RecordMapping.Wire);
                wire.CacheAnswered.Misses.Put(c.Misses, j => j);
                break;
            case SweepCommand.DeviceLost c:
                wire.DeviceLost = new Wire.DeviceLost { Group = c.Group, Device = c.Device.Wire() };
                break;
            default:
                throw Unknown(m.Command);
        }

        return wire;
    }

    public static SweepMessages.Execute ToCore(Wire.SweepExecute m) => new(m.Sweep, m.BodyCase switch
    {
        Serialization.Wire.SweepExecute.BodyOneofCase.Submit => new SweepCommand.Submit(m.Submit.ToCore()),
        Serialization.Wire.SweepExecute.BodyOneofCase.Cancel => new SweepCommand.Cancel(m.Cancel),
        Serialization.Wire.SweepExecute.BodyOneofCase.Retry =>
            new SweepCommand.Retry(m.Retry.HasFailureType ? (FailureType)m.Retry.FailureType : null),
        Serialization.Wire.SweepExecute.BodyOneofCase.Report => new SweepCommand.Report(m.Report.Reports.Array(RecordMapping.ToCore)),
        Serialization.Wire.SweepExecute.BodyOneofCase.CacheAnswered =>
            new SweepCommand.CacheAnswered(m.CacheAnswered.Hits.Array(RecordMapping.ToCore), [.. m.CacheAnswered.Misses]),
        Serialization.Wire.SweepExecute.BodyOneofCase.DeviceLost => new SweepCommand.DeviceLost(m.DeviceLost.Group, m.DeviceLost.Device.ToCore()),
        _ => throw Unknown(m),
    });

    public static Wire.DispatchTell Wire(DispatchMessages.Tell m)
    {
        var wire = new Wire.DispatchTell();
        switch (m.Input)
        {
            case DispatchInput.WorkerLinked i:
                wire.WorkerLinked = new Wire.WorkerLinked { Link = i.Link, Session = i.Session, Capability = i.Capability.Wire() };
                wire.WorkerLinked.Held.Put(i.Held, DispatchMapping.Wire);
                break;
            case DispatchInput.CreditAnnounced i:
                wire.Credit = new Wire.CreditAnnounced
                {
                    Link = i.Link,
                    Shared = i.Credit.Shared,
                    Exclusive = i.Credit.Exclusive,
                    Sequence = i.Credit.Sequence,
                };
                break;
            case DispatchInput.LinkLost i:
                wire.LinkLost = i.Link;
                break;
            case DispatchInput.WorkerDraining i:
                wire.WorkerDraining = i.Link;
                break;
            case DispatchInput.LeaseReturned i:
                wire.LeaseReturned = new Wire.LeaseReturned { Link = i.Link, Key = i.Key.Wire() };
                break;
            case DispatchInput.JobsQueued i:
                wire.JobsQueued = new Wire.JobsQueued();
                wire.JobsQueued.Jobs.Put(i.Jobs, DispatchMapping.Wire);
                break;
            case DispatchInput.JobsWithdrawn i:
                wire.JobsWithdrawn = new Wire.JobsWithdrawn { Sweep = i.Sweep };
                wire.JobsWithdrawn.Jobs.Put(i.JobIds, j => j);
                break;
            case DispatchInput.ResultReported i:
                wire.ResultReported = new Wire.ResultReported
                {
                    Link = i.Link,
                    Sweep = i.Sweep,
                    Key = i.Key.Wire(),
                    Outcome = i.Outcome.Wire(),
                    DeviceId = i.DeviceId,
                    Action = i.Action.Wire(),
                };
                break;
            case DispatchInput.ResultsStored i:
                wire.ResultsStored = new Wire.ResultsStored { Sweep = i.Sweep };
                wire.ResultsStored.Keys.Put(i.Keys, RecordMapping.Wire);
                break;
            default:
                throw Unknown(m.Input);
        }

        return wire;
    }

    public static DispatchMessages.Tell ToCore(Wire.DispatchTell m) => new(m.BodyCase switch
    {
        Serialization.Wire.DispatchTell.BodyOneofCase.WorkerLinked => new DispatchInput.WorkerLinked(
            m.WorkerLinked.Link, m.WorkerLinked.Session, m.WorkerLinked.Capability.ToCore(), m.WorkerLinked.Held.Array(DispatchMapping.ToCore)),
        Serialization.Wire.DispatchTell.BodyOneofCase.Credit => new DispatchInput.CreditAnnounced(
            m.Credit.Link, new WorkerCredit(m.Credit.Shared, m.Credit.Exclusive, m.Credit.Sequence)),
        Serialization.Wire.DispatchTell.BodyOneofCase.LinkLost => new DispatchInput.LinkLost(m.LinkLost),
        Serialization.Wire.DispatchTell.BodyOneofCase.WorkerDraining => new DispatchInput.WorkerDraining(m.WorkerDraining),
        Serialization.Wire.DispatchTell.BodyOneofCase.LeaseReturned =>
            new DispatchInput.LeaseReturned(m.LeaseReturned.Link, m.LeaseReturned.Key.ToCore()),
        Serialization.Wire.DispatchTell.BodyOneofCase.JobsQueued => new DispatchInput.JobsQueued(m.JobsQueued.Jobs.Array(DispatchMapping.ToCore)),
        Serialization.Wire.DispatchTell.BodyOneofCase.JobsWithdrawn =>
            new DispatchInput.JobsWithdrawn(m.JobsWithdrawn.Sweep, [.. m.JobsWithdrawn.Jobs]),
        Serialization.Wire.DispatchTell.BodyOneofCase.ResultReported => new DispatchInput.ResultReported(
            m.ResultReported.Link,
            m.ResultReported.Sweep,
            m.ResultReported.Key.ToCore(),
            m.ResultReported.Outcome.ToCore(),
            m.ResultReported.DeviceId,
            m.ResultReported.Action.ToDigest()),
        Serialization.Wire.DispatchTell.BodyOneofCase.ResultsStored =>
            new DispatchInput.ResultsStored(m.ResultsStored.Sweep, m.ResultsStored.Keys.Array(RecordMapping.ToCore)),
        _ => throw Unknown(m),
    });

    public static Wire.LinkTell Wire(LinkTell m) => m.Effect switch
    {
        DispatchEffect.SendLease e => new Wire.LinkTell
        {
            Link = m.Link,
            Lease = new Wire.SendLease { Lease = e.Lease.Wire(), Sequence = e.Sequence },
        },
        DispatchEffect.SendRevoke e => new Wire.LinkTell { Link = m.Link, Revoke = new Wire.Revoke { Key = e.Key.Wire(), Reason = e.Reason } },
        DispatchEffect.SendAcknowledge e => new Wire.LinkTell { Link = m.Link, Acknowledge = e.Key.Wire() },
        DispatchEffect.CloseLink e => new Wire.LinkTell { Link = m.Link, Close = e.Reason },
        DispatchEffect.RefuseLink e => new Wire.LinkTell { Link = m.Link, Refuse = e.Reason },
        _ => throw Unknown(m.Effect),
    };

    public static LinkTell ToCore(Wire.LinkTell m) => new(m.Link, m.BodyCase switch
    {
        Serialization.Wire.LinkTell.BodyOneofCase.Lease => new DispatchEffect.SendLease(m.Link, m.Lease.Lease.ToCore(), m.Lease.Sequence),
        Serialization.Wire.LinkTell.BodyOneofCase.Revoke => new DispatchEffect.SendRevoke(m.Link, m.Revoke.Key.ToCore(), m.Revoke.Reason),
        Serialization.Wire.LinkTell.BodyOneofCase.Acknowledge => new DispatchEffect.SendAcknowledge(m.Link, m.Acknowledge.ToCore()),
        Serialization.Wire.LinkTell.BodyOneofCase.Close => new DispatchEffect.CloseLink(m.Link, m.Close),
        Serialization.Wire.LinkTell.BodyOneofCase.Refuse => new DispatchEffect.RefuseLink(m.Link, m.Refuse),
        _ => throw Unknown(m),
    });

    public static Wire.JobExplained Wire(JobExplained m)
    {
        var wire = new Wire.JobExplained { Job = m.Job?.Wire(), Failure = m.Failure?.Wire() };
        wire.BlockedBy.Put(m.BlockedBy, j => j);
        wire.Digest.Put(m.Digest, c => new Wire.Component { Name = c.Key, Value = c.Value });
        return wire;
    }

    public static JobExplained ToCore(Wire.JobExplained m) => new(
        m.Job?.ToCore(), [.. m.BlockedBy], m.Digest.Array(c => KeyValuePair.Create(c.Name, c.Value)), m.Failure?.ToCore());

    private static ArgumentException Unknown(object value) => new($"no wire form for {value.GetType().Name}");
}
