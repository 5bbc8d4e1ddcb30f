using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Simulation;

/// <summary>Something that must never be is.</summary>
internal sealed class ViolationException(string message) : Exception(message);

/// <summary>How a simulation ended.</summary>
/// <param name="Seed">Its seed.</param>
/// <param name="Violation">What went wrong, or null.</param>
/// <param name="Elapsed">Virtual time.</param>
/// <param name="Steps">Actions run.</param>
/// <param name="Starts">Attempts started.</param>
/// <param name="Crashes">Processes that crashed.</param>
internal sealed record Verdict(ulong Seed, string? Violation, TimeSpan Elapsed, long Steps, int Starts, int Crashes);

/// <summary>
/// One simulation: coordinators, workers and a journal, driven by a seed through faults and then through a quiet phase in which
/// everything must end.
/// </summary>
internal sealed class World
{
    private static readonly TimeSpan Patience = TimeSpan.FromHours(2);

    private readonly Rng _rng;
    private readonly List<Coordinator> _coordinators;
    private readonly Dictionary<string, SweepHost> _sweeps = [];

    private World(ulong seed, Mutation mutation, Action<string>? log)
    {
        _rng = new Rng(seed);
        Mutation = mutation;
        Workload = new Workload(_rng.Split());
        Log = log is null ? null : line => log($"{Scheduler.Elapsed.TotalSeconds,9:0.000}  {line}");
        Journal = new Journal(this, _rng.Split());
        Invariants = new Invariants(this);
        _coordinators = [.. Enumerable.Range(0, Workload.Coordinators).Select(i => new Coordinator(this, $"c{i}", _rng.Split()))];
        Workers = [.. Workload.Workers.Select(w => new WorkerProcess(this, w, _rng.Split()))];
    }

    public Scheduler Scheduler { get; } = new();

    public Workload Workload { get; }

    public Mutation Mutation { get; }

    public Journal Journal { get; }

    public Invariants Invariants { get; }

    public Action<string>? Log { get; }

    /// <summary>Faults happen.</summary>
    public bool IsChaos { get; private set; } = true;

    public List<WorkerProcess> Workers { get; }

    /// <summary>The dispatcher, or null while no coordinator runs it.</summary>
    public DispatcherHost? Dispatcher { get; private set; }

    public int Crashes { get; set; }

    /// <summary>Runs one seed to its end.</summary>
    public static Verdict Run(ulong seed, Mutation? mutation = null, Action<string>? log = null)
    {
        var world = new World(seed, mutation ?? Mutation.None, log);
        string? violation = null;
        try
        {
            world.Play();
        }
        catch (ViolationException found)
        {
            violation = found.Message;
        }
        catch (Exception bug) when (bug is not OutOfMemoryException)
        {
            // A decider that throws is as wrong as one that decides wrongly.
            violation = bug.ToString();
        }

        if (violation is not null)
        {
            world.Log?.Invoke($"VIOLATION {violation}");
        }

        return new Verdict(seed, violation, world.Scheduler.Elapsed, world.Scheduler.Steps, world.Invariants.Starts, world.Crashes);
    }

    /// <summary>The running host of a sweep, or null.</summary>
    public SweepHost? Sweep(string id) => _sweeps.GetValueOrDefault(id) is { IsAlive: true } host ? host : null;

    public IEnumerable<SweepHost> LivingSweeps() => _sweeps.Values.Where(s => s.IsAlive);

    /// <summary>Runs effects one by one; the process may crash between any two.</summary>
    public void Perform<T>(IEnumerable<T> effects, Func<bool> isAlive, Action<T> perform, Action crash, Rng rng)
    {
        foreach (var effect in effects)
        {
            if (!isAlive())
            {
                return;
            }

            if (IsChaos && rng.Chance(0.002))
            {
                crash();
                return;
            }

            perform(effect);
        }
    }

    /// <summary>
    /// Sends between coordinators. On one coordinator messages are certain and in order; between two they may be lost, doubled or
    /// late while faults happen.
    /// </summary>
    public void Send(Coordinator from, Coordinator to, Action deliver, Rng rng)
    {
        if (from == to)
        {
            Scheduler.After(TimeSpan.Zero, deliver);
            return;
        }

        if (!IsChaos)
        {
            Scheduler.After(TimeSpan.FromMilliseconds(1), deliver);
            return;
        }

        if (!rng.Chance(0.02))
        {
            Scheduler.After(rng.Delay(0.2, rng.Chance(0.05) ? 5000 : 20), deliver);
        }

        if (rng.Chance(0.02))
        {
            Scheduler.After(rng.Delay(0.2, 5000), deliver);
        }
    }

    /// <summary>Finds a place for the dispatcher and for sweeps that have none.</summary>
    public void Place()
    {
        var alive = _coordinators.Where(c => c.IsAlive).ToList();
        if (alive.Count == 0)
        {
            return;
        }

        if (Dispatcher is not { IsAlive: true })
        {
            Dispatcher = new DispatcherHost(this, _rng.Pick(alive), _rng.Split());
            Dispatcher.Start();
        }

        foreach (var submission in Workload.Sweeps.Where(s => Sweep(s.Id) is null))
        {
            var host = new SweepHost(this, _rng.Pick(alive), submission, _rng.Split());
            _sweeps[submission.Id] = host;
            host.Start();
        }
    }

    private void Play()
    {
        Place();
        Workers.ForEach(w => w.Start());
        foreach (var submission in Workload.Sweeps)
        {
            new Client(this, submission, _rng.Split()).Start();
        }

        var chaos = TimeSpan.FromSeconds(_rng.Int(20, 120));
        new Faults(this, _coordinators, _rng.Split()).Start(chaos);
        Scheduler.After(chaos, Calm);
        while (Scheduler.Step())
        {
            if (!IsChaos && Invariants.AllDone())
            {
                Invariants.AtEnd();
                return;
            }

            if (Scheduler.Elapsed > Patience)
            {
                throw new ViolationException($"not everything ended: {Invariants.Unfinished()}");
            }
        }
    }

    private void Calm()
    {
        Log?.Invoke("--- quiet phase");
        IsChaos = false;
        _coordinators.ForEach(c => c.Restart());
        Workers.ForEach(w => w.Restart());
        Replace();
    }

    /// <summary>Sweeps that stopped by themselves are started again.</summary>
    private void Replace()
    {
        Place();
        Scheduler.After(TimeSpan.FromSeconds(1), Replace);
    }
}

/// <summary>A coordinator: a process on which the dispatcher and sweeps live, and die with it.</summary>
internal sealed class Coordinator(World world, string id, Rng rng)
{
    public string Id { get; } = id;

    public bool IsAlive { get; private set; } = true;

    public void Crash()
    {
        if (!IsAlive)
        {
            return;
        }

        world.Log?.Invoke($"CRASH of coordinator {Id}");
        world.Crashes++;
        IsAlive = false;
        if (world.Dispatcher is { } dispatcher && dispatcher.Coordinator == this)
        {
            dispatcher.Stop();
        }

        foreach (var sweep in world.LivingSweeps().Where(s => s.Coordinator == this).ToList())
        {
            sweep.Stop();
        }

        world.Scheduler.After(rng.Delay(500, 6000), world.Place);
        world.Scheduler.After(rng.Delay(1000, 20_000), Restart);
    }

    public void Restart()
    {
        if (!IsAlive)
        {
            world.Log?.Invoke($"coordinator {Id} is back");
            IsAlive = true;
            world.Place();
        }
    }
}

/// <summary>What users do: submit, at times cancel, at times retry; each until it is done.</summary>
internal sealed class Client(World world, SweepSubmission submission, Rng rng)
{
    private readonly bool _cancels = rng.Chance(0.25);
    private readonly bool _retries = rng.Chance(0.4);

    public void Start()
    {
        world.Scheduler.After(rng.Delay(10, 20_000), Submit);
        if (_cancels)
        {
            world.Scheduler.After(rng.Delay(1000, 90_000), Cancel);
        }

        if (_retries)
        {
            world.Scheduler.After(rng.Delay(5000, 100_000), Retry);
        }
    }

    private void Submit()
    {
        // Asked of the sweep, not of the journal: a write of its dead predecessor may have come after it read.
        if (world.Sweep(submission.Id)?.State.Exists != true)
        {
            world.Sweep(submission.Id)?.Receive(new SweepCommand.Submit(submission));
            world.Scheduler.After(TimeSpan.FromSeconds(3), Submit);
        }
    }

    private void Cancel()
    {
        if (world.Journal.Find(submission.Id)?.IsEnded != true)
        {
            world.Sweep(submission.Id)?.Receive(new SweepCommand.Cancel("the user wished so"));
            world.Scheduler.After(TimeSpan.FromSeconds(3), Cancel);
        }
    }

    private void Retry() => world.Sweep(submission.Id)?.Receive(new SweepCommand.Retry(null));
}

/// <summary>Crashes, pauses, broken links and stopped clocks at random moments.</summary>
internal sealed class Faults(World world, List<Coordinator> coordinators, Rng rng)
{
    public void Start(TimeSpan chaos)
    {
        foreach (var worker in world.Workers.Where(w => w.Plan.Leaves))
        {
            world.Scheduler.After(chaos * 0.2, worker.Leave);
        }

        Next();
    }

    private void Next() => world.Scheduler.After(rng.Delay(200, 15_000), () =>
    {
        if (!world.IsChaos)
        {
            return;
        }

        var worker = rng.Pick(world.Workers);
        switch (rng.Int(0, 9))
        {
            case 0 or 1:
                worker.Crash();
                break;
            case 2 or 3:
                worker.BreakLink();
                break;
            case 4:
                worker.Freeze(rng.Delay(500, 30_000));
                break;
            case 5:
                worker.Clock.Stop(rng.Delay(500, 30_000));
                break;
            case 6:
                world.Dispatcher?.Clock.Stop(rng.Delay(500, 30_000));
                break;
            case 7:
                worker.Drain(rng.Delay(500, 15_000));
                break;
            case 8:
                rng.Pick(coordinators).Crash();
                break;
            default:
                // A rolling update moves roles without a crash of the rest.
                if (rng.Chance(0.5))
                {
                    world.Dispatcher?.Stop();
                }
                else
                {
                    rng.Pick([.. world.LivingSweeps(), null])?.Stop();
                }

                world.Scheduler.After(rng.Delay(10, 3000), world.Place);
                break;
        }

        Next();
    });
}

/// <summary>The clock of one process; it can stand still, and then jumps.</summary>
internal sealed class LocalClock(World world)
{
    private DateTimeOffset _stoppedAt;
    private DateTimeOffset _until;

    public DateTimeOffset Now => world.Scheduler.Now < _until ? _stoppedAt : world.Scheduler.Now;

    public void Stop(TimeSpan duration)
    {
        _stoppedAt = Now;
        _until = world.Scheduler.Now + duration;
    }
}
