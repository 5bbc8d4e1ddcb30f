using System.Text.Json;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.ModelFormats.Tests;

/// <summary>Writes Llama checkpoints of any size with a byte-level vocabulary of 256 tokens.</summary>
internal static class GeneratedCheckpoint
{
    /// <summary>Writes one; returns the directory.</summary>
    public static string Write(string directory, int hidden, int layers, int feedForward, int shards, int vocabulary = 256)
    {
        Directory.CreateDirectory(directory);
        File.WriteAllText(Path.Combine(directory, "config.json"), JsonSerializer.Serialize(new
        {
            architectures = new[] { "LlamaForCausalLM" },
            hidden_size = hidden,
            intermediate_size = feedForward,
            num_hidden_layers = layers,
            num_attention_heads = hidden / 8,
            num_key_value_heads = hidden / 16,
            head_dim = 8,
            vocab_size = vocabulary,
            max_position_embeddings = 128,
            tie_word_embeddings = true,
        }));
        File.WriteAllText(Path.Combine(directory, "tokenizer.json"), JsonSerializer.Serialize(new
        {
            added_tokens = Array.Empty<object>(),
            pre_tokenizer = new { type = "ByteLevel", add_prefix_space = false, use_regex = true },
            model = new { type = "BPE", vocab = Enumerable.Range(0, 256).ToDictionary(i => $"t{i}", i => i), merges = new[] { "t1 t2" } },
        }));
        var specs = new List<SafetensorsSpec> { new("model.embed_tokens.weight", SafetensorsDType.BF16, [vocabulary, hidden]), new("model.norm.weight", SafetensorsDType.BF16, [hidden]) };
        for (var layer = 0; layer < layers; layer++)
        {
            (string Name, long[] Shape)[] parts =
            [
                ("input_layernorm", [hidden]), ("post_attention_layernorm", [hidden]),
                ("self_attn.q_proj", [hidden, hidden]), ("self_attn.k_proj", [hidden / 2, hidden]), ("self_attn.v_proj", [hidden / 2, hidden]), ("self_attn.o_proj", [hidden, hidden]),
                ("mlp.gate_proj", [feedForward, hidden]), ("mlp.up_proj", [feedForward, hidden]), ("mlp.down_proj", [hidden, feedForward]),
            ];
            specs.AddRange(parts.Select(part => new SafetensorsSpec($"model.layers.{layer}.{part.Name}.weight", SafetensorsDType.BF16, part.Shape)));
        }

        var shardOf = new Dictionary<string, string>();
        foreach (var (i, chunk) in specs.Chunk((specs.Count + shards - 1) / shards).Index())
        {
            var name = shards == 1 ? "model.safetensors" : $"model-{i + 1:D5}-of-{shards:D5}.safetensors";
            WriteShard(Path.Combine(directory, name), chunk);
            Array.ForEach(chunk, spec => shardOf[spec.Name] = name);
        }

        if (shards > 1)
        {
            File.WriteAllText(Path.Combine(directory, "model.safetensors.index.json"), JsonSerializer.Serialize(new { weight_map = shardOf }));
        }

        return directory;
    }

    private static void WriteShard(string path, SafetensorsSpec[] specs)
    {
        using var stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);
        var writer = new SafetensorsWriter(stream, specs);
        var random = new Random(specs.Length);
        var block = new byte[1 << 20];
        for (var i = 0; i < block.Length; i += 2)
        {
            // bfloat16 numbers of magnitude 2^-7 to 2.
            (block[i], block[i + 1]) = ((byte)random.Next(256), (byte)((random.Next(2) << 7) | random.Next(0x3C, 0x40)));
        }

        for (var left = specs.Sum(spec => spec.Bytes); left > 0; left -= Math.Min(left, block.Length))
        {
            writer.Write(block.AsSpan(0, (int)Math.Min(left, block.Length)));
        }

        writer.Complete();
    }
}
