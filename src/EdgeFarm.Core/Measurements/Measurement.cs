using System.Collections.Immutable;

namespace EdgeFarm.Core.Measurements;

/// <summary>Which direction of a metric is better.</summary>
public enum Better
{
    /// <summary>Never set; a wire default.</summary>
    Unspecified = 0,

    /// <summary>Less is better.</summary>
    Lower = 1,

    /// <summary>More is better.</summary>
    Higher = 2,
}

/// <summary>A metric: what is measured, in which unit, and which way is better.</summary>
/// <param name="Name">JSON name.</param>
/// <param name="Unit">Unit of its values.</param>
/// <param name="Better">Direction.</param>
/// <param name="IsLatency">Its value is the median of the samples instead of the mean.</param>
/// <param name="Description">One line.</param>
public sealed record MetricDefinition(string Name, string Unit, Better Better, bool IsLatency, string Description);

/// <summary>The metrics of the public contract.</summary>
public static class Metrics
{
    /// <summary>All of them, in the order in which they are shown.</summary>
    public static readonly ImmutableArray<MetricDefinition> All =
    [
        new("size", "bytes", Better.Lower, false, "size of the artifact"),
        new("load_time", "s", Better.Lower, true, "time to load, file cache warm"),
        new("load_time_cold", "s", Better.Lower, true, "time to load, file not in the cache"),
        new("peak_memory", "bytes", Better.Lower, false, "peak resident memory of the job host"),
        new("model_memory", "bytes", Better.Lower, false, "peak minus resident memory just before loading"),
        new("device_memory", "bytes", Better.Lower, false, "peak memory on an accelerator, as the runtime tells it"),
        new("pp", "tokens/s", Better.Higher, false, "prompt processing"),
        new("tg", "tokens/s", Better.Higher, false, "token generation"),
        new("ttft", "s", Better.Lower, true, "time to first token"),
        new("latency", "s", Better.Lower, true, "one inference"),
        new("throughput", "1/s", Better.Higher, false, "inferences per second"),
        new("perplexity", "1", Better.Lower, false, "perplexity on the sweep's text"),
        new("kld_mean", "nat", Better.Lower, false, "mean KL divergence from the baseline"),
        new("kld_p50", "nat", Better.Lower, false, "median of the KL divergence"),
        new("kld_p90", "nat", Better.Lower, false, "90th percentile of the KL divergence"),
        new("kld_p95", "nat", Better.Lower, false, "95th percentile of the KL divergence"),
        new("kld_p99", "nat", Better.Lower, false, "99th percentile of the KL divergence"),
        new("kld_p999", "nat", Better.Lower, false, "99.9th percentile of the KL divergence"),
        new("kld_max", "nat", Better.Lower, false, "greatest KL divergence of a token"),
        new("same_top", "1", Better.Higher, false, "share of equal top tokens"),
        new("rms_dp", "1", Better.Lower, false, "root mean square change of the right token's probability"),
        new("mean_dp", "1", Better.Higher, false, "mean change of the right token's probability; falls as quality does"),
        new("perplexity_ratio", "1", Better.Lower, false, "perplexity over the baseline's on the same tokens"),
        new("cosine", "1", Better.Higher, false, "cosine similarity of the outputs with the baseline's"),
        new("sqnr", "dB", Better.Higher, false, "signal to quantization noise of the outputs"),
        new("max_error", "1", Better.Lower, false, "greatest absolute difference from the baseline's outputs"),
        new("top1_agreement", "1", Better.Higher, false, "share of inputs whose top class is the baseline's"),
        new("top5_agreement", "1", Better.Higher, false, "share of inputs whose top class is among the baseline's first five"),
        new("accuracy", "1", Better.Higher, false, "share of right answers on labelled data"),
        new("recall_at_1", "1", Better.Higher, false, "share of queries whose nearest passage answers them"),
        new("recall_at_10", "1", Better.Higher, false, "share of queries with an answer among the ten nearest passages"),
        new("mrr", "1", Better.Higher, false, "mean reciprocal rank of each query's first answer"),
        new("embedding_cosine", "1", Better.Higher, false, "cosine similarity of the embeddings with the baseline's"),
        new("fallback_nodes", "1", Better.Lower, false, "nodes that ran on another execution provider than the one asked for"),
        new("energy", "J", Better.Lower, false, "energy per token or inference"),
    ];

    /// <summary>
    /// The definition of a metric, or null when it is unknown. A metric that was measured under further settings carries them in its name
    /// (<c>kld_mean[type_k=q8_0]</c>).
    /// </summary>
    public static MetricDefinition? Find(string name) => All.FirstOrDefault(m => m.Name == Plain(name));

    /// <summary>Names in the order in which they are shown; names of one metric stay together, unknown ones are left out.</summary>
    public static IEnumerable<string> Order(IEnumerable<string> names)
    {
        var given = names.Distinct(StringComparer.Ordinal).ToLookup(Plain, StringComparer.Ordinal);
        return All.SelectMany(m => given[m.Name].Order(StringComparer.Ordinal));
    }

    private static string Plain(string name) =>
        name.EndsWith(']') && name.IndexOf('[', StringComparison.Ordinal) is > 0 and var bracket ? name[..bracket] : name;
}

/// <summary>Samples of one metric in one configuration, in the order in which they were taken.</summary>
/// <param name="Metric">Name of the metric.</param>
/// <param name="Samples">Finite values in the metric's unit; at least one.</param>
/// <param name="By">Id of the runtime that computed it.</param>
/// <param name="StandardError">A standard error that the method itself gives (perplexity), in the metric's unit; null otherwise.</param>
public sealed record Measurement(string Metric, ImmutableArray<double> Samples, string By, double? StandardError = null);
