using System.Collections.Immutable;
using System.Text.Json;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.HuggingFace;

/// <summary>A file of a repository at one commit.</summary>
/// <param name="Path">Path in the repository, with <c>/</c>.</param>
/// <param name="Size">Bytes; null where the list of files does not say.</param>
/// <param name="Sha256">SHA-256 of a file in large-file storage, or null.</param>
/// <param name="GitId">Git's object id of any other file (SHA-1 over a header and the content), or null.</param>
public sealed record HubFile(string Path, long? Size, Digest? Sha256, string? GitId);

/// <summary>A repository at one commit.</summary>
/// <param name="Source">What was asked for.</param>
/// <param name="Commit">The commit that the revision stood for, 40 hexadecimal characters.</param>
/// <param name="Files">Its files, in the order of the list.</param>
public sealed record HubSnapshot(HubSource Source, string Commit, ImmutableArray<HubFile> Files)
{
    /// <summary>Name of the file that lists the shards of a checkpoint.</summary>
    public const string IndexFile = "model.safetensors.index.json";

    // The model card (README.md) is asked for because converters take names, licence and tags from it.
    private static readonly string[] Small =
    [
        "config.json", "generation_config.json", "README.md", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
    ];

    /// <summary>The file of a path, or null.</summary>
    public HubFile? Find(string path) => Files.FirstOrDefault(f => f.Path == path);

    /// <summary>
    /// What a checkpoint needs besides its weights. Unsupported when the repository holds no checkpoint in safetensors, with what it holds instead.
    /// </summary>
    public Outcome<ImmutableArray<HubFile>> Describing()
    {
        if (Find("config.json") is not null && Weights() is not null)
        {
            return Files.Where(f => Small.Contains(f.Path)).ToImmutableArray();
        }

        var others = Files.Select(f => System.IO.Path.GetExtension(f.Path).ToLowerInvariant()).Where(e => e is ".gguf" or ".bin" or ".pt" or ".pth" or ".onnx" or ".h5" or ".msgpack")
            .Distinct().Order(StringComparer.Ordinal).ToArray();
        return Failure.Unsupported(
            $"{Source} is no checkpoint in safetensors (config.json and model*.safetensors at its top){(others.Length == 0 ? "" : $"; it holds {string.Join(", ", others)} files")}; "
            + "fetch what you need of it and use file:PATH");
    }

    /// <summary>The weights as their names tell, or null when there are none. Where an index exists it decides; see <see cref="Shards"/>.</summary>
    public ImmutableArray<HubFile>? Weights()
    {
        if (Find("model.safetensors") is { } whole && Find(IndexFile) is null)
        {
            // Whatever is beside it (model.fp32.safetensors) is the same model again.
            return [whole];
        }

        var weights = Files.Where(f => !f.Path.Contains('/', StringComparison.Ordinal) && f.Path.StartsWith("model", StringComparison.Ordinal)
            && f.Path.EndsWith(".safetensors", StringComparison.Ordinal)).ToImmutableArray();
        return weights.IsEmpty ? null : weights;
    }

    /// <summary>The shards that an index names. InvalidInput when it is no index or names what the repository lacks.</summary>
    /// <param name="index">Content of <see cref="IndexFile"/>.</param>
    public Outcome<ImmutableArray<HubFile>> Shards(ReadOnlyMemory<byte> index)
    {
        var names = new SortedSet<string>(StringComparer.Ordinal);
        try
        {
            using var document = JsonDocument.Parse(index, new JsonDocumentOptions { MaxDepth = 16 });
            foreach (var entry in document.RootElement.GetProperty("weight_map").EnumerateObject())
            {
                names.Add(entry.Value.GetString() ?? "");
            }
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return Failure.InvalidInput($"{Source}: {IndexFile} is no index of shards: {e.Message}");
        }

        var missing = names.FirstOrDefault(n => Find(n) is null);
        return missing is null
            ? names.Select(n => Find(n)!).ToImmutableArray()
            : Failure.InvalidInput($"{Source}: {IndexFile} names '{missing}', which the repository does not have");
    }
}
