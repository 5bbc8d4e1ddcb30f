using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Calibration;

public sealed class CalibratorTests
{
    // What does not fit memory is counted in bins that grow with the values: in one run of the samples, and within one bin.
    [Theory]
    [InlineData("Percentile", 99.9, true)]
    [InlineData("Percentile", 99.9, false)]
    [InlineData("Entropy", 0, true)]
    [InlineData("Mse", 0, true)]
    public void Bounds_found_in_one_run_are_within_one_bin_of_the_exact_ones(string method, double percentile, bool symmetric)
    {
        const int Bins = 2048;
        using var model = TestFiles.Load(TestFiles.Reference("onnx-static/conv.onnx"));
        var context = new PassContext { Calibration = CalibrationData.Load(TestFiles.Reference("onnx-static/conv_calib.npy")).Value, Threads = 2 };
        var graph = new OnnxGraph(model);
        using var calibrator = Calibrator.Create(model, model.Graph.Node.SelectMany(n => n.Output.Concat(n.Input)).Where(v => v.Length > 0 && graph.Constant(v) is null), 0, context);
        var settings = new CalibrationSettings(Enum.Parse<CalibrationMethod>(method), percentile, Bins, symmetric);
        var exact = calibrator.Ranges(settings);
        var inOneRun = calibrator.Ranges(settings, keptBytes: 0);
        var observed = calibrator.Ranges(new CalibrationSettings(CalibrationMethod.MinMax));
        Assert.Equal(exact.Count, inOneRun.Count);
        // Entropy and the squared error jump between bounds that are as good as each other; their neighbours in bins must agree mostly.
        var near = exact.Count(e => Near(e.Value, inOneRun[e.Key], observed[e.Key]));
        Assert.True(near >= exact.Count * (method == "Percentile" ? 1 : 0.9), $"{near} of {exact.Count} within one bin");

        static bool Near(TensorRange a, TensorRange b, TensorRange all)
        {
            var bin = 2.02f * Math.Max(Math.Abs(all.Min), Math.Abs(all.Max)) / Bins;
            return Math.Abs(a.Min - b.Min) <= bin && Math.Abs(a.Max - b.Max) <= bin;
        }
    }

    [Fact]
    public void A_growing_histogram_loses_no_value()
    {
        var random = new Random(2);
        var growing = new GrowingHistogram();
        var exact = new Histogram(-1000, 1000, 2000, magnitudes: false);
        for (var round = 0; round < 12; round++)
        {
            var values = Enumerable.Range(0, 5000).Select(_ => (float)((random.NextDouble() - 0.5) * Math.Pow(2, round - 2))).Append(round == 11 ? 999f : 0).ToArray();
            growing.Add(values, FloatScan.Of(values));
            exact.Add(values);
        }

        var poured = new Histogram(-1000, 1000, 2000, magnitudes: false);
        growing.Pour(poured);
        Assert.Equal(exact.Counts.Sum(), poured.Counts.Sum());
        // Cumulative counts agree where each is moved by one bin.
        long left = 0, right = 0;
        for (var i = 0; i < 1999; i++)
        {
            left += poured.Counts[i];
            Assert.InRange(left, right - exact.Counts[Math.Max(0, i - 1)], right + exact.Counts[i] + exact.Counts[i + 1]);
            right += exact.Counts[i];
        }
    }
}
