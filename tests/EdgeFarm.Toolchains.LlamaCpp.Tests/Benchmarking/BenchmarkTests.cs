using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Benchmarking;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Benchmarking;

public class BenchmarkTests
{
    private static readonly BenchmarkRequest s_short = new(TestData.Model) { Prompt = 48, Generation = 8, Repetitions = 3, Warmup = 1, Threads = 1 };

    [Fact]
    public void A_benchmark_gives_every_metric_with_its_samples_in_order()
    {
        var progress = new List<LlamaProgress>();
        var result = Run(s_short, new LlamaHooks(Progress: progress.Add));

        var metrics = result.Metrics.ToDictionary(metric => metric.Metric, metric => metric.Samples);
        Assert.Equal(["load_time", "model_memory", "peak_memory", "pp", "size", "tg", "ttft"], metrics.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(11685536, Assert.Single(metrics["size"]));
        Assert.Equal(2, metrics["load_time"].Count);
        Assert.Equal(3, metrics["pp"].Count);
        Assert.Equal(3, metrics["tg"].Count);
        Assert.Equal(3, metrics["ttft"].Count);
        Assert.All(metrics.Values.SelectMany(samples => samples), sample => Assert.True(sample > 0));
        Assert.All(metrics["ttft"].Zip(metrics["pp"]), pair => Assert.True(pair.First >= 48 / pair.Second));
        Assert.True(metrics["peak_memory"][0] > metrics["model_memory"][0]);
        Assert.Equal(5770496, result.Parameters);
        Assert.Contains("F16", result.ModelDescription, StringComparison.Ordinal);
        Assert.Contains(progress, step => step is { Stage: "tg", Detail: "repetition 3" });
    }

    [Fact]
    public void Settings_bear_the_names_of_llama_bench_with_threads_resolved()
    {
        var result = Run(s_short with { Threads = 0, Prompt = 16, Generation = 0 });

        Assert.Equal(HostThreads.Auto.ToString(System.Globalization.CultureInfo.InvariantCulture), result.Settings["n_threads"]);
        Assert.Equal("16", result.Settings["n_prompt"]);
        Assert.Equal("0", result.Settings["n_gen"]);
        Assert.Equal("f16", result.Settings["type_k"]);
        Assert.Equal("0", result.Settings["n_gpu_layers"]);
        Assert.Equal("none", result.Settings["devices"]);
        Assert.DoesNotContain(result.Metrics, metric => metric.Metric == "tg");
    }

    [Fact]
    public void An_automatic_warm_up_runs_at_least_once_and_is_bounded()
    {
        var result = Run(s_short with { Warmup = null, WarmupSeconds = 1e-9 });

        Assert.All(result.Warmups, warmup => Assert.Equal(1, warmup.Runs));
        Assert.All(Run(s_short with { Warmup = null }).Warmups, warmup => Assert.InRange(warmup.Runs, 2, 8));
    }

    [Theory]
    [InlineData("i32")]
    [InlineData("q2_k")]
    [InlineData("7")]
    public void A_cache_type_that_would_end_the_process_is_refused(string type)
    {
        Fails(FailureType.InvalidInput, "a KV cache can have", s_short with { TypeK = type });
        Fails(FailureType.InvalidInput, "a KV cache can have", s_short with { TypeV = type });
    }

    [Fact]
    public void A_cache_that_exceeds_the_memory_is_refused_before_it_is_taken() =>
        Fails(FailureType.OutOfMemory, "KV cache", s_short with { Depth = 1 << 24 });

    [Fact]
    public void A_quantized_value_cache_without_flash_attention_is_unsupported() =>
        Fails(FailureType.Unsupported, "context", s_short with { TypeV = "q4_0", FlashAttention = 0 });

    [Theory]
    [InlineData(-1, 8)]
    [InlineData(0, 0)]
    [InlineData(1 << 25, 8)]
    public void Lengths_have_bounds(int prompt, int generation) =>
        Fails(FailureType.InvalidInput, "are possible", s_short with { Prompt = prompt, Generation = generation });

    [Fact]
    public void A_micro_batch_fits_into_the_batch() => Fails(FailureType.InvalidInput, "n_ubatch", s_short with { Batch = 16, Ubatch = 32 });

    [Fact]
    public void A_device_that_the_library_lacks_is_unsupported_and_not_the_CPU()
    {
        Fails(FailureType.Unsupported, "has no device", s_short with { Device = "gpu" });
        Fails(FailureType.Unsupported, "has no device", s_short with { Device = "CUDA0" });
    }

    [Fact]
    public void A_cancelled_benchmark_ends_early()
    {
        using var source = new CancellationTokenSource();
        var hooks = new LlamaHooks(Progress: step => { if (step.Stage == "tg") { source.Cancel(); } }, Cancellation: source.Token);

        var outcome = LlamaBenchmark.Run(s_short with { Prompt = 0, Generation = 4000, Repetitions = 1000 }, hooks);

        Assert.Equal(FailureType.Cancelled, outcome.Failure!.Type);
    }

    private static BenchmarkResult Run(BenchmarkRequest request, LlamaHooks? hooks = null)
    {
        var outcome = LlamaBenchmark.Run(request, hooks);
        Assert.True(outcome.IsOk, $"{outcome.Failure}\n{outcome.Failure?.LogTail}");
        return outcome.Value;
    }

    private static void Fails(FailureType type, string message, BenchmarkRequest request)
    {
        var failure = LlamaBenchmark.Run(request).Failure;
        Assert.NotNull(failure);
        Assert.Equal(type, failure.Type);
        Assert.Contains(message, failure.Message, StringComparison.Ordinal);
    }
}
