using System.Globalization;
using EdgeFarm.Bench.Llama;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.Toolchains.LlamaCpp.Benchmarking;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Evaluation;
using EdgeFarm.Toolchains.LlamaCpp.Imatrix;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

return args switch
{
    ["bench", var model, var prompt, var generation, var threads] => Bench(model, Number(prompt), Number(generation), Number(threads)),
    ["probe"] => Show(LlamaProbe.Run(), info => $"{info.Version} ({info.Commit}) {info.Variant} {info.Digest}\n{string.Join(" ", info.Features)}\n{string.Join("\n", info.Devices)}\n{string.Join("\n", info.Problems)}"),
    ["quantize", var input, var output, var type] => Show(LlamaQuantizer.Run(new QuantizeRequest(input, output, type)), result => $"{result.OutputBytes} bytes"),
    ["perplexity", var model, var text, var chunks] => Show(
        LlamaPerplexity.Run(new PerplexityRequest(new EvaluationSettings(model) { Chunks = Number(chunks) }, text)), result => $"{result.Perplexity:F6} +/- {result.StandardError:F6}"),
    ["imatrix", var model, var text, var output] => Show(
        LlamaImatrix.Run(new ImatrixRequest(new EvaluationSettings(model), text, output)), result => $"{result.Entries} entries"),
    ["compare", var tools, var model, var heldOut, var calibration, .. var options] => Compare(tools, model, heldOut, calibration, options),
    _ => Usage(),
};

static int Bench(string model, int prompt, int generation, int threads)
{
    // One warm-up and one measured run, as llama-bench with -r 1.
    var outcome = LlamaBenchmark.Run(new BenchmarkRequest(model) { Prompt = prompt, Generation = generation, Threads = threads, Repetitions = 1, Warmup = 1, Loads = 1 });
    return Show(outcome, result => string.Create(
        CultureInfo.InvariantCulture,
        $"{result.Metrics.First(metric => metric.Metric == "pp").Samples[0]:R} {result.Metrics.First(metric => metric.Metric == "tg").Samples[0]:R}"));
}

static int Show<T>(Outcome<T> outcome, Func<T, string> text)
{
    if (!outcome.IsOk)
    {
        Console.Error.WriteLine(outcome.Failure);
        return 1;
    }

    Console.WriteLine(text(outcome.Value));
    return 0;
}

static int Compare(string tools, string model, string heldOut, string calibration, string[] options)
{
    int Option(string name, int otherwise) => Array.IndexOf(options, name) is >= 0 and var at && at + 1 < options.Length ? Number(options[at + 1]) : otherwise;
    var threads = Option("--threads", HostThreads.Auto);
    var folder = Directory.CreateTempSubdirectory("edgefarm-bench-");
    try
    {
        if (Directory.Exists(model))
        {
            var converted = CheckpointConverter.Convert(new ConversionRequest(model, Path.Combine(folder.FullName, "source.gguf"), ConversionOutType.F16));
            if (!converted.IsOk)
            {
                Console.Error.WriteLine(converted.Failure);
                return 1;
            }

            model = converted.Value.Path;
        }

        // The names of text and matrix stand in what is made of them.
        var comparison = new Comparison(
            new Tools(Path.GetFullPath(tools), threads), Path.GetFullPath(model), Path.GetFullPath(heldOut), Path.GetFullPath(calibration), folder.FullName, threads);
        return comparison.Run(Option("--rounds", 5), options.Where(option => option is "bytes" or "card" or "quality" or "speed").ToHashSet());
    }
    finally
    {
        folder.Delete(recursive: true);
    }
}

static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);

static int Usage()
{
    Console.Error.WriteLine("""
        usage: EdgeFarm.Bench.Llama compare TOOLS MODEL.gguf HELD-OUT.txt CALIBRATION.txt [bytes] [card] [quality] [speed] [--threads N] [--rounds N]
               EdgeFarm.Bench.Llama probe
               EdgeFarm.Bench.Llama quantize IN.gguf OUT.gguf TYPE
               EdgeFarm.Bench.Llama bench MODEL.gguf PROMPT GENERATION THREADS
               EdgeFarm.Bench.Llama perplexity MODEL.gguf TEXT CHUNKS
               EdgeFarm.Bench.Llama imatrix MODEL.gguf TEXT OUT.gguf
        """);
    return 2;
}
