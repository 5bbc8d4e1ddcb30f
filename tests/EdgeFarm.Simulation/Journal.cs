using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Simulation;

/// <summary>What survives every crash: the sweeps' events, the result cache, the dispatcher's number.</summary>
internal sealed class Journal(World world, Rng rng)
{
    private readonly Dictionary<string, List<SweepEvent>> _events = [];

    public Dictionary<Digest, JobOutcome> Cache { get; } = [];

    public long DispatcherEpoch { get; set; }

    /// <summary>The sweeps as their durable events alone tell them; what everything else is checked against.</summary>
    public Dictionary<string, SweepState> Durable { get; } = [];

    public IReadOnlyList<SweepEvent> Read(string sweep) => _events.TryGetValue(sweep, out var events) ? [.. events] : [];

    public SweepState? Find(string sweep) => Durable.GetValueOrDefault(sweep);

    /// <summary>
    /// Writes events after those that the writer has read; all or none. It may be slow or fail, and a failure may come after the
    /// write has happened. A writer that is not up to date is refused.
    /// </summary>
    public void Write(string sweep, int expected, IReadOnlyList<SweepEvent> events, Action<bool> done)
    {
        var slow = world.IsChaos && rng.Chance(0.05);
        var fails = world.IsChaos && rng.Chance(0.03);
        var lost = fails && rng.Chance(0.5);
        world.Scheduler.After(rng.Delay(1, slow ? 8000 : 20), () =>
        {
            var stored = _events.TryGetValue(sweep, out var all) ? all : _events[sweep] = [];
            var accepted = stored.Count == expected && (!fails || lost);
            if (accepted)
            {
                stored.AddRange(events);
                if (!Durable.TryGetValue(sweep, out var state))
                {
                    Durable.Add(sweep, state = new SweepState(sweep));
                }

                foreach (var happened in events)
                {
                    world.Log?.Invoke($"journal  {sweep}: {Describe.Event(happened)}");
                    world.Invariants.BeforeStored(state, happened);
                    state.Apply(happened);
                    world.Invariants.AfterStored(state, happened);
                }
            }
            else
            {
                world.Log?.Invoke($"journal  {sweep}: write of {events.Count} refused or failed");
            }

            world.Scheduler.After(rng.Delay(0.1, 5), () => done(accepted && !fails));
        });
    }
}
