using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Simulation;

/// <summary>One line for a trace.</summary>
internal static class Describe
{
    public static string Key(AttemptKey key) => $"{key.JobId}#{key.Attempt}~{key.Fence}";

    public static string Outcome(JobOutcome outcome) => outcome.Failure is { } failure ? $"{failure.Type} ({failure.Message})" : $"ok {outcome.Result?.Report}";

    public static string Event(SweepEvent happened) => happened switch
    {
        SweepEvent.AttemptsEnded ended => "ended " + string.Join(", ", ended.Attempts.Select(a =>
            $"{a.Report.JobId}#{a.Report.Attempt}~{a.Report.Fence} {Outcome(a.Report.Outcome)}{(a.Final ? " final" : "")}{(a.Report.Cached ? " cached" : "")}")),
        SweepEvent.PlanGrown grown => "grown " + string.Join(", ", grown.Jobs.Select(j => $"{j.Id} {j.Operation} {j.Form} {j.DeviceGroup}")),
        SweepEvent.JobsRetried retried => "retried " + string.Join(", ", retried.Jobs),
        SweepEvent.GroupRebound rebound => $"rebound {rebound.OldGroup} to {rebound.NewGroup}: {string.Join(", ", rebound.Jobs)}",
        SweepEvent.Ended ended => $"ended {ended.Status}",
        _ => happened.GetType().Name,
    };

    public static string Input(DispatchInput input) => input switch
    {
        DispatchInput.WorkerLinked linked =>
            $"linked {linked.Link} {linked.Capability.Worker}, holds {string.Join(", ", linked.Held.Select(h => Key(h.Key) + (h.Ended ? " ended" : "")))}",
        DispatchInput.CreditAnnounced credit => $"credit {credit.Link} {credit.Credit.Shared} {credit.Credit.Exclusive} at {credit.Credit.Sequence}",
        DispatchInput.LinkLost lost => $"link lost {lost.Link}",
        DispatchInput.LeaseReturned returned => $"returned {Key(returned.Key)}",
        DispatchInput.JobsQueued queued => "queued " + string.Join(", ", queued.Jobs.Select(j => $"{j.Job.Spec.Id}#{j.Attempt}{(j.BoundTo is { } b ? $" on {b.HostId}/{b.DeviceId}" : "")}")),
        DispatchInput.JobsWithdrawn withdrawn => "withdrawn " + string.Join(", ", withdrawn.JobIds),
        DispatchInput.ResultReported result => $"result {Key(result.Key)} {Outcome(result.Outcome)}",
        DispatchInput.ResultsStored stored => "stored " + string.Join(", ", stored.Keys.Select(Key)),
        _ => input.GetType().Name,
    };

    public static string Effect(DispatchEffect effect) => effect switch
    {
        DispatchEffect.SendLease lease => $"lease {Key(lease.Lease.Key)} on {lease.Lease.DeviceId} to {lease.Link} as {lease.Sequence}",
        DispatchEffect.SendRevoke revoke => $"revoke {Key(revoke.Key)} at {revoke.Link}: {revoke.Reason}",
        DispatchEffect.SendAcknowledge acknowledge => $"acknowledge {Key(acknowledge.Key)} to {acknowledge.Link}",
        DispatchEffect.CloseLink close => $"close {close.Link}",
        DispatchEffect.RefuseLink refuse => $"refuse {refuse.Link}",
        DispatchEffect.Report report => $"report {report.JobReport.JobId}#{report.JobReport.Attempt}~{report.JobReport.Fence} {Outcome(report.JobReport.Outcome)}",
        DispatchEffect.NotifyStarted started => $"started {Key(started.Key)} at {started.Worker}",
        DispatchEffect.NotifyRequeued requeued => $"requeued {requeued.JobId}: {requeued.Reason}",
        DispatchEffect.NotifyDeviceLost lost => $"device lost {lost.Group} {lost.Device}",
        _ => effect.GetType().Name,
    };

    public static string Effect(WorkerEffect effect) => effect switch
    {
        WorkerEffect.SendHello hello => $"hello on {hello.Link}",
        WorkerEffect.SendCredit credit => $"credit {credit.Credit.Shared} {credit.Credit.Exclusive} at {credit.Credit.Sequence}",
        WorkerEffect.Start start => $"start {Key(start.Lease.Key)}",
        WorkerEffect.Kill kill => $"kill {Key(kill.Key)}: {kill.Reason}",
        WorkerEffect.KeepResult keep => $"keep {Key(keep.Result.Lease.Key)} {Outcome(keep.Result.Outcome)}",
        WorkerEffect.ForgetResult forget => $"forget {Key(forget.Key)}",
        WorkerEffect.SendResult result => $"send result {Key(result.Result.Lease.Key)}",
        WorkerEffect.SendReturn returned => $"send return {Key(returned.Key)}",
        _ => effect.GetType().Name,
    };
}
