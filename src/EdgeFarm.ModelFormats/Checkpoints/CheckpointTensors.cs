using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.ModelFormats.Checkpoints;

/// <summary>A tensor of a checkpoint with its place in the architecture.</summary>
/// <param name="Role">What it is for.</param>
/// <param name="Layer">Its layer from 0; null outside the layers.</param>
/// <param name="IsBias">Whether it is the bias of the projection that <paramref name="Role"/> names.</param>
/// <param name="Source">Name, type, shape and place.</param>
/// <param name="File">The file that holds it; owned by the checkpoint.</param>
public sealed record CheckpointTensor(TensorRole Role, int? Layer, bool IsBias, SafetensorsTensor Source, SafetensorsFile File)
{
    /// <summary>Reads some of the tensor's bytes; see <see cref="SafetensorsFile.Read"/>.</summary>
    /// <param name="offset">Where to start within the tensor's data, bytes.</param>
    /// <param name="target">Is filled completely.</param>
    public void Read(long offset, Span<byte> target) => File.Read(Source, offset, target);
}

/// <summary>Opens the shards of a checkpoint and gives every tensor its role. Throws <see cref="FailureException"/>.</summary>
internal static class CheckpointTensors
{
    private const string Index = "model.safetensors.index.json";
    private const string LayerPrefix = "model.layers.";
    private const int MaxShards = 10_000;

    /// <summary>Opens all shards, in ordinal order of their names. The caller disposes of them, also after a failure.</summary>
    public static void OpenShards(string directory, List<SafetensorsFile> opened)
    {
        var index = JsonNode.LoadIfExists(Path.Combine(directory, Index), SafetensorsFile.MaxHeader);
        var shardOfTensor = index?.Require("weight_map").Entries().ToDictionary(entry => entry.Key, entry => ShardName(entry.Value), StringComparer.Ordinal);
        var shards = shardOfTensor?.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray()
            ?? [.. Directory.EnumerateFiles(directory, "model*.safetensors").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
        if (shards.Length == 0)
        {
            throw Directory.EnumerateFiles(directory, "*.bin").Any()
                ? new FailureException(Failure.Unsupported($"{directory}: holds PyTorch files only, which can run code when they are read; save the model as safetensors"))
                : new FailureException(Failure.InvalidInput($"{directory}: holds no model*.safetensors"));
        }

        if (shards.Length > MaxShards)
        {
            throw new FailureException(Failure.InvalidInput($"{directory}: has {shards.Length} shards; {MaxShards} is the limit"));
        }

        var seen = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var shard in shards)
        {
            var outcome = SafetensorsFile.Open(Path.Combine(directory, shard));
            opened.Add(outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!));
            foreach (var tensor in outcome.Value.Tensors)
            {
                if (!seen.TryAdd(tensor.Name, shard))
                {
                    throw new FailureException(Failure.InvalidInput($"{directory}: tensor {tensor.Name} is in {seen[tensor.Name]} and in {shard}"));
                }
            }
        }

        if (shardOfTensor is not null && seen.Keys.Concat(shardOfTensor.Keys).FirstOrDefault(name => seen.GetValueOrDefault(name) != shardOfTensor.GetValueOrDefault(name)) is { } odd)
        {
            throw new FailureException(Failure.InvalidInput(
                $"{Path.Combine(directory, Index)}: tensor {odd} is said to be in {shardOfTensor.GetValueOrDefault(odd) ?? "no shard"}, but is in {seen.GetValueOrDefault(odd) ?? "none"}; a shard is missing or from another model"));
        }
    }

    private static string ShardName(JsonNode node)
    {
        var name = node.Text();
        return name.Length is > 0 and < 256 && name.EndsWith(".safetensors", StringComparison.Ordinal) && name.IndexOfAny(['/', '\\', ':', '\0']) < 0
            ? name
            : throw node.Error($"\"{name}\" is not the name of a safetensors file in the same directory");
    }

    /// <summary>Gives every tensor its role, checks its shape against the config, and that nothing is missing.</summary>
    public static List<CheckpointTensor> Assign(CheckpointConfig config, IEnumerable<SafetensorsFile> shards)
    {
        var tensors = new List<CheckpointTensor>();
        var places = new HashSet<(TensorRole, int?, bool)>();
        foreach (var (shard, tensor) in shards.SelectMany(shard => shard.Tensors.Select(tensor => (shard, tensor))))
        {
            if (Place(config, tensor.Name) is not var (role, layer, isBias))
            {
                continue;
            }

            CheckShape(config, role, isBias, tensor, shard.Path);
            if (!places.Add((role, layer, isBias)))
            {
                throw new FailureException(Failure.InvalidInput($"{shard.Path}: tensor {tensor.Name} has the same place in the model as another one"));
            }

            tensors.Add(new CheckpointTensor(role, layer, isBias, tensor, shard));
        }

        CheckComplete(config, places);
        return tensors;
    }

    /// <summary>The place of a tensor; null for what a text model does not need.</summary>
    private static (TensorRole Role, int? Layer, bool IsBias)? Place(CheckpointConfig config, string original)
    {
        var isMultimodal = config.ClassName.EndsWith("ForConditionalGeneration", StringComparison.Ordinal);
        if (original.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal)
            || (isMultimodal && (original.Contains("vision_", StringComparison.Ordinal) || original.Contains("projector.", StringComparison.Ordinal))))
        {
            return null;
        }

        var name = isMultimodal ? original.Replace("language_model.", "", StringComparison.Ordinal) : original;
        switch (name)
        {
            case "model.embed_tokens.weight": return (TensorRole.TokenEmbedding, null, false);
            case "model.norm.weight": return (TensorRole.OutputNorm, null, false);
            case "lm_head.weight": return (TensorRole.Output, null, false);
            default: break;
        }

        if (name.StartsWith(LayerPrefix, StringComparison.Ordinal))
        {
            var rest = name.AsSpan(LayerPrefix.Length);
            var dot = rest.IndexOf('.');
            var isBias = rest.EndsWith(".bias", StringComparison.Ordinal);
            var ending = isBias ? ".bias" : ".weight";
            if (dot > 0 && int.TryParse(rest[..dot], System.Globalization.NumberStyles.None, null, out var layer) && layer < config.Layers
                && rest.EndsWith(ending, StringComparison.Ordinal) && rest.Length - ending.Length > dot + 1
                && config.Family.LayerTensors.TryGetValue(rest[(dot + 1)..^ending.Length].ToString(), out var role)
                && (!isBias || config.Family.MayHaveBias.Contains(role)))
            {
                return (role, layer, isBias);
            }
        }

        throw new FailureException(Failure.Unsupported($"tensor {original} has no place in a {config.Family} model of {config.Layers} layers"));
    }

    private static void CheckShape(CheckpointConfig config, TensorRole role, bool isBias, SafetensorsTensor tensor, string path)
    {
        if (tensor.Type is not (SafetensorsDType.F32 or SafetensorsDType.F16 or SafetensorsDType.BF16))
        {
            throw new FailureException(Failure.Unsupported($"{path}: tensor {tensor.Name} is of type {tensor.Type}; F32, F16 and BF16 are supported"));
        }

        var expected = isBias ? Shape(config, role)[..1] : Shape(config, role);
        if (!tensor.Shape.SequenceEqual(expected))
        {
            throw new FailureException(Failure.InvalidInput(
                $"{path}: tensor {tensor.Name} has the shape [{string.Join(", ", tensor.Shape)}], but config.json makes it [{string.Join(", ", expected)}]"));
        }
    }

    internal static long[] Shape(CheckpointConfig config, TensorRole role)
    {
        long hidden = config.Hidden, queries = (long)config.Heads * config.HeadSize, keys = (long)config.KeyValueHeads * config.HeadSize;
        return role switch
        {
            TensorRole.TokenEmbedding or TensorRole.Output => [config.Vocabulary, hidden],
            TensorRole.Query => [queries, hidden],
            TensorRole.Key or TensorRole.Value => [keys, hidden],
            TensorRole.QueryKeyValue => [queries + (2 * keys), hidden],
            TensorRole.AttentionOutput => [hidden, queries],
            TensorRole.QueryNorm or TensorRole.KeyNorm => [config.HeadSize],
            TensorRole.Gate or TensorRole.Up => [config.FeedForward, hidden],
            TensorRole.GateUp => [2L * config.FeedForward, hidden],
            TensorRole.Down => [hidden, config.FeedForward],
            _ => [hidden],
        };
    }

    private static void CheckComplete(CheckpointConfig config, HashSet<(TensorRole, int?, bool)> places)
    {
        var needed = new List<(TensorRole Role, int? Layer, bool IsBias)> { (TensorRole.TokenEmbedding, null, false), (TensorRole.OutputNorm, null, false) };
        for (var layer = 0; layer < config.Layers; layer++)
        {
            needed.AddRange(config.Family.LayerTensors.Values.Select(role => (role, (int?)layer, false)));
            needed.AddRange(config.Family.MustHaveBias.Select(role => (role, (int?)layer, true)));
        }

        foreach (var place in needed.Where(place => !places.Contains(place)))
        {
            var where = place.Layer is { } layer ? $" of layer {layer}" : "";
            throw new FailureException(Failure.InvalidInput($"the checkpoint has no {place.Role}{(place.IsBias ? " bias" : "")}{where}; it is incomplete"));
        }
    }
}
