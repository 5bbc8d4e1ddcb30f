using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestFarm;

namespace EdgeFarm.Core.Tests.Dispatch;

public sealed class ReconnectionTests
{
    private readonly Harness _farm = new();

    [Fact]
    public void A_worker_that_comes_back_in_time_goes_on()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        var lease = _farm.Leases[0].Lease;
        _farm.Do(new DispatchInput.LinkLost("w"));
        Assert.Empty(_farm.Later(4));
        Assert.Empty(_farm.Link(Capability("w", "h"), "w2", held: [Harness.Held(lease)]));
        Assert.Empty(_farm.Later(10).OfType<DispatchEffect.Report>());
        Assert.False(Assert.IsType<DispatchEffect.Report>(Assert.Single(_farm.Report(("w2", lease)))).JobReport.Cached);
    }

    [Fact]
    public void A_worker_that_stays_away_is_lost_and_its_job_is_the_sweep_s_again()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Do(new DispatchInput.LinkLost("w"));
        var report = Assert.IsType<DispatchEffect.Report>(Assert.Single(_farm.Later(6))).JobReport;
        Assert.Equal(FailureType.WorkerLost, report.Outcome.Failure!.Type);

        // Its fence is its own: that the loss is stored acknowledges no result of the worker.
        Assert.NotEqual(_farm.Leases[0].Lease.Fence, report.Fence);
        _farm.Do(new DispatchInput.ResultsStored("s", [new AttemptKey("s/0", 1, report.Fence)]));
        _farm.Do(new DispatchInput.JobsQueued([Queued(Job("s/0"), 2)]));
        _farm.Link(Capability("v", "k"));
        Assert.Equal([1, 2], _farm.Leases.Select(l => l.Lease.Attempt));
    }

    [Fact]
    public void A_restarted_worker_has_lost_what_it_does_not_hold()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Do(new DispatchInput.LinkLost("w"));
        var effects = _farm.Link(Capability("w", "h"), "w2", session: "2");
        Assert.Equal(FailureType.WorkerLost, effects.OfType<DispatchEffect.Report>().Single().JobReport.Outcome.Failure!.Type);
    }

    [Fact]
    public void A_lease_that_never_arrived_is_given_again_as_the_same_attempt()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Do(new DispatchInput.LinkLost("w"));
        var effects = _farm.Link(Capability("w", "h"), "w2");
        Assert.Single(effects.OfType<DispatchEffect.NotifyRequeued>());
        Assert.Equal([1, 1], _farm.Leases.Select(l => l.Lease.Attempt));
        Assert.True(_farm.Leases[1].Lease.Fence > _farm.Leases[0].Lease.Fence);
    }

    [Fact]
    public void A_second_process_with_the_name_of_a_linked_worker_is_refused()
    {
        _farm.Link(Capability("w", "h"));
        var refused = _farm.Do(new DispatchInput.WorkerLinked("w2", "2", Capability("w", "other"), []));
        var refusal = Assert.IsType<DispatchEffect.RefuseLink>(Assert.Single(refused));
        Assert.Equal("w2", refusal.Link);
        Assert.Contains("--name", refusal.Reason, StringComparison.Ordinal);
        Assert.Empty(_farm.Do(new DispatchInput.CreditAnnounced("w2", new WorkerCredit(2, true, 0))));
        Assert.Equal("1", Assert.Single(_farm.State.View(_farm.Now).Workers).Session);

        // When the first is gone, the name is free.
        _farm.Do(new DispatchInput.LinkLost("w"));
        Assert.Empty(_farm.Do(new DispatchInput.WorkerLinked("w3", "2", Capability("w", "other"), [])));
        Assert.Equal("2", Assert.Single(_farm.State.View(_farm.Now).Workers).Session);
    }

    [Fact]
    public void A_job_whose_result_a_worker_brought_before_its_sweep_queued_it_does_not_run_again()
    {
        var earlier = new Harness();
        earlier.Link(Capability("w", "h"));
        earlier.Queue(Job("s/0"));
        var given = earlier.Leases[0].Lease;

        var farm = new Harness(firstFence: 1000);
        farm.Link(Capability("w", "h"), held: [Harness.Held(given, ended: true)]);
        farm.Credit("w", 2, true);
        Assert.Single(farm.Report(("w", given)).OfType<DispatchEffect.Report>());
        farm.Queue(Job("s/0"));
        Assert.Empty(farm.Leases);

        // Lost on the way, it is told again; stored, it is over.
        Assert.NotEmpty(farm.Later(11).OfType<DispatchEffect.Report>());
        Assert.Single(farm.Do(new DispatchInput.ResultsStored("s", [given.Key])).OfType<DispatchEffect.SendAcknowledge>());
        Assert.Empty(farm.State.JobsBySweep);
        Assert.Empty(farm.Leases);
    }

    [Fact]
    public void A_held_lease_with_a_known_fence_of_another_job_is_not_taken_for_it()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        var given = _farm.Leases[0].Lease;
        _farm.Do(new DispatchInput.LinkLost("w"));
        var foreign = new HeldLease(new AttemptKey("t/9", 1, given.Fence), "t", "cpu", false);
        var effects = _farm.Link(Capability("w", "h"), "w2", session: "1", held: [foreign, foreign]);
        Assert.Equal("s/0", Assert.Single(effects.OfType<DispatchEffect.NotifyRequeued>()).JobId);
    }

    [Fact]
    public void A_second_link_of_a_worker_replaces_the_first()
    {
        _farm.Link(Capability("w", "h"));
        var effects = _farm.Link(Capability("w", "h"), "w2");
        Assert.Equal("w", effects.OfType<DispatchEffect.CloseLink>().Single().Link);
        _farm.Do(new DispatchInput.LinkLost("w"));
        _farm.Queue(Job("s/0"));
        Assert.Equal("w2", Assert.Single(_farm.Leases).Link);
    }

    [Fact]
    public void A_new_dispatcher_adopts_what_workers_hold_and_starts_nothing_meanwhile()
    {
        var farm = new Harness(Harness.Limits with { AdoptOnly = TimeSpan.FromSeconds(3) }, 1000);
        farm.Queue(Job("s/0"), Job("s/1"));
        var running = new HeldLease(new AttemptKey("s/0", 1, 7), "s", "cpu", false);
        Assert.Single(farm.Link(Capability("w", "h"), held: [running]).OfType<DispatchEffect.NotifyStarted>());
        Assert.Contains("has just started", farm.State.Explain("s/1", farm.Now).Reason, StringComparison.Ordinal);
        Assert.Empty(farm.Leases);

        farm.Later(3);
        Assert.Equal(["s/1"], farm.Leased);
        var report = farm.Do(new DispatchInput.ResultReported("w", "s", running.Key, Success(Job("s/0")), "cpu", default));
        Assert.Equal(7, Assert.IsType<DispatchEffect.Report>(Assert.Single(report)).JobReport.Fence);
    }

    [Fact]
    public void What_a_worker_holds_waits_for_the_sweep_to_queue_it()
    {
        var running = new HeldLease(new AttemptKey("s/0", 2, 7), "s", "cpu", true);
        var effects = _farm.Link(Capability("w", "h"), held: [running]);
        Assert.Equal(running.Key, effects.OfType<DispatchEffect.NotifyStarted>().Single().Key);
        _farm.Queue(Job("s/5"));
        Assert.Empty(_farm.Leases);
        _farm.Do(new DispatchInput.JobsQueued([Queued(Benchmark("s/0", "g|0"), 2), Queued(Benchmark("s/1", "g|0"))]));
        Assert.Empty(_farm.Leases);
        Assert.Contains("runs it", _farm.State.Explain("s/0", _farm.Now).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void What_no_sweep_wants_is_revoked()
    {
        var running = new HeldLease(new AttemptKey("s/0", 1, 7), "s", "cpu", true);
        _farm.Link(Capability("w", "h"), held: [running]);
        Assert.Equal(running.Key, Assert.IsType<DispatchEffect.SendRevoke>(Assert.Single(_farm.Do(new DispatchInput.JobsWithdrawn("s", ["s/0"])))).Key);
        _farm.Do(new DispatchInput.LeaseReturned("w", running.Key));
        _farm.Credit("w", 2, true);
        _farm.Queue(Benchmark("s/1", "g|0"));
        Assert.Single(_farm.Leases);
    }

    [Fact]
    public void A_late_result_of_a_pass_is_passed_on_and_one_of_a_benchmark_is_dropped()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Do(new DispatchInput.LinkLost("w"));
        _farm.Later(6);
        var pass = _farm.Lease("s/0").Lease;
        Assert.Empty(_farm.Link(Capability("w", "h"), "w2", held: [Harness.Held(pass, ended: true)]));
        Assert.True(Assert.IsType<DispatchEffect.Report>(Assert.Single(_farm.Report(("w2", pass)))).JobReport.Outcome.IsSuccess);

        var farm = new Harness();
        farm.Link(Capability("w", "h"));
        farm.Queue(Benchmark("s/0", "g|0"));
        farm.Do(new DispatchInput.LinkLost("w"));
        farm.Later(6);
        var benchmark = farm.Lease("s/0").Lease;
        farm.Link(Capability("w", "h"), "w2", held: [Harness.Held(benchmark, ended: true)]);
        Assert.Equal([new DispatchEffect.SendAcknowledge("w2", benchmark.Key)], farm.Report(("w2", benchmark)));
    }

    [Fact]
    public void A_result_stored_under_another_fence_ends_the_running_attempt()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        var effects = _farm.Do(new DispatchInput.ResultsStored("s", [new AttemptKey("s/0", 1, 999)]));
        Assert.IsType<DispatchEffect.SendRevoke>(Assert.Single(effects));
    }

    [Fact]
    public void A_benchmark_whose_machine_was_shared_is_measured_again()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        var pass = _farm.Lease("s/0").Lease;
        _farm.Do(new DispatchInput.LinkLost("w"));
        _farm.Later(6);
        _farm.Link(Capability("v", "h"));
        _farm.Queue(Benchmark("s/1", "g|0"));
        Assert.Equal("v", _farm.Lease("s/1").Link);

        var effects = _farm.Link(Capability("w", "h"), "w2", held: [Harness.Held(pass)], credit: false);

        Assert.Equal(["s/1", "s/0"], effects.OfType<DispatchEffect.SendRevoke>().Select(r => r.Key.JobId));
        Assert.Equal("s/1", effects.OfType<DispatchEffect.NotifyRequeued>().Single().JobId);
    }

    [Fact]
    public void An_attempt_without_a_result_is_given_up_at_its_deadline()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0") with { TimeoutSeconds = 50 });
        Assert.Empty(_farm.Later(309));
        var effects = _farm.Later(1);
        Assert.Single(effects.OfType<DispatchEffect.SendRevoke>());
        Assert.Equal(FailureType.WorkerLost, effects.OfType<DispatchEffect.Report>().Single().JobReport.Outcome.Failure!.Type);
    }

    [Fact]
    public void A_lease_that_a_stopping_worker_hands_back_is_reported_as_such()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Do(new DispatchInput.WorkerDraining("w"));
        var effects = _farm.Do(new DispatchInput.LeaseReturned("w", _farm.Leases[0].Lease.Key));
        Assert.Equal(FailureType.HandedBack, effects.OfType<DispatchEffect.Report>().Single().JobReport.Outcome.Failure!.Type);
    }

    [Fact]
    public void A_lease_that_a_worker_hands_back_while_it_goes_on_is_reported_as_lost()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        var effects = _farm.Do(new DispatchInput.LeaseReturned("w", _farm.Leases[0].Lease.Key));
        Assert.Equal(FailureType.WorkerLost, effects.OfType<DispatchEffect.Report>().Single().JobReport.Outcome.Failure!.Type);
    }

    [Fact]
    public void Of_two_leases_that_older_dispatchers_gave_the_later_is_valid()
    {
        _farm.Queue(Benchmark("s/0", "g|0"));
        _farm.Link(Capability("w", "h"), held: [new HeldLease(new AttemptKey("s/0", 1, 7), "s", "cpu", true)]);
        var effects = _farm.Link(Capability("v", "k"), held: [new HeldLease(new AttemptKey("s/0", 1, 9), "s", "cpu", true)]);
        Assert.Equal(7, effects.OfType<DispatchEffect.SendRevoke>().Single().Key.Fence);
        Assert.Equal(9, effects.OfType<DispatchEffect.NotifyStarted>().Single().Key.Fence);
    }
}
