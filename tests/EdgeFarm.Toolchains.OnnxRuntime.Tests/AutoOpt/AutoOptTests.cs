using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.AutoOpt;

/// <summary>The whole pass on real models. Which form wins is this machine's business; that the report holds together is everybody's.</summary>
public sealed class AutoOptTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void The_digits_network_gets_a_form_that_keeps_the_goal_and_says_why()
    {
        var result = Run(TestFiles.Digits, TestFiles.DigitsCalibration, ("max_degradation", "0.01"));
        var report = Assert.Single(result.Passes);
        Consistent(report);
        Assert.InRange(report.Figures["degradation"], 0, 0.01);
        Assert.Contains(report.Trials, t => t.Form == "static-int8" && t.Cosine > 0.9);
        Assert.Contains(report.Excluded, e => e.Form == "smooth-int8");

        // By the evaluation, on other data.
        var judged = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsTest, MaxSamples = 200 }).Value;
        Assert.True(judged.Metrics.Single(m => m.Metric == "cosine").Samples[0] >= 0.98);
    }

    [Fact]
    public void The_smallest_form_is_found_by_labels()
    {
        var result = Run(TestFiles.Digits, TestFiles.DigitsTest, ("objective", "size"), ("labels", "label"), ("max_degradation", "0.05"), ("judged_samples", "64"));
        var report = result.Passes[0];
        Consistent(report);
        Assert.Contains("accuracy", report.Explanation[0], StringComparison.Ordinal);
        Assert.True(report.Figures["source_accuracy"] > 0.9);
        Assert.True(report.Figures["accuracy"] >= report.Figures["source_accuracy"] - 0.05);
        var kept = report.Trials.Where(t => t.Verdict.StartsWith("larger", StringComparison.Ordinal) || t.Verdict.StartsWith("no smaller", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(kept);
        Assert.All(kept, t => Assert.True(t.Bytes * 1.02 >= result.OutputBytes, $"{t.Form} has {t.Bytes} bytes, the choice {result.OutputBytes}"));
        Assert.True(result.OutputBytes < result.SourceBytes);
    }

    [Fact]
    public void A_transformer_is_judged_on_samples_that_its_passes_have_not_seen()
    {
        var source = OutlierEncoder.Write(_directory["encoder.onnx"]);
        var result = Run(source, OutlierEncoder.Data(_directory["data.npy"], 1), ("metric", "relative_error"), ("max_degradation", "0.2"), ("judged_samples", "6"));
        var report = result.Passes[0];
        Consistent(report);
        Assert.Equal(6, report.Figures["judged_samples"]);
        Assert.Contains(report.Trials, t => t.Form == "smooth-int8");
        Assert.InRange(report.Figures["degradation"], 0, 0.2);
    }

    [Fact]
    public void A_goal_that_nothing_keeps_leaves_the_model_in_float_and_says_so()
    {
        var result = Run(TestFiles.Digits, TestFiles.DigitsCalibration, ("metric", "relative_error"), ("max_degradation", "0"), ("max_forms", "4"), ("precisions", "int8"));
        var report = result.Passes[0];
        Consistent(report);
        Assert.Contains(report.Chosen, new[] { "source", "optimized-fp32" });
        Assert.Equal("full", report.PrecisionClass);
        Assert.Contains(report.Warnings, w => w.Contains("the model stays floating point", StringComparison.Ordinal) || w.Contains("the model stands as it came", StringComparison.Ordinal));
        Assert.Contains(report.Excluded, e => e.Reason.Contains("int4 is not among", StringComparison.Ordinal));
        var judged = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsTest, MaxSamples = 20 }).Value;
        Assert.True(judged.Metrics.Single(m => m.Metric == "cosine").Samples[0] > 0.999999);
    }

    [Fact]
    public void Without_samples_the_choice_is_made_on_random_input_and_marked()
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], [Step(("max_forms", "1"), ("dims", "image=1,1,8,8"))]) { Threads = 1 });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var report = outcome.Value.Passes[0];
        Assert.True(report.Synthetic);
        Assert.Contains(report.Warnings, w => w.Contains("random input", StringComparison.Ordinal));
        Assert.Contains(report.Excluded, e => e.Reason.Contains("max_forms", StringComparison.Ordinal));
    }

    [SkippableFact]
    public void MiniLm_gets_smaller_and_no_slower()
    {
        var report = Run(
            TestFiles.Large("models/minilm-l6/model.onnx"), TestFiles.Large("models/minilm-l6/calibration.npz"),
            ("judged_samples", "4"), ("max_samples", "8"), ("max_forms", "2"), ("max_degradation", "0.05")).Passes[0];
        Consistent(report);
        Assert.InRange(report.Figures["degradation"], 0, 0.05);
        Assert.True(report.Figures["size_ratio"] <= 1.01);
    }

    [Theory]
    [InlineData("objective", "beauty", "objective")]
    [InlineData("max_degradation", "2", "max_degradation")]
    [InlineData("precisions", "int3", "precisions")]
    [InlineData("metric", "accuracy", "needs labels")]
    [InlineData("labels", "classes", "no array of that name")]
    [InlineData("provider", "abacus", "no execution provider 'abacus'")]
    public void What_cannot_be_is_refused(string key, string value, string named)
    {
        var outcome = OnnxOptimizer.Run(
            new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], [Step((key, value))]) { Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value, Threads = 1 });
        Assert.False(outcome.IsOk);
        Assert.Contains(named, outcome.Failure!.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(_directory["out.onnx"]));
    }

    [Theory]
    [InlineData("input", "not a name and a list")]
    [InlineData("x=1,0", "not a name and a list")]
    [InlineData("nothing=1,2", "has no input 'nothing'")]
    public void Shapes_that_cannot_be_are_refused(string dims, string named)
    {
        var failure = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], [Step(("dims", dims))]) { Threads = 1 }).Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
        Assert.Contains(named, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_cancelled_search_leaves_nothing_behind()
    {
        using var cancellation = new CancellationTokenSource();
        var folders = Folders();
        var outcome = OnnxOptimizer.Run(
            new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], [Step()]) { Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value, Threads = 1 },
            line =>
            {
                if (line.StartsWith("making dynamic", StringComparison.Ordinal) || line.StartsWith("making static", StringComparison.Ordinal))
                {
                    cancellation.Cancel();
                }
            },
            cancellation.Token);
        Assert.Equal(FailureType.Cancelled, outcome.Failure!.Type);
        Assert.False(File.Exists(_directory["out.onnx"]));
        Assert.Empty(Folders().Except(folders));

        // Other tests run at the same time; only folders with this model count.
        static HashSet<string> Folders() => [.. Directory.EnumerateDirectories(Path.GetTempPath(), "edgefarm-auto-*").Where(d => File.Exists(Path.Combine(d, "source.onnx")) && Directory.GetFiles(d).Length == 1)];
    }

    public void Dispose() => _directory.Dispose();

    private static PassStep Step(params (string Key, string Value)[] parameters) => new("OnnxAutoOpt", parameters.ToDictionary(p => p.Key, p => p.Value));

    private static void Consistent(PassReport report)
    {
        Assert.Equal("source", report.Trials[0].Form);
        var chosen = Assert.Single(report.Trials, t => t.Form == report.Chosen);
        Assert.StartsWith("chosen", chosen.Verdict, StringComparison.Ordinal);
        Assert.All(report.Trials, t => Assert.NotEmpty(t.Verdict));
        Assert.All(report.Trials.Skip(1), t => Assert.NotEmpty(t.Reason));
        Assert.Equal(report.Trials.Count + report.Excluded.Count, report.Explanation.Count(l => l.StartsWith("tried ", StringComparison.Ordinal) || l.StartsWith("not tried ", StringComparison.Ordinal)));
        if (report.Figures.TryGetValue("latency_ratio_single_low", out var low) && !report.Parameters.Contains(KeyValuePair.Create("objective", "size")))
        {
            Assert.True(low <= 1, string.Create(CultureInfo.InvariantCulture, $"the choice takes at least {low} of the best single pass's time"));
        }
    }

    private OnnxOptimizeResult Run(string model, string data, params (string Key, string Value)[] parameters)
    {
        var outcome = OnnxOptimizer.Run(
            new OnnxOptimizeRequest(model, _directory["out.onnx"], [Step(parameters)]) { Calibration = CalibrationData.Load(data).Value, Threads = 1 }, Console.WriteLine);
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        outcome.Value.Passes[0].Explanation.ToList().ForEach(Console.WriteLine);
        return outcome.Value;
    }
}
