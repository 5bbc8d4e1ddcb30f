using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Io;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Safetensors;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.ModelFormats.Inspect;

/// <summary>Says what a model file is, by its content rather than its name.</summary>
public static class ModelInspector
{
    private const int Magic = 16;
    private const long MaxConfig = 16 << 20;

    /// <summary>
    /// Looks at a GGUF, safetensors or ONNX file, or at a directory with a checkpoint or one ONNX file. InvalidInput for broken files,
    /// Unsupported for other kinds. A checkpoint of an architecture or tokenizer that is not covered is told as far as its files go, with a note.
    /// </summary>
    /// <param name="path">The file or directory.</param>
    public static Outcome<ModelSummary> Inspect(string path)
    {
        if (Directory.Exists(path))
        {
            return OfDirectory(path);
        }

        var head = new byte[Magic];
        try
        {
            using var handle = File.OpenHandle(path);
            PositionedRead.Fill(handle, path, 0, head.AsSpan(0, (int)Math.Min(Magic, RandomAccess.GetLength(handle))));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return Failure.InvalidInput($"{path}: cannot be read ({e.Message}); check the path and its permissions");
        }

        if (head.AsSpan().StartsWith("GGUF"u8))
        {
            return OfGguf(path);
        }

        // Nothing but the length of a JSON text and the text begins this way.
        if (path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) || (head[8] == '{' && head[6] == 0 && head[7] == 0))
        {
            return OfSafetensors(path);
        }

        if (path.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase) || IsOnnx(head))
        {
            return OfOnnx(path);
        }

        return path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase)
            ? GgufReader.Read(path).Failure!
            : Failure.Unsupported($"{path}: is no GGUF, safetensors or ONNX file and no checkpoint directory");
    }

    // ONNX has no magic: a model starts with field 1 (ir_version), a small varint, and a field of text or a message follows.
    private static bool IsOnnx(ReadOnlySpan<byte> head) => head[0] == 0x08 && head[1] is > 0 and < 0x40 && head[2] is 0x12 or 0x1a or 0x3a or 0x42;

    private static Outcome<ModelSummary> OfDirectory(string path)
    {
        try
        {
            if (!File.Exists(System.IO.Path.Combine(path, "config.json")) && Directory.EnumerateFiles(path, "*.onnx").Take(2).ToArray() is [var model])
            {
                return OfOnnx(model);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Failure.InvalidInput($"{path}: cannot be read ({e.Message}); check the path and its permissions");
        }

        var told = OfCheckpoint(path);
        return told.Failure is { Type: FailureType.Unsupported } ? OfUnknownCheckpoint(path, told.Failure) : told;
    }

    private static Outcome<ModelSummary> OfGguf(string path)
    {
        var outcome = GgufReader.Read(path);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var file = outcome.Value;
        var metadata = file.Metadata;
        int? Integer(string key) => metadata[key]?.AsInteger() is >= 0 and <= int.MaxValue and var value ? (int)value : null;
        return new ModelSummary
        {
            Path = path,
            Format = ModelFormat.Gguf,
            Architecture = metadata.Architecture,
            Name = metadata["general.name"]?.AsText(),
            FileBytes = file.FileBytes,
            ContextLength = Integer($"{metadata.Architecture}.context_length"),
            Layers = Integer($"{metadata.Architecture}.block_count"),
            Tokenizer = metadata["tokenizer.ggml.tokens"]?.Value is not Array tokens ? null : new TokenizerSummary(
                string.Join('/', new[] { metadata["tokenizer.ggml.model"]?.AsText(), metadata["tokenizer.ggml.pre"]?.AsText() }.Where(text => text is not null)),
                tokens.Length,
                Integer("tokenizer.ggml.bos_token_id"),
                Integer("tokenizer.ggml.eos_token_id"),
                DigestOf(metadata["tokenizer.chat_template"]?.AsText())),
            Tensors = [.. file.Tensors.Select(tensor => new TensorSummary(tensor.Name, tensor.Type.ToString(), [.. tensor.Shape.Reverse()], tensor.Bytes))],
        };
    }

    private static Outcome<ModelSummary> OfSafetensors(string path)
    {
        var outcome = SafetensorsFile.Open(path);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        using var file = outcome.Value;
        return new ModelSummary
        {
            Path = path,
            Format = ModelFormat.Safetensors,
            FileBytes = file.FileBytes,
            Tensors = [.. file.Tensors.Select(Summary)],
        };
    }

    private static Outcome<ModelSummary> OfCheckpoint(string path)
    {
        var outcome = Checkpoint.Open(path);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        using var checkpoint = outcome.Value;
        var tokenizer = checkpoint.ReadTokenizer();
        if (!tokenizer.IsOk)
        {
            return tokenizer.Failure!;
        }

        var config = checkpoint.Config;
        return new ModelSummary
        {
            Path = path,
            Format = ModelFormat.Checkpoint,
            Architecture = config.ClassName,
            Name = System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(checkpoint.Directory)),
            FileBytes = checkpoint.Shards.Sum(shard => shard.FileBytes),
            ContextLength = config.Context,
            Layers = config.Layers,
            Tokenizer = new TokenizerSummary(
                tokenizer.Value.Vocabulary.Kind == VocabularyKind.ByteLevelBpe ? "byte-level BPE" : "SentencePiece BPE",
                tokenizer.Value.Vocabulary.Tokens.Length,
                tokenizer.Value.Special.Id("bos"),
                tokenizer.Value.Special.Id("eos"),
                DigestOf(tokenizer.Value.Templates.Default)),
            Tensors = [.. checkpoint.Shards.SelectMany(shard => shard.Tensors).Select(Summary)],
        };
    }

    /// <summary>What config.json and the weights say of a checkpoint that nothing here converts.</summary>
    private static Outcome<ModelSummary> OfUnknownCheckpoint(string path, Failure why)
    {
        var shards = new List<SafetensorsFile>();
        try
        {
            var config = JsonNode.Load(System.IO.Path.Combine(path, "config.json"), MaxConfig);
            CheckpointTensors.OpenShards(path, shards);
            int? Integer(string key) => config.Optional(key)?.TryInteger() is >= 0 and <= int.MaxValue and var value ? (int)value : null;
            return new ModelSummary
            {
                Path = path,
                Format = ModelFormat.Checkpoint,
                Architecture = config.Optional("architectures") is { Kind: System.Text.Json.JsonValueKind.Array } names ? names.Items().Select(n => n.Text()).FirstOrDefault() : null,
                Name = System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(path))),
                FileBytes = shards.Sum(shard => shard.FileBytes),
                ContextLength = Integer("max_position_embeddings"),
                Layers = Integer("num_hidden_layers"),
                Tensors = [.. shards.SelectMany(shard => shard.Tensors).Select(Summary)],
                Notes = [why.Message],
            };
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Failure.InvalidInput($"{path}: cannot be read ({e.Message}); check the path and its permissions");
        }
        finally
        {
            shards.ForEach(shard => shard.Dispose());
        }
    }

    private static Outcome<ModelSummary> OfOnnx(string path)
    {
        var outcome = OnnxModel.Load(path);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        using var model = outcome.Value;

        // Converters of some frameworks keep every weight in a Constant node.
        var constants = model.Graph.Node.Where(node => node.OpType == "Constant" && node.Output.Count > 0)
            .SelectMany(node => node.Attribute.Where(attribute => attribute.T is not null).Select(attribute => (Name: node.Output[0], Tensor: attribute.T)));
        var tensors = model.Graph.Initializer.Select(tensor => (tensor.Name, Tensor: tensor)).Concat(constants)
            .Select(named => new TensorSummary(
                named.Name, OnnxTensors.TypeName(named.Tensor.DataType), [.. named.Tensor.Dims], ((OnnxTensors.ElementCount(named.Tensor.Dims) ?? 0) * OnnxTensors.BitsPerElement(named.Tensor.DataType) + 7) / 8))
            .ToArray();
        var bytes = new FileInfo(path).Length;
        return new ModelSummary
        {
            Path = path,
            Format = ModelFormat.Onnx,
            Architecture = $"opset {model.Opset.ToString(System.Globalization.CultureInfo.InvariantCulture)}",
            Name = model.Graph.Name is { Length: > 0 } name ? name : null,
            // Loading forgets where external weights lie, but they are all that a model file can be smaller than its tensors by.
            FileBytes = model.HasExternalData ? Math.Max(bytes, tensors.Sum(tensor => tensor.Bytes)) : bytes,
            Tensors = tensors,
        };
    }

    private static TensorSummary Summary(SafetensorsTensor tensor) => new(tensor.Name, tensor.Type.ToString(), tensor.Shape, tensor.Bytes);

    private static string? DigestOf(string? text) => text is null ? null : Digest.OfText(text).Hex;
}
