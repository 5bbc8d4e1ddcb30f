using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Workers;
using static EdgeFarm.Core.Tests.TestFarm;

namespace EdgeFarm.Core.Tests.Workers;

public sealed class WorkerStateTests
{
    private readonly WorkerState _worker = new(2, []);

    [Fact]
    public void It_introduces_itself_and_announces_its_slots() => Assert.Equal(
        [new WorkerEffect.SendCredit("l", new WorkerCredit(2, true, 0))],
        Up("l").Where(e => e is not WorkerEffect.SendHello));

    [Fact]
    public void A_result_is_on_disk_before_it_is_sent_and_forgotten_only_when_acknowledged()
    {
        Up("l");
        var lease = Shared(1);
        Assert.Equal([new WorkerEffect.Start(lease)], Offer(lease, 1));
        var pending = new PendingResult(lease, Success());

        var ended = Do(new WorkerInput.AttemptEnded(lease.Key, pending.Outcome));
        Assert.Equal([new WorkerEffect.KeepResult(pending), new WorkerEffect.SendCredit("l", new WorkerCredit(2, true, 1))], ended);
        Assert.Empty(Do(new WorkerInput.ResultAcknowledged(lease.Key)));
        Assert.Equal([new WorkerEffect.SendResult("l", pending)], Do(new WorkerInput.ResultKept(lease.Key)));
        Assert.Equal([new WorkerEffect.ForgetResult(lease.Key)], Do(new WorkerInput.ResultAcknowledged(lease.Key)));
        Assert.Empty(_worker.Pending);
    }

    [Fact]
    public void A_result_that_was_not_acknowledged_is_sent_on_every_new_link_and_after_a_restart()
    {
        Up("l");
        var lease = Shared(1);
        Offer(lease, 1);
        var outcome = Success();
        Do(new WorkerInput.AttemptEnded(lease.Key, outcome));
        Do(new WorkerInput.ResultKept(lease.Key));
        Do(new WorkerInput.LinkDown("l"));

        var again = Up("m");
        Assert.True(Assert.IsType<WorkerEffect.SendHello>(again[0]).Held.Single().Ended);
        Assert.Contains(new WorkerEffect.SendResult("m", new PendingResult(lease, outcome)), again);

        var restarted = new WorkerState(2, [.. _worker.Pending]);
        Assert.Contains(new WorkerEffect.SendResult("n", new PendingResult(lease, outcome)), restarted.Handle(new WorkerInput.LinkUp("n"), Now));
    }

    [Fact]
    public void A_lease_that_comes_twice_or_over_an_old_link_is_ignored()
    {
        Up("l");
        Offer(Shared(1), 1);
        Assert.Empty(Offer(Shared(1), 1));
        Up("m");
        Assert.Empty(_worker.Handle(new WorkerInput.LeaseOffered("l", Shared(2), 2), Now));
        Assert.Single(_worker.Running);
    }

    [Fact]
    public void A_lease_with_the_fence_of_another_attempt_is_handed_back()
    {
        Up("l");
        Offer(Shared(1), 1);
        var other = Shared(1) with { Sweep = "t", Job = Ready(Job("t/7")) };
        Assert.Equal(
            [new WorkerEffect.SendReturn("l", other.Key), new WorkerEffect.SendCredit("l", new WorkerCredit(1, false, 2))],
            Offer(other, 2));
        Assert.Single(_worker.Running);
    }

    [Fact]
    public void A_benchmark_runs_alone()
    {
        Up("l");
        Offer(Exclusive(1), 1);
        Assert.Equal(new WorkerCredit(0, false, 1), _worker.Credit);
        Assert.IsType<WorkerEffect.SendReturn>(Offer(Shared(2), 2)[0]);
    }

    [Fact]
    public void Shared_jobs_keep_a_benchmark_away()
    {
        Up("l");
        Offer(Shared(1), 1);
        Assert.Equal(new WorkerCredit(1, false, 1), _worker.Credit);
        Assert.IsType<WorkerEffect.SendReturn>(Offer(Exclusive(2), 2)[0]);
    }

    [Fact]
    public void A_revoked_attempt_is_killed_and_its_end_confirmed()
    {
        Up("l");
        var lease = Shared(1);
        Offer(lease, 1);
        Assert.Equal([new WorkerEffect.Kill(lease.Key, "why")], Do(new WorkerInput.LeaseRevoked(lease.Key, "why")));
        Assert.Empty(Do(new WorkerInput.LeaseRevoked(lease.Key, "why")));
        Assert.Equal(new WorkerEffect.SendReturn("l", lease.Key), Do(new WorkerInput.AttemptEnded(lease.Key, Success()))[0]);
        Assert.Empty(_worker.Pending);
        Assert.Equal([new WorkerEffect.SendReturn("l", lease.Key)], Do(new WorkerInput.LeaseRevoked(lease.Key, "unknown now")));
    }

    [Fact]
    public void A_revocation_that_comes_after_the_end_does_not_lose_the_result()
    {
        Up("l");
        var lease = Shared(1);
        Offer(lease, 1);
        Do(new WorkerInput.AttemptEnded(lease.Key, Success()));
        Assert.Empty(Do(new WorkerInput.LeaseRevoked(lease.Key, "late")));
        Assert.Single(_worker.Pending);
    }

    [Fact]
    public void Draining_takes_nothing_new_finishes_what_it_can_and_hands_the_rest_back()
    {
        Up("l");
        var (quick, slow) = (Shared(1), Shared(2));
        Offer(quick, 1);
        Offer(slow, 2);
        Assert.Equal(
            [new WorkerEffect.SendDraining("l"), new WorkerEffect.SendCredit("l", new WorkerCredit(0, false, 2))],
            Do(new WorkerInput.DrainRequested(Now.AddSeconds(10))));
        Assert.IsType<WorkerEffect.SendReturn>(Offer(Shared(3), 3)[0]);
        Do(new WorkerInput.AttemptEnded(quick.Key, Success()));
        Do(new WorkerInput.ResultKept(quick.Key));
        Assert.DoesNotContain(Do(new WorkerInput.ResultAcknowledged(quick.Key)), e => e is WorkerEffect.Drained);

        Assert.Contains(new WorkerEffect.Kill(slow.Key, "the worker stops"), _worker.Handle(new WorkerInput.Tick(), Now.AddSeconds(10)));
        var last = _worker.Handle(new WorkerInput.AttemptEnded(slow.Key, Success()), Now.AddSeconds(11));
        Assert.Equal(new WorkerEffect.SendReturn("l", slow.Key), last[0]);
        Assert.IsType<WorkerEffect.Drained>(last[^1]);
        Assert.DoesNotContain(_worker.Handle(new WorkerInput.Tick(), Now.AddSeconds(12)), e => e is WorkerEffect.Drained);
    }

    [Fact]
    public void Past_the_deadline_a_result_on_disk_is_enough()
    {
        Up("l");
        var lease = Shared(1);
        Offer(lease, 1);
        Do(new WorkerInput.DrainRequested(Now.AddSeconds(10)));
        Do(new WorkerInput.LinkDown("l"));
        Do(new WorkerInput.AttemptEnded(lease.Key, Success()));
        Assert.DoesNotContain(_worker.Handle(new WorkerInput.Tick(), Now.AddSeconds(10)), e => e is WorkerEffect.Drained);
        Assert.Contains(_worker.Handle(new WorkerInput.ResultKept(lease.Key), Now.AddSeconds(11)), e => e is WorkerEffect.Drained);
    }

    private static JobOutcome Success() => new(new JobResult(), null, default, Now, Now);

    private static Lease Shared(long fence) => Lease(Job($"s/{fence}"), fence);

    private static Lease Exclusive(long fence) => Lease(Benchmark($"s/{fence}", "g|0"), fence);

    private static Lease Lease(JobSpec spec, long fence) =>
        new(Ready(spec), "s", 1, fence, "cpu", TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1));

    private IReadOnlyList<WorkerEffect> Up(string link) => Do(new WorkerInput.LinkUp(link));

    private IReadOnlyList<WorkerEffect> Offer(Lease lease, long sequence) => Do(new WorkerInput.LeaseOffered("l", lease, sequence));

    private IReadOnlyList<WorkerEffect> Do(WorkerInput input) => _worker.Handle(input, Now);
}
