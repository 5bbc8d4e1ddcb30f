using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using EdgeFarm.Artifacts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Submissions;

/// <summary>One thing that EdgeFarm ships, as <c>index.json</c> of the samples says it.</summary>
/// <param name="Name">What follows <c>bundled:</c>.</param>
/// <param name="Kind"><c>model</c> or <c>data</c>.</param>
/// <param name="Format">Its format, e.g. <c>gguf</c>.</param>
/// <param name="Path">File or directory, relative to the index.</param>
/// <param name="Description">One line.</param>
public sealed record BundledItem(string Name, string Kind, string Format, string Path, string Description);

/// <summary>What <c>bundled:</c> sources name: a folder beside the executable. Only its index chooses paths, never a client.</summary>
public sealed class BundledContent
{
    private const string IndexFile = "index.json";

    private readonly string _folder;
    private readonly ConcurrentDictionary<string, ArtifactRef> _imported = new(StringComparer.Ordinal);

    private BundledContent(string folder, ImmutableArray<BundledItem> items) => (_folder, Items) = (folder, items);

    /// <summary>Everything that is bundled.</summary>
    public ImmutableArray<BundledItem> Items { get; }

    /// <summary>The folder beside the executable.</summary>
    public static string DefaultFolder => Path.Combine(AppContext.BaseDirectory, "samples");

    /// <summary>Reads the index of a folder. A folder without one bundles nothing.</summary>
    public static BundledContent Open(string folder)
    {
        var index = Path.Combine(folder, IndexFile);
        if (!File.Exists(index))
        {
            return new BundledContent(folder, []);
        }

        using var stream = File.OpenRead(index);
        var read = JsonSerializer.Deserialize(stream, BundledIndexContext.Default.BundledIndex)
            ?? throw new InvalidDataException($"'{index}' holds no index");
        return new BundledContent(folder, read.Items);
    }

    /// <summary>
    /// Takes an item into the store, once per process. <see cref="FailureType.InvalidInput"/> for a name that is not bundled,
    /// <see cref="FailureType.Unsupported"/> for one whose file this build lacks.
    /// </summary>
    public async Task<Outcome<ArtifactRef>> ImportAsync(string name, IArtifactStore store, CancellationToken cancellationToken)
    {
        if (_imported.TryGetValue(name, out var known) && await store.StatAsync(known.Digest, cancellationToken) is { IsOk: true, Value: not null })
        {
            return known;
        }

        if (Items.FirstOrDefault(i => i.Name == name) is not { } item)
        {
            return Failure.InvalidInput($"nothing is bundled under '{name}'");
        }

        var path = Path.Combine(_folder, item.Path);
        if (!Path.Exists(path))
        {
            return Failure.Unsupported($"'{name}' is not part of this installation: '{path}' is missing; build it again with npm at hand");
        }

        var stored = await store.ImportAsync(path, ImportMode.Copy, cancellationToken);
        if (!stored.IsOk)
        {
            return stored.Failure!;
        }

        return _imported[name] = stored.Value.ToRef(item.Format, Path.GetFileName(path));
    }
}

/// <summary>The file <c>index.json</c>.</summary>
/// <param name="Version">1.</param>
/// <param name="Items">Everything that is bundled.</param>
internal sealed record BundledIndex(int Version, ImmutableArray<BundledItem> Items);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(BundledIndex))]
internal sealed partial class BundledIndexContext : JsonSerializerContext;
