using Akka.Actor;
using Akka.Cluster.Sharding;

namespace EdgeFarm.Actors.Sweeps;

/// <summary>Key of the entity parent of all sweeps in the actor registry: in the embedded farm this actor, in a cluster a shard region.</summary>
public sealed class SweepsKey;

/// <summary>
/// Reaches sweeps by id and makes their actors on demand, as a shard region does. It also speaks a region's passivation protocol:
/// what comes while a sweep stops is kept and makes it start again.
/// </summary>
internal sealed class SweepsActor : UntypedActor
{
    private readonly SweepServices _services;
    private readonly Dictionary<IActorRef, (string Id, List<(object Message, IActorRef Sender)> Kept)> _stopping = [];
    private readonly Dictionary<string, IActorRef> _sweeps = new(StringComparer.Ordinal);

    public SweepsActor(SweepServices services) => _services = services;

    public static Props Props(SweepServices services) => Akka.Actor.Props.Create(() => new SweepsActor(services));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ISweepMessage m:
                var sweep = Find(m.SweepId);
                if (_stopping.TryGetValue(sweep, out var stopping))
                {
                    stopping.Kept.Add((m, Sender));
                }
                else
                {
                    sweep.Forward(m);
                }

                break;
            case Passivate passivate:
                if (_stopping.TryAdd(Sender, (IdOf(Sender), [])))
                {
                    Sender.Tell(passivate.StopMessage);
                }

                break;
            case Terminated dead:
                _sweeps.Remove(IdOf(dead.ActorRef));
                if (_stopping.Remove(dead.ActorRef, out var gone))
                {
                    foreach (var (kept, sender) in gone.Kept)
                    {
                        Find(gone.Id).Tell(kept, sender);
                    }
                }

                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // The default restarts a failing child for ever and at once; a stopped sweep is woken by the dispatcher's next round instead.
    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(_ => Directive.Stop);

    private IActorRef Find(string id)
    {
        if (!_sweeps.TryGetValue(id, out var sweep))
        {
            sweep = Context.ActorOf(SweepActor.Props(id, _services), Uri.EscapeDataString(id));
            Context.Watch(sweep);
            _sweeps.Add(id, sweep);
        }

        return sweep;
    }

    private static string IdOf(IActorRef sweep) => Uri.UnescapeDataString(sweep.Path.Name);
}
