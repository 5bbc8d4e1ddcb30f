using System.Globalization;
using EdgeFarm.Bench.Llama;
using EdgeFarm.Toolchains.LlamaCpp.Benchmarking;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

return args switch
{
    ["bench", var model, var prompt, var generation, var threads] => Bench(model, Number(prompt), Number(generation), Number(threads)),
    ["compare", var tools, var model, var heldOut, var calibration, .. var options] => Compare(tools, model, heldOut, calibration, options),
    _ => Usage(),
};

static int Bench(string model, int prompt, int generation, int threads)
{
    // One warm-up and one measured run, as llama-bench with -r 1.
    var outcome = LlamaBenchmark.Run(new BenchmarkRequest(model) { Prompt = prompt, Generation = generation, Threads = threads, Repetitions = 1, Warmup = 1, Loads = 1 });
    if (!outcome.IsOk)
    {
        Console.Error.WriteLine(outcome.Failure);
        return 1;
    }

    double Of(string metric) => outcome.Value.Metrics.First(found => found.Metric == metric).Samples[0];
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Of("pp"):R} {Of("tg"):R}"));
    return 0;
}

static int Compare(string tools, string model, string heldOut, string calibration, string[] options)
{
    int Option(string name, int otherwise) => Array.IndexOf(options, name) is >= 0 and var at && at + 1 < options.Length ? Number(options[at + 1]) : otherwise;
    var threads = Option("--threads", HostThreads.Auto);
    var folder = Directory.CreateTempSubdirectory("edgefarm-bench-");
    try
    {
        // The names of text and matrix stand in what is made of them.
        var comparison = new Comparison(
            new Tools(Path.GetFullPath(tools), threads), Path.GetFullPath(model), Path.GetFullPath(heldOut), Path.GetFullPath(calibration), folder.FullName, threads);
        return comparison.Run(Option("--rounds", 5), options.Contains("--speed-only"));
    }
    finally
    {
        folder.Delete(recursive: true);
    }
}

static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);

static int Usage()
{
    Console.Error.WriteLine("usage: EdgeFarm.Bench.Llama compare TOOLS MODEL.gguf HELD-OUT.txt CALIBRATION.txt [--threads N] [--rounds N] [--speed-only]");
    return 2;
}
