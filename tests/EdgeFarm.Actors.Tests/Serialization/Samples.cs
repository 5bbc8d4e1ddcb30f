using System.Collections.Immutable;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Actors.Tests.Farm;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Tests.Serialization;

/// <summary>
/// One message of every kind by name: every manifest, and of messages that carry a command, an event, an input or an effect every
/// kind of that. A name is for ever, like the golden bytes of the same name.
/// </summary>
internal static class Samples
{
    private static readonly DateTimeOffset At = new(2026, 11, 25, 10, 30, 0, 123, TimeSpan.Zero);
    private static readonly AttemptKey Key = new("s-1/3", 2, 77);
    private static readonly DeviceAddress Device = new("host-1", "cpu");
    private static readonly SweepSubmission Submission = TestPlans.Submission("s-1", "request-1", "content");
    private static readonly SweepSubmission Calibrated = Submission with
    {
        Spec = Submission.Spec with
        {
            Recipes = [new RecipeSpec("llama.cpp", null, ["IQ2_XS+imatrix"], [], [], []) { Calibration = "text" }],
            Quality = [new QualitySpec("text", null, [], false, TestPlans.Map(("type_k", "f16,q8_0")))],
            Limits = new SweepLimits(2_000_000_000, 3_000_000_000),
        },
        Plan = Submission.Plan with { Entries = [.. Submission.Plan.Entries.Select(e => e with { PredictedSize = 1_900_000_000 })] },
    };

    private const string TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    private static readonly JobSpec Spec = Submission.Plan.Jobs[TestPlans.FormBenchmark];
    private static readonly ArtifactRef Artifact = new(Digest.OfText("artifact"), ArtifactKind.Tree, 123, "onnx", "m.onnx");
    private static readonly ReadyJob Ready = new(Spec, TestPlans.Map(("model", Artifact)), Digest.OfText("action"));
    private static readonly Failure Failed = new(FailureType.Crashed, "died", "tail", 134, 6);

    private static readonly JobOutcome Success = new(
        new JobResult
        {
            Outputs = TestPlans.Map(("model", Artifact)),
            Measurements = [new("tg", [1.5, 2.5], "engine"), new("perplexity", [9.25], "engine", 0.5)],
            Settings = TestPlans.Map(("n_threads", "4")),
            Engine = TestPlans.Engine,
            LibraryVariant = "haswell",
            LibraryDigest = "00ff",
            Environment = TestPlans.Map(
                ("cpu", PropertyValue.Of("model")), ("load", PropertyValue.Of(0.25)), ("features", PropertyValue.Of(["avx2", "fma"]))),
            Flags = ["contended"],
            Warnings = ["slow"],
            Report = """{"ops":3}""",
            Log = Digest.OfText("log"),
        },
        null,
        Digest.OfText("log"),
        At,
        At.AddSeconds(3));

    private static readonly JobReport Report = new("s-1/3", 2, 77, Success, "w1", Device, "cpu-x64", false, Digest.OfText("action")) { DeviceMemory = 99 };
    private static readonly JobReport FailedReport = Report with { Outcome = new JobOutcome(null, Failed, default, At, At), Device = null, Cached = true };
    private static readonly QueuedJob Queued = new(Ready, "s-1", 2, Device, 1024, ["host-2"], true);
    private static readonly Lease Lease = new(Ready, "s-1", 2, 77, "cpu", TimeSpan.FromMinutes(30), TimeSpan.FromHours(1));
    private static readonly HeldLease Held = new(Key, "s-1", "cpu", true) { Ended = true };

    private static readonly SweepView View = new(
        "s-1",
        "test",
        "owner",
        TestPlans.Map(("team", "red")),
        SweepStatus.Partial,
        ImmutableSortedDictionary<JobStatus, int>.Empty.Add(JobStatus.Failed, 1).Add(JobStatus.Succeeded, 4),
        2,
        At,
        At.AddMinutes(1));

    private static readonly JobView JobView = new(
        "s-1/3",
        "s-1",
        JobKind.Benchmark,
        "Benchmark",
        "engine",
        "m",
        "Q4_0",
        "any",
        JobStatus.Running,
        [new AttemptView(1, "w1", "host-1", "cpu", At, At.AddSeconds(1), Failed, Digest.OfText("log")), new AttemptView(2, "w2", "host-2", "cpu", null, null, null, default)],
        true,
        0.5,
        "halfway",
        Digest.OfText("action"),
        TestPlans.Map(("model", Artifact)));

    private static readonly WaitExplanation Wait = new(
        "s-1/3", 4, "no worker has arch = arm64", [new NearWorker("w1", [new Lack("arch = arm64", "x64")], ""), new NearWorker("w2", [], "busy")]);

    private static readonly SweepState State = Replay();

    public static IEnumerable<(string Name, IFarmMessage Message)> All()
    {
        yield return ("sr-submitted", Record(new SweepEvent.Submitted(At, Submission)));
        yield return ("sr-submitted-traced", Record(new SweepEvent.Submitted(At, Submission with { TraceParent = TraceParent })));
        yield return ("sr-submitted-variants", Record(new SweepEvent.Submitted(At, Submission with { LibraryVariants = ["cuda+zen4", "zen4"] })));
        yield return ("sr-submitted-calibrated", Record(new SweepEvent.Submitted(At, Calibrated)));
        yield return ("sr-plan-grown-predicted", Record(new SweepEvent.PlanGrown(At, Calibrated.Plan.Jobs, Calibrated.Plan.Entries)));
        yield return ("sr-plan-grown", Record(new SweepEvent.PlanGrown(At, Submission.Plan.Jobs, Submission.Plan.Entries)));
        yield return ("sr-plan-part", Record(new SweepEvent.PlanGrown(At, Submission.Plan.Jobs, Submission.Plan.Entries)));
        yield return ("sr-attempts-ended", Record(new SweepEvent.AttemptsEnded(At, [new AttemptEnd(Report, true), new AttemptEnd(FailedReport, false)])));
        yield return ("sr-group-rebound", Record(new SweepEvent.GroupRebound(At, "g", "g+1", ["s-1/2", "s-1/3"])));
        yield return ("sr-jobs-retried", Record(new SweepEvent.JobsRetried(At, ["s-1/2"])));
        yield return ("sr-cancel-requested", Record(new SweepEvent.CancelRequested(At, "enough")));
        yield return ("sr-ended", Record(new SweepEvent.Ended(At, SweepStatus.Cancelled)));
        yield return ("ss", new SweepSaved(State.ToSnapshot()));
        yield return ("ss-variant", new SweepSaved(WithVariant(State.ToSnapshot())));
        yield return ("sx-submit", Execute(new SweepCommand.Submit(Submission)));
        yield return ("sx-cancel", Execute(new SweepCommand.Cancel("enough")));
        yield return ("sx-retry", Execute(new SweepCommand.Retry(FailureType.TimedOut)));
        yield return ("sx-retry-all", Execute(new SweepCommand.Retry(null)));
        yield return ("sx-report", Execute(new SweepCommand.Report([Report, FailedReport])));
        yield return ("sx-cache-answered", Execute(new SweepCommand.CacheAnswered([Report], ["s-1/4"])));
        yield return ("sx-device-lost", Execute(new SweepCommand.DeviceLost("g", Device)));
        yield return ("st", new SweepMessages.Started("s-1", Key, "w1", Device));
        yield return ("sq", new SweepMessages.Requeued("s-1", "s-1/3", "lost"));
        yield return ("sp", new SweepMessages.Progressed("s-1", Key, 0.25, "loading"));
        yield return ("sw", new SweepMessages.Wake("s-1", "epoch", null));
        yield return ("sw-known", new SweepMessages.Wake("s-1", "epoch", 3));
        yield return ("sg", new SweepMessages.Get("s-1"));
        yield return ("sn", new SweepMessages.GetSnapshot("s-1"));
        yield return ("sn-jobs", new SweepMessages.GetSnapshot("s-1") { Jobs = ["s-1/2", "s-1/7"] });
        yield return ("sv", new SweepMessages.Watch("s-1", 12));
        yield return ("sv-new", new SweepMessages.Watch("s-1", null));
        yield return ("se", new SweepMessages.Explain("s-1", "s-1/3"));
        yield return ("sy", new SweepReply(View, null, 3));
        yield return ("sy-failed", new SweepReply(null, Failed, 0));
        yield return ("sc", new SweepChanged(new SweepChange(9, View with { EndedAt = null }, [JobView], true)));
        yield return ("sf", new JobExplained(JobView, ["s-1/1"], [KeyValuePair.Create("kind", "Benchmark")], null));
        yield return ("sf-memory", new JobExplained(JobView with { MemoryBytes = 7_000_000_000 }, [], [], null));
        yield return ("sf-failed", new JobExplained(null, [], [], Failed));
        yield return ("dx-worker-linked", Tell(new DispatchInput.WorkerLinked("l", "session", TestPlans.Capability("w1", "host-1"), [Held])));
        yield return ("dx-credit", Tell(new DispatchInput.CreditAnnounced("l", new WorkerCredit(3, true, 8))));
        yield return ("dx-link-lost", Tell(new DispatchInput.LinkLost("l")));
        yield return ("dx-worker-draining", Tell(new DispatchInput.WorkerDraining("l")));
        yield return ("dx-lease-returned", Tell(new DispatchInput.LeaseReturned("l", Key)));
        yield return ("dx-jobs-queued", Tell(new DispatchInput.JobsQueued([Queued, Queued with { BoundTo = null }])));
        yield return ("dx-jobs-queued-traced", Tell(new DispatchInput.JobsQueued([Queued with { TraceParent = TraceParent }])));
        yield return ("dx-jobs-queued-variant", Tell(new DispatchInput.JobsQueued([Queued with { LibraryVariant = "zen4" }])));
        yield return ("dx-jobs-withdrawn", Tell(new DispatchInput.JobsWithdrawn("s-1", ["s-1/3"])));
        yield return ("dx-result-reported", Tell(new DispatchInput.ResultReported("l", "s-1", Key, Success, "cpu", Digest.OfText("action"))));
        yield return ("dx-results-stored", Tell(new DispatchInput.ResultsStored("s-1", [Key])));
        yield return ("dl-lease", new LinkTell("l", new DispatchEffect.SendLease("l", Lease, 5)));
        yield return ("dl-lease-traced", new LinkTell("l", new DispatchEffect.SendLease("l", Lease with { TraceParent = TraceParent }, 5)));
        yield return ("dl-revoke", new LinkTell("l", new DispatchEffect.SendRevoke("l", Key, "cancelled")));
        yield return ("dl-acknowledge", new LinkTell("l", new DispatchEffect.SendAcknowledge("l", Key)));
        yield return ("dx-worker-linked-drain", Tell(new DispatchInput.WorkerLinked(
            "l", "session", TestPlans.Capability("w1", "host-1") with { DrainTime = TimeSpan.FromMinutes(5) }, [])));
        yield return ("dl-refuse", new LinkTell("l", new DispatchEffect.RefuseLink("l", "another has its name")));
        yield return ("pr", new Rebuild());
        yield return ("ps", new RebuildStarted());
        yield return ("dl-close", new LinkTell("l", new DispatchEffect.CloseLink("l", "again")));
        yield return ("df", DispatchMessages.GetFleet.Instance);
        yield return ("dg", new FleetReply(new FleetView(
            [new WorkerView(TestPlans.Capability("w1", "host-1"), "session", At, true, [Held], 1, TestPlans.Map(("cpu", "cpu-x64")))],
            TestPlans.Map(("cpu-x64", 4)),
            TestPlans.Map(("none", 1)),
            TimeSpan.FromSeconds(90))));
        yield return ("dd", new DispatchMessages.GetDemand([new WorkerTemplate("cpu-x64", TestPlans.Capability("", ""))]));
        yield return ("dr", new DemandReply(new FleetDemand([new ClassDemand("cpu-x64", 3, 1), new ClassDemand("cuda", 0, 2)], 4)));
        yield return ("dr-starting", new DemandReply(null));
        yield return ("de", new DispatchMessages.ExplainWait("s-1/3"));
        yield return ("di", new WaitExplained(Wait));
        yield return ("di-none", new WaitExplained(null));
    }

    private static SweepState Replay()
    {
        var state = new SweepState("s-1");
        foreach (var happened in state.Decide(new SweepCommand.Submit(Submission), At).Events)
        {
            state.Apply(happened);
        }

        var import = Report with { JobId = "s-1/0", Attempt = 1 };
        foreach (var happened in state.Decide(new SweepCommand.Report([import]), At).Events)
        {
            state.Apply(happened);
        }

        return state;
    }

    private static SweepRecord Record(SweepEvent happened) => new("s-1", "owner", TestPlans.Map(("team", "red")), happened);

    private static SweepMessages.Execute Execute(SweepCommand command) => new("s-1", command);

    private static DispatchMessages.Tell Tell(DispatchInput input) => new(input);

    private static SweepSnapshot WithVariant(SweepSnapshot snapshot) =>
        snapshot with { Jobs = [.. snapshot.Jobs.Select(j => j with { LibraryVariant = "zen4" })] };
}
