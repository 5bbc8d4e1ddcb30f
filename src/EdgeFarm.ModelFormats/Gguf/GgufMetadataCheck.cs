using System.Text;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.ModelFormats.Gguf;

/// <summary>
/// Checks what the metadata of a model file says before llama.cpp acts on it: numbers that it divides by, indexes with or allocates
/// by, and arrays that it reads without looking at their type or length. What passes may still fail to load, but with a message.
/// </summary>
public static class GgufMetadataCheck
{
    // llama.cpp keeps arrays of these sizes and aborts, or in older releases writes past them.
    private const int MaxLayers = 512;
    private const int MaxExperts = 1024;
    private const int MaxExtent = 1 << 24;
    private const int MaxHeads = 1 << 16;
    private const int MaxTokenBytes = 1 << 16;
    private const int MaxTokens = 1 << 24;

    private static readonly string[] SpecialTokens =
        ["bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "cls", "mask", "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep", "prefix", "suffix", "middle"];

    /// <summary>Reads the head of a model file and checks it; InvalidInput when anything is wrong.</summary>
    /// <param name="path">Path of the file.</param>
    public static Outcome<GgufFile> Read(string path)
    {
        var outcome = GgufReader.Read(path);
        return outcome.IsOk && Check(outcome.Value, path) is { } failure ? failure : outcome;
    }

    /// <summary>
    /// The first thing that is wrong with the metadata of a model, or null. Files of another kind (<c>general.type</c> imatrix, adapter,
    /// ...) are not looked at.
    /// </summary>
    /// <param name="file">The file.</param>
    /// <param name="name">Name of the file for messages.</param>
    public static Failure? Check(GgufFile file, string name)
    {
        ArgumentNullException.ThrowIfNull(file);
        if (file.Metadata["general.type"]?.AsText() is not (null or "model"))
        {
            return null;
        }

        try
        {
            new ModelMetadata(file, name).Check();
            return null;
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    private sealed class ModelMetadata(GgufFile file, string name)
    {
        private readonly string _architecture = file.Metadata.Architecture ?? "";

        public void Check()
        {
            if (_architecture.Length is 0 or > 64 || !_architecture.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            {
                throw Error("general.architecture", "is missing or is no name");
            }

            var isSplit = Integer("split.count", 0, 1 << 16) is > 1;
            var layers = file.Tensors.Count > 0 && !isSplit ? CheckLayers() : Integer(Own("block_count"), 1, MaxLayers);
            CheckExtents(layers);
            CheckRope();
            CheckExperts();
            CheckTokens();
        }

        private string Own(string key) => $"{_architecture}.{key}";

        private FailureException Error(string key, string reason) =>
            new(Failure.InvalidInput($"{name}: the metadata is not sound: {key} {reason}"));

        private long? Integer(string key, long min, long max)
        {
            if (file.Metadata[key] is not { } value)
            {
                return null;
            }

            return value.AsInteger() is { } integer && integer >= min && integer <= max
                ? integer
                : throw Error(key, $"is {value.Type} {GgufReader.Printable(value.ToString())}; an integer from {min} to {max} is possible");
        }

        private long? CheckLayers()
        {
            if (Integer(Own("block_count"), 1, MaxLayers) is not { } layers)
            {
                return null;
            }

            var seen = new bool[layers];
            foreach (var tensor in file.Tensors.Where(tensor => tensor.Name.StartsWith("blk.", StringComparison.Ordinal)))
            {
                var rest = tensor.Name.AsSpan(4);
                var dot = rest.IndexOf('.');
                if (dot < 1 || !int.TryParse(rest[..dot], System.Globalization.NumberStyles.None, null, out var layer) || layer >= layers)
                {
                    throw Error(Own("block_count"), $"is {layers}, but there is a tensor \"{GgufReader.Printable(tensor.Name)}\"");
                }

                seen[layer] = true;
            }

            // Architectures with numbers per layer may have layers that do nothing.
            var missing = file.Metadata[Own("attention.head_count")] is { Type: GgufValueType.Array } ? -1 : Array.IndexOf(seen, false);
            return missing < 0 ? layers : throw Error(Own("block_count"), $"is {layers}, but layer {missing} has no tensor");
        }

        private void CheckExtents(long? layers)
        {
            Integer(Own("context_length"), 1, int.MaxValue);
            var width = Integer(Own("embedding_length"), 1, MaxExtent);
            var hasAttention = file.Tensors.Any(tensor => tensor.Name is "blk.0.attn_q.weight" or "blk.0.attn_qkv.weight");
            if (hasAttention && width is not null && file.Tensor("token_embd.weight") is { } embedding && embedding.Shape[0] != width)
            {
                throw Error(Own("embedding_length"), $"is {width}, but the rows of token_embd.weight have {embedding.Shape[0]} elements");
            }

            PerLayer(Own("feed_forward_length"), layers, MaxExtent);
            var heads = PerLayer(Own("attention.head_count"), layers, MaxHeads);
            var keyHeads = PerLayer(Own("attention.head_count_kv"), layers, MaxHeads);
            // Without a block count the file has no keys of its architecture at all, which llama.cpp says better.
            if (hasAttention && layers is not null && heads is null or 0 && file.Metadata[Own("attention.head_count")] is not { Type: GgufValueType.Array })
            {
                throw Error(Own("attention.head_count"), "is missing or 0, but the model has attention");
            }

            if (hasAttention && heads > 0 && keyHeads is { } groups && (groups == 0 || heads % groups != 0))
            {
                throw Error(Own("attention.head_count_kv"), $"is {groups}, which does not divide the head count {heads}");
            }

            Integer(Own("attention.key_length"), 1, MaxHeads);
            Integer(Own("attention.value_length"), 1, MaxHeads);
            Integer(Own("attention.sliding_window"), 0, int.MaxValue);
            Integer(Own("vocab_size"), 1, MaxTokens);
            Integer(Own("nextn_predict_layers"), 0, layers ?? MaxLayers);
        }

        // Some architectures have one number per layer. Gives the single number; null when there is none.
        private long? PerLayer(string key, long? layers, long max)
        {
            if (file.Metadata[key] is not { Type: GgufValueType.Array } value)
            {
                return Integer(key, 0, max);
            }

            var numbers = value.Value switch
            {
                uint[] unsigned => unsigned.Select(n => (long)n).ToArray(),
                int[] signed => [.. signed.Select(n => (long)n)],
                _ => throw Error(key, $"is an array of {value.ElementType}, not of 32-bit integers"),
            };
            return numbers.Length >= (layers ?? 0) && numbers.All(n => n >= 0 && n <= max)
                ? null
                : throw Error(key, $"has {numbers.Length} numbers for {layers} layers, or one that is not from 0 to {max}");
        }

        private void CheckRope()
        {
            Integer(Own("rope.dimension_count"), 0, MaxHeads);
            Integer(Own("rope.scaling.original_context_length"), 1, int.MaxValue);
            if (file.Metadata[Own("rope.scaling.type")] is { } type && type.AsText() is not ("none" or "linear" or "yarn" or "longrope"))
            {
                throw Error(Own("rope.scaling.type"), $"is {GgufReader.Printable(type.ToString())}; none, linear, yarn and longrope exist");
            }

            if (file.Metadata[Own("rope.dimension_sections")] is { } sections && sections.Value is not (int[] { Length: <= 4 } or uint[] { Length: <= 4 }))
            {
                throw Error(Own("rope.dimension_sections"), "is not an array of at most four 32-bit integers");
            }
        }

        private void CheckExperts()
        {
            var experts = Integer(Own("expert_count"), 0, MaxExperts) ?? 0;
            if (file.Metadata[Own("expert_used_count")] is not { Type: GgufValueType.Array })
            {
                Integer(Own("expert_used_count"), experts > 0 ? 1 : 0, experts);
            }
        }

        private void CheckTokens()
        {
            const string TokensKey = "tokenizer.ggml.tokens";
            if (file.Metadata[TokensKey] is not { } tokensValue)
            {
                return;
            }

            var tokens = tokensValue.Value as string[] ?? throw Error(TokensKey, $"is {tokensValue.Type} of {tokensValue.ElementType}, not an array of text");
            if (tokens.Length is 0 or > MaxTokens)
            {
                throw Error(TokensKey, $"has {tokens.Length} tokens; 1 to {MaxTokens} are possible");
            }

            foreach (var (i, token) in tokens.Index())
            {
                if (token.Length > MaxTokenBytes / 4 && Encoding.UTF8.GetByteCount(token) > MaxTokenBytes)
                {
                    throw Error(TokensKey, $"has a token {i} of more than {MaxTokenBytes} bytes");
                }
            }

            if (file.Metadata["tokenizer.ggml.scores"]?.Value is not int[])
            {
                ArrayOf<float>("tokenizer.ggml.scores", tokens.Length);
            }
            else
            {
                ArrayOf<int>("tokenizer.ggml.scores", tokens.Length);
            }

            var kinds = ArrayOf<int>("tokenizer.ggml.token_type", tokens.Length);
            CheckKinds(tokens, kinds);
            CheckMerges();
            CheckSpecial(tokens.Length);
            if (file.Metadata["tokenizer.ggml.precompiled_charsmap"] is { } map && map.Value is not (byte[] { Length: >= 4 } or sbyte[] { Length: >= 4 }))
            {
                throw Error("tokenizer.ggml.precompiled_charsmap", "is not an array of at least four bytes");
            }
        }

        private T[]? ArrayOf<T>(string key, int length)
        {
            if (file.Metadata[key] is not { } value)
            {
                return null;
            }

            return value.Value is T[] array && array.Length >= length
                ? array
                : throw Error(key, $"is {value.Type} {value}, not an array of at least {length} elements of type {typeof(T).Name}");
        }

        private void CheckKinds(string[] tokens, int[]? kinds)
        {
            // RWKV's vocabulary spells bytes in another way.
            var hasHexBytes = file.Metadata["tokenizer.ggml.model"]?.AsText() is not "rwkv";
            for (var i = 0; i < (kinds?.Length ?? 0); i++)
            {
                if (kinds![i] is < 0 or > 6)
                {
                    throw Error("tokenizer.ggml.token_type", $"has the type {kinds[i]} for token {i}; 0 to 6 exist");
                }

                // Six characters "<0xHH>"; a sign in place of a digit would give a negative index.
                if (kinds[i] == 6 && hasHexBytes && !(tokens[i] is ['<', '0', 'x', var high, var low, '>'] && char.IsAsciiHexDigit(high) && char.IsAsciiHexDigit(low)))
                {
                    throw Error("tokenizer.ggml.tokens", $"has the byte token {i} \"{GgufReader.Printable(tokens[i])}\", which is not <0x00> to <0xFF>");
                }
            }
        }

        private void CheckMerges()
        {
            const string Key = "tokenizer.ggml.merges";
            if (file.Metadata[Key] is not { } value)
            {
                return;
            }

            var merges = value.Value as string[] ?? throw Error(Key, $"is {value.Type} of {value.ElementType}, not an array of text");
            var odd = Array.FindIndex(merges, merge => merge.IndexOf(' ', Math.Min(1, merge.Length)) < 0);
            if (odd >= 0)
            {
                throw Error(Key, $"has an entry {odd} \"{GgufReader.Printable(merges[odd])}\" that is not two pieces with a space between");
            }
        }

        private void CheckSpecial(int tokens)
        {
            foreach (var kind in SpecialTokens)
            {
                Integer($"tokenizer.ggml.{kind}_token_id", 0, tokens - 1);
            }

            // Where the file is silent, llama.cpp takes these ids without looking whether they exist.
            var highest = file.Metadata["tokenizer.ggml.model"]?.AsText() switch
            {
                "gpt2" => 11,
                "llama" => 2,
                _ => 0,
            };
            if (tokens <= highest && (file.Metadata["tokenizer.ggml.bos_token_id"] is null || file.Metadata["tokenizer.ggml.eos_token_id"] is null))
            {
                throw Error("tokenizer.ggml.tokens", $"has {tokens} tokens, but llama.cpp falls back to id {highest} where bos or eos is not given");
            }

            if (file.Metadata["tokenizer.ggml.suppress_tokens"] is { } suppressed && (suppressed.Value is not int[] ids || ids.Any(id => id < 0 || id >= tokens)))
            {
                throw Error("tokenizer.ggml.suppress_tokens", $"is not an array of token ids from 0 to {tokens - 1}");
            }
        }
    }
}
