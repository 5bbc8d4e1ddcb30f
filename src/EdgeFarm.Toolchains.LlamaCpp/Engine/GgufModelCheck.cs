using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>
/// Checks a model before the library sees it: the file's form with <see cref="GgufReader"/>, then the values that make the library
/// abort, compute nonsense or write a broken model without an error, and with <see cref="GgufMetadataCheck"/> what it reads unchecked.
/// </summary>
internal static class GgufModelCheck
{
    /// <summary>Reads the head of a model file. InvalidInput when it is broken, Unsupported when it is one part of several.</summary>
    public static GgufFile Read(string path, int maxLayers)
    {
        var outcome = GgufReader.Read(path);
        var file = outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);
        var metadata = file.Metadata;
        var type = metadata["general.type"]?.AsText();
        if (type is not (null or "model"))
        {
            throw Invalid(path, $"general.type is \"{type}\"; this is not a model");
        }

        if (metadata["split.count"]?.AsInteger() is > 1 and var parts)
        {
            throw new FailureException(Failure.Unsupported($"{path} is one of {parts} parts of a model; merge them first (llama-gguf-split --merge)"));
        }

        var architecture = metadata.Architecture is { Length: > 0 } name ? name : throw Invalid(path, "general.architecture is missing");
        if (file.Tensors.Count == 0)
        {
            throw Invalid(path, "the file has no tensors; it is a vocabulary only");
        }

        CheckLayers(path, file, architecture, maxLayers);
        CheckPositive(path, metadata, $"{architecture}.attention.head_count");
        CheckPositive(path, metadata, $"{architecture}.embedding_length");
        CheckPositive(path, metadata, $"{architecture}.context_length");
        return GgufMetadataCheck.Check(file, path) is { } failure ? throw new FailureException(failure) : file;
    }

    private static void CheckLayers(string path, GgufFile file, string architecture, int maxLayers)
    {
        var key = $"{architecture}.block_count";
        if (file.Metadata[key] is not { } value)
        {
            return;
        }

        if (value.AsInteger() is not (> 0 and var layers))
        {
            throw Invalid(path, $"{key} is {value}, not a positive integer");
        }

        if (layers > maxLayers)
        {
            throw Invalid(path, $"{key} is {layers}; llama.cpp takes {maxLayers} layers at most");
        }

        var highest = file.Tensors.Max(tensor => Layer(tensor.Name));
        if (highest >= layers)
        {
            throw Invalid(path, $"{key} is {layers}, but the file has tensors of layer {highest}: it would load as another model");
        }
    }

    /// <summary>The layer that a tensor's name gives (<c>blk.3.attn_q.weight</c> is 3), or -1.</summary>
    public static long Layer(string tensor)
    {
        const string prefix = "blk.";
        if (!tensor.StartsWith(prefix, StringComparison.Ordinal))
        {
            return -1;
        }

        var end = tensor.IndexOf('.', prefix.Length);
        return end > 0 && long.TryParse(tensor.AsSpan(prefix.Length, end - prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var layer) ? layer : -1;
    }

    // Some architectures give one value per layer, and zero there says that a layer has none.
    private static void CheckPositive(string path, GgufMetadata metadata, string key)
    {
        if (metadata[key] is { Type: not GgufValueType.Array } value && value.AsInteger() is not > 0)
        {
            throw Invalid(path, $"{key} is {value}, not a positive integer");
        }
    }

    private static FailureException Invalid(string path, string reason) =>
        new(Failure.InvalidInput($"{path}: {reason}; convert or download the model again"));
}
