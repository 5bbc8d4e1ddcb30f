using EdgeFarm.Toolchains.LlamaCpp.Benchmarking;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Benchmarking;

/// <summary>
/// Each parameter changes the run, not only its echo in the settings: asked of the library's context, its log, and the calls made. Layers
/// on an accelerator and the choice of a device are tested where there is one (the Vulkan tests of the job host).
/// </summary>
public class BenchmarkParameterTests
{
    private static readonly BenchmarkRequest s_prompt = new(TestData.Model) { Prompt = 48, Generation = 0, Repetitions = 1, Warmup = 1, Threads = 1, Loads = 1 };
    private static readonly BenchmarkRequest s_generation = s_prompt with { Prompt = 0, Generation = 8 };
    private static readonly Lazy<ContextReport> s_plain = new(() => Context(s_prompt));

    [Fact]
    public void Prompt_is_the_number_of_tokens_that_each_run_decodes()
    {
        var longer = Context(s_prompt with { Prompt = 300 });

        // A warm-up and a measured run.
        Assert.Equal((2, 2 * 48), (s_plain.Value.DecodeCalls, s_plain.Value.DecodedTokens));
        Assert.Equal((2, 2 * 300), (longer.DecodeCalls, longer.DecodedTokens));
        Assert.True(longer.Ctx > s_plain.Value.Ctx);
    }

    [Fact]
    public void Generation_is_the_number_of_single_tokens_that_each_run_decodes()
    {
        var (shorter, longer) = (Context(s_generation), Context(s_generation with { Generation = 40 }));

        Assert.Equal((2 * 8, 2 * 8), (shorter.DecodeCalls, shorter.DecodedTokens));

        // The warm-up generates 16 tokens at most, as llama-bench's generates few.
        Assert.Equal((40 + 16, 40 + 16), (longer.DecodeCalls, longer.DecodedTokens));
    }

    [Fact]
    public void Depth_is_decoded_once_before_the_measured_runs_and_held_by_the_cache()
    {
        var run = Run(s_prompt with { Depth = 256, Repetitions = 3 });

        var deep = Assert.Single(run.Contexts);
        Assert.Equal((4 + 1, (4 * 48) + 256), (deep.DecodeCalls, deep.DecodedTokens));
        Assert.True(deep.CacheBytes > s_plain.Value.CacheBytes);
        Assert.Equal("256", run.Settings["n_depth"]);
    }

    [Fact]
    public void Batch_cuts_the_prompt_into_calls()
    {
        var cut = Context(s_prompt with { Batch = 16, Ubatch = 16 });

        Assert.Equal((2 * 3, 2 * 48), (cut.DecodeCalls, cut.DecodedTokens));
        Assert.Equal(16, cut.Batch);
    }

    [Fact]
    public void Ubatch_is_what_the_context_computes_at_once_within_the_same_calls()
    {
        var cut = Context(s_prompt with { Ubatch = 16 });

        Assert.Equal(16, cut.Ubatch);
        Assert.True(s_plain.Value.Ubatch >= 48);
        Assert.Equal((2, 2 * 48), (cut.DecodeCalls, cut.DecodedTokens));
    }

    [Fact]
    public void Threads_are_the_contexts()
    {
        var run = Run(s_generation with { Generation = 1, Threads = 3, Warmup = 0 });

        Assert.Equal((3, 3), (run.Contexts[0].Threads, run.Contexts[0].ThreadsBatch));
        Assert.Equal((1, 1), (s_plain.Value.Threads, s_plain.Value.ThreadsBatch));
        Assert.Equal("3", run.Settings["n_threads"]);
    }

    [SkippableFact]
    public void Threads_are_threads_of_the_system()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "threads are counted in /proc");

        // The runtime starts and ends threads of its own meanwhile, a few.
        Assert.InRange(SystemThreads(33) - SystemThreads(1), 32 - 12, 32 + 12);
    }

    [Fact]
    public void Types_of_keys_and_values_are_the_caches()
    {
        // The library's figures have two digits after the point of MiB.
        var request = s_prompt with { Depth = 512 - 48, Warmup = 0, FlashAttention = 1 };
        var (plain, keys, values) = (Context(request), Context(request with { TypeK = "q8_0" }), Context(request with { TypeV = "q4_0" }));

        Assert.Equal(("f16", "f16"), (plain.TypeK, plain.TypeV));
        Assert.Equal(("q8_0", "f16"), (keys.TypeK, keys.TypeV));
        Assert.Equal(("f16", "q4_0"), (values.TypeK, values.TypeV));
        var half = plain.CacheBytes / 2.0;
        Assert.Equal(half * (1 + (8.5 / 16)), keys.CacheBytes, half * 0.04);
        Assert.Equal(half * (1 + (4.5 / 16)), values.CacheBytes, half * 0.04);
    }

    [Fact]
    public void Flash_attention_is_what_the_library_says()
    {
        Assert.False(Context(s_prompt with { FlashAttention = 0 }).FlashAttention);
        Assert.True(Context(s_prompt with { FlashAttention = 1 }).FlashAttention);
        Assert.True(s_plain.Value.FlashAttention);
    }

    [Fact]
    public void Repetitions_and_warm_up_are_runs()
    {
        var run = Run(s_prompt with { Repetitions = 4, Warmup = 2 });

        Assert.Equal((6, 6 * 48), (run.Contexts[0].DecodeCalls, run.Contexts[0].DecodedTokens));
        Assert.Equal(4, run.Metrics.Single(metric => metric.Metric == "pp").Samples.Count);
    }

    // The fields of llama-bench's JSON that are settings, in its source's order (tools/llama-bench, 0.5.0).
    [Fact]
    public void Settings_are_fields_of_llama_bench()
    {
        string[] fields =
        [
            "n_batch", "n_ubatch", "n_threads", "cpu_mask", "cpu_strict", "poll", "type_k", "type_v", "n_gpu_layers", "n_cpu_moe", "split_mode", "main_gpu",
            "no_kv_offload", "flash_attn", "devices", "tensor_split", "tensor_buft_overrides", "load_mode", "lazy_mode", "embeddings", "no_op_offload", "no_host",
            "fit_target", "fit_min_ctx", "n_prompt", "n_gen", "n_depth",
        ];

        Assert.Subset(fields.ToHashSet(), Run(s_prompt).Settings.Keys.ToHashSet());
    }

    // The pool stands when the first run begins; nothing needs to be computed.
    private static int SystemThreads(int threads)
    {
        var found = 0;
        using var stop = new CancellationTokenSource();
        var hooks = new LlamaHooks(
            Progress: step =>
            {
                if (step.Stage == "tg")
                {
                    found = Directory.GetDirectories("/proc/self/task").Length;
                    stop.Cancel();
                }
            },
            Cancellation: stop.Token);
        LlamaBenchmark.Run(s_generation with { Threads = threads, Warmup = 0 }, hooks);
        return found;
    }

    private static ContextReport Context(BenchmarkRequest request) => Assert.Single(Run(request).Contexts);

    private static BenchmarkResult Run(BenchmarkRequest request, LlamaHooks? hooks = null)
    {
        var outcome = LlamaBenchmark.Run(request, hooks);
        Assert.True(outcome.IsOk, $"{outcome.Failure}\n{outcome.Failure?.LogTail}");
        return outcome.Value;
    }
}
