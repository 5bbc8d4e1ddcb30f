using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Evaluation;

/// <summary>How a model reads a text: llama-perplexity's parameters with its defaults.</summary>
/// <param name="Model">A GGUF model.</param>
public sealed record EvaluationSettings(string Model)
{
    /// <summary>Tokens per chunk; each chunk is read with an empty cache and its second half is scored.</summary>
    public int Context { get; init; } = 512;

    /// <summary>Most chunks to read; -1 reads all.</summary>
    public int Chunks { get; init; } = -1;

    /// <summary>
    /// Most tokens in one call of the library; 0 takes 2048 as the reference tools do, or 512 where the vocabulary would make the logits of
    /// one call exceed 256 MiB.
    /// </summary>
    public int Batch { get; init; }

    /// <summary>Most tokens that are computed at once.</summary>
    public int Ubatch { get; init; } = 512;

    /// <summary>Threads; 0 takes <see cref="HostThreads.Auto"/>.</summary>
    public int Threads { get; init; }

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

    /// <summary>Directory or libllama file of another build of llama.cpp; null for the environment's or the packaged one.</summary>
    public string? LibraryPath { get; init; }
}

/// <summary>A perplexity to compute.</summary>
/// <param name="Settings">How to read.</param>
/// <param name="Text">A UTF-8 text file; one newline at its end does not count.</param>
/// <param name="LogitsOutput">
/// Where to write the logits of all scored positions for later comparisons, in the 16-bit row coding of llama-perplexity; null for nowhere.
/// Takes 2 bytes per vocabulary entry and scored position.
/// </param>
public sealed record PerplexityRequest(EvaluationSettings Settings, string Text, string? LogitsOutput = null);

/// <summary>A perplexity.</summary>
/// <param name="Perplexity">Exponential of the mean negative log-likelihood per scored token.</param>
/// <param name="StandardError">Its standard error, from the spread of the log-likelihoods.</param>
/// <param name="Chunks">Chunks that were read.</param>
/// <param name="ScoredTokens">Tokens that were scored.</param>
/// <param name="Settings">The settings as run: <c>n_ctx</c>, <c>n_batch</c>, ..., threads resolved.</param>
/// <param name="Library">The library that ran.</param>
public sealed record PerplexityResult(
    double Perplexity, double StandardError, int Chunks, long ScoredTokens, IReadOnlyDictionary<string, string> Settings, LlamaLibraryInfo Library);

/// <summary>A comparison with a baseline's logits.</summary>
/// <param name="Settings">How to read. Context and chunks are the baseline's; <c>Context</c> and <c>Chunks</c> here have no say.</param>
/// <param name="BaselineLogits">The file that a <see cref="PerplexityRequest"/> of the baseline or llama-perplexity wrote; it holds the tokens too.</param>
public sealed record DivergenceRequest(EvaluationSettings Settings, string BaselineLogits);

/// <summary>A value with its standard error.</summary>
/// <param name="Value">The value.</param>
/// <param name="StandardError">Its standard error.</param>
public sealed record Estimate(double Value, double StandardError);

/// <summary>How a model's next-token distributions differ from its baseline's, as llama-perplexity --kl-divergence reports.</summary>
/// <param name="Perplexity">Perplexity of the model.</param>
/// <param name="BaselinePerplexity">Perplexity of the baseline.</param>
/// <param name="PerplexityRatio">The one over the other.</param>
/// <param name="LogPerplexityCorrelation">Correlation of the two log-likelihoods over the tokens, -1 to 1.</param>
/// <param name="MeanDivergence">Mean KL divergence of the model from the baseline, nat.</param>
/// <param name="DivergencePercentiles">KL divergence by percentile: 0, 0.1, 1, 5, 10, 50, 90, 95, 99, 99.9 and 100, nat.</param>
/// <param name="MeanProbabilityChange">Mean change of the right token's probability.</param>
/// <param name="RmsProbabilityChange">Root mean square of that change.</param>
/// <param name="SameTop">Share of positions whose most probable token is the baseline's.</param>
/// <param name="Chunks">Chunks that were read.</param>
/// <param name="ScoredTokens">Tokens that were scored.</param>
/// <param name="Settings">The settings as run.</param>
/// <param name="Library">The library that ran.</param>
public sealed record DivergenceResult(
    Estimate Perplexity,
    Estimate BaselinePerplexity,
    Estimate PerplexityRatio,
    double LogPerplexityCorrelation,
    Estimate MeanDivergence,
    IReadOnlyDictionary<double, double> DivergencePercentiles,
    Estimate MeanProbabilityChange,
    Estimate RmsProbabilityChange,
    Estimate SameTop,
    int Chunks,
    long ScoredTokens,
    IReadOnlyDictionary<string, string> Settings,
    LlamaLibraryInfo Library);
