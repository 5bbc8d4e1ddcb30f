using Akka;
using Akka.Actor;
using Akka.Event;
using Akka.Persistence.Query;
using Akka.Persistence.Sql.Query;
using Akka.Streams;
using Akka.Streams.Dsl;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Projections;

/// <summary>Key of the projection in the actor registry; in a cluster a singleton.</summary>
public sealed class ProjectionKey;

/// <summary>Empties the rows and replays every event; answered with <see cref="RebuildStarted"/>.</summary>
internal sealed record Rebuild : IFarmMessage;

/// <summary>The rows are empty and the replay runs.</summary>
internal sealed record RebuildStarted : IFarmMessage;

/// <summary>
/// Turns every sweep's events into rows. Events that arrive while a transaction runs form the next one. After any failure it starts
/// again from the stored offset with nothing remembered.
/// </summary>
internal sealed class ProjectionActor : UntypedActor, IWithTimers
{
    /// <summary>Most jobs and attempts of one transaction: a large plan is never in memory whole. Each event counts beside for what it costs itself.</summary>
    private const long MaxWeight = 10_000;
    private const long EventWeight = 20;
    private static readonly TimeSpan RestartAfter = TimeSpan.FromSeconds(1);

    private sealed class Begin : INotInfluenceReceiveTimeout, INoSerializationVerificationNeeded
    {
        public static readonly Begin Instance = new();
    }

    private sealed record OffsetRead(long Offset) : INoSerializationVerificationNeeded;

    private sealed record Truncated(IActorRef ReplyTo) : INoSerializationVerificationNeeded;

    private sealed record Stopped(int Run, Exception? Cause) : INoSerializationVerificationNeeded;

    private readonly ProjectionWriter _writer;
    private readonly ProjectionSignal _signal;
    private readonly NodeActivity _node;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly ActorMaterializer _materializer = Context.Materializer();
    private UniqueKillSwitch? _stream;
    private IActorRef? _rebuildFor;
    private int _run;

    public ProjectionActor(ProjectionWriter writer, ProjectionSignal signal, NodeActivity node) => (_writer, _signal, _node) = (writer, signal, node);

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(ProjectionWriter writer, ProjectionSignal signal, NodeActivity node) =>
        Akka.Actor.Props.Create(() => new ProjectionActor(writer, signal, node));

    protected override void PreStart()
    {
        _node.HasProjection = true;
        Self.Tell(Begin.Instance);
    }

    protected override void PostStop()
    {
        _node.HasProjection = false;
        _stream?.Shutdown();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case Begin:
                var run = _run;
                _writer.ReadOffsetAsync(CancellationToken.None).PipeTo(
                    Self, success: offset => new OffsetRead(offset), failure: e => new Stopped(run, e));
                break;
            case OffsetRead read:
                Start(read.Offset);
                break;
            case Rebuild:
                _rebuildFor = Sender;
                if (_stream is null)
                {
                    Truncate();
                }
                else
                {
                    _stream.Shutdown();
                }

                break;
            case Truncated truncated:
                truncated.ReplyTo.Tell(new RebuildStarted());
                Self.Tell(Begin.Instance);
                break;
            case Stopped stopped when stopped.Run == _run:
                _run++;
                _stream = null;
                if (_rebuildFor is not null)
                {
                    Truncate();
                    break;
                }

                _log.Warning(stopped.Cause, "the projection stopped; it goes on from its offset");
                Timers.StartSingleTimer(Begin.Instance, Begin.Instance, RestartAfter);
                break;
            case Stopped:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Truncate()
    {
        var (replyTo, run) = (_rebuildFor!, _run);
        _rebuildFor = null;
        _writer.TruncateAsync(CancellationToken.None).PipeTo(Self, success: () => new Truncated(replyTo), failure: e => new Stopped(run, e));
    }

    private void Start(long offset)
    {
        var journal = PersistenceQuery.Get(Context.System).ReadJournalFor<SqlReadJournal>(SqlReadJournal.Identifier);
        var fold = new Fold(_writer, _signal, journal, _materializer, offset);
        var (stream, done) = journal.AllEvents(Offset.Sequence(offset))
            .ViaMaterialized(KillSwitches.Single<EventEnvelope>(), Keep.Right)
            .BatchWeighted(MaxWeight, Weight, first => new List<EventEnvelope> { first }, (batch, next) =>
            {
                batch.Add(next);
                return batch;
            })
            .SelectAsync(1, fold.WriteAsync)
            .ToMaterialized(Sink.Ignore<NotUsed>(), Keep.Both)
            .Run(_materializer);
        _stream = stream;
        var run = _run;
        done.PipeTo(Self, success: _ => new Stopped(run, null), failure: e => new Stopped(run, e));
    }

    private static long Weight(EventEnvelope envelope) => EventWeight + (envelope.Event as SweepRecord)?.Event switch
    {
        SweepEvent.PlanGrown grown => grown.Jobs.Length,
        SweepEvent.AttemptsEnded ended => ended.Attempts.Length,
        _ => 0,
    };

    /// <summary>One run of the stream: the sweeps it has folded, and where it is.</summary>
    private sealed class Fold(ProjectionWriter writer, ProjectionSignal signal, SqlReadJournal journal, IMaterializer materializer, long offset)
    {
        private readonly Dictionary<string, FoldedSweep> _sweeps = new(StringComparer.Ordinal);
        private long _offset = offset;

        public async Task<NotUsed> WriteAsync(List<EventEnvelope> batch)
        {
            var since = FarmTraces.IsOn ? DateTimeOffset.UtcNow : default;
            var touched = new HashSet<FoldedSweep>();
            foreach (var envelope in batch)
            {
                if (envelope.Event is not SweepRecord record)
                {
                    throw new InvalidOperationException($"the journal holds a {envelope.Event.GetType().Name} of {envelope.PersistenceId}");
                }

                var sweep = await FindAsync(record.Sweep, envelope);
                sweep.Apply(record.Event, envelope.SequenceNr);
                touched.Add(sweep);
            }

            var to = ((Sequence)batch[^1].Offset).Value;
            await writer.WriteAsync(touched, _offset, to, CancellationToken.None);
            _offset = to;
            if (FarmTraces.IsOn)
            {
                foreach (var sweep in touched)
                {
                    FarmTraces.Projected(sweep.State.Submission!, batch.Count(e => ((SweepRecord)e.Event).Sweep == sweep.Id), since, DateTimeOffset.UtcNow);
                }
            }

            foreach (var sweep in touched.Where(s => s.State.IsEnded))
            {
                // A retry reads it again; a farm's thousands of ended sweeps need not stay in memory for that.
                _sweeps.Remove(sweep.Id);
            }

            signal.Committed();
            return NotUsed.Instance;
        }

        private async Task<FoldedSweep> FindAsync(string id, EventEnvelope envelope)
        {
            if (_sweeps.TryGetValue(id, out var known) && known.SequenceNr == envelope.SequenceNr - 1)
            {
                return known;
            }

            var sweep = new FoldedSweep(id);
            if (envelope.SequenceNr > 1)
            {
                await journal.CurrentEventsByPersistenceId(envelope.PersistenceId, 0, envelope.SequenceNr - 1)
                    .RunForeach(e => sweep.Apply(((SweepRecord)e.Event).Event, e.SequenceNr), materializer);
                sweep.Written();
            }

            _sweeps[id] = sweep;
            return sweep;
        }
    }
}
