using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text.Json;
using System.Text.RegularExpressions;
using EdgeFarm.Artifacts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Planning;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains;

namespace EdgeFarm.Server.Submissions;

/// <summary>
/// Reads the shapes of models in the store: the headers of GGUF and safetensors files, never their data. A source that cannot be read
/// has no shape; what is wrong with it is for its import to say.
/// </summary>
internal sealed partial class ModelShapeReader(IArtifactStore store)
{
    private const int MaxHeader = 32 << 20;
    private const int MaxFiles = 1000;

    /// <summary>Names that Hugging Face checkpoints give to what GGUF calls otherwise.</summary>
    private static readonly Dictionary<string, string> Roles = new(StringComparer.Ordinal)
    {
        ["embed_tokens"] = "token_embd",
        ["lm_head"] = "output",
        ["q_proj"] = "attn_q",
        ["k_proj"] = "attn_k",
        ["v_proj"] = "attn_v",
        ["qkv_proj"] = "attn_qkv",
        ["o_proj"] = "attn_output",
        ["gate_proj"] = "ffn_gate",
        ["up_proj"] = "ffn_up",
        ["gate_up_proj"] = "ffn_up",
        ["down_proj"] = "ffn_down",
    };

    /// <summary>The shapes of those models whose sources tell them and are in the store already.</summary>
    public async Task<IReadOnlyDictionary<string, ModelShape>> ReadAsync(IReadOnlyDictionary<string, ArtifactRef> models, CancellationToken cancellationToken)
    {
        var shapes = new Dictionary<string, ModelShape>(StringComparer.Ordinal);
        foreach (var (id, artifact) in models)
        {
            if (await ReadAsync(artifact, cancellationToken) is { } shape)
            {
                shapes[id] = shape;
            }
        }

        return shapes;
    }

    private async Task<ModelShape?> ReadAsync(ArtifactRef artifact, CancellationToken cancellationToken)
    {
        try
        {
            return artifact switch
            {
                { Kind: ArtifactKind.File, Format: FormatNames.Gguf } => await ReadGgufAsync(artifact, cancellationToken),
                { Kind: ArtifactKind.Tree, Format: FormatNames.HuggingFace } => await ReadCheckpointAsync(artifact, cancellationToken),
                _ => null,
            };
        }
        catch (Exception e) when (e is IOException or JsonException or InvalidOperationException or FormatException or OverflowException)
        {
            return null;
        }
    }

    private async Task<ModelShape?> ReadGgufAsync(ArtifactRef artifact, CancellationToken cancellationToken)
    {
        if (await store.OpenReadAsync(artifact.Digest, 0, cancellationToken) is not { IsOk: true } opened)
        {
            return null;
        }

        await using var stream = opened.Value;
        if (!stream.CanSeek || GgufReader.Read(stream, artifact.FileName) is not { IsOk: true } read)
        {
            return null;
        }

        var shape = new Builder();
        foreach (var tensor in read.Value.Tensors)
        {
            shape.Add(tensor.Name, tensor.Elements, tensor.Shape.Count > 1 ? tensor.Shape[1] : 0);
        }

        return shape.Build(read.Value.DataOffset);
    }

    private async Task<ModelShape?> ReadCheckpointAsync(ArtifactRef artifact, CancellationToken cancellationToken)
    {
        if (await store.ReadManifestAsync(artifact.Digest, cancellationToken) is not { IsOk: true } manifest)
        {
            return null;
        }

        var files = manifest.Value.Entries.Where(e => !e.Path.Contains('/', StringComparison.Ordinal)).ToList();
        var weights = files.FindAll(e => e.Path.StartsWith("model", StringComparison.Ordinal) && e.Path.EndsWith(".safetensors", StringComparison.Ordinal));
        var shape = new Builder();
        foreach (var file in weights.Take(MaxFiles))
        {
            if (await store.OpenReadAsync(file.Digest, 0, cancellationToken) is not { IsOk: true } opened)
            {
                return null;
            }

            await using var stream = opened.Value;
            if (!await AddHeaderAsync(stream, shape, cancellationToken))
            {
                return null;
            }
        }

        // The vocabulary of a GGUF file takes about as much as that of the checkpoint.
        var vocabulary = files.FirstOrDefault(f => f.Path == "tokenizer.json") ?? files.FirstOrDefault(f => f.Path == "tokenizer.model");
        return weights.Count == 0 ? null : shape.Build(vocabulary?.Size ?? 0);
    }

    private static async Task<bool> AddHeaderAsync(Stream stream, Builder shape, CancellationToken cancellationToken)
    {
        var length = new byte[sizeof(long)];
        await stream.ReadExactlyAsync(length, cancellationToken);
        var size = BinaryPrimitives.ReadInt64LittleEndian(length);
        if (size is < 2 or > MaxHeader)
        {
            return false;
        }

        var header = new byte[size];
        await stream.ReadExactlyAsync(header, cancellationToken);
        using var document = JsonDocument.Parse(header);
        foreach (var tensor in document.RootElement.EnumerateObject().Where(t => t.Name != "__metadata__"))
        {
            var extents = tensor.Value.GetProperty("shape").EnumerateArray().Select(e => e.GetInt64()).ToArray();
            shape.Add(tensor.Name, checked(extents.Aggregate(1L, (product, extent) => checked(product * extent))), extents.Length > 1 ? extents[0] : 0);
        }

        return true;
    }

    [GeneratedRegex(@"^(?:(?:blk|model\.layers)\.\d+\.)?(?:self_attn\.|mlp\.|model\.)*(?<role>\w+)\.weight$")]
    private static partial Regex RolePattern();

    private sealed class Builder
    {
        private readonly Dictionary<string, long> _matrices = new(StringComparer.Ordinal);
        private long _vectors;
        private long _cacheWidth;

        /// <summary>Adds a tensor.</summary>
        /// <param name="name">Its name in GGUF or in a checkpoint.</param>
        /// <param name="elements">Its elements.</param>
        /// <param name="rows">Rows of a matrix, 0 for a vector.</param>
        public void Add(string name, long elements, long rows)
        {
            if (elements < 0 || rows < 0)
            {
                throw new FormatException($"{name} has a negative extent");
            }

            if (rows == 0)
            {
                _vectors = checked(_vectors + elements);
                return;
            }

            var found = RolePattern().Match(name) is { Success: true } match ? match.Groups["role"].Value : "other";
            var role = Roles.GetValueOrDefault(found, found);
            _matrices[role] = checked(_matrices.GetValueOrDefault(role) + elements);

            // Of stacked queries, keys and values at most two thirds are cached.
            _cacheWidth = checked(_cacheWidth + (role switch { "attn_k" or "attn_v" => rows, "attn_qkv" => rows * 2 / 3, _ => 0 }));
        }

        public ModelShape Build(long metadata)
        {
            // Without an output of its own a model uses its embedding, which is then made as an output is.
            if (!_matrices.ContainsKey("output") && _matrices.Remove("token_embd", out var tied))
            {
                _matrices["output"] = tied;
            }

            return new ModelShape(_matrices.ToImmutableSortedDictionary(StringComparer.Ordinal), _vectors, metadata, _cacheWidth);
        }
    }
}
