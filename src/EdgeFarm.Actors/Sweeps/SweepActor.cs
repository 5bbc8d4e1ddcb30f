using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Event;
using Akka.Persistence;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using Failure = EdgeFarm.Core.Jobs.Failure;

namespace EdgeFarm.Actors.Sweeps;

/// <summary>What every sweep works with.</summary>
/// <param name="Dispatcher">The dispatcher's proxy.</param>
/// <param name="Cache">The result cache.</param>
/// <param name="Metrics">Counts attempts.</param>
/// <param name="Time">The clock.</param>
/// <param name="SnapshotAfter">A snapshot is taken after so many ended attempts, and after no fewer than the sweep has jobs.</param>
/// <param name="Node">Told which sweeps live in this process.</param>
internal sealed record SweepServices(
    IActorRef Dispatcher, IResultCache Cache, FarmMetrics Metrics, TimeProvider Time, int SnapshotAfter, NodeActivity Node);

/// <summary>
/// One sweep: carries commands to <see cref="SweepState"/>, its events to the journal, its effects to dispatcher and cache. One
/// write is in flight at a time; what arrives meanwhile waits, and reports that wait become one event (a write costs about a
/// millisecond, whatever it holds).
/// </summary>
#pragma warning disable CA1001 // An actor ends with PostStop, which disposes what it owns.
internal sealed class SweepActor : UntypedPersistentActor, IWithTimers
#pragma warning restore CA1001
{
    private static readonly TimeSpan IdleBeforeStop = TimeSpan.FromMinutes(2);

    /// <summary>Questions to the cache of up to so many actions are asked on the sweep's own thread: a change of threads takes longer than SQLite's answer.</summary>
    private const int SmallQuestion = 64;

    /// <summary>A snapshot is one message and one value of the database, which take a few hundred MiB at most; larger sweeps are replayed.</summary>
    private const int MaxSnapshotJobs = 200_000;

    /// <summary>Akka's own receive timeout sets a timer anew for each message.</summary>
    private sealed class IdleCheck : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly IdleCheck Instance = new();
    }

    private readonly record struct Waiting(SweepCommand Command, IActorRef? ReplyTo);

    /// <summary>Comes after what is in the mailbox already, so that watchers get the changes of a burst in one message.</summary>
    private sealed class Publish : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly Publish Instance = new();
    }

    /// <summary>
    /// Comes after what is in the mailbox already: a watcher calls again while nobody answers, and each answer is all jobs of the sweep.
    /// </summary>
    private sealed class AnswerCalls : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly AnswerCalls Instance = new();
    }

    /// <summary>Hands the next part of what is ready over.</summary>
    private sealed class HandOver : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly HandOver Instance = new();
    }

    private sealed record CacheLookedUp(ImmutableArray<QueuedJob> Asked, ImmutableDictionary<Digest, JobOutcome> Found) : INoSerializationVerificationNeeded;

    private readonly string _id;
    private readonly SweepServices _services;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Queue<Waiting> _waiting = new();
    private readonly Queue<ImmutableArray<QueuedJob>> _asking = new();
    private readonly SweepImpact _impact = new();
    private readonly HashSet<string> _changed = new(StringComparer.Ordinal);
    private readonly Dictionary<IActorRef, long?> _calls = [];
    private readonly CancellationTokenSource _stopping = new();
    private readonly ChangeFeed _feed;
    private SweepState _state;
    private IActorRef? _writingFor;
    private bool _writing;
    private bool _publishing;

    /// <summary>Place in plan order up to which what is ready was handed over; null when all of it was.</summary>
    private int? _handOverFrom;
    private long _usedAt;
    private int _sinceSnapshot;
    private string _epoch = "";

    /// <summary>Nothing was written since the dispatcher's last call.</summary>
    private bool _isQuiet;

    public SweepActor(string id, SweepServices services)
    {
        (_id, _services) = (id, services);
        _state = new SweepState(id);
        _feed = new ChangeFeed(services.Time);
        _usedAt = services.Time.GetTimestamp();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public override string PersistenceId => PersistenceIdOf(_id);

    public static string PersistenceIdOf(string sweep) => $"sweep-{sweep}";

    public static Props Props(string id, SweepServices services) => Akka.Actor.Props.Create(() => new SweepActor(id, services));

    protected override void PreStart()
    {
        _services.Node.SweepStarted(_id);
        Timers.StartPeriodicTimer(IdleCheck.Instance, IdleCheck.Instance, IdleBeforeStop / 4);
        base.PreStart();
    }

    protected override void PostStop()
    {
        _services.Node.SweepStopped(_id);
        _stopping.Cancel();
        _stopping.Dispose();
        base.PostStop();
    }

    protected override void OnRecover(object message)
    {
        switch (message)
        {
            case SnapshotOffer { Snapshot: SweepSaved saved }:
                _state = SweepState.FromSnapshot(saved.Snapshot);
                _impact.Learn(_state.Plan.Jobs);
                break;
            case SweepRecord record:
                _state.Replay(record.Event);
                if (record.Event is SweepEvent.PlanGrown grown)
                {
                    _impact.Learn(grown.Jobs);
                }

                Weigh(record.Event);
                break;
            case RecoveryCompleted:
                HandAllOver();
                break;
            default:
                throw new InvalidOperationException($"the journal of sweep {_id} holds a {message.GetType().Name}");
        }
    }

    protected override void OnCommand(object message)
    {
        if (message is not IdleCheck)
        {
            _usedAt = _services.Time.GetTimestamp();
        }

        switch (message)
        {
            case SweepMessages.Execute execute:
                // The other commands are answered by their effects: an acknowledgement, a queued job.
                var isAnswered = execute.Command is SweepCommand.Submit or SweepCommand.Cancel or SweepCommand.Retry;
                _waiting.Enqueue(new Waiting(execute.Command, isAnswered ? Sender : null));
                Next();
                break;
            case HandOver when _handOverFrom is { } from:
                var (effects, next) = _state.Recover(from);
                Run(effects);
                _handOverFrom = next;
                if (next is not null)
                {
                    Self.Tell(HandOver.Instance);
                }

                Next();
                break;
            case CacheLookedUp looked:
                Answered(looked);
                AskNext();
                Next();
                break;
            case SweepMessages.Started started when _state.Exists:
                Run(_state.Started(started.Key, started.Worker, started.Device, _services.Time.GetUtcNow()));
                Changed(started.Key.JobId);
                break;
            case SweepMessages.Requeued requeued when _state.Exists:
                _state.Requeued(requeued.JobId);
                Changed(requeued.JobId);
                break;
            case SweepMessages.Progressed progressed when _state.Exists:
                if (_state.Progress(progressed.Key, progressed.Fraction, progressed.Text))
                {
                    Changed(progressed.Key.JobId);
                }

                break;
            case Publish:
                _publishing = false;
                _feed.Publish(_changed, _state, Self);
                _changed.Clear();
                break;
            case SweepMessages.Wake wake:
                // Messages between coordinators may be lost. While results come in, the two may differ because more are under way; a
                // sweep that is quiet and still differs hands its jobs over again.
                if (wake.Epoch != _epoch || (_isQuiet && _handOverFrom is null && _asking.Count == 0 && wake.Known is { } known && known != _state.Outstanding))
                {
                    HandAllOver();
                }

                (_epoch, _isQuiet) = (wake.Epoch, true);
                break;
            case SweepMessages.Get:
                Sender.Tell(Reply(Unknown, 0));
                break;
            case SweepMessages.GetSnapshot asked:
                Sender.Tell(_state.Exists ? new SweepChanged(_feed.Snapshot(asked.Jobs, _state)) : Reply(Unknown, 0));
                break;
            case SweepMessages.Watch watch when _state.Exists:
                if (_calls.Count == 0)
                {
                    Self.Tell(AnswerCalls.Instance);
                }

                _calls[Sender] = watch.After;
                break;
            case AnswerCalls:
                foreach (var (watcher, after) in _calls)
                {
                    Context.Watch(watcher);
                    _feed.Add(watcher, after, _state, Self);
                }

                _calls.Clear();
                break;
            case SweepMessages.Watch:
                Sender.Tell(Reply(Unknown, 0));
                break;
            case SweepMessages.Explain explain:
                Sender.Tell(Explain(explain.JobId));
                break;
            case Terminated dead:
                _feed.Remove(dead.ActorRef);
                break;
            case SaveSnapshotSuccess saved:
                // Events stay: the projection and later readers replay them.
                DeleteSnapshots(new SnapshotSelectionCriteria(saved.Metadata.SequenceNr - 1));
                break;
            case SaveSnapshotFailure failed:
                _log.Warning(failed.Cause, "sweep {0}: no snapshot was saved; recovery takes longer", _id);
                break;
            case DeleteSnapshotsSuccess or DeleteSnapshotsFailure:
                break;
            case IdleCheck:
                if (_services.Time.GetElapsedTime(_usedAt) >= IdleBeforeStop && !_writing && !_feed.HasWatchers && (_state.IsEnded || !_state.Exists))
                {
                    Context.Parent.Tell(new Passivate(PoisonPill.Instance));
                }

                break;
            case SweepMessages.Started or SweepMessages.Requeued or SweepMessages.Progressed:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    protected override void OnPersistFailure(Exception cause, object @event, long sequenceNr) => GiveUp(cause);

    protected override void OnPersistRejected(Exception cause, object @event, long sequenceNr)
    {
        GiveUp(cause);
        Context.Stop(Self);
    }

    private void GiveUp(Exception cause)
    {
        _log.Error(cause, "sweep {0}: the journal could not be written", _id);
        var failure = new Failure(FailureType.Internal, $"the journal could not be written: {cause.Message}; try again");
        foreach (var waiting in _waiting)
        {
            waiting.ReplyTo?.Tell(new SweepReply(null, failure, 0));
        }

        _writingFor?.Tell(new SweepReply(null, failure, 0));
    }

    private Failure? Unknown => _state.Exists ? null : Failure.InvalidInput($"there is no sweep {_id}");

    private void Next()
    {
        while (!_writing && _waiting.TryDequeue(out var first))
        {
            var command = first.Command;
            if (command is SweepCommand.Report report)
            {
                var reports = report.Reports.ToBuilder();
                while (_waiting.TryPeek(out var next) && next.Command is SweepCommand.Report more)
                {
                    reports.AddRange(more.Reports);
                    _waiting.Dequeue();
                }

                command = new SweepCommand.Report(reports.ToImmutable());
            }

            var decision = _state.Decide(command, _services.Time.GetUtcNow());
            if (decision.Events.IsEmpty)
            {
                Run(decision.Effects);
                first.ReplyTo?.Tell(Reply(decision.Refusal, 0));
            }
            else
            {
                Write(decision, first.ReplyTo);
            }
        }
    }

    private void Write(SweepDecision decision, IActorRef? replyTo)
    {
        _writing = true;
        _isQuiet = false;
        _writingFor = replyTo;
        var effects = ImmutableArray.CreateBuilder<SweepEffect>();
        var left = decision.Events.Length;
        var submission = _state.Submission ?? (decision.Events[0] as SweepEvent.Submitted)!.Submission;
        var records = decision.Events.Select(e => new SweepRecord(_id, submission.Owner, submission.Spec.Labels, e));
        PersistAllAsync(records, record =>
        {
            effects.AddRange(_state.Apply(record.Event));
            _impact.Collect(record.Event, _state, _changed);
            Weigh(record.Event);
            Measure(record.Event);
            if (--left > 0)
            {
                return;
            }

            _writing = false;
            _writingFor = null;
            Run(decision.Effects);
            Run(effects.ToImmutable());
            PublishSoon();
            TakeSnapshot();
            Next();
            replyTo?.Tell(Reply(null, decision.Events.OfType<SweepEvent.JobsRetried>().Sum(e => e.Jobs.Length)));
        });
    }

    private void Measure(SweepEvent happened)
    {
        if (happened is SweepEvent.Ended all)
        {
            _log.Info("sweep {Sweep} ended: {Status}; trace {TraceId}", _id, all.Status, FarmTraces.TraceIdOf(_state.Submission!.TraceParent));
        }
        else if (happened is SweepEvent.AttemptsEnded ended)
        {
            foreach (var report in ended.Attempts.Select(a => a.Report).Where(r => !r.Cached))
            {
                _services.Metrics.Ended(_state.Job(report.JobId)!.Kind, report.Outcome);
                if (report.Outcome.Failure is { } failure)
                {
                    _log.Info(
                        "sweep {Sweep}: attempt {Attempt} of job {Job} on worker {Worker} failed: {Failure}; trace {TraceId}",
                        _id,
                        report.Attempt,
                        report.JobId,
                        report.Worker,
                        $"{failure.Type}, {failure.Message}",
                        FarmTraces.TraceIdOf(_state.Submission!.TraceParent));
                }
            }
        }
    }

    /// <summary>A snapshot spares the replay of what happened to the jobs; the plan is in it as it is in the journal.</summary>
    private void Weigh(SweepEvent happened) => _sinceSnapshot += happened is SweepEvent.AttemptsEnded ended ? ended.Attempts.Length : 0;

    private void TakeSnapshot()
    {
        // It holds all jobs, so a sweep that took one after every so many ends would pay with the square of its size. It spares something
        // when jobs were attempted more than once; before that the journal is read as fast.
        if (_sinceSnapshot >= Math.Max(_services.SnapshotAfter, _state.JobCount) && _state.JobCount <= MaxSnapshotJobs && !_state.IsEnded)
        {
            _sinceSnapshot = 0;
            SaveSnapshot(new SweepSaved(_state.ToSnapshot()));
        }
    }

    private void Changed(string job)
    {
        _changed.Add(job);
        PublishSoon();
    }

    private void PublishSoon()
    {
        if (_state.Exists && !_publishing)
        {
            _publishing = true;
            Self.Tell(Publish.Instance);
        }
    }

    private SweepReply Reply(Failure? failure, int affected) => new(failure is null && _state.Exists ? _state.View() : null, failure, affected);

    private JobExplained Explain(string jobId) => _state.View(jobId) is { } view
        ? new JobExplained(view, _state.BlockedBy(jobId), _state.DigestComponents(jobId), null)
        : new JobExplained(null, [], [], Unknown ?? Failure.InvalidInput($"sweep {_id} has no job {jobId}"));

    private void Run(ImmutableArray<SweepEffect> effects)
    {
        foreach (var effect in effects)
        {
            switch (effect)
            {
                case SweepEffect.AskCache ask:
                    Ask(ask.Jobs);
                    break;
                case SweepEffect.Queue queue:
                    Tell(new DispatchInput.JobsQueued(queue.Jobs));
                    break;
                case SweepEffect.Withdraw withdraw:
                    Tell(new DispatchInput.JobsWithdrawn(_id, withdraw.JobIds));
                    break;
                case SweepEffect.Acknowledge acknowledge:
                    Tell(new DispatchInput.ResultsStored(_id, acknowledge.Attempts));
                    break;
                case SweepEffect.FillCache:
                    // The projection does it, in the transaction of the event's rows: a sweep that dies here would leave the cache without.
                    break;
                default:
                    throw new InvalidOperationException($"unknown sweep effect {effect.GetType().Name}");
            }
        }
    }

    private void Tell(DispatchInput input) => _services.Dispatcher.Tell(new DispatchMessages.Tell(input));

    private void HandAllOver()
    {
        if (_state.Exists)
        {
            // One that is under way begins again: what it has done was for an earlier dispatcher.
            if (_handOverFrom is null)
            {
                Self.Tell(HandOver.Instance);
            }

            _handOverFrom = 0;
        }
    }

    private void Ask(ImmutableArray<QueuedJob> jobs)
    {
        _asking.Enqueue(jobs);
        if (_asking.Count == 1)
        {
            AskNext();
        }
    }

    /// <summary>
    /// One question at a time. The one of a large plan goes to another thread, because SQLite's driver answers before it returns; what is known
    /// at once, as of a small plan, waits in front of <see cref="Next"/>, so that its jobs are with the dispatcher when their submission is acknowledged.
    /// </summary>
    private void AskNext()
    {
        while (_asking.TryPeek(out var jobs))
        {
            var (log, id, cache, stopping) = (_log, _id, _services.Cache, _stopping.Token);
            ImmutableArray<Digest> actions = [.. jobs.Select(j => j.Job.Action)];
            var lookup = jobs.Length <= SmallQuestion ? cache.LookupAsync(actions, stopping) : Task.Run(() => cache.LookupAsync(actions, stopping), stopping);
            if (lookup.IsCompletedSuccessfully)
            {
                Answered(new CacheLookedUp(jobs, lookup.Result));
                continue;
            }

            lookup.PipeTo(
                Self,
                success: found => new CacheLookedUp(jobs, found),
                failure: e =>
                {
                    // The cache saves work; without it the work is done.
                    log.Warning(e, "sweep {0}: the result cache did not answer; {1} jobs run", id, jobs.Length);
                    return new CacheLookedUp(jobs, ImmutableDictionary<Digest, JobOutcome>.Empty);
                });
            return;
        }
    }

    private void Answered(CacheLookedUp looked)
    {
        _asking.Dequeue();
        _waiting.Enqueue(new Waiting(Answer(looked), null));
    }

    private static SweepCommand.CacheAnswered Answer(CacheLookedUp looked)
    {
        var hits = ImmutableArray.CreateBuilder<JobReport>();
        var misses = ImmutableArray.CreateBuilder<string>();
        foreach (var job in looked.Asked)
        {
            if (looked.Found.TryGetValue(job.Job.Action, out var outcome))
            {
                hits.Add(new JobReport(job.Job.Spec.Id, job.Attempt, 0, outcome, "", null, "", Cached: true, job.Job.Action));
            }
            else
            {
                misses.Add(job.Job.Spec.Id);
            }
        }

        return new SweepCommand.CacheAnswered(hits.ToImmutable(), misses.ToImmutable());
    }
}
