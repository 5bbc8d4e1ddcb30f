using System.Globalization;
using System.Text.RegularExpressions;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>A context as the library made it, and what it was given to compute: what was asked for shows here only if it took effect.</summary>
/// <param name="Test">What it served: <c>pp</c> or <c>tg</c>.</param>
/// <param name="Ctx">Tokens that its KV cache holds.</param>
/// <param name="Batch">Most tokens in one call.</param>
/// <param name="Ubatch">Most tokens computed at once.</param>
/// <param name="Threads">Threads for single tokens.</param>
/// <param name="ThreadsBatch">Threads for batches.</param>
/// <param name="TypeK">Type of the cached keys; empty for a model without such a cache.</param>
/// <param name="TypeV">Type of the cached values.</param>
/// <param name="CacheBytes">Bytes of the KV cache, to some hundredths of a MiB.</param>
/// <param name="FlashAttention">Whether attention is computed fused; null when the library does not say.</param>
/// <param name="DecodeCalls">Calls of <c>llama_decode</c>.</param>
/// <param name="DecodedTokens">Tokens in those calls.</param>
public sealed record ContextReport(
    string Test,
    int Ctx,
    int Batch,
    int Ubatch,
    int Threads,
    int ThreadsBatch,
    string TypeK,
    string TypeV,
    long CacheBytes,
    bool? FlashAttention,
    long DecodeCalls,
    long DecodedTokens);

/// <summary>Reads a context's cache and attention from the library's log while the context is made.</summary>
internal sealed partial class ContextLog
{
    public string TypeK { get; private set; } = "";

    public string TypeV { get; private set; } = "";

    public long CacheBytes { get; private set; }

    public bool? FlashAttention { get; private set; }

    /// <summary>Reads a line of the log.</summary>
    public void Read(string line)
    {
        if (CacheLine().Match(line) is { Success: true } cache)
        {
            (TypeK, TypeV) = (cache.Groups["k"].Value, cache.Groups["v"].Value);
            CacheBytes += (long)((Mebibytes(cache.Groups["kSize"]) + Mebibytes(cache.Groups["vSize"])) * 1024 * 1024);
        }
        else if (AttentionLine().Match(line) is { Success: true } attention)
        {
            FlashAttention = attention.Groups[1].Value switch { "enabled" => true, "disabled" or "not supported" => false, _ => FlashAttention };
        }
    }

    private static double Mebibytes(Group group) => double.Parse(group.Value, CultureInfo.InvariantCulture);

    // "llama_kv_cache: size =    0.75 MiB (   256 cells,   6 layers,  1/1 seqs), K (f16):    0.38 MiB, V (f16):    0.38 MiB"
    [GeneratedRegex(@"^llama_kv_cache\w*: size = .*K \((?<k>\w+)\): +(?<kSize>[\d.]+) MiB, V \((?<v>\w+)\): +(?<vSize>[\d.]+) MiB")]
    private static partial Regex CacheLine();

    // "llama_context: flash_attn = auto" is followed by "...: Flash Attention enabled"; also "flash_attn = disabled".
    [GeneratedRegex(@"(?:flash_attn += |Flash Attention (?:was auto, set to )?)(enabled|disabled|not supported)")]
    private static partial Regex AttentionLine();
}
