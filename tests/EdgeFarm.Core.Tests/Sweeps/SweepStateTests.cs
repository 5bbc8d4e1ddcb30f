using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestFarm;

namespace EdgeFarm.Core.Tests.Sweeps;

public sealed class SweepStateTests
{
    private readonly SweepState _sweep = new("s");
    private readonly List<SweepEvent> _events = [];

    [Fact]
    public void Submitting_makes_jobs_ready_that_have_their_inputs()
    {
        var effects = Submit(Job("s/0"), Job("s/1", "s/0"), Benchmark("s/2", "g|0"));

        Assert.Equal(["s/0"], effects.OfType<SweepEffect.AskCache>().Single().Jobs.Select(j => j.Job.Spec.Id));
        Assert.Equal(["s/2"], effects.OfType<SweepEffect.Queue>().Single().Jobs.Select(j => j.Job.Spec.Id));
        Assert.Equal(JobStatus.Blocked, _sweep.StatusOf("s/1"));
        Assert.Equal(["s/0"], _sweep.BlockedBy("s/1").AsEnumerable());
        Assert.Null(_sweep.ReadyJob("s/1"));
    }

    [Fact]
    public void The_same_submission_twice_is_one_and_another_is_refused()
    {
        Submit(Job("s/0"));
        var same = _sweep.Decide(new SweepCommand.Submit(Submission("s", [Job("s/0")])), Now);
        Assert.Null(same.Refusal);
        Assert.Empty(same.Events);
        Assert.NotNull(_sweep.Decide(new SweepCommand.Submit(Submission("s", [Job("s/0")]) with { RequestId = "other" }), Now).Refusal);
    }

    [Fact]
    public void A_large_plan_is_many_small_events()
    {
        var jobs = Enumerable.Range(0, 2500).Select(i => Job($"s/{i}")).ToImmutableArray();
        var decision = _sweep.Decide(new SweepCommand.Submit(Submission("s", jobs)), Now);
        Assert.Equal([1000, 1000, 500], decision.Events.OfType<SweepEvent.PlanGrown>().Select(e => e.Jobs.Length));
        Assert.Empty(decision.Events.OfType<SweepEvent.Submitted>().Single().Submission.Plan.Jobs);
    }

    [Fact]
    public void What_is_ready_is_handed_over_in_parts_that_are_the_whole()
    {
        Submit([.. Enumerable.Range(0, 2500).Select(i => i % 2 == 0 ? Job($"s/{i}") : Job($"s/{i}", $"s/{i - 1}"))]);
        Report(Done("s/0"));
        var parts = new List<string[]>();
        for (int? from = 0; from is { } at;)
        {
            (var effects, from) = _sweep.Recover(at);
            parts.Add(Asked(effects));
        }

        Assert.Equal([1000, 250], parts.Select(p => p.Length));
        Assert.Equal(Asked(_sweep.Recover()), parts.SelectMany(p => p));

        static string[] Asked(ImmutableArray<SweepEffect> effects) =>
            [.. effects.OfType<SweepEffect.AskCache>().SelectMany(a => a.Jobs).Select(j => j.Job.Spec.Id)];
    }

    [Fact]
    public void A_plan_that_hangs_in_the_air_is_refused()
    {
        Assert.NotNull(_sweep.Decide(new SweepCommand.Submit(Submission("s", [])), Now).Refusal);
        Assert.NotNull(_sweep.Decide(new SweepCommand.Submit(Submission("s", [Job("s/1", "s/0")])), Now).Refusal);
        Assert.NotNull(_sweep.Decide(new SweepCommand.Submit(Submission("s", [Job("s/0"), Job("s/0")])), Now).Refusal);
        Assert.NotNull(_sweep.Decide(new SweepCommand.Submit(Submission("s", [Job("t/0")])), Now).Refusal);
    }

    [Fact]
    public void A_result_makes_what_needs_it_ready_is_acknowledged_and_fills_the_cache()
    {
        Submit(Job("s/0"), Job("s/1", "s/0"));
        var effects = Report(Done("s/0", fence: 7));

        Assert.Equal([new AttemptKey("s/0", 1, 7)], effects.OfType<SweepEffect.Acknowledge>().Single().Attempts.AsEnumerable());
        Assert.Single(effects.OfType<SweepEffect.FillCache>());
        var ready = effects.OfType<SweepEffect.AskCache>().Single().Jobs.Single();
        Assert.Equal(_sweep.OutputsOf("s/0")["model"], ready.Job.Inputs["model0"]);
        Assert.Equal(SweepStatus.Running, _sweep.Status);
        Report(Done("s/1", fence: 8));
        Assert.Equal(SweepStatus.Completed, _sweep.Status);
    }

    [Fact]
    public void The_first_result_wins_and_later_ones_are_acknowledged()
    {
        Submit(Job("s/0"), Job("s/1"));
        Report(Done("s/0", fence: 7));
        var outputs = _sweep.OutputsOf("s/0");
        var before = _events.Count;

        var effects = Report(Done("s/0", fence: 9), Failure("s/0", FailureType.Crashed, fence: 10));

        Assert.Equal(before, _events.Count);
        Assert.Equal([9L, 10L], effects.OfType<SweepEffect.Acknowledge>().Single().Attempts.Select(a => a.Fence));
        Assert.Same(outputs, _sweep.OutputsOf("s/0"));
        Assert.Single(Report(Done("unknown/4", fence: 3)).OfType<SweepEffect.Acknowledge>());
    }

    [Theory]
    [InlineData(FailureType.InvalidInput, 1)]
    [InlineData(FailureType.Unsupported, 1)]
    [InlineData(FailureType.Crashed, 2)]
    [InlineData(FailureType.TimedOut, 2)]
    [InlineData(FailureType.OutOfMemory, 3)]
    [InlineData(FailureType.Internal, 3)]
    [InlineData(FailureType.WorkerLost, 11)]
    public void The_type_of_a_failure_decides_how_often_it_is_tried(FailureType type, int attempts)
    {
        Submit(Job("s/0"), Job("s/1", "s/0"), Job("s/2", "s/1"));
        for (var attempt = 1; attempt <= attempts; attempt++)
        {
            Assert.Equal(JobStatus.Waiting, _sweep.StatusOf("s/0"));
            Report(Failure("s/0", type, attempt, attempt));
        }

        Assert.Equal(JobStatus.Failed, _sweep.StatusOf("s/0"));
        Assert.Equal(JobStatus.Skipped, _sweep.StatusOf("s/2"));
        Assert.Equal(["s/0"], _sweep.BlockedBy("s/1").AsEnumerable());
        Assert.Equal(SweepStatus.Failed, _sweep.Status);
        Assert.Equal(attempts, _sweep.View("s/0")!.Attempts.Length);
    }

    [Fact]
    public void A_job_that_is_handed_back_is_tried_as_often_as_it_happens_and_loses_no_try()
    {
        Submit(Job("s/0"));
        for (var attempt = 1; attempt <= 2 * SweepState.MaxLosses; attempt++)
        {
            Report(Failure("s/0", FailureType.HandedBack, attempt, attempt));
        }

        Assert.Equal(JobStatus.Waiting, _sweep.StatusOf("s/0"));
        Report(Failure("s/0", FailureType.Crashed, 21, 21));
        Assert.Equal(JobStatus.Waiting, _sweep.StatusOf("s/0"));
        Report(Failure("s/0", FailureType.Crashed, 22, 22));
        Assert.Equal(JobStatus.Failed, _sweep.StatusOf("s/0"));
    }

    [Fact]
    public void A_job_that_ran_out_of_memory_asks_for_more_than_the_device_had()
    {
        Submit(Job("s/0"));
        var effects = Report(Failure("s/0", FailureType.OutOfMemory) with { DeviceMemory = 1000 });
        Assert.Equal(1001, effects.OfType<SweepEffect.Queue>().Single().Jobs.Single().MinimumMemory);
    }

    [Fact]
    public void What_is_compared_with_a_reference_prefers_the_variant_that_made_it()
    {
        var reference = Job("s/0") with { Kind = JobKind.Evaluate, Outputs = ["logits"] };
        var compared = Job("s/1") with { Kind = JobKind.Evaluate, Outputs = [], Inputs = [new JobInput("logits", InputSource.Of("s/0", "logits"))] };
        Submit(reference, compared);
        Assert.Equal("zen4", Report(DoneBy("zen4", reference)).OfType<SweepEffect.AskCache>().Single().Jobs.Single().LibraryVariant);
        Assert.Equal("zen4", SweepState.FromSnapshot(_sweep.ToSnapshot()).Recover().OfType<SweepEffect.AskCache>().Single().Jobs.Single().LibraryVariant);
    }

    [Theory]
    [InlineData("zen4", true)]
    [InlineData("haswell", false)]
    public void A_cached_reference_serves_only_a_fleet_that_has_its_variant(string variant, bool serves)
    {
        var reference = Job("s/0") with { Kind = JobKind.Evaluate, Outputs = ["logits"] };
        var other = Job("s/1") with { Kind = JobKind.Evaluate, Outputs = [] };
        Do(new SweepCommand.Submit(Submission("s", [reference, other]) with { LibraryVariants = ["cuda+zen4", "zen4"] }));
        var effects = Do(new SweepCommand.CacheAnswered(
            [DoneBy(variant, reference) with { Fence = 0, Cached = true }, DoneBy("haswell", other) with { Fence = 0, Cached = true }], []));
        Assert.Equal(serves ? JobStatus.Succeeded : JobStatus.Waiting, _sweep.StatusOf("s/0"));
        Assert.Equal(serves ? [] : ["s/0"], effects.OfType<SweepEffect.Queue>().SelectMany(q => q.Jobs).Select(j => j.Job.Spec.Id));
        Assert.Equal(JobStatus.Succeeded, _sweep.StatusOf("s/1"));
    }

    [Fact]
    public void A_job_that_crashed_avoids_the_host()
    {
        Submit(Job("s/0"));
        var again = Report(Failure("s/0", FailureType.Crashed)).OfType<SweepEffect.Queue>().Single().Jobs.Single();
        Assert.Equal(["h"], again.Avoid);
        Assert.Equal(2, again.Attempt);
    }

    [Fact]
    public void A_late_success_of_a_pass_counts_and_one_of_a_benchmark_does_not()
    {
        Submit(Job("s/0"), Benchmark("s/1", "g|0"));
        Report(Failure("s/0", FailureType.WorkerLost, fence: 1), Failure("s/1", FailureType.WorkerLost, fence: 2));

        var effects = Report(Done("s/0", fence: 3), Done("s/1", fence: 4));

        Assert.Equal(JobStatus.Succeeded, _sweep.StatusOf("s/0"));
        Assert.Equal(JobStatus.Waiting, _sweep.StatusOf("s/1"));
        Assert.Equal(["s/0"], effects.OfType<SweepEffect.Withdraw>().Single().JobIds.AsEnumerable());
        Assert.Equal([4L, 3L], effects.OfType<SweepEffect.Acknowledge>().SelectMany(a => a.Attempts).Select(a => a.Fence).OrderDescending());
    }

    [Fact]
    public void A_success_without_its_output_is_a_failure_of_the_engine()
    {
        Submit(Job("s/0"));
        Report(Done("s/0") with { Outcome = new JobOutcome(new JobResult(), null, default, Now, Now) });
        Assert.Equal(FailureType.Internal, _sweep.AttemptsOf("s/0").Single().Failure!.Type);
    }

    [Fact]
    public void Benchmarks_of_a_group_are_bound_to_the_device_of_the_first_success()
    {
        Submit(Benchmark("s/0", "g|0"), Benchmark("s/1", "g|0"));
        Report(Done("s/0", host: "a"));
        Assert.Equal(new DeviceAddress("a", "cpu"), _sweep.Recover().OfType<SweepEffect.Queue>().Single().Jobs.Single().BoundTo);

        Report(Done("s/1", host: "b"));

        Assert.Equal(JobStatus.Waiting, _sweep.StatusOf("s/1"));
        Assert.Contains("measured again", _sweep.AttemptsOf("s/1").Single().Failure!.Message, StringComparison.Ordinal);
        Report(Done("s/1", attempt: 2, host: "a"));
        Assert.Equal(SweepStatus.Completed, _sweep.Status);
    }

    [Fact]
    public void Another_number_of_a_target_measures_elsewhere()
    {
        Submit(Benchmark("s/0", "g|0"), Benchmark("s/1", "g|1"));
        Report(Done("s/0", host: "a"));
        Assert.Equal([new DeviceAddress("a", "cpu")], _sweep.Recover().OfType<SweepEffect.Queue>().Single().Jobs.Single().NotOn.AsEnumerable());
        Report(Done("s/1", host: "a"));
        Assert.Equal(JobStatus.Waiting, _sweep.StatusOf("s/1"));
    }

    [Fact]
    public void A_lost_device_moves_what_is_left_and_measures_the_baseline_again()
    {
        var (model, baseline, form) = (Job("s/0"), Benchmark("s/1", "g|0", "s/0"), Benchmark("s/2", "g|0", "s/0"));
        Submit(
            [model, baseline with { Entries = ["s/e1"] }, form with { Entries = ["s/e2"] }],
            [Entry("s/e1", model, baseline), Entry("s/e2", model, form, "s/e1")]);
        Report(Done("s/0", fence: 1));
        Report(Done("s/1", fence: 2, host: "a"));

        Assert.Empty(Do(new SweepCommand.DeviceLost("other", new DeviceAddress("a", "cpu"))).OfType<SweepEffect.Queue>());
        var effects = Do(new SweepCommand.DeviceLost("g|0", new DeviceAddress("a", "cpu")));

        Assert.Equal("g|0+1", _sweep.Job("s/2")!.DeviceGroup);
        Assert.Equal("g|0+1", _sweep.Job("s/3")!.DeviceGroup);
        Assert.Equal(["s/2", "s/3"], effects.OfType<SweepEffect.Queue>().SelectMany(q => q.Jobs).Select(j => j.Job.Spec.Id).Order(StringComparer.Ordinal));
        Assert.All(effects.OfType<SweepEffect.Queue>().SelectMany(q => q.Jobs), j => Assert.Null(j.BoundTo));
        Assert.Equal("s/e3", _sweep.Entries.Single(e => e.Id == "s/e2").BaselineId);
        Assert.True(_sweep.Entries.Single(e => e.Id == "s/e3").IsBaseline);
        Assert.Empty(Do(new SweepCommand.DeviceLost("g|0", new DeviceAddress("a", "cpu"))));
    }

    [Fact]
    public void A_lost_device_where_nothing_was_measured_only_frees_the_jobs()
    {
        Submit(Benchmark("s/0", "g|0"));
        var before = _events.Count;
        Assert.Single(Do(new SweepCommand.DeviceLost("g|0", new DeviceAddress("a", "cpu"))).OfType<SweepEffect.Queue>());
        Assert.Equal(before, _events.Count);
    }

    [Fact]
    public void Cancelling_withdraws_what_waits_and_later_results_are_acknowledged()
    {
        Submit(Job("s/0"), Job("s/1", "s/0"));
        var effects = Do(new SweepCommand.Cancel("enough"));
        Assert.Equal(["s/0"], effects.OfType<SweepEffect.Withdraw>().Single().JobIds.AsEnumerable());
        Assert.Equal(SweepStatus.Cancelled, _sweep.Status);
        Assert.Equal(2, _sweep.Counts[JobStatus.Cancelled]);
        Assert.Single(Report(Done("s/0", fence: 5)).OfType<SweepEffect.Acknowledge>());
        Assert.Equal(JobStatus.Cancelled, _sweep.StatusOf("s/0"));
        Assert.Null(_sweep.Decide(new SweepCommand.Cancel("again"), Now).Refusal);
        Assert.NotNull(_sweep.Decide(new SweepCommand.Retry(null), Now).Refusal);
        Assert.Empty(_sweep.Recover());
    }

    [Fact]
    public void Retrying_runs_failed_jobs_and_those_skipped_because_of_them_again()
    {
        Submit(Job("s/0"), Job("s/1", "s/0"), Job("s/2"), Job("s/3", "s/2", "s/0"));
        Report(Failure("s/0", FailureType.InvalidInput, fence: 1), Failure("s/2", FailureType.Unsupported, fence: 2));
        Assert.Equal(SweepStatus.Failed, _sweep.Status);

        // Nothing to run again is no error.
        var nothing = _sweep.Decide(new SweepCommand.Retry(FailureType.Crashed), Now);
        Assert.Null(nothing.Refusal);
        Assert.Empty(nothing.Events);

        var again = Do(new SweepCommand.Retry(FailureType.InvalidInput)).OfType<SweepEffect.Queue>().Single().Jobs.Single();

        Assert.Equal(("s/0", 2), (again.Job.Spec.Id, again.Attempt));
        Assert.Equal(JobStatus.Blocked, _sweep.StatusOf("s/1"));
        Assert.Equal(JobStatus.Skipped, _sweep.StatusOf("s/3"));
        Report(Done("s/0", attempt: 2, fence: 3));
        Report(Done("s/1", fence: 4));
        Assert.Equal(SweepStatus.Failed, _sweep.Status);
        Assert.Equal(2, _sweep.Counts[JobStatus.Succeeded]);
    }

    [Fact]
    public void Some_forms_measured_is_partial()
    {
        var (model, good, bad) = (Job("s/0"), Benchmark("s/1", "g|0", "s/0"), Benchmark("s/2", "g|0", "s/0"));
        Submit([model, good, bad], [Entry("s/e1", model, good), Entry("s/e2", model, bad, "s/e1")]);
        Report(Done("s/0", fence: 1));
        Report(Done("s/1", fence: 2), Failure("s/2", FailureType.Unsupported, fence: 3));
        Assert.Equal(SweepStatus.Partial, _sweep.Status);
    }

    [Fact]
    public void The_cache_answers_once_and_what_it_lacks_is_queued()
    {
        Submit(Job("s/0"), Job("s/1"));
        var effects = Do(new SweepCommand.CacheAnswered([Done("s/0", fence: 0) with { Cached = true }], ["s/1"]));
        Assert.Equal(["s/1"], effects.OfType<SweepEffect.Queue>().Single().Jobs.Select(j => j.Job.Spec.Id));
        Assert.Empty(effects.OfType<SweepEffect.FillCache>());
        Assert.Equal(1, _sweep.View().CacheHits);
    }

    [Fact]
    public void A_fresh_sweep_asks_no_cache()
    {
        var effects = Do(new SweepCommand.Submit(Submission("s", [Job("s/0")], fresh: true)));
        Assert.Empty(effects.OfType<SweepEffect.AskCache>());
        Assert.True(effects.OfType<SweepEffect.Queue>().Single().Jobs.Single().Fresh);
    }

    [Fact]
    public void A_start_that_is_not_wanted_is_withdrawn_and_one_that_is_shows()
    {
        Submit(Job("s/0"), Job("s/1"));
        Assert.Empty(_sweep.Started(new AttemptKey("s/0", 1, 5), "w", new DeviceAddress("h", "cpu"), Now));
        Assert.Equal(JobStatus.Running, _sweep.StatusOf("s/0"));
        Assert.True(_sweep.Progress(new AttemptKey("s/0", 1, 5), 0.5, "half way"));
        Assert.Equal(0.5, _sweep.View("s/0")!.Progress);
        Assert.Equal(1, _sweep.Counts[JobStatus.Running]);
        Assert.Equal(1, _sweep.Counts[JobStatus.Waiting]);
        _sweep.Requeued("s/0");
        Assert.Equal(2, _sweep.Counts[JobStatus.Waiting]);
        Assert.Single(_sweep.Started(new AttemptKey("s/0", 2, 5), "w", new DeviceAddress("h", "cpu"), Now));
        Report(Done("s/0"));
        Assert.Single(_sweep.Started(new AttemptKey("s/0", 1, 6), "w", new DeviceAddress("h", "cpu"), Now));
    }

    [Theory]
    [InlineData("s/00")]
    [InlineData("s/-1")]
    [InlineData("s/ 1")]
    [InlineData("s/")]
    [InlineData("t/0")]
    [InlineData("s/99999999999")]
    public void An_id_that_is_not_canonical_names_no_job(string id)
    {
        Submit(Job("s/0"), Job("s/1"));
        Assert.Null(_sweep.Job(id));
    }

    [Fact]
    public void Commands_for_a_sweep_that_was_never_submitted_are_refused()
    {
        Assert.NotNull(_sweep.Decide(new SweepCommand.Cancel("x"), Now).Refusal);
        Assert.NotNull(_sweep.Decide(new SweepCommand.Retry(null), Now).Refusal);
        Assert.Empty(_sweep.Recover());
    }

    private static JobReport Done(string job, int attempt = 1, long fence = 100, string host = "h") => new(
        job, attempt, fence, Success(Job(job)), "w", new DeviceAddress(host, "cpu"), "", false, default);

    private static JobReport DoneBy(string variant, JobSpec spec)
    {
        var outcome = Success(spec);
        return Done(spec.Id) with { Outcome = outcome with { Result = outcome.Result! with { LibraryVariant = variant } } };
    }

    private static JobReport Failure(string job, FailureType type, int attempt = 1, long fence = 100) =>
        Done(job, attempt, fence) with { Outcome = Failed(type) };

    private ImmutableArray<SweepEffect> Submit(params JobSpec[] jobs) => Submit([.. jobs], []);

    private ImmutableArray<SweepEffect> Submit(ImmutableArray<JobSpec> jobs, ImmutableArray<Core.Planning.PlannedEntry> entries) =>
        Do(new SweepCommand.Submit(Submission("s", jobs, entries)));

    private ImmutableArray<SweepEffect> Report(params JobReport[] reports) => Do(new SweepCommand.Report([.. reports]));

    private ImmutableArray<SweepEffect> Do(SweepCommand command)
    {
        var decision = _sweep.Decide(command, Now);
        Assert.Null(decision.Refusal);
        _events.AddRange(decision.Events);
        return [.. decision.Events.SelectMany(e => _sweep.Apply(e)), .. decision.Effects];
    }
}
