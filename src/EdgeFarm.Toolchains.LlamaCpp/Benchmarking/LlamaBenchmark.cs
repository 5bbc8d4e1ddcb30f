using System.Diagnostics;
using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Benchmarking;

/// <summary>
/// Measures speed and memory as llama-bench does: the same contexts, thread pool, tokens and clocks, so that the figures compare. It must
/// have its process to itself (peak memory is the process's) and its machine.
/// </summary>
public static class LlamaBenchmark
{
    private const int MostTokens = 1 << 24;

    /// <summary>
    /// Runs a benchmark. InvalidInput for a bad request or model, Unsupported for a device or architecture that the library does not have,
    /// OutOfMemory when model or cache do not fit, Cancelled.
    /// </summary>
    public static Outcome<BenchmarkResult> Run(BenchmarkRequest request, LlamaHooks? hooks = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return LlamaLibrary.Run(request.LibraryPath, hooks ?? LlamaHooks.None, (library, log) => Run(library, log, request, hooks ?? LlamaHooks.None));
    }

    private static BenchmarkResult Run(LlamaLibrary library, LlamaLog log, BenchmarkRequest request, LlamaHooks hooks)
    {
        Check(request);
        var file = GgufModelCheck.Read(request.Model, library.Abi.MaxLayers);
        var options = new ContextOptions
        {
            Ctx = 0,
            Batch = request.Batch,
            Ubatch = request.Ubatch,
            Threads = request.Threads > 0 ? request.Threads : HostThreads.Auto,
            TypeK = KvCache.Parse("type_k", request.TypeK),
            TypeV = KvCache.Parse("type_v", request.TypeV),
            FlashAttention = request.FlashAttention,
        };
        KvCache.Check(file, (long)Math.Max(request.Prompt, request.Generation) + request.Depth, options.TypeK, options.TypeV);
        var placement = new ModelPlacement(request.Device, request.GpuLayers);
        var loadTimes = new List<double>();
        var resident = HostMemory.Resident;
        using var model = Load(library, log, request, placement, hooks, loadTimes);
        if (model.HasEncoder)
        {
            throw new FailureException(Failure.Unsupported($"{request.Model} is an encoder-decoder model; only decoders are benchmarked"));
        }

        var tests = new List<SpeedTest>();
        if (request.Prompt > 0)
        {
            tests.Add(SpeedTest.Run(library, log, model, options, request, SpeedTestKind.Prompt, hooks));
        }

        if (request.Generation > 0)
        {
            tests.Add(SpeedTest.Run(library, log, model, options, request, SpeedTestKind.Generation, hooks));
        }

        var peak = HostMemory.Peak;
        var metrics = new List<BenchmarkMetric>
        {
            new("size", [new FileInfo(request.Model).Length]),
            new("load_time", loadTimes),
            new("peak_memory", [peak]),
            new("model_memory", [Math.Max(0, peak - resident)]),
        };
        if (model.Ledger is { Peak: > 0 } ledger)
        {
            metrics.Add(new BenchmarkMetric("device_memory", [ledger.Peak]));
        }

        metrics.AddRange(tests.SelectMany(test => test.Metrics));
        return new BenchmarkResult(
            metrics,
            Settings(request, options, placement),
            [.. tests.Select(test => test.Warmup)],
            [.. tests.Select(test => test.Context)],
            model.Ledger?.Layers is { } layers ? layers.Offloaded : 0,
            tests.All(test => test.Warmup.Steady && test.Scatter <= 0.1),
            model.Description,
            model.Parameters,
            library.Info);
    }

    // The first load also fills the file cache; the metric speaks of a warm one.
    private static LlamaModel Load(LlamaLibrary library, LlamaLog log, BenchmarkRequest request, ModelPlacement placement, LlamaHooks hooks, List<double> times)
    {
        for (var load = 1; ; load++)
        {
            var watch = Stopwatch.StartNew();
            var model = LlamaModel.Load(library, log, request.Model, placement, hooks);
            var seconds = watch.Elapsed.TotalSeconds;
            if (load > 1 || request.Loads == 1)
            {
                times.Add(seconds);
            }

            if (load == request.Loads)
            {
                return model;
            }

            model.Dispose();
        }
    }

    private static SortedDictionary<string, string> Settings(BenchmarkRequest request, ContextOptions options, ModelPlacement placement)
    {
        static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
        return new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["n_prompt"] = Number(request.Prompt),
            ["n_gen"] = Number(request.Generation),
            ["n_depth"] = Number(request.Depth),
            ["n_batch"] = Number(request.Batch),
            ["n_ubatch"] = Number(request.Ubatch),
            ["n_threads"] = Number(options.Threads),
            ["type_k"] = request.TypeK.ToLowerInvariant(),
            ["type_v"] = request.TypeV.ToLowerInvariant(),
            ["flash_attn"] = Number(request.FlashAttention),
            ["n_gpu_layers"] = Number(placement.OnCpu ? 0 : request.GpuLayers),
            ["devices"] = placement.OnCpu ? "none" : request.Device,
            ["cpu_mask"] = "0x0",
            ["cpu_strict"] = "0",
            ["poll"] = "50",
            ["split_mode"] = "layer",
            ["load_mode"] = "auto",
            ["embeddings"] = "0",
            ["no_kv_offload"] = "0",
            ["no_op_offload"] = "0",
        };
    }

    private static void Check(BenchmarkRequest request)
    {
        static void Range(string name, long value, long least, long most)
        {
            if (value < least || value > most)
            {
                throw new FailureException(Failure.InvalidInput($"{name} is {value}; {least} to {most} are possible"));
            }
        }

        Range("n_prompt", request.Prompt, 0, MostTokens);
        Range("n_gen", request.Generation, 0, MostTokens);
        Range("n_prompt + n_gen", (long)request.Prompt + request.Generation, 1, MostTokens);
        Range("n_depth", request.Depth, 0, MostTokens);
        Range("n_batch", request.Batch, 1, MostTokens);
        Range("n_ubatch", request.Ubatch, 1, request.Batch);
        Range("n_threads", request.Threads, 0, 512);
        Range("flash_attn", request.FlashAttention, -1, 1);
        Range("n_gpu_layers", request.GpuLayers, -1, int.MaxValue);
        Range("repetitions", request.Repetitions, 1, 10000);
        Range("warmup", request.Warmup ?? 0, 0, 10000);
        Range("loads", request.Loads, 1, 1000);
    }
}
