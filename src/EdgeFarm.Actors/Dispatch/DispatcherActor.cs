using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Dispatch;

/// <summary>Key of the dispatcher's proxy in the actor registry: in the embedded farm the dispatcher, in a cluster a singleton proxy.</summary>
public sealed class DispatcherKey;

/// <summary>What the dispatcher works with.</summary>
/// <param name="Sweeps">The entity parent of all sweeps; a function, because sweeps and dispatcher know each other.</param>
/// <param name="Limits">Time limits.</param>
/// <param name="Classes">Device classes, most specific first.</param>
/// <param name="BeginEpoch">Begins an epoch: its first fence is greater than every fence of the epochs before.</param>
/// <param name="Unfinished">Ids of the sweeps that have not ended.</param>
/// <param name="Observe">Told now and then how the fleet is, for metrics.</param>
/// <param name="Time">The clock.</param>
/// <param name="Node">Told that the dispatcher lives in this process.</param>
internal sealed record DispatcherServices(
    Func<IActorRef> Sweeps,
    DispatchLimits Limits,
    ImmutableArray<DeviceClass> Classes,
    Func<CancellationToken, Task<long>> BeginEpoch,
    Func<CancellationToken, Task<ImmutableArray<string>>> Unfinished,
    Action<FleetView> Observe,
    TimeProvider Time,
    NodeActivity Node);

/// <summary>
/// Carries inputs to <see cref="DispatchState"/> and effects to links and sweeps. Its queue lives in memory, so when it starts it
/// wakes every unfinished sweep, which hands it what is ready; that also revives the sweeps themselves after a restart. It goes on
/// waking them now and then, which brings back a sweep whose actor stopped (its journal could not be written, its node died).
/// </summary>
#pragma warning disable CA1001 // An actor ends with PostStop, which disposes what it owns.
internal sealed class DispatcherActor : UntypedActor, IWithTimers, IWithStash
#pragma warning restore CA1001
{
    private static readonly TimeSpan TickInterval = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan WakeInterval = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    /// <summary>How long after the first waking the sweeps have to queue what is ready, before the demand is told: too little would stop workers.</summary>
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(3);

    private sealed class Tick : INotInfluenceReceiveTimeout, INoSerializationVerificationNeeded
    {
        public static readonly Tick Instance = new();
    }

    private sealed class Wake : INotInfluenceReceiveTimeout, INoSerializationVerificationNeeded
    {
        public static readonly Wake Instance = new();
    }

    private sealed class Begin : INotInfluenceReceiveTimeout, INoSerializationVerificationNeeded
    {
        public static readonly Begin Instance = new();
    }

    private sealed record Begun(long Fence) : INoSerializationVerificationNeeded;

    private sealed record Unfinished(ImmutableArray<string> Sweeps) : INoSerializationVerificationNeeded;

    private sealed record Failed(string What, Exception Cause, TimeSpan Again, object Message) : INoSerializationVerificationNeeded;

    private sealed record LinkDied(string Link) : INoSerializationVerificationNeeded;

    private readonly DispatcherServices _services;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Dictionary<string, IActorRef> _links = new(StringComparer.Ordinal);
    private readonly string _epoch = Guid.NewGuid().ToString("N");
    private readonly CancellationTokenSource _stopping = new();
    private DispatchState _state = null!;
    private DateTimeOffset? _settledAt;

    public DispatcherActor(DispatcherServices services) => _services = services;

    public ITimerScheduler Timers { get; set; } = null!;

    public IStash Stash { get; set; } = null!;

    public static Props Props(DispatcherServices services) => Akka.Actor.Props.Create(() => new DispatcherActor(services));

    protected override void PreStart()
    {
        _services.Node.HasDispatcher = true;
        _log.Info("the dispatcher starts here");
        Self.Tell(Begin.Instance);
    }

    protected override void PostStop()
    {
        _services.Node.HasDispatcher = false;
        _stopping.Cancel();
        _stopping.Dispose();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case Begin:
                Pipe(_services.BeginEpoch, fence => new Begun(fence), "no epoch of fences could be begun", message);
                break;
            case Begun begun:
                _state = new DispatchState(_services.Limits, _services.Classes, begun.Fence);
                Become(Ready);
                Timers.StartPeriodicTimer(Tick.Instance, Tick.Instance, TickInterval);
                Self.Tell(Wake.Instance);
                Stash.UnstashAll();
                break;
            case Failed failed:
                Retry(failed);
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    private void Ready(object message)
    {
        switch (message)
        {
            case DispatchMessages.Tell { Input: DispatchInput.WorkerLinked linked }:
                _links[linked.Link] = Sender;
                Context.WatchWith(Sender, new LinkDied(linked.Link));
                Handle(linked);
                break;
            case DispatchMessages.Tell tell when LinkOf(tell.Input) is { } link && !_links.ContainsKey(link):
                // Opened under an earlier life of the dispatcher: the worker links again and says what it holds.
                Sender.Tell(new LinkTell(link, new DispatchEffect.CloseLink(link, "the dispatcher started anew")));
                break;
            case DispatchMessages.Tell { Input: DispatchInput.LinkLost lost }:
                Handle(lost);
                Close(lost.Link, new DispatchEffect.CloseLink(lost.Link, "its stream ended"));
                break;
            case DispatchMessages.Tell tell:
                Handle(tell.Input);
                break;
            case Tick:
                Handle(new DispatchInput.Tick());
                _services.Observe(_state.View(Now));
                break;
            case LinkDied died:
                if (_links.Remove(died.Link))
                {
                    Handle(new DispatchInput.LinkLost(died.Link));
                }

                break;
            case DispatchMessages.GetFleet:
                Sender.Tell(new FleetReply(_state.View(Now)));
                break;
            case DispatchMessages.GetDemand demand:
                Sender.Tell(new DemandReply(_settledAt <= Now ? _state.Demand(demand.Templates) : null));
                break;
            case DispatchMessages.ExplainWait explain:
                Sender.Tell(new WaitExplained(_state.Explain(explain.JobId, Now)));
                break;
            case Wake:
                Pipe(_services.Unfinished, sweeps => new Unfinished(sweeps), "the unfinished sweeps could not be listed", message);
                break;
            case Unfinished unfinished:
                _settledAt ??= Now + (SettleTime > _services.Limits.AdoptOnly ? SettleTime : _services.Limits.AdoptOnly);
                foreach (var sweep in unfinished.Sweeps)
                {
                    _services.Sweeps().Tell(new SweepMessages.Wake(sweep, _epoch, _state.JobsBySweep.GetValueOrDefault(sweep)), ActorRefs.NoSender);
                }

                Timers.StartSingleTimer(Wake.Instance, Wake.Instance, WakeInterval);
                break;
            case Failed failed:
                Retry(failed);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private static string? LinkOf(DispatchInput input) => input switch
    {
        DispatchInput.CreditAnnounced i => i.Link,
        DispatchInput.LinkLost i => i.Link,
        DispatchInput.WorkerDraining i => i.Link,
        DispatchInput.LeaseReturned i => i.Link,
        DispatchInput.ResultReported i => i.Link,
        _ => null,
    };

    private DateTimeOffset Now => _services.Time.GetUtcNow();

    private void Handle(DispatchInput input)
    {
        List<DispatchEffect.Report>? reports = null;
        foreach (var effect in _state.Handle(input, Now))
        {
            switch (effect)
            {
                case DispatchEffect.SendLease e:
                    ToLink(e.Link, FarmTraces.Leased(e, Now));
                    break;
                case DispatchEffect.SendRevoke e:
                    ToLink(e.Link, e);
                    break;
                case DispatchEffect.SendAcknowledge e:
                    ToLink(e.Link, e);
                    break;
                case DispatchEffect.CloseLink e:
                    Close(e.Link, e);
                    break;
                case DispatchEffect.RefuseLink e:
                    Close(e.Link, e);
                    break;
                case DispatchEffect.Report e:
                    (reports ??= []).Add(e);
                    break;
                case DispatchEffect.NotifyStarted e:
                    ToSweep(new SweepMessages.Started(e.Sweep, e.Key, e.Worker, e.Device));
                    break;
                case DispatchEffect.NotifyRequeued e:
                    ToSweep(new SweepMessages.Requeued(e.Sweep, e.JobId, e.Reason));
                    break;
                case DispatchEffect.NotifyDeviceLost e:
                    ToSweep(new SweepMessages.Execute(e.Sweep, new SweepCommand.DeviceLost(e.Group, e.Device)));
                    break;
                default:
                    throw new InvalidOperationException($"unknown dispatch effect {effect.GetType().Name}");
            }
        }

        foreach (var sweep in reports?.GroupBy(r => r.Sweep) ?? [])
        {
            ToSweep(new SweepMessages.Execute(sweep.Key, new SweepCommand.Report([.. sweep.Select(r => r.JobReport)])));
        }
    }

    private void ToLink(string link, DispatchEffect effect)
    {
        if (_links.TryGetValue(link, out var actor))
        {
            actor.Tell(new LinkTell(link, effect), Self);
        }
    }

    private void Close(string link, DispatchEffect effect)
    {
        ToLink(link, effect);
        if (_links.Remove(link, out var closed))
        {
            Context.Unwatch(closed);
        }
    }

    private void ToSweep(ISweepMessage message) => _services.Sweeps().Tell(message, ActorRefs.NoSender);

    private void Pipe<T>(Func<CancellationToken, Task<T>> ask, Func<T, object> success, string what, object message) =>
        ask(_stopping.Token).PipeTo(Self, success: success, failure: e => new Failed(what, e, RetryInterval, message));

    private void Retry(Failed failed)
    {
        _log.Warning(failed.Cause, "{0}; trying again in {1} s", failed.What, failed.Again.TotalSeconds);
        Timers.StartSingleTimer(failed.Message, failed.Message, failed.Again);
    }
}
