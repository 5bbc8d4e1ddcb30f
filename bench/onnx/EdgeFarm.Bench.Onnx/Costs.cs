using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Bench.Onnx;

/// <summary>What passes cost, in units of what nobody can save: a digest of the file, and running the float model on the samples.</summary>
internal static class Costs
{
    private const int Threads = 2;

    /// <summary>Interleaved rounds in one warmed process; medians and their ratios.</summary>
    public static int Run(string path, string calibration, string[] options)
    {
        var rounds = options.Length > 0 ? int.Parse(options[0], CultureInfo.InvariantCulture) : 5;
        var most = options.Length > 1 ? int.Parse(options[1], CultureInfo.InvariantCulture) : 0;
        var bytes = File.ReadAllBytes(path);
        var data = CalibrationData.Load(calibration).Value;
        var context = new PassContext { Calibration = data, Threads = Threads };
        var work = Directory.CreateTempSubdirectory("edgefarm-bench-");
        try
        {
            Show(
                rounds,
                ("SHA256.HashData of the file", () => SHA256.HashData(bytes)),
                ("dynamic INT8: load and pass", () => Apply(path, "OnnxDynamicQuantization", context)),
                ("dynamic INT8: load, pass, write, proof", () => Optimize(path, work.FullName, "OnnxDynamicQuantization")),
                ("RTN INT4: load and pass", () => Apply(path, "OnnxMatMulNBits", context)),
                ("RTN INT4: load, pass, write, proof", () => Optimize(path, work.FullName, "OnnxMatMulNBits")));

            using var model = OnnxModel.Load(path).Value;
            GraphCleanup.ConstantsToInitializers(model);
            var graph = new OnnxGraph(model);
            var values = model.Graph.Node.SelectMany(n => n.Input.Concat(n.Output)).Where(v => v.Length > 0 && graph.Constant(v) is null);
            using var calibrator = Calibrator.Create(model, values, most, context);
            var source = Path.Combine(work.FullName, "float.onnx");
            model.Save(source);
            using var session = OrtSession.Load(source, new OrtSettings { IntraOpThreads = Threads, GraphOptimization = "disabled", AllowSpinning = false });
            var samples = SampleSource.From(session, data.Samples, most);
            Show(
                rounds,
                ($"FP32, unfused, {samples.Count} samples, {Threads} threads", () => Infer(session, samples)),
                ("MinMax", () => calibrator.Ranges(new CalibrationSettings(CalibrationMethod.MinMax))),
                ("Percentile", () => calibrator.Ranges(new CalibrationSettings(CalibrationMethod.Percentile))),
                ("Entropy", () => calibrator.Ranges(new CalibrationSettings(CalibrationMethod.Entropy))),
                ("MSE", () => calibrator.Ranges(new CalibrationSettings(CalibrationMethod.Mse))));
            return 0;
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    /// <summary>Peak memory of one pass in a process of its own, above what the runtime itself takes.</summary>
    public static int Peak(string path, string calibration, string pass, string[] parameters)
    {
        var work = Directory.CreateTempSubdirectory("edgefarm-bench-");
        try
        {
            var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(
                path, Path.Combine(work.FullName, "out.onnx"), [new PassStep(pass, parameters.Select(p => p.Split('=', 2)).ToDictionary(p => p[0], p => p[1]))])
            {
                Calibration = CalibrationData.Load(calibration).Value,
                Threads = Threads,
            });
            if (!outcome.IsOk)
            {
                Console.Error.WriteLine(outcome.Failure);
                return 1;
            }

            var (peak, size) = (ProcessMemory.Peak() >> 20, new FileInfo(path).Length >> 20);
            Console.WriteLine($"| {pass} {string.Join(' ', parameters)} | {size} | {peak} | {peak - size} |");
            return 0;
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    private static void Show(int rounds, params (string What, Action Run)[] rows)
    {
        var times = rows.ToDictionary(r => r.What, _ => new List<double>());
        for (var round = -1; round < rounds; round++)
        {
            foreach (var (what, run) in rows)
            {
                var watch = Stopwatch.StartNew();
                run();
                if (round >= 0)
                {
                    times[what].Add(watch.Elapsed.TotalSeconds);
                }
            }
        }

        var unit = times[rows[0].What];
        foreach (var (what, _) in rows)
        {
            var ratios = times[what].Zip(unit, (t, u) => t / u).Order().ToList();
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"| {what} | {times[what].Order().ElementAt(rounds / 2):F3} s | {ratios[rounds / 2]:F2} | {ratios[0]:F2} to {ratios[^1]:F2} |"));
        }
    }

    private static void Apply(string path, string type, PassContext context)
    {
        using var model = OnnxModel.Load(path).Value;
        var pass = OnnxPasses.Find(type).Value;
        var outcome = pass.Apply(model, pass.Parse(new Dictionary<string, string>()).Value, new PassContext { Calibration = context.Calibration, Threads = context.Threads });
        _ = outcome.IsOk ? 0 : throw new InvalidOperationException(outcome.Failure!.Message);
    }

    private static void Optimize(string path, string work, string type)
    {
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(path, Path.Combine(work, "out.onnx"), [new PassStep(type, new Dictionary<string, string>())]) { Threads = Threads });
        _ = outcome.IsOk ? 0 : throw new InvalidOperationException(outcome.Failure!.Message);
    }

    private static void Infer(OrtSession session, SampleSource samples)
    {
        foreach (var (_, arrays) in samples.Batches)
        {
            var inputs = arrays.ToDictionary(a => a.Key, a => ModelInputs.ToOrt(session, a.Key, a.Value));
            using var values = session.Run(inputs, [.. session.Outputs]);
            foreach (var value in inputs.Values)
            {
                value.Dispose();
            }
        }
    }
}
