using System.Threading.Channels;
using Akka.Actor;
using Akka.Event;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Dispatch;
using Link = EdgeFarm.Contracts.Link.V1;

namespace EdgeFarm.Actors.Workers;

/// <summary>Key of the parent of the links in the actor registry; every coordinator has its own.</summary>
public sealed class WorkerLinksKey;

/// <summary>A worker's stream opened; answered with the link's actor.</summary>
/// <param name="Id">Id of the link; never used again.</param>
/// <param name="Hello">The worker's first message.</param>
/// <param name="Out">Where the coordinator's messages go; completing it ends the stream.</param>
internal sealed record OpenLink(string Id, Link.Hello Hello, ChannelWriter<Link.CoordinatorMessage> Out) : INoSerializationVerificationNeeded;

/// <summary>The actor of a link.</summary>
internal sealed record LinkOpened(IActorRef Link) : INoSerializationVerificationNeeded;

/// <summary>One message of a worker.</summary>
internal sealed record FromWorker(Link.WorkerMessage Message) : INoSerializationVerificationNeeded;

/// <summary>A worker's stream ended.</summary>
internal sealed record LinkEnded : INoSerializationVerificationNeeded
{
    public static readonly LinkEnded Instance = new();
}

/// <summary>Makes an actor per link. A link that fails is closed, never restarted: the worker opens a new one.</summary>
internal sealed class WorkerLinksActor(IActorRef dispatcher, IActorRef sweeps) : UntypedActor
{
    public static Props Props(IActorRef dispatcher, IActorRef sweeps) => Akka.Actor.Props.Create(() => new WorkerLinksActor(dispatcher, sweeps));

    protected override void OnReceive(object message)
    {
        if (message is OpenLink open)
        {
            Sender.Tell(new LinkOpened(Context.ActorOf(WorkerLinkActor.Props(open, dispatcher, sweeps), open.Id)));
        }
        else
        {
            Unhandled(message);
        }
    }

    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(_ => Directive.Stop);
}

/// <summary>
/// The coordinator's end of one worker's stream: the worker's messages to the dispatcher, the dispatcher's to the worker. It ends
/// with the stream, and the dispatcher sees it end.
/// </summary>
internal sealed class WorkerLinkActor : UntypedActor, IWithTimers
{
    private static readonly TimeSpan FarewellLimit = TimeSpan.FromSeconds(2);

    /// <summary>The dispatcher did not confirm the end in time.</summary>
    private sealed class Leave : INotInfluenceReceiveTimeout, INoSerializationVerificationNeeded
    {
        public static readonly Leave Instance = new();
    }

    private sealed class Ping : INotInfluenceReceiveTimeout, INoSerializationVerificationNeeded
    {
        public static readonly Ping Instance = new();
    }

    private readonly OpenLink _open;
    private readonly IActorRef _dispatcher;
    private readonly IActorRef _sweeps;
    private readonly ILoggingAdapter _log = Context.GetLogger();

    public WorkerLinkActor(OpenLink open, IActorRef dispatcher, IActorRef sweeps)
    {
        (_open, _dispatcher, _sweeps) = (open, dispatcher, sweeps);
        SetReceiveTimeout(LinkProtocol.SilenceLimit);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(OpenLink open, IActorRef dispatcher, IActorRef sweeps) =>
        Akka.Actor.Props.Create(() => new WorkerLinkActor(open, dispatcher, sweeps));

    protected override void PreStart()
    {
        _log.Info("worker {0} linked as {1}", _open.Hello.Worker, _open.Id);
        Timers.StartPeriodicTimer(Ping.Instance, Ping.Instance, LinkProtocol.PingInterval);
        ToDispatcher(new DispatchInput.WorkerLinked(
            _open.Id, _open.Hello.Session, LinkMapping.Capability(_open.Hello), LinkMapping.Held(_open.Hello)));
    }

    protected override void PostStop()
    {
        _open.Out.TryComplete();
        _log.Info("link {0} of worker {1} ended", _open.Id, _open.Hello.Worker);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case FromWorker from:
                Receive(from.Message);
                break;
            case LinkTell tell:
                Send(tell.Effect);
                break;
            case Ping:
                Send(new Link.CoordinatorMessage { Ping = new Link.Ping() });
                break;
            case LinkEnded:
                // A stopping worker's last messages pass the dispatcher's proxy, which the news of this actor's end would overtake: what the
                // worker handed back would be lost. The dispatcher closes the link when it has read them.
                ToDispatcher(new DispatchInput.LinkLost(_open.Id));
                Timers.StartSingleTimer(Leave.Instance, Leave.Instance, FarewellLimit);
                break;
            case Leave:
                Context.Stop(Self);
                break;
            case ReceiveTimeout:
                _log.Warning("worker {0} was silent for {1:0} s; its link is closed", _open.Hello.Worker, LinkProtocol.SilenceLimit.TotalSeconds);
                Context.Stop(Self);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Receive(Link.WorkerMessage message)
    {
        switch (message.BodyCase)
        {
            case Link.WorkerMessage.BodyOneofCase.Credit:
                var credit = message.Credit;
                ToDispatcher(new DispatchInput.CreditAnnounced(
                    _open.Id, new WorkerCredit((int)Math.Min(credit.Shared, int.MaxValue), credit.Exclusive, credit.Sequence)));
                break;
            case Link.WorkerMessage.BodyOneofCase.Progress:
                foreach (var attempt in message.Progress.Attempts)
                {
                    _sweeps.Tell(
                        new SweepMessages.Progressed(attempt.Sweep, LinkMapping.ToCore(attempt.Key), attempt.Fraction, attempt.Text),
                        ActorRefs.NoSender);
                }

                break;
            case Link.WorkerMessage.BodyOneofCase.Result:
                var result = message.Result;
                ToDispatcher(new DispatchInput.ResultReported(
                    _open.Id,
                    result.Sweep,
                    LinkMapping.ToCore(result.Key),
                    LinkMapping.ToCore(result.Outcome),
                    result.DeviceId,
                    LinkMapping.ToDigest(result.Action)));
                break;
            case Link.WorkerMessage.BodyOneofCase.Return:
                ToDispatcher(new DispatchInput.LeaseReturned(_open.Id, LinkMapping.ToCore(message.Return.Key)));
                break;
            case Link.WorkerMessage.BodyOneofCase.Draining:
                ToDispatcher(new DispatchInput.WorkerDraining(_open.Id));
                break;
            case Link.WorkerMessage.BodyOneofCase.Ping:
            case Link.WorkerMessage.BodyOneofCase.None:
                // None: a message of a later version; a coordinator serves workers that know more than it does.
                break;
            default:
                throw new LinkProtocolException($"{message.BodyCase} is not expected here");
        }
    }

    private void Send(DispatchEffect effect)
    {
        switch (effect)
        {
            case DispatchEffect.SendLease e:
                Send(new Link.CoordinatorMessage { Lease = LinkMapping.ToLink(e.Lease, e.Sequence) });
                break;
            case DispatchEffect.SendRevoke e:
                Send(new Link.CoordinatorMessage { Revoke = new Link.Revoke { Key = LinkMapping.ToLink(e.Key), Reason = e.Reason } });
                break;
            case DispatchEffect.SendAcknowledge e:
                Send(new Link.CoordinatorMessage { Acknowledge = new Link.Acknowledge { Key = LinkMapping.ToLink(e.Key) } });
                break;
            case DispatchEffect.CloseLink e:
                _log.Info("link {0} is closed: {1}", _open.Id, e.Reason);
                Context.Stop(Self);
                break;
            case DispatchEffect.RefuseLink e:
                _log.Warning("link {0} is refused: {1}", _open.Id, e.Reason);
                _open.Out.TryComplete(new LinkRefusedException(e.Reason));
                Context.Stop(Self);
                break;
            default:
                throw new InvalidOperationException($"a link cannot carry {effect.GetType().Name}");
        }
    }

    private void Send(Link.CoordinatorMessage message) => _open.Out.TryWrite(message);

    private void ToDispatcher(DispatchInput input) => _dispatcher.Tell(new DispatchMessages.Tell(input), Self);
}
