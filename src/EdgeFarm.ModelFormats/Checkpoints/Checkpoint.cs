using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;
using EdgeFarm.ModelFormats.Safetensors;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.ModelFormats.Checkpoints;

/// <summary>
/// A Hugging Face checkpoint directory (config.json, *.safetensors, tokenizer files): the one model from which every format is made.
/// Holds the weight files open until it is disposed of.
/// </summary>
public sealed class Checkpoint : IDisposable
{
    private readonly List<SafetensorsFile> _shards;

    private Checkpoint(string directory, CheckpointConfig config, List<SafetensorsFile> shards, IReadOnlyList<CheckpointTensor> tensors)
    {
        (Directory, Config, _shards, Tensors) = (directory, config, shards, tensors);
        Card = ModelCard.Read(directory);
        Sampling = ReadSampling(Path.Combine(directory, "generation_config.json"));
    }

    /// <summary>Full path of the directory.</summary>
    public string Directory { get; }

    /// <summary>config.json.</summary>
    public CheckpointConfig Config { get; }

    /// <summary>The weight files in ordinal order of their names.</summary>
    public IReadOnlyList<SafetensorsFile> Shards => _shards;

    /// <summary>
    /// The tensors that the architecture has, complete and of the shapes that the config implies: per weight file, in ordinal order of
    /// their names.
    /// </summary>
    public IReadOnlyList<CheckpointTensor> Tensors { get; }

    /// <summary>The model card.</summary>
    public ModelCard Card { get; }

    /// <summary>Sampling parameters of generation_config.json (temperature, top_k, ...); empty when there are none.</summary>
    public IReadOnlyDictionary<string, double> Sampling { get; }

    /// <summary>
    /// Opens a checkpoint. InvalidInput for broken or contradicting files, Unsupported for architectures and types that are not
    /// covered; the message then lists those that are.
    /// </summary>
    public static Outcome<Checkpoint> Open(string directory)
    {
        var shards = new List<SafetensorsFile>();
        try
        {
            directory = Path.GetFullPath(directory);
            if (!System.IO.Directory.Exists(directory))
            {
                return Failure.InvalidInput($"{directory}: is not a directory; a checkpoint is the directory with config.json");
            }

            var config = CheckpointConfigReader.Read(Path.Combine(directory, "config.json"));
            CheckpointTensors.OpenShards(directory, shards);
            var checkpoint = new Checkpoint(directory, config, shards, CheckpointTensors.Assign(config, shards));
            shards = [];
            return checkpoint;
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return Failure.InvalidInput($"{directory}: cannot be read ({e.Message})");
        }
        finally
        {
            shards.ForEach(shard => shard.Dispose());
        }
    }

    /// <summary>Reads the tokenizer's files. InvalidInput for broken ones, Unsupported for kinds that are not covered.</summary>
    public Outcome<CheckpointTokenizer> ReadTokenizer()
    {
        try
        {
            return CheckpointTokenizer.Read(Directory, Config.Vocabulary, Config.Family != ModelFamily.Phi3, Config.TokenIds);
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Failure.InvalidInput($"{Directory}: cannot be read ({e.Message})");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _shards.ForEach(shard => shard.Dispose());

    private static Dictionary<string, double> ReadSampling(string path)
    {
        try
        {
            return JsonNode.LoadIfExists(path, 1 << 20) is { Kind: JsonValueKind.Object } root
                ? root.Entries().Where(entry => entry.Value.Kind == JsonValueKind.Number).ToDictionary(entry => entry.Key, entry => entry.Value.Number(), StringComparer.Ordinal)
                : [];
        }
        catch (FailureException)
        {
            // Some published files are not JSON; the defaults for sampling are not worth failing for.
            return [];
        }
    }
}
