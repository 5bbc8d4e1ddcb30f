using CsCheck;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Tests.Planning;

namespace EdgeFarm.Core.Tests.Sweeps;

public sealed class SweepStateProperties
{
    /// <summary>Plans with a stream of numbers that decides what happens to their jobs.</summary>
    private static readonly Gen<(SweepPlan Plan, uint[] Choices)> Runs =
        Gen.Select(PlannerProperties.Accepted.Select(a => a.Plan), Gen.UInt.Array[400], (plan, choices) => (plan, choices));

    [Fact]
    public void A_generated_run_ends_and_apply_never_throws_on_its_own_events() => Runs.Sample(run =>
    {
        var (sweep, _) = Play(run.Plan, run.Choices);
        Assert.True(sweep.IsEnded);
        Assert.All(sweep.JobIds, j => Assert.Contains(
            sweep.StatusOf(j), new[] { JobStatus.Succeeded, JobStatus.Failed, JobStatus.Skipped, JobStatus.Cancelled }));
    });

    [Fact]
    public void Replay_and_snapshot_give_the_same_state() => Runs.Sample(run =>
    {
        var (sweep, events) = Play(run.Plan, run.Choices);
        var replayed = new SweepState("s");
        foreach (var happened in events.Take(events.Count / 2))
        {
            replayed.Replay(happened);
        }

        replayed = SweepState.FromSnapshot(replayed.ToSnapshot());
        foreach (var happened in events.Skip(events.Count / 2))
        {
            replayed.Replay(happened);
        }

        Assert.Equal(Print(sweep), Print(replayed));
        Assert.Equal(sweep.Recover().Length, replayed.Recover().Length);
    });

    [Fact]
    public void Deciding_changes_nothing() => Runs.Sample(run =>
    {
        var (sweep, events) = Play(run.Plan, run.Choices[..20], end: false);
        var before = Print(sweep);
        sweep.Decide(new SweepCommand.Cancel("x"), TestFarm.Now);
        sweep.Decide(new SweepCommand.Report([.. sweep.JobIds.Select(j => Report(sweep, j, 0, 1))]), TestFarm.Now);
        sweep.Decide(new SweepCommand.Retry(null), TestFarm.Now);
        Assert.Equal(before, Print(sweep));
        Assert.NotEmpty(events);
    });

    private static (SweepState Sweep, List<SweepEvent> Events) Play(SweepPlan plan, uint[] choices, bool end = true)
    {
        var sweep = new SweepState("s");
        var events = new List<SweepEvent>();
        var submission = TestFarm.Submission("s", plan.Jobs, plan.Entries);
        Do(new SweepCommand.Submit(submission));
        long fence = 1;
        foreach (var choice in choices)
        {
            if (sweep.IsEnded)
            {
                return (sweep, events);
            }

            var job = plan.Jobs[(int)(choice / 7 % (uint)plan.Jobs.Length)].Id;
            Do((choice % 50) switch
            {
                0 => new SweepCommand.Retry(null),
                1 when choice % 4 == 0 => new SweepCommand.Cancel("x"),
                2 when sweep.Job(job)!.DeviceGroup is { } group => new SweepCommand.DeviceLost(group, sweep.BindingOf(group) ?? new DeviceAddress("h0", "cpu")),
                3 => new SweepCommand.CacheAnswered([Report(sweep, job, 95, 0) with { Cached = true }], [.. sweep.JobIds]),
                _ => new SweepCommand.Report([Report(sweep, job, choice, fence++), Report(sweep, job, choice / 3, fence++)]),
            });
        }

        while (end && !sweep.IsEnded)
        {
            var waiting = sweep.JobIds.Where(j => sweep.StatusOf(j) == JobStatus.Waiting).ToList();
            Assert.NotEmpty(waiting);
            Do(new SweepCommand.Report([.. waiting.Select(j => Report(sweep, j, 95, fence++))]));
        }

        return (sweep, events);

        void Do(SweepCommand command)
        {
            var decision = sweep.Decide(command, TestFarm.Now);
            foreach (var happened in decision.Events)
            {
                sweep.Apply(happened);
                events.Add(happened);
            }
        }
    }

    private static JobReport Report(SweepState sweep, string job, uint choice, long fence)
    {
        var spec = sweep.Job(job)!;
        var outcome = (choice % 16) switch
        {
            0 => TestFarm.Failed(FailureType.Crashed),
            1 => TestFarm.Failed(FailureType.OutOfMemory),
            2 => TestFarm.Failed(FailureType.WorkerLost),
            4 when choice % 3 == 0 => TestFarm.Failed(FailureType.InvalidInput),
            _ => TestFarm.Success(spec),
        };
        var number = spec.DeviceGroup is { } group ? DeviceGroup.Parse(group).Number : "0";
        var device = sweep.BindingOf(spec.DeviceGroup ?? "") ?? new DeviceAddress($"h{number}-{choice % 2}", "cpu");
        return new JobReport(job, sweep.AttemptsOf(job).Count + 1 - (int)(choice % 5 / 4), fence, outcome, "w", device, "", false, default);
    }

    private static string Print(SweepState sweep) => string.Join(
        '\n',
        sweep.JobIds.Select(j => $"{j} {sweep.StatusOf(j)} {sweep.Job(j)!.DeviceGroup} {string.Join(',', sweep.AttemptsOf(j))} {string.Join(',', sweep.OutputsOf(j).Values)}")
            .Append($"{sweep.Status} {sweep.View().CacheHits} {string.Join(',', sweep.Counts)}")
            .Concat(sweep.Entries.Select(e => $"{e.Id} {e.BaselineId}"))
            .Concat(sweep.Recover().Select(PrintEffect)));

    private static string PrintEffect(SweepEffect effect) => effect switch
    {
        SweepEffect.Queue queue => "queue " + string.Join(',', queue.Jobs.Select(Print)),
        SweepEffect.AskCache ask => "ask " + string.Join(',', ask.Jobs.Select(Print)),
        _ => effect.ToString(),
    };

    private static string Print(QueuedJob job) =>
        $"{job.Job.Spec.Id}#{job.Attempt} {job.Job.Action} {job.BoundTo} {job.MinimumMemory} {string.Join('/', job.Avoid)} {string.Join('/', job.NotOn)}";
}
