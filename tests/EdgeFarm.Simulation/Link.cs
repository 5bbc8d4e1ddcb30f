using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Simulation;

/// <summary>
/// A stream between a worker and the dispatcher: in order while it lasts. When it breaks, what is under way is lost, and the two
/// ends notice at different times, so that a worker may be back before its old link is known to be gone.
/// </summary>
internal sealed class Link(World world, string id, WorkerProcess worker, DispatcherHost dispatcher, Rng rng)
{
    private DateTimeOffset _lastUp;
    private DateTimeOffset _lastDown;
    private bool _broken;

    public string Id { get; } = id;

    /// <summary>To the dispatcher.</summary>
    public void SendUp(DispatchInput input)
    {
        _lastUp = Next(_lastUp);
        world.Scheduler.At(_lastUp, () => Deliver(() => dispatcher.Handle(input), input is not DispatchInput.WorkerLinked));
    }

    /// <summary>To the worker.</summary>
    public void SendDown(WorkerInput input)
    {
        _lastDown = Next(_lastDown);
        world.Scheduler.At(_lastDown, () => Deliver(() => worker.Receive(this, input), true));
    }

    public void Break()
    {
        if (_broken)
        {
            return;
        }

        _broken = true;
        world.Scheduler.After(Notice(), () => worker.LinkDown(this));
        world.Scheduler.After(Notice(), () => dispatcher.Handle(new DispatchInput.LinkLost(Id)));
    }

    private TimeSpan Notice() => rng.Delay(1, world.IsChaos && rng.Chance(0.3) ? 15_000 : 50);

    private DateTimeOffset Next(DateTimeOffset last)
    {
        var at = world.Scheduler.Now + rng.Delay(0.1, world.IsChaos && rng.Chance(0.03) ? 3000 : 10);
        return at > last ? at : last;
    }

    private void Deliver(Action deliver, bool mayDouble)
    {
        if (_broken)
        {
            return;
        }

        deliver();
        if (mayDouble && world.IsChaos && rng.Chance(0.01))
        {
            deliver();
        }
    }
}
