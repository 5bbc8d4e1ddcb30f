using System.Threading.Channels;
using Akka.Actor;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Sweeps;

/// <summary>
/// One client's watch of one sweep, on the node that serves the client. It fills a bounded channel, so that a slow client costs no memory.
/// A client that falls behind by more gets nothing until there is room again, and then a snapshot in the place of what it missed. When the
/// sweep's actor moves or restarts, it watches again from the last number.
/// </summary>
internal sealed class WatcherActor : UntypedActor, IWithTimers
{
    /// <summary>Most of what is kept behind a snapshot before the client is behind again.</summary>
    private const int MaxKept = 4096;

    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan WatchAgainAfter = TimeSpan.FromMilliseconds(500);

    /// <summary>A call may be lost with the coordinator that it was sent to, so it is repeated until it is heard.</summary>
    private static readonly TimeSpan RepeatAfter = TimeSpan.FromSeconds(3);

    private sealed class WatchAgain : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly WatchAgain Instance = new();
    }

    private sealed class RoomAgain : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly RoomAgain Instance = new();
    }

    private readonly IActorRef _sweeps;
    private readonly string _sweep;
    private readonly ChannelWriter<SweepChange> _changes;

    /// <summary>
    /// Parts of a snapshot that found no room, and what came after it. They were in memory anyway; who gave them up for a new snapshot
    /// would never reach the end of a large sweep.
    /// </summary>
    private readonly Queue<SweepChange> _kept = new();
    private long? _last;
    private bool _behind;
    private bool _inSnapshot;
    private bool _isWaiting;

    public WatcherActor(IActorRef sweeps, string sweep, long? after, ChannelWriter<SweepChange> changes)
    {
        (_sweeps, _sweep, _last, _changes) = (sweeps, sweep, after, changes);
        SetReceiveTimeout(AnswerTimeout);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    /// <summary>A channel as watchers fill it.</summary>
    public static Channel<SweepChange> MakeChannel(int capacity = 1024) => Channel.CreateBounded<SweepChange>(
        new BoundedChannelOptions(capacity) { FullMode = BoundedChannelFullMode.Wait, SingleReader = true, SingleWriter = true });

    public static Props Props(IActorRef sweeps, string sweep, long? after, ChannelWriter<SweepChange> changes) =>
        Akka.Actor.Props.Create(() => new WatcherActor(sweeps, sweep, after, changes));

    protected override void PreStart() => Watch();

    protected override void PostStop() => _changes.TryComplete();

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case SweepChanged changed:
                SetReceiveTimeout(null);
                Timers.Cancel("watch");
                Context.Watch(Sender);
                Write(changed.Change);
                break;
            case RoomAgain:
                RoomIsAgain();
                break;
            case SweepReply { Failure: { } failure }:
                _changes.TryComplete(new FailureException(failure));
                Context.Stop(Self);
                break;
            case Terminated:
                Timers.StartSingleTimer("watch", WatchAgain.Instance, WatchAgainAfter);
                break;
            case WatchAgain:
                Watch();
                break;
            case ReceiveTimeout:
                _changes.TryComplete(new FarmUnavailableException($"sweep {_sweep} did not answer within {AnswerTimeout.TotalSeconds:0} s"));
                Context.Stop(Self);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Write(SweepChange change)
    {
        if (_behind && !(change.IsSnapshot && _last is null))
        {
            return;
        }

        // A part that is not the last of a snapshot has no number.
        var isPart = change.IsSnapshot || _inSnapshot;
        _inSnapshot = isPart && change.Sequence == 0;
        if (_kept.Count == 0 && _changes.TryWrite(change))
        {
            (_behind, _last) = (false, change.Sequence);
        }
        else if (isPart || (_kept.Count > 0 && _kept.Count < MaxKept))
        {
            (_behind, _last) = (false, change.Sequence);
            _kept.Enqueue(change);
            WaitForRoom();
        }
        else
        {
            // The rest of what is missed is in the snapshot that is asked for when the client has read something.
            _behind = true;
            _last = 0;
            WaitForRoom();
        }
    }

    private void WaitForRoom()
    {
        if (!_isWaiting)
        {
            _isWaiting = true;
            _changes.WaitToWriteAsync().AsTask().PipeTo(Self, success: _ => RoomAgain.Instance, failure: _ => RoomAgain.Instance);
        }
    }

    private void RoomIsAgain()
    {
        _isWaiting = false;
        while (_kept.TryPeek(out var next) && _changes.TryWrite(next))
        {
            _kept.Dequeue();
        }

        if (_kept.Count > 0)
        {
            WaitForRoom();
        }
        else if (_behind)
        {
            _last = null;
            Watch();
        }
    }

    private void Watch()
    {
        if (_last is null)
        {
            SetReceiveTimeout(AnswerTimeout);
        }

        _sweeps.Tell(new SweepMessages.Watch(_sweep, _last));
        Timers.StartSingleTimer("watch", WatchAgain.Instance, RepeatAfter);
    }
}
