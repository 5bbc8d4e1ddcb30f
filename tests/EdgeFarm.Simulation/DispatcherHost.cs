using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Simulation;

/// <summary>Carries inputs to a <see cref="DispatchState"/> and its effects away, as the dispatcher's actor does.</summary>
internal sealed class DispatcherHost(World world, Coordinator coordinator, Rng rng)
{
    private readonly Dictionary<string, Link> _links = [];

    public Coordinator Coordinator { get; } = coordinator;

    public bool IsAlive { get; private set; }

    public LocalClock Clock { get; } = new(world);

    public DispatchState State { get; private set; } = null!;

    public void Start()
    {
        IsAlive = true;
        State = new DispatchState(world.Workload.Limits, DeviceClass.Defaults, (++world.Journal.DispatcherEpoch * 1_000_000) + 1);
        world.Log?.Invoke($"dispatcher {world.Journal.DispatcherEpoch} starts on {Coordinator.Id}");
        foreach (var sweep in world.LivingSweeps())
        {
            world.Send(Coordinator, sweep.Coordinator, sweep.DispatcherChanged, rng);
        }

        Tick();
    }

    public void Stop()
    {
        if (!IsAlive)
        {
            return;
        }

        world.Log?.Invoke("dispatcher stops");
        IsAlive = false;
        foreach (var link in _links.Values)
        {
            link.Break();
        }
    }

    /// <summary>A worker connects.</summary>
    public void Open(Link link) => _links.Add(link.Id, link);

    public void Handle(DispatchInput input)
    {
        if (!IsAlive)
        {
            return;
        }

        input = world.Mutation.Input(State, input);
        if (input is not DispatchInput.Tick)
        {
            world.Log?.Invoke($"dispatch {Describe.Input(input)}");
        }

        var effects = State.Handle(input, Clock.Now);
        world.Invariants.AfterDispatch(this);
        world.Perform(world.Mutation.Effects(State, effects), () => IsAlive, Perform, Coordinator.Crash, rng);
    }

    private void Tick()
    {
        if (IsAlive)
        {
            Handle(new DispatchInput.Tick());
            world.Scheduler.After(TimeSpan.FromSeconds(1), Tick);
        }
    }

    private void Perform(DispatchEffect effect)
    {
        world.Log?.Invoke($"             {Describe.Effect(effect)}");
        switch (effect)
        {
            case DispatchEffect.SendLease lease:
                world.Invariants.Given(lease.Lease);
                _links.GetValueOrDefault(lease.Link)?.SendDown(new WorkerInput.LeaseOffered(lease.Link, lease.Lease, lease.Sequence));
                break;
            case DispatchEffect.SendRevoke revoke:
                world.Invariants.Revoked(revoke.Key);
                _links.GetValueOrDefault(revoke.Link)?.SendDown(new WorkerInput.LeaseRevoked(revoke.Key, revoke.Reason));
                break;
            case DispatchEffect.SendAcknowledge acknowledge:
                _links.GetValueOrDefault(acknowledge.Link)?.SendDown(new WorkerInput.ResultAcknowledged(acknowledge.Key));
                break;
            case DispatchEffect.CloseLink close:
                _links.GetValueOrDefault(close.Link)?.Break();
                break;
            case DispatchEffect.RefuseLink refuse:
                _links.GetValueOrDefault(refuse.Link)?.Break();
                break;
            case DispatchEffect.Report report:
                world.Invariants.Reported(report.JobReport);
                Tell(report.Sweep, s => s.Receive(new SweepCommand.Report([report.JobReport])));
                break;
            case DispatchEffect.NotifyStarted started:
                Tell(started.Sweep, s => s.Started(started));
                break;
            case DispatchEffect.NotifyRequeued requeued:
                world.Invariants.Requeued(requeued.JobId);
                Tell(requeued.Sweep, s => s.Requeued(requeued.JobId));
                break;
            case DispatchEffect.NotifyDeviceLost lost:
                Tell(lost.Sweep, s => s.Receive(new SweepCommand.DeviceLost(lost.Group, lost.Device)));
                break;
            default:
                throw new InvalidOperationException($"unknown effect {effect}");
        }
    }

    private void Tell(string sweep, Action<SweepHost> tell)
    {
        if (world.Sweep(sweep) is { } host)
        {
            world.Send(Coordinator, host.Coordinator, () => tell(host), rng);
        }
    }
}
