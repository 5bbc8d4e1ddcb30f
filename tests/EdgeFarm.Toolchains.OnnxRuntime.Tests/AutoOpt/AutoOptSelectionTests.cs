using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;
using EdgeFarm.Toolchains.OnnxRuntime.Data;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.AutoOpt;

public sealed class AutoOptSelectionTests
{
    [Fact]
    public void The_fastest_that_keeps_the_goal_is_chosen()
    {
        var choice = AutoOptSelection.Choose([Source(), Form("slow", 50, 0.8), Form("fast", 60, 0.5), Form("broken", 10, 0.1, meets: false)], Objective.Latency);
        Assert.Equal("fast", choice.Trial.Candidate.Name);
    }

    [Fact]
    public void Of_equally_fast_forms_the_smaller_and_then_the_simpler_is_chosen()
    {
        Trial[] trials = [Source(), Form("fast", 60, 0.50, spread: 0.03), Form("small", 40, 0.52, spread: 0.03), Form("small-too", 40, 0.51, spread: 0.03, steps: 2)];
        var choice = AutoOptSelection.Choose(trials, Objective.Latency);
        Assert.Equal("small", choice.Trial.Candidate.Name);
        Assert.Contains("smaller", choice.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_every_form_is_slower_the_model_stays_float()
    {
        Trial[] trials = [Source(), Form("slow", 30, 1.4), Form("optimized-fp32", 100, 1.0, spread: 0.02)];
        Assert.Equal("optimized-fp32", AutoOptSelection.Choose(trials, Objective.Latency).Trial.Candidate.Name);
        Trial[] slower = [Source(), Form("slow", 30, 1.4), Form("optimized-fp32", 100, 1.2)];
        var choice = AutoOptSelection.LastResort(AutoOptSelection.Choose(slower, Objective.Latency), slower);
        Assert.True(choice.Trial.Candidate.IsSource);
        Assert.Contains("slower than the source", choice.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void By_size_the_smallest_is_chosen_and_nothing_larger_than_the_source()
    {
        Assert.Equal("tiny", AutoOptSelection.Choose([Source(), Form("fast", 60, 0.5), Form("tiny", 20, 3)], Objective.Size).Trial.Candidate.Name);
        Trial[] grown = [Source(), Form("optimized-fp32", 101, 1)];
        var choice = AutoOptSelection.Choose(grown, Objective.Size);
        Assert.True(choice.Trial.Candidate.IsSource);
        Assert.Equal("optimized-fp32", AutoOptSelection.LastResort(choice, grown).Trial.Candidate.Name);
    }

    [Fact]
    public void What_turns_out_slower_side_by_side_gives_way()
    {
        var (chain, single) = (Form("chain", 20, 0.5, steps: 2), Form("single", 30, 0.5));
        var choice = new Choice(chain, "first");
        Assert.Equal(choice, AutoOptSelection.Confirm(choice, [(Source(), new LatencyRatio(0.5, 0.45, 0.55, 30)), (single, new LatencyRatio(1.02, 0.99, 1.05, 30))]));
        Assert.Equal("single", AutoOptSelection.Confirm(choice, [(Source(), new LatencyRatio(0.5, 0.45, 0.55, 30)), (single, new LatencyRatio(1.05, 1.01, 1.1, 30))]).Trial.Candidate.Name);
        Assert.True(AutoOptSelection.Confirm(choice, [(Source(), new LatencyRatio(1.5, 1.4, 1.6, 30)), (single, new LatencyRatio(1.05, 1.01, 1.1, 30))]).Trial.Candidate.IsSource);
    }

    /// <summary>Whatever was measured: the choice keeps the goal, is not beyond doubt slower than the source or the best single pass, and is among the contenders.</summary>
    [Fact]
    public void Every_choice_keeps_the_goal_and_is_never_surely_worse()
    {
        var random = new Random(3);
        for (var i = 0; i < 5000; i++)
        {
            var trials = Enumerable.Range(0, random.Next(8)).Select(n => random.Next(6) == 0
                ? new Trial(Candidate($"f{n}", 1)) { Failure = "no" }
                : Form($"f{n}", random.Next(1, 120), 0.3 + random.NextDouble(), random.Next(3) > 0, random.NextDouble() / 5, random.Next(1, 3))).Prepend(Source()).ToList();
            if (trials.Count > 1 && random.Next(2) == 0)
            {
                trials[^1] = trials[^1] with { Candidate = Candidate("optimized-fp32", 1) };
            }

            foreach (var objective in new[] { Objective.Latency, Objective.Size })
            {
                var chosen = AutoOptSelection.LastResort(AutoOptSelection.Choose(trials, objective), trials);
                var (best, single) = (chosen.Trial, AutoOptSelection.BestSingle(trials, objective));
                Assert.NotEmpty(chosen.Reason);
                Assert.True(best.MeetsGoal);
                Assert.Null(best.Failure);
                if (objective == Objective.Latency)
                {
                    Assert.True(best.Latency!.Low <= 1);
                    Assert.True(single is null || best.Candidate.IsSource || best.Candidate.Name == "optimized-fp32" || best.Latency.Low <= single.Latency!.High);
                    Assert.True(best.Candidate.IsSource || best.Candidate.Name == "optimized-fp32" || AutoOptSelection.Contenders(trials, objective).Contains(best));
                }
                else
                {
                    Assert.True(best.Bytes <= 101);
                    Assert.True(single is null || best.Bytes <= single.Bytes * 1.01 || single.Bytes > 100);
                }
            }
        }
    }

    [Fact]
    public void A_ratio_is_of_rounds_and_has_the_interval_of_their_median()
    {
        double[] reference = [1, 2, 1, 2, 1, 2, 1, 2, 1, 2];
        var ratio = LatencyRatio.Of([.. reference.Select((r, i) => r * (i < 5 ? 0.5 : 0.6))], reference);
        Assert.InRange(ratio.Ratio, 0.5, 0.6);
        Assert.True(ratio.Low <= ratio.Ratio && ratio.Ratio <= ratio.High && ratio.High < 1);
        Assert.Equal(10, ratio.Rounds);
    }

    [Theory]
    [InlineData(100, 1, 32)]
    [InlineData(10, 1, 32)]
    [InlineData(7, 2, 2)]
    [InlineData(64, 8, 20)]
    [InlineData(1, 1, 5)]
    public void Judged_samples_are_held_out_and_spread(int rows, int batch, int judged)
    {
        var all = new ArraySamples(new Dictionary<string, NpyArray> { ["x"] = NpyArray.Of([rows, 2], Enumerable.Range(0, rows * 2).Select(i => (float)i).ToArray()) });
        var (calibration, held) = HeldOutSamples.Split(all, rows / batch * batch, batch, judged);
        Assert.Equal(0, held.Rows.Count % batch);
        Assert.NotEmpty(held.Rows);
        Assert.Equal(held.Rows, held.Rows.Distinct().Order());
        if (rows / 2 >= batch)
        {
            Assert.Empty(held.Rows.Intersect(calibration.Rows));
            Assert.Equal(rows / batch * batch, held.Rows.Count + calibration.Rows.Count);
            Assert.True(held.Rows.Count <= calibration.Rows.Count);
            Assert.InRange(held.Rows[^1] - held.Rows[0], (rows / 2) - batch - 1 > 0 && held.Rows.Count > 1 ? (rows / 2) - batch - 1 : 0, rows);
        }

        var read = held.Read("x", 0, held.Rows.Count);
        Assert.Equal([held.Rows.Count, 2], read.Shape);
        Assert.Equal(held.Rows.SelectMany(r => new[] { r * 2f, (r * 2f) + 1 }), read.ToFloats());
    }

    [Fact]
    public void Degradation_is_what_the_metric_says()
    {
        var (form, source) = (new QualityFigures(0.97, 0.2, 0.9, 0.85), new QualityFigures(1, 0, 1, 0.95));
        Assert.Equal(0.03, Goal(QualityMetric.Cosine).Degradation(form, source)!.Value, 9);
        Assert.Equal(0.2, Goal(QualityMetric.RelativeError).Degradation(form, source));
        Assert.Equal(0.1, Goal(QualityMetric.Top1Agreement).Degradation(form, source)!.Value, 9);
        Assert.Equal(0.1, Goal(QualityMetric.Accuracy).Degradation(form, source)!.Value, 9);
        Assert.Equal(0, Goal(QualityMetric.Accuracy).Degradation(form with { Accuracy = 0.99 }, source));
        Assert.False(Goal(QualityMetric.Cosine).Allows(Goal(QualityMetric.Cosine).Degradation(form with { Cosine = null }, source)));
        Assert.True(Goal(QualityMetric.Cosine).Allows(0.1));
        Assert.False(Goal(QualityMetric.Cosine).Allows(0.1001));
        foreach (var metric in Enum.GetValues<QualityMetric>())
        {
            Assert.Equal(metric, AutoOptGoal.MetricOf(AutoOptGoal.NameOf(metric)));
        }

        static AutoOptGoal Goal(QualityMetric metric) => new(Objective.Latency, metric, 0.1);
    }

    private static Trial Source() => new(Toolchains.OnnxRuntime.AutoOpt.Candidate.Source) { Bytes = 100, Degradation = 0, MeetsGoal = true, Latency = LatencyRatio.Same };

    private static Candidate Candidate(string name, int steps) => new(name, "5-8", [.. Enumerable.Range(0, steps).Select(_ => new PassStep("OnnxDynamicQuantization", new Dictionary<string, string>()))], "because");

    private static Trial Form(string name, long bytes, double ratio, bool meets = true, double spread = 0.01, int steps = 1) => new(Candidate(name, steps))
    {
        Bytes = bytes,
        MeetsGoal = meets,
        Degradation = 0,
        Latency = new LatencyRatio(ratio, ratio - spread, ratio + spread, 24),
    };
}
