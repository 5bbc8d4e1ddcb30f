using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Simulation;

/// <summary>A child process of a worker.</summary>
internal sealed record Child(Lease Lease, DateTimeOffset Since);

/// <summary>Carries inputs to a <see cref="WorkerState"/> and its effects away, as the worker does; its disk outlives it.</summary>
internal sealed class WorkerProcess(World world, WorkerPlan plan, Rng rng)
{
    private readonly SortedDictionary<long, PendingResult> _disk = [];
    private readonly Dictionary<AttemptKey, Child> _children = [];
    private WorkerState _state = new(1, []);
    private Link? _link;
    private int _incarnation;
    private int _links;
    private bool _isAlive;
    private bool _hasLeft;
    private DateTimeOffset _frozenUntil;

    public WorkerPlan Plan { get; } = plan;

    public string Name => Plan.Capability.Worker;

    public LocalClock Clock { get; } = new(world);

    /// <summary>Results on its disk that were not acknowledged.</summary>
    public IEnumerable<PendingResult> Disk => _disk.Values;

    public IReadOnlyCollection<Child> Children => _children.Values;

    public bool HasLeft => _hasLeft;

    public void Start()
    {
        _isAlive = true;
        _state = new WorkerState(Plan.Capability.Slots, world.Mutation.Kept([.. _disk.Values]));
        world.Log?.Invoke($"worker {Name} starts with {_disk.Count} results");
        var incarnation = _incarnation;
        world.Scheduler.After(rng.Delay(10, 500), () => Connect(incarnation));
        Tick(incarnation);
    }

    public void Crash()
    {
        if (!_isAlive)
        {
            return;
        }

        world.Log?.Invoke($"CRASH of worker {Name}");
        world.Crashes++;
        Halt();
        world.Scheduler.After(rng.Delay(500, 20_000), Restart);
    }

    /// <summary>Goes for good.</summary>
    public void Leave()
    {
        world.Log?.Invoke($"worker {Name} leaves");
        _hasLeft = true;
        Halt();
    }

    public void Restart()
    {
        if (!_isAlive && !_hasLeft)
        {
            Start();
        }
    }

    public void BreakLink()
    {
        world.Log?.Invoke($"link of {Name} breaks");
        _link?.Break();
    }

    /// <summary>It does nothing for a while, as a laptop that sleeps; its children go on.</summary>
    public void Freeze(TimeSpan duration) => _frozenUntil = world.Scheduler.Now + duration;

    public void Drain(TimeSpan grace) => Handle(new WorkerInput.DrainRequested(Clock.Now + grace));

    public void LinkDown(Link link)
    {
        if (_link == link)
        {
            _link = null;
            var incarnation = _incarnation;
            Handle(new WorkerInput.LinkDown(link.Id));
            world.Scheduler.After(rng.Delay(100, 3000), () => Connect(incarnation));
        }
    }

    public void Receive(Link link, WorkerInput input)
    {
        if (_link == link)
        {
            Handle(input);
        }
    }

    private void Halt()
    {
        _isAlive = false;
        _incarnation++;
        _children.Clear();
        _link?.Break();
        _link = null;
    }

    private void Connect(int incarnation)
    {
        if (incarnation != _incarnation || _link is not null)
        {
            return;
        }

        if (world.Scheduler.Now < _frozenUntil || world.Dispatcher is not { IsAlive: true } dispatcher)
        {
            world.Scheduler.After(rng.Delay(200, 2000), () => Connect(incarnation));
            return;
        }

        _link = new Link(world, $"{Name}.{++_links}", this, dispatcher, rng.Split());
        dispatcher.Open(_link);
        Handle(new WorkerInput.LinkUp(_link.Id));
    }

    private void Tick(int incarnation)
    {
        if (incarnation == _incarnation)
        {
            Handle(new WorkerInput.Tick());
            world.Scheduler.After(TimeSpan.FromSeconds(2), () => Tick(incarnation));
        }
    }

    private void Handle(WorkerInput input)
    {
        var incarnation = _incarnation;
        if (world.Scheduler.Now < _frozenUntil)
        {
            world.Scheduler.At(_frozenUntil, () =>
            {
                if (incarnation == _incarnation)
                {
                    Handle(input);
                }
            });
            return;
        }

        if (!_isAlive)
        {
            return;
        }

        var effects = _state.Handle(input, Clock.Now);
        world.Invariants.AfterWorker(this, _state, input, effects);
        world.Perform(effects, () => _isAlive && incarnation == _incarnation, Perform, Crash, rng);
    }

    private void Perform(WorkerEffect effect)
    {
        if (effect is not WorkerEffect.SendCredit)
        {
            world.Log?.Invoke($"{Name,-8} {Describe.Effect(effect)}");
        }

        switch (effect)
        {
            case WorkerEffect.SendHello hello:
                _link?.SendUp(new DispatchInput.WorkerLinked(hello.Link, $"{Name}/{_incarnation}", Plan.Capability, hello.Held));
                break;
            case WorkerEffect.SendCredit credit:
                _link?.SendUp(new DispatchInput.CreditAnnounced(credit.Link, credit.Credit));
                break;
            case WorkerEffect.SendDraining draining:
                _link?.SendUp(new DispatchInput.WorkerDraining(draining.Link));
                break;
            case WorkerEffect.SendReturn returned:
                _link?.SendUp(new DispatchInput.LeaseReturned(returned.Link, returned.Key));
                break;
            case WorkerEffect.SendResult result:
                var lease = result.Result.Lease;
                _link?.SendUp(new DispatchInput.ResultReported(
                    result.Link, lease.Sweep, lease.Key, result.Result.Outcome, lease.DeviceId, lease.Job.Action));
                break;
            case WorkerEffect.Start start:
                StartChild(start.Lease);
                break;
            case WorkerEffect.Kill kill:
                var kills = _incarnation;
                world.Scheduler.After(rng.Delay(5, 2000), () => EndChild(kills, kill.Key, Failed(kill.Key, FailureType.Cancelled)));
                break;
            case WorkerEffect.KeepResult keep:
                var keeps = _incarnation;
                world.Scheduler.After(rng.Delay(0.5, 200), () => Keep(keeps, keep.Result));
                break;
            case WorkerEffect.ForgetResult forget:
                world.Invariants.Forgotten(_disk[forget.Key.Fence]);
                _disk.Remove(forget.Key.Fence);
                break;
            case WorkerEffect.Drained:
                world.Log?.Invoke($"worker {Name} exits");
                Halt();
                world.Scheduler.After(rng.Delay(500, 10_000), Restart);
                break;
            default:
                throw new InvalidOperationException($"unknown effect {effect}");
        }
    }

    private void Keep(int incarnation, PendingResult result)
    {
        if (incarnation == _incarnation)
        {
            _disk.Add(result.Lease.Fence, result);
            Handle(new WorkerInput.ResultKept(result.Lease.Key));
        }
    }

    private void StartChild(Lease lease)
    {
        world.Invariants.Starting(this, lease);
        _children.Add(lease.Key, new Child(lease, world.Scheduler.Now));
        var incarnation = _incarnation;
        var outcome = Outcome(lease);
        world.Scheduler.After(rng.Delay(300, 15_000), () => EndChild(incarnation, lease.Key, outcome(world.Scheduler.Now)));
    }

    private void EndChild(int incarnation, AttemptKey key, JobOutcome outcome)
    {
        if (incarnation == _incarnation && _children.Remove(key))
        {
            Handle(new WorkerInput.AttemptEnded(key, outcome));
        }
    }

    private Func<DateTimeOffset, JobOutcome> Outcome(Lease lease)
    {
        FailureType? type = rng.Int(0, 99) switch
        {
            < 3 => FailureType.Crashed,
            < 6 => FailureType.OutOfMemory,
            < 8 => FailureType.TimedOut,
            < 10 => FailureType.Internal,
            < 11 => FailureType.InvalidInput,
            _ => null,
        };
        if (type is { } failure)
        {
            return _ => Failed(lease.Key, failure);
        }

        var since = world.Scheduler.Now;
        var outputs = lease.Job.Spec.Outputs.ToImmutableSortedDictionary(
            o => o, o => new ArtifactRef(Digest.OfText($"{lease.Job.Action} {o}"), ArtifactKind.File, 1, "raw", o), StringComparer.Ordinal);
        var result = new JobResult
        {
            Outputs = outputs,
            Measurements = lease.Job.Spec.Kind == JobKind.Benchmark ? [new Measurement("latency", [1], "tool")] : [],
            Report = world.Invariants.Run(lease),
        };
        return now => new JobOutcome(result, null, default, since, now);
    }

    private JobOutcome Failed(AttemptKey key, FailureType type) =>
        new(null, new Failure(type, $"{type} of {Describe.Key(key)}"), default, world.Scheduler.Now, world.Scheduler.Now);
}
