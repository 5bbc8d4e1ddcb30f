using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestCatalog;
using static EdgeFarm.Core.Tests.TestFarm;

namespace EdgeFarm.Core.Tests.Leaderboard;

public sealed class LeaderboardTests
{
    [Fact]
    public void The_front_holds_what_no_other_row_beats()
    {
        var marked = Pareto.Mark(
        [
            Row("F16", tg: 10, size: 100, perplexity: 20),
            Row("Q8", tg: 15, size: 50, perplexity: 20.1),
            Row("Q4", tg: 20, size: 25, perplexity: 21),
            Row("bad", tg: 14, size: 50, perplexity: 22),
            Row("unmeasured") with { Metrics = ImmutableSortedDictionary<string, MetricValue>.Empty },
        ]);
        Assert.Equal(["F16", "Q8", "Q4"], marked.Where(e => e.Pareto).Select(e => e.Form));
    }

    [Fact]
    public void Rows_of_another_device_or_build_do_not_beat()
    {
        var marked = Pareto.Mark(
        [
            Row("a", tg: 10, size: 100, perplexity: 20),
            Row("b", tg: 20, size: 50, perplexity: 19) with { Device = "gpu" },
            Row("c", tg: 20, size: 50, perplexity: 19) with { RuntimeVersion = "2" },
            Row("d", tg: 20, size: 50, perplexity: 19) with { Sweep = "other" },
        ]);
        Assert.All(marked, e => Assert.True(e.Pareto));
    }

    [Fact]
    public void A_baseline_is_the_best_in_a_quality_that_compares_with_it()
    {
        var marked = Pareto.Mark(
        [
            Latency("fp32", 2, 100, null) with { Baseline = true },
            Latency("int8", 1, 30, 35),
        ]);
        Assert.All(marked, e => Assert.True(e.Pareto));
    }

    [Fact]
    public void Synthetic_input_carries_no_quality()
    {
        var marked = Pareto.Mark(
        [
            Latency("fp32", 2, 100, null) with { Baseline = true },
            Latency("int8", 1, 30, 35) with { Flags = ["synthetic_input"] },
        ]);
        Assert.Equal(["int8"], marked.Where(e => e.Pareto).Select(e => e.Form));
    }

    [Fact]
    public void Ratios_are_to_the_baseline_on_the_same_device()
    {
        var rows = Relative.Fill(
        [
            Row("F16", tg: 10, size: 100, perplexity: 20),
            Row("Q4", tg: 25, size: 30, perplexity: 21) with { BaselineId = "F16" },
            Row("Q8", tg: 25, size: 30, perplexity: 21) with { BaselineId = "F16", Device = "gpu" },
        ]);
        Assert.Equal(2.5, rows[1].Relative["tg"], 12);
        Assert.Equal(0.3, rows[1].Relative["size"], 12);
        Assert.Empty(rows[2].Relative);
    }

    [Fact]
    public void The_pick_is_the_fastest_whose_quality_is_kept()
    {
        var advice = Assert.Single(Recommendation.Of(
        [
            Row("F16", tg: 10, size: 100, perplexity: 20) with { Baseline = true },
            Row("Q8", tg: 15, size: 50, perplexity: 20.1) with { BaselineId = "F16" },
            Row("Q4", tg: 20, size: 25, perplexity: 20.5) with { BaselineId = "F16" },
            Row("Q2", tg: 30, size: 15, perplexity: 40) with { BaselineId = "F16" },
        ]));
        Assert.Equal(("Q4", "Q8"), (advice.Pick.Form, advice.RunnerUp!.Form));
        Assert.Equal(
            "Take Q4 (llama.cpp) of tiny on cpu: the fastest form that keeps its quality (2.00x the speed, 0.25x the size, 1.025x the perplexity of F16); "
            + "runner-up Q8 (llama.cpp) (1.50x the speed, 0.50x the size, 1.005x the perplexity of F16, 0.75x its speed).",
            advice.Text);
    }

    [Fact]
    public void Of_those_that_cannot_be_told_apart_the_smaller_is_picked()
    {
        var advice = Assert.Single(Recommendation.Of(
        [
            Row("Q8", tg: 20, size: 50, perplexity: 20, spread: 2),
            Row("Q6", tg: 19, size: 40, perplexity: 20, spread: 2),
        ]));
        Assert.Equal("Q6", advice.Pick.Form);
        Assert.Contains("as fast as far as can be told, but larger", advice.Text, StringComparison.Ordinal);
        Assert.Empty(Recommendation.Of([Row("x") with { Host = "" }]));
    }

    [Fact]
    public void A_row_is_assembled_from_what_its_jobs_brought()
    {
        var (import, pass, benchmark, evaluation) = (
            Job("s/0") with { Kind = JobKind.Import, Operation = "Import" },
            Job("s/1") with { Inputs = [new JobInput("model", InputSource.Of("s/0", "model"))] },
            Benchmark("s/2", "g|0"),
            Job("s/3") with { Kind = JobKind.Evaluate, Operation = "Perplexity" });
        var specs = new[] { import, pass, benchmark, evaluation }.ToDictionary(s => s.Id);
        var ends = new Dictionary<string, FinishedJob>
        {
            ["s/0"] = End(import, new JobResult { Outputs = Output(2000), Report = """{"parameters": 1000}""" }, cached: true),
            ["s/1"] = End(pass, new JobResult { Outputs = Output(500), Warnings = ["a tensor was left as it is"], Report = "not json", Engine = Llama }, cached: true),
            ["s/2"] = End(
                benchmark,
                new JobResult
                {
                    Measurements = [new Measurement("tg", [10, 12], "llama.cpp"), new Measurement("load_time", [1], "llama.cpp")],
                    Settings = Parameters(("threads", "4")),
                    Flags = ["virtual"],
                    LibraryVariant = "haswell",
                    Environment = ImmutableSortedDictionary<string, PropertyValue>.Empty.Add("cpu.model", PropertyValue.Of("x")),
                },
                attempts: 2),
            ["s/3"] = End(
                evaluation, new JobResult { Measurements = [new Measurement("perplexity", [20], "llama.cpp"), new Measurement("load_time", [9], "llama.cpp")] }, cached: true),
        };

        var row = Assemble(Entry("s/e2", pass, benchmark, null, "s/3"), specs, ends);

        Assert.Equal(4.0, row.BitsPerWeight);
        Assert.Equal(500, row.Metrics["size"].Value);
        Assert.Equal(11, row.Metrics["tg"].Value);
        Assert.Equal(20, row.Metrics["perplexity"].Value);
        Assert.Equal(1, row.Metrics["load_time"].Value);
        Assert.Equal(("h", "w", "cpu", "cpu-x64"), (row.Host, row.Worker, row.Device, row.DeviceClass));
        Assert.True(row.Cached);
        Assert.Equal(5, row.Attempts);
        Assert.Equal(["virtual"], row.Flags);
        Assert.Equal(["a tensor was left as it is"], row.Warnings.AsEnumerable());
        Assert.Equal("4", row.Settings["threads"]);
        Assert.Equal("llama.cpp b6000 (abc)", row.ToolchainVersion);
        Assert.Null(row.Failure);
        Assert.Equal(Now, row.MeasuredAt);
    }

    [Fact]
    public void A_row_without_results_tells_what_is_planned_and_the_first_failure()
    {
        var (import, pass, benchmark) = (Job("s/0"), Job("s/1") with { Inputs = [new JobInput("model", InputSource.Of("s/0", "model"))] }, Benchmark("s/2", "g|0"));
        var specs = new[] { import, pass, benchmark }.ToDictionary(s => s.Id);
        var entry = Entry("s/e2", pass, benchmark);

        var empty = Assemble(entry, specs, []);
        Assert.Equal((0, false, ""), (empty.Attempts, empty.Cached, empty.Host));
        Assert.Null(empty.Failure);
        Assert.Empty(empty.Metrics);

        var failed = Assemble(entry, specs, new() { ["s/0"] = new FinishedJob(Report(import, Failed(FailureType.InvalidInput), false), 1) });
        Assert.Equal(FailureType.InvalidInput, failed.Failure!.Type);
    }

    private static LeaderboardEntry Assemble(PlannedEntry entry, Dictionary<string, JobSpec> specs, Dictionary<string, FinishedJob> ends) =>
        EntryAssembler.Assemble("s", Parameters(), entry, specs.GetValueOrDefault, ends.GetValueOrDefault);

    private static ImmutableSortedDictionary<string, Core.Artifacts.ArtifactRef> Output(long size) =>
        ImmutableSortedDictionary<string, Core.Artifacts.ArtifactRef>.Empty.Add("model", Artifact("m", "gguf") with { Size = size });

    private static FinishedJob End(JobSpec spec, JobResult result, bool cached = false, int attempts = 1) =>
        new(Report(spec, new JobOutcome(result, null, default, Now, Now), cached), attempts);

    private static JobReport Report(JobSpec spec, JobOutcome outcome, bool cached) =>
        new(spec.Id, 1, 1, outcome, "w", new DeviceAddress("h", "cpu"), "cpu-x64", cached, default);

    private static LeaderboardEntry Latency(string form, double latency, double size, double? sqnr)
    {
        var row = Row(form, size: size);
        var metrics = row.Metrics.Remove("tg").Remove("perplexity").Add("latency", Metric("latency", latency));
        return row with { Metrics = sqnr is { } noise ? metrics.Add("sqnr", Metric("sqnr", noise)) : metrics };
    }

    private static LeaderboardEntry Row(string form, double tg = 1, double size = 1, double perplexity = 1, double? spread = null) => new()
    {
        Id = form,
        Sweep = "s",
        Labels = Parameters(),
        Model = "tiny",
        Toolchain = "llama.cpp",
        Runtime = "llama.cpp",
        Form = form,
        Recipe = [],
        Baseline = false,
        BaselineId = form,
        Target = "any",
        Host = "h",
        Device = "cpu",
        Metrics = ImmutableSortedDictionary<string, MetricValue>.Empty
            .Add("tg", Metric("tg", tg) with { Ci95Low = tg - spread, Ci95High = tg + spread })
            .Add("size", Metric("size", size))
            .Add("perplexity", Metric("perplexity", perplexity)),
    };

    private static MetricValue Metric(string name, double value)
    {
        var definition = Metrics.Find(name)!;
        return new MetricValue(name, value, definition.Unit, definition.Better, 1, "llama.cpp");
    }
}
