using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Benchmarking;

/// <summary>What to measure and how: llama-bench's parameters with its defaults.</summary>
/// <param name="Model">A GGUF model.</param>
public sealed record BenchmarkRequest(string Model)
{
    /// <summary>Tokens of the prompt that <c>pp</c> processes; 0 leaves it out.</summary>
    public int Prompt { get; init; } = 512;

    /// <summary>Tokens that <c>tg</c> generates; 0 leaves it out.</summary>
    public int Generation { get; init; } = 128;

    /// <summary>Tokens that are in the KV cache before each run.</summary>
    public int Depth { get; init; }

    /// <summary>Measured runs of each test.</summary>
    public int Repetitions { get; init; } = 5;

    /// <summary>Runs before the measured ones; null runs at least once and until two agree within 5 %, within <see cref="WarmupSeconds"/>.</summary>
    public int? Warmup { get; init; }

    /// <summary>Bound of an automatic warm-up of one test, seconds.</summary>
    public double WarmupSeconds { get; init; } = 10;

    /// <summary>Threads; 0 takes <see cref="HostThreads.Auto"/>.</summary>
    public int Threads { get; init; }

    /// <summary>Most tokens in one call of the library.</summary>
    public int Batch { get; init; } = 2048;

    /// <summary>Most tokens that are computed at once.</summary>
    public int Ubatch { get; init; } = 512;

    /// <summary>Type of the cached keys.</summary>
    public string TypeK { get; init; } = "f16";

    /// <summary>Type of the cached values; a quantized one needs flash attention.</summary>
    public string TypeV { get; init; } = "f16";

    /// <summary>Flash attention: -1 lets the library decide, 0 is off, 1 is on.</summary>
    public int FlashAttention { get; init; } = -1;

    /// <summary><c>cpu</c>, <c>gpu</c> (the first one), or a device's name as the probe lists it.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>Layers on the device, -1 for all. Without meaning on the CPU.</summary>
    public int GpuLayers { get; init; } = -1;

    /// <summary>How often the model is loaded for <c>load_time</c>; the first load is not measured when there are more.</summary>
    public int Loads { get; init; } = 3;

    /// <summary>Directory or libllama file of another build of llama.cpp; null for the environment's or the packaged one.</summary>
    public string? LibraryPath { get; init; }
}

/// <summary>Samples of one metric in the order in which they were taken.</summary>
/// <param name="Metric">The contract's name: <c>size</c>, <c>load_time</c>, <c>peak_memory</c>, <c>model_memory</c>, on an accelerator <c>device_memory</c>, <c>pp</c>, <c>tg</c>, <c>ttft</c>.</param>
/// <param name="Samples">Values: bytes, seconds, or tokens per second.</param>
public sealed record BenchmarkMetric(string Metric, IReadOnlyList<double> Samples);

/// <summary>A warm-up as it went.</summary>
/// <param name="Test"><c>pp</c> or <c>tg</c>.</param>
/// <param name="Runs">Runs before the first measured one.</param>
/// <param name="Seconds">Time that they took.</param>
/// <param name="Steady">Whether the last two agreed within 5 %; true for a fixed number of runs.</param>
public sealed record Warmup(string Test, int Runs, double Seconds, bool Steady);

/// <summary>What a benchmark measured.</summary>
/// <param name="Metrics">Metrics with their samples.</param>
/// <param name="Settings">The settings as run, by llama-bench's field names, threads resolved.</param>
/// <param name="Warmups">The warm-ups.</param>
/// <param name="Contexts">The contexts as the library made them, one for each test.</param>
/// <param name="OffloadedLayers">Layers that went to an accelerator, as the library counts them (the output layer is one).</param>
/// <param name="Steady">False when a warm-up met its bound before it was steady, or when samples scatter by more than a tenth of their mean.</param>
/// <param name="ModelDescription">The library's description of the model.</param>
/// <param name="Parameters">Number of weights.</param>
/// <param name="Library">The library that ran.</param>
public sealed record BenchmarkResult(
    IReadOnlyList<BenchmarkMetric> Metrics,
    IReadOnlyDictionary<string, string> Settings,
    IReadOnlyList<Warmup> Warmups,
    IReadOnlyList<ContextReport> Contexts,
    int OffloadedLayers,
    bool Steady,
    string ModelDescription,
    long Parameters,
    LlamaLibraryInfo Library);
