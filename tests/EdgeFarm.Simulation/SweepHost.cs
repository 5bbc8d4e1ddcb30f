using System.Collections.Immutable;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Simulation;

/// <summary>
/// Carries commands to a <see cref="SweepState"/>, its events to the journal and its effects away, as the sweep's actor does: one
/// write at a time; reports that arrive meanwhile are decided together.
/// </summary>
internal sealed class SweepHost(World world, Coordinator coordinator, SweepSubmission submission, Rng rng)
{
    private static readonly TimeSpan Resync = TimeSpan.FromSeconds(20);

    private readonly Queue<SweepCommand> _commands = [];
    private SweepState _state = new(submission.Id);
    private bool _isUp;
    private bool _isWriting;
    private int _read;

    public Coordinator Coordinator { get; } = coordinator;

    public bool IsAlive { get; private set; }

    public SweepState State => _state;

    public void Start()
    {
        IsAlive = true;
        world.Scheduler.After(rng.Delay(1, 500), Recover);
    }

    public void Stop()
    {
        world.Log?.Invoke($"sweep {submission.Id} stops");
        IsAlive = false;
    }

    public void Receive(SweepCommand command)
    {
        if (IsAlive)
        {
            _commands.Enqueue(command);
            Pump();
        }
    }

    public void Started(DispatchEffect.NotifyStarted started)
    {
        if (IsAlive && _isUp)
        {
            Perform(_state.Started(started.Key, started.Worker, started.Device, world.Scheduler.Now));
        }
    }

    public void Requeued(string job)
    {
        if (IsAlive && _isUp)
        {
            _state.Requeued(job);
        }
    }

    /// <summary>Another dispatcher took over: it knows nothing.</summary>
    public void DispatcherChanged()
    {
        if (IsAlive && _isUp)
        {
            Perform(_state.Recover());
        }
    }

    private void Recover()
    {
        if (!IsAlive)
        {
            return;
        }

        var events = world.Journal.Read(submission.Id);
        _state = new SweepState(submission.Id);
        var snapshotAt = rng.Int(0, events.Count);
        for (var i = 0; i < events.Count; i++)
        {
            if (i == snapshotAt)
            {
                _state = SweepState.FromSnapshot(_state.ToSnapshot());
            }

            _state.Replay(events[i]);
        }

        _read = events.Count;
        _isUp = true;
        world.Log?.Invoke($"sweep {submission.Id} is up on {Coordinator.Id} after {_read} events");
        Perform(world.Mutation.Recovered(_state.Recover()));
        world.Scheduler.After(Resync, Repeat);
        Pump();
    }

    /// <summary>Messages to the dispatcher may be lost, so what waits is told again now and then.</summary>
    private void Repeat()
    {
        if (IsAlive)
        {
            Perform(world.Mutation.Recovered(_state.Recover()));
            world.Scheduler.After(Resync, Repeat);
        }
    }

    private void Pump()
    {
        while (IsAlive && _isUp && !_isWriting && _commands.TryDequeue(out var command))
        {
            if (command is SweepCommand.Report report)
            {
                var reports = report.Reports.ToBuilder();
                while (_commands.TryPeek(out var next) && next is SweepCommand.Report more)
                {
                    reports.AddRange(more.Reports);
                    _commands.Dequeue();
                }

                command = new SweepCommand.Report(reports.ToImmutable());
            }

            Perform(world.Mutation.BeforeDurable(command));
            var decision = _state.Decide(command, world.Scheduler.Now);
            if (decision.Events.IsEmpty)
            {
                Perform(decision.Effects);
            }
            else
            {
                _isWriting = true;
                world.Journal.Write(submission.Id, _read, decision.Events, accepted => Written(decision, accepted));
            }
        }
    }

    private void Written(SweepDecision decision, bool accepted)
    {
        if (!IsAlive)
        {
            return;
        }

        if (!accepted)
        {
            // As a persistent actor does: it stops, and what is durable is read again.
            Stop();
            world.Scheduler.After(rng.Delay(10, 3000), world.Place);
            return;
        }

        _isWriting = false;
        _read += decision.Events.Length;
        var effects = ImmutableArray.CreateBuilder<SweepEffect>();
        foreach (var happened in decision.Events)
        {
            effects.AddRange(_state.Apply(happened));
        }

        effects.AddRange(decision.Effects);
        Perform(effects.ToImmutable());
        Pump();
    }

    private void Perform(ImmutableArray<SweepEffect> effects) => world.Perform(effects, () => IsAlive, Perform, Coordinator.Crash, rng);

    private void Perform(SweepEffect effect)
    {
        switch (effect)
        {
            case SweepEffect.AskCache ask:
                world.Scheduler.After(rng.Delay(0.5, 50), () => Answer(ask.Jobs));
                break;
            case SweepEffect.FillCache fill:
                foreach (var report in fill.Reports)
                {
                    world.Journal.Cache[report.Action] = report.Outcome;
                }

                break;
            case SweepEffect.Queue queue:
                Tell(new DispatchInput.JobsQueued(queue.Jobs));
                break;
            case SweepEffect.Withdraw withdraw:
                Tell(new DispatchInput.JobsWithdrawn(submission.Id, withdraw.JobIds));
                break;
            case SweepEffect.Acknowledge acknowledge:
                Tell(new DispatchInput.ResultsStored(submission.Id, acknowledge.Attempts));
                break;
            default:
                throw new InvalidOperationException($"unknown effect {effect}");
        }
    }

    private void Answer(ImmutableArray<QueuedJob> jobs)
    {
        var hits = jobs.Where(j => world.Journal.Cache.ContainsKey(j.Job.Action)).Select(j => new JobReport(
            j.Job.Spec.Id, j.Attempt, 0, world.Journal.Cache[j.Job.Action], "", null, "", true, j.Job.Action));
        Receive(new SweepCommand.CacheAnswered(
            [.. hits], [.. jobs.Where(j => !world.Journal.Cache.ContainsKey(j.Job.Action)).Select(j => j.Job.Spec.Id)]));
    }

    private void Tell(DispatchInput input)
    {
        if (world.Dispatcher is { IsAlive: true } dispatcher)
        {
            world.Send(Coordinator, dispatcher.Coordinator, () => dispatcher.Handle(input), rng);
        }
    }
}
