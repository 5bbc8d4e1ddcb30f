using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestFarm;

namespace EdgeFarm.Core.Tests.Dispatch;

public sealed class LeasingTests
{
    private readonly Harness _farm = new();

    [Fact]
    public void Jobs_go_to_free_slots_and_no_further()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"), Job("s/1"), Job("s/2"));
        Assert.Equal(["s/0", "s/1"], _farm.Leased);

        // Credit that was announced before the leases arrived does not count them twice.
        _farm.Do(new DispatchInput.CreditAnnounced("w", new WorkerCredit(2, true, 0)));
        Assert.Equal(2, _farm.Leases.Count);
        _farm.Do(new DispatchInput.CreditAnnounced("w", new WorkerCredit(1, false, 2)));
        Assert.Equal(["s/0", "s/1", "s/2"], _farm.Leased.Order());
    }

    [Fact]
    public void Fences_grow_and_sequences_count_per_link()
    {
        var farm = new Harness(firstFence: 1000);
        farm.Link(Capability("w", "h"));
        var effects = farm.Queue(Job("s/0"), Job("s/1"));
        Assert.Equal([(1000L, 1L), (1001L, 2L)], effects.OfType<DispatchEffect.SendLease>().Select(l => (l.Lease.Fence, l.Sequence)));
    }

    [Fact]
    public void Sweeps_are_served_in_turn()
    {
        _farm.Queue([.. Enumerable.Range(0, 4).Select(i => Job($"a/{i}"))]);
        _farm.Queue([.. Enumerable.Range(0, 2).Select(i => Job($"b/{i}"))]);
        _farm.Link(Capability("w", "h", slots: 6));
        Assert.Equal(["a/0", "b/0", "a/1", "b/1", "a/2", "a/3"], _farm.Leased);
    }

    [Fact]
    public void Passes_go_before_evaluations_of_their_sweep()
    {
        _farm.Queue(Job("s/0") with { Kind = JobKind.Evaluate }, Job("s/1"), Job("s/2") with { Kind = JobKind.Import });
        _farm.Link(Capability("w", "h", slots: 3));
        Assert.Equal(["s/2", "s/1", "s/0"], _farm.Leased);
    }

    [Fact]
    public void A_job_waits_for_a_worker_that_meets_its_requirements()
    {
        var needs = Job("s/0") with { Requirements = Job("s/0").Requirements with { Properties = [new("arch", "arm64")] } };
        _farm.Link(Capability("w", "h"));
        _farm.Queue(needs);
        Assert.Empty(_farm.Leases);
        var why = _farm.State.Explain("s/0", _farm.Now);
        Assert.Equal(1, why.Position);
        Assert.Contains("needs arch = arm64, has x64", why.Reason, StringComparison.Ordinal);
        Assert.Equal("w", Assert.Single(why.Nearest).Worker);

        _farm.Link(Capability("v", "g", arch: "arm64"));
        Assert.Equal("v", Assert.Single(_farm.Leases).Link);
    }

    [Fact]
    public void A_draining_worker_gets_nothing()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Do(new DispatchInput.WorkerDraining("w"));
        _farm.Queue(Job("s/0"));
        Assert.Empty(_farm.Leases);
        Assert.Equal("it is draining", Assert.Single(_farm.State.Explain("s/0", _farm.Now).Nearest).Busy);
    }

    [Fact]
    public void A_job_known_already_is_not_queued_twice()
    {
        _farm.Queue(Job("s/0"), Job("s/0"));
        _farm.Queue(Job("s/0"));
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        Assert.Single(_farm.Leases);
    }

    [Fact]
    public void More_memory_and_another_host_are_preferred_but_not_required()
    {
        _farm.Link(Capability("small", "h", memory: 1000));
        _farm.Link(Capability("large", "g", memory: 4000));
        _farm.Do(new DispatchInput.JobsQueued([Queued(Job("s/0"), 2) with { MinimumMemory = 1001 }, Queued(Job("s/1"), 2) with { Avoid = ["g"] }]));
        Assert.Equal("large", _farm.Lease("s/0").Link);
        Assert.Equal("small", _farm.Lease("s/1").Link);
        _farm.Do(new DispatchInput.JobsQueued([Queued(Job("s/2"), 2) with { MinimumMemory = 9000, Avoid = ["g", "h"] }]));
        Assert.Equal(3, _farm.Leases.Count);
    }

    [Fact]
    public void An_evaluation_goes_where_the_kernels_are_those_of_what_it_compares_with()
    {
        static WorkerCapability With(string worker, string host, string variant, params string[] devices)
        {
            var plain = Capability(worker, host, devices: devices);
            return plain with { Runtimes = [plain.Runtimes[0] with { LibraryVariant = variant }] };
        }

        _farm.Link(With("a", "h", "haswell", "vulkan:0"));
        _farm.Link(With("z", "g", "zen4"));
        static JobSpec Evaluation(string id) => Job(id) with { Kind = JobKind.Evaluate, Outputs = [], Requirements = JobRequirements.None with { Runtime = "llama.cpp" } };
        _farm.Do(new DispatchInput.JobsQueued([Queued(Evaluation("s/0")) with { LibraryVariant = "zen4" }, Queued(Evaluation("s/1")) with { LibraryVariant = "vulkan+haswell" }]));
        Assert.Equal("z", _farm.Lease("s/0").Link);
        Assert.Equal(("a", "vulkan:0"), (_farm.Lease("s/1").Link, _farm.Lease("s/1").Lease.DeviceId));

        // The last slot of the variant is taken: the job waits for it, though another worker is free. Without such a worker it does not wait.
        _farm.Do(new DispatchInput.JobsQueued([Queued(Evaluation("s/2")) with { LibraryVariant = "zen4" }, Queued(Evaluation("s/3")) with { LibraryVariant = "zen4" }]));
        Assert.Equal(["s/0", "s/1", "s/2"], _farm.Leased.Order());
        _farm.Do(new DispatchInput.LinkLost("z"));
        Assert.Equal("a", _farm.Lease("s/3").Link);
    }

    [Fact]
    public void A_result_is_reported_and_acknowledged_when_it_is_stored()
    {
        _farm.Link(Capability("w", "h", memory: 77));
        _farm.Queue(Job("s/0"));
        var report = Assert.IsType<DispatchEffect.Report>(Assert.Single(_farm.Report(_farm.Leases[0]))).JobReport;
        Assert.Equal(("w", new DeviceAddress("h", "cpu"), "cpu-x64", 77L, false), (report.Worker, report.Device!, report.DeviceClass, report.DeviceMemory, report.Cached));

        // The same result again, over a new link: the sweep is told again, and its answer reaches the worker.
        Assert.Single(_farm.Report(_farm.Leases[0]));
        Assert.Equal([new DispatchEffect.SendAcknowledge("w", _farm.Leases[0].Lease.Key)], _farm.Do(new DispatchInput.ResultsStored("s", [_farm.Leases[0].Lease.Key])));
        Assert.Equal("it is not in the queue", _farm.State.Explain("s/0", _farm.Now).Reason);
    }

    [Fact]
    public void A_report_is_repeated_until_it_is_stored()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0"));
        _farm.Report(_farm.Leases[0]);
        Assert.Empty(_farm.Later(2).OfType<DispatchEffect.Report>());
        Assert.NotEmpty(_farm.Later(2).OfType<DispatchEffect.Report>());
        _farm.Do(new DispatchInput.ResultsStored("s", [_farm.Leases[0].Lease.Key]));
        Assert.Empty(_farm.Later(20).OfType<DispatchEffect.Report>());
    }

    [Fact]
    public void A_worker_gets_only_jobs_that_fit_its_drain_time()
    {
        _farm.Link(Capability("w", "h") with { DrainTime = TimeSpan.FromSeconds(60) });
        _farm.Queue(Job("s/0") with { TimeoutSeconds = 61 }, Job("s/1") with { TimeoutSeconds = 60 });
        Assert.Equal(["s/1"], _farm.Leased);
        var why = _farm.State.Explain("s/0", _farm.Now);
        Assert.Contains("drain time of w is 60 s", why.Reason, StringComparison.Ordinal);
        Assert.Contains("drain time", Assert.Single(why.Nearest).Busy, StringComparison.Ordinal);

        _farm.Link(Capability("v", "i"));
        Assert.Equal("v", _farm.Lease("s/0").Link);
    }

    [Fact]
    public void A_lease_allows_for_the_wait_for_the_machine()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Job("s/0") with { TimeoutSeconds = 50 });

        // 100 s for each transfer, 50 s for the machine and for the execution, 10 s of slack.
        Assert.Empty(_farm.Later(309).OfType<DispatchEffect.SendRevoke>());
        Assert.Single(_farm.Later(1).OfType<DispatchEffect.SendRevoke>());
    }

    [Fact]
    public void What_another_build_made_is_not_handed_on_to_equal_work()
    {
        _farm.Link(Capability("w", "h", slots: 1));
        _farm.Do(new DispatchInput.JobsQueued([Queued(Equal("a/0")), Queued(Equal("b/0"))]));
        Assert.Equal(["a/0"], _farm.Leased);
        var outcome = Success(Equal("a/0"));
        outcome = outcome with { Result = outcome.Result! with { Engine = TestCatalog.Llama with { SourceCommit = "library:other" } } };
        Assert.Equal(["a"], _farm.Report(_farm.Leases[0], outcome).OfType<DispatchEffect.Report>().Select(r => r.Sweep));
        _farm.Credit("w", 1, true);
        Assert.Equal(["a/0", "b/0"], _farm.Leased);
    }

    [Fact]
    public void An_outcome_is_handed_on_from_memory_for_seconds_only()
    {
        _farm.Link(Capability("w", "h", slots: 1));
        _farm.Do(new DispatchInput.JobsQueued([Queued(Equal("a/0"))]));
        _farm.Finish(_farm.Leases[0], 1, true);
        Assert.True(_farm.Do(new DispatchInput.JobsQueued([Queued(Equal("b/0"))])).OfType<DispatchEffect.Report>().Single().JobReport.Cached);
        _farm.Later(6);
        _farm.Do(new DispatchInput.JobsQueued([Queued(Equal("c/0"))]));
        Assert.Equal(["a/0", "c/0"], _farm.Leased);
    }

    [Fact]
    public void It_counts_the_jobs_that_it_knows_of_each_sweep()
    {
        _farm.Link(Capability("w", "h", slots: 1));
        _farm.Queue(Job("s/0"), Job("s/1"), Job("t/0"));
        Assert.Equal((2, 1), (_farm.State.JobsBySweep["s"], _farm.State.JobsBySweep["t"]));
        _farm.Finish(_farm.Lease("s/0"), 1, true);
        _farm.Do(new DispatchInput.JobsWithdrawn("s", ["s/1"]));
        Assert.False(_farm.State.JobsBySweep.ContainsKey("s"));
        Assert.Equal(1, _farm.State.JobsBySweep["t"]);
    }

    private static JobSpec Equal(string id) => Job(id) with { Parameters = Job("equal").Parameters };

    [Fact]
    public void Equal_work_in_flight_runs_once()
    {
        var (one, two, three) = (Job("a/0") with { Parameters = TestCatalog.Parameters() }, Job("b/0") with { Parameters = TestCatalog.Parameters() }, Job("c/0") with { Parameters = TestCatalog.Parameters() });
        _farm.Link(Capability("w", "h", slots: 4));
        _farm.Queue(one, two);
        _farm.Do(new DispatchInput.JobsQueued([Queued(three) with { Fresh = true }]));
        Assert.Equal(["a/0", "c/0"], _farm.Leased);
        Assert.Contains("job a/0 does the same", _farm.State.Explain("b/0", _farm.Now).Reason, StringComparison.Ordinal);

        var reports = _farm.Report(_farm.Lease("a/0")).OfType<DispatchEffect.Report>().ToList();
        Assert.Equal(["a", "b"], reports.Select(r => r.Sweep));
        Assert.True(reports[1].JobReport.Cached);
        Assert.Equal(0, reports[1].JobReport.Fence);

        // Who comes a moment later gets it too.
        Assert.True(Assert.IsType<DispatchEffect.Report>(Assert.Single(_farm.Queue(Job("d/0") with { Parameters = TestCatalog.Parameters() }))).JobReport.Cached);
    }

    [Fact]
    public void When_the_first_of_equal_jobs_fails_by_chance_the_next_runs()
    {
        _farm.Link(Capability("w", "h", slots: 4));
        _farm.Queue(Job("a/0") with { Parameters = TestCatalog.Parameters() }, Job("b/0") with { Parameters = TestCatalog.Parameters() });
        Assert.Single(_farm.Report(_farm.Lease("a/0"), Failed(FailureType.Crashed)).OfType<DispatchEffect.Report>());
        Assert.Equal(["a/0", "b/0"], _farm.Leased);
    }

    [Fact]
    public void Withdrawing_the_first_of_equal_jobs_does_not_stop_the_work()
    {
        _farm.Link(Capability("w", "h", slots: 4));
        _farm.Queue(Job("a/0") with { Parameters = TestCatalog.Parameters() }, Job("b/0") with { Parameters = TestCatalog.Parameters() });
        Assert.Empty(_farm.Do(new DispatchInput.JobsWithdrawn("a", ["a/0"])));
        Assert.Equal(["a", "b"], _farm.Report(_farm.Lease("a/0")).OfType<DispatchEffect.Report>().Select(r => r.Sweep));
    }

    [Fact]
    public void Withdrawn_jobs_leave_the_queue_or_are_revoked()
    {
        _farm.Link(Capability("w", "h", slots: 1));
        _farm.Queue(Job("s/0"), Job("s/1"));
        var effects = _farm.Do(new DispatchInput.JobsWithdrawn("s", ["s/0", "s/1"]));
        Assert.Equal(_farm.Lease("s/0").Lease.Key, Assert.IsType<DispatchEffect.SendRevoke>(Assert.Single(effects)).Key);
        _farm.Do(new DispatchInput.LeaseReturned("w", _farm.Lease("s/0").Lease.Key));
        _farm.Credit("w", 1, true);
        Assert.Equal(["s/0"], _farm.Leased);
        Assert.Equal(0, _farm.State.LeaseCount);
    }

    [Fact]
    public void A_long_queue_waits_without_being_looked_at_one_by_one()
    {
        const int jobs = 100_000;
        _farm.Do(new DispatchInput.JobsQueued([.. Enumerable.Range(0, jobs).Select(i => Queued(Job($"s/{i}")))]));
        _farm.Link(Capability("w", "h", slots: 16));
        for (var i = 0; i < 2000; i++)
        {
            _farm.Finish(_farm.Leases[i], 1, false);
        }

        Assert.Equal(2016, _farm.Leases.Count);
        Assert.Equal(jobs - 2016, _farm.State.View(_farm.Now).QueueDepth["cpu-x64"]);
    }

    [Fact]
    public void A_dry_run_learns_where_jobs_could_go()
    {
        _farm.Link(Capability("w", "h"));
        var placements = _farm.State.ExplainRequirements(
        [
            Job("s/0").Requirements,
            JobRequirements.None with { Runtime = "openvino" },
            JobRequirements.None with { Properties = [new("device.kind", "cpu"), new("arch", "arm64")] },
        ]);
        Assert.Equal([new DeviceAddress("h", "cpu")], placements[0].Devices.AsEnumerable());
        Assert.Equal("cpu-x64", placements[0].DeviceClass);
        Assert.Empty(placements[1].Devices);
        Assert.Equal("needs runtime openvino, has llama.cpp", placements[1].Nearest[0].Lacks[0].ToString());
        Assert.Equal("cpu-arm64", placements[2].DeviceClass);
    }
}
