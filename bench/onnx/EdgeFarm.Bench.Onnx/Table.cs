using System.Diagnostics;
using System.Globalization;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Bench.Onnx;

/// <summary>Every form of real models: size, latency against FP32, quality, and what making it took.</summary>
internal static class Table
{
    private const int Rounds = 5;

    // No form of its own, because it is slow on most CPUs: networks of convolutions have nothing else for dynamic quantization.
    private const string WithConvolutions = "dynamic with Conv";

    // On a CPU without VNNI sums of int8 saturate; quality is the form's, so it is judged without that.
    private static readonly Dictionary<string, string> Precise = new() { ["session.x64quantprecision"] = "1" };

    private static readonly string[] Forms = ["dynamic-int8", "dynamic-int8-per-channel", WithConvolutions, "static-int8", "smooth-int8", "openvino-int8", "qnn-a8w8", "qnn-a16w8", "int8", "int4", "int4-gptq", "fp16"];

    /// <summary>Writes one table per model to standard output.</summary>
    public static int Run(string[] models)
    {
        var work = Directory.CreateTempSubdirectory("edgefarm-bench-");
        try
        {
            foreach (var line in models)
            {
                One(line, work.FullName);
            }

            return 0;
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    // NAME=MODEL[,CALIBRATION[,TEST[,LABELS]]][;INPUT=DIMS]...
    private static void One(string line, string work)
    {
        var parts = line.Split(';');
        var (name, files) = (parts[0].Split('=', 2)[0], parts[0].Split('=', 2)[1].Split(','));
        var dims = parts.Skip(1).Select(p => p.Split('=', 2)).ToDictionary(p => p[0], p => p[1].Split(',').Select(d => long.Parse(d, CultureInfo.InvariantCulture)).ToArray());
        string? File(int i) => files.Length > i && files[i].Length > 0 ? files[i] : null;
        Console.WriteLine($"\n{name}: {new FileInfo(files[0]).Length} bytes\n\n| form | size | speed | spread | cosine | SQNR dB | accuracy | made in s |\n| --- | --- | --- | --- | --- | --- | --- | --- |");
        foreach (var form in Forms)
        {
            var output = Path.Combine(work, $"{name}.{form}.onnx");
            var watch = Stopwatch.StartNew();
            var made = OnnxOptimizer.Run(new OnnxOptimizeRequest(files[0], output, Steps(form))
            {
                Calibration = File(1) is { } calibration ? CalibrationData.Load(calibration).Value : Seeded(files[0], dims),
                Threads = 1,
            });
            var seconds = watch.Elapsed.TotalSeconds;
            if (!made.IsOk)
            {
                Console.WriteLine($"| {form} | {made.Failure!.Type}: {made.Failure.Message.Split(';')[0]} | | | | | | |");
                continue;
            }

            var evaluated = OnnxEvaluation.Run(new OnnxEvaluationRequest(output, files[0])
            {
                DataPath = File(2),
                Labels = File(3),
                MaxSamples = 100,
                SyntheticSamples = 4,
                Dims = dims,
                Settings = new OrtSettings { AllowSpinning = false, Config = Precise },
            });
            var (speed, slowest, fastest) = Speed(output, files[0], dims);
            double? Metric(string metric) => evaluated.IsOk ? evaluated.Value.Metrics.FirstOrDefault(m => m.Metric == metric)?.Samples[0] : null;
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {form} | {(double)made.Value.OutputBytes / made.Value.SourceBytes:F3} | {speed:F2} | {slowest:F2} to {fastest:F2} | {Metric("cosine"):F4} | {Metric("sqnr"):F1} | {Metric("accuracy"):F3} | {seconds:F1} |"));
            System.IO.File.Delete(output);
        }
    }

    private static IReadOnlyList<PassStep> Steps(string form) => form == WithConvolutions
        ? [new PassStep("OnnxDynamicQuantization", new Dictionary<string, string> { ["op_types_to_quantize"] = "MatMul,Gemm,Conv", ["per_channel"] = "true" })]
        : OnnxForms.Find(form).Value.Steps;

    // One sample: a whole input for each array, whatever its batch dimension is.
    private static CalibrationData Seeded(string path, Dictionary<string, long[]> dims)
    {
        using var session = OrtSession.Load(path, new OrtSettings());
        var sample = ModelInputs.Seeded(session, ModelInputs.Shapes(session, dims), 1);
        return new CalibrationData(sample.ToDictionary(s => s.Key, s => new NpyArray(s.Value.Type, [1, .. s.Value.Shape], s.Value.Bytes)), synthetic: true);
    }

    // FP32 over form, medians of interleaved rounds and their extremes: above 1 the form is faster.
    private static (double Median, double Least, double Most) Speed(string form, string baseline, Dictionary<string, long[]> dims)
    {
        var ratios = new List<double>();
        for (var round = 0; round < Rounds; round++)
        {
            ratios.Add(Median(baseline, dims) / Median(form, dims));
        }

        ratios.Sort();
        return (ratios[Rounds / 2], ratios[0], ratios[^1]);
    }

    private static double Median(string path, Dictionary<string, long[]> dims)
    {
        // Fixed shapes refuse others: a form for an NPU is measured with its own.
        var request = new OnnxBenchmarkRequest(path) { Settings = new OrtSettings { IntraOpThreads = 1, AllowSpinning = false }, Dims = dims, MinimumRuns = 10, MinimumTime = TimeSpan.FromSeconds(0.2) };
        var outcome = OnnxBenchmark.Run(request);
        return outcome.IsOk ? outcome.Value.Metrics.Single(m => m.Metric == "latency").Samples.Order().ElementAt(outcome.Value.Metrics.Single(m => m.Metric == "latency").Samples.Count / 2) : double.NaN;
    }
}
