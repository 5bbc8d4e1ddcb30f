using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.ModelFormats.Tests.Conversion;

/// <summary>Forms of checkpoints that no reference exists for.</summary>
public class ConversionVariantTests
{
    [SkippableFact]
    public void The_text_model_of_a_multimodal_Gemma_3_is_that_of_the_text_checkpoint()
    {
        using var text = new CheckpointCopy(TestData.Shared("reference/hf/checkpoints/gemma3-bf16"), "model");
        Assert.True(CheckpointConverter.Convert(new(text.Path, text.Output)).IsOk);

        using var multimodal = new CheckpointCopy(text.Path, "model");
        Rewrite(multimodal, name => $"language_model.{name}", ("vision_tower.vision_model.post_layernorm.weight", [4]), ("multi_modal_projector.mm_input_projection_weight", [2, 4]));
        multimodal.Edit("config.json", root =>
        {
            var inner = JsonNode.Parse(root.ToJsonString())!.AsObject();
            inner.Remove("architectures");
            root.Clear();
            root["architectures"] = new JsonArray("Gemma3ForConditionalGeneration");
            root["model_type"] = "gemma3";
            root["text_config"] = inner;
        });
        var outcome = CheckpointConverter.Convert(new(multimodal.Path, multimodal.Output));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.Equal(File.ReadAllBytes(text.Output), File.ReadAllBytes(multimodal.Output));
    }

    [Fact]
    public void The_rows_of_query_and_key_biases_are_interleaved_like_those_of_the_matrices()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        // Two query heads and one key head of 16.
        Rewrite(copy, name => name, ("model.layers.0.self_attn.q_proj.bias", [32]), ("model.layers.0.self_attn.k_proj.bias", [16]), ("model.layers.0.self_attn.v_proj.bias", [16]));
        Assert.True(CheckpointConverter.Convert(new(copy.Path, copy.Output, ConversionOutType.Q8_0)).IsOk);
        var file = GgufReader.Read(copy.Output).Value;
        var bytes = File.ReadAllBytes(copy.Output);
        float[] Values(string name)
        {
            var tensor = file.Tensor(name)!;
            Assert.Equal(GgmlType.F32, tensor.Type);
            return MemoryMarshal.Cast<byte, float>(bytes.AsSpan((int)file.FileOffset(tensor), (int)tensor.Bytes)).ToArray();
        }

        float[] head = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15];
        Assert.Equal([.. head, .. head.Select(row => row + 16)], Values("blk.0.attn_q.bias"));
        Assert.Equal(head, Values("blk.0.attn_k.bias"));
        Assert.Equal(Enumerable.Range(0, 16).Select(row => (float)row), Values("blk.0.attn_v.bias"));
    }

    [SkippableFact]
    public void Yarn_has_its_keys_before_the_base()
    {
        using var copy = new CheckpointCopy(TestData.Shared("reference/hf/checkpoints/qwen2-tied-bf16"));
        copy.Config("rope_scaling", """{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192, "attention_factor": 0.5}""");
        Assert.DoesNotContain(CheckpointConverter.Convert(new(copy.Path, copy.Output)).Value.Warnings, warning => warning.ComputesDifferently);
        var keys = GgufReader.Read(copy.Output).Value.Metadata.Entries.Where(entry => entry.Key.StartsWith("qwen2.rope", StringComparison.Ordinal)).ToArray();
        Assert.Equal(
            ["scaling.type", "scaling.factor", "scaling.original_context_length", "scaling.yarn_attn_factor", "freq_base"],
            keys.Select(entry => entry.Key["qwen2.rope.".Length..]));
        Assert.Equal(["yarn", 4f, 8192u, 0.5f, 1e6f], keys.Select(entry => entry.Value.Value));
    }

    [Fact]
    public void The_vocabulary_of_SmolLM2_adds_no_begin_of_text()
    {
        using var directory = new TemporaryDirectory();
        var checkpoint = GeneratedCheckpoint.Write(directory.File("c"), hidden: 16, layers: 1, feedForward: 32, shards: 2, vocabulary: 49152);
        Assert.True(CheckpointConverter.Convert(new(checkpoint, directory.File("out.gguf"))).IsOk);
        var metadata = GgufReader.Read(directory.File("out.gguf")).Value.Metadata;
        Assert.Equal(false, metadata["tokenizer.ggml.add_bos_token"]!.Value);
        Assert.Equal("[PAD49151]", ((string[])metadata["tokenizer.ggml.tokens"]!.Value)[^1]);
    }

    [Fact]
    public void A_given_name_stands_for_the_directory()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama3-tied-bf16-sharded"), "0f3a");
        Assert.True(CheckpointConverter.Convert(new(copy.Path, copy.Output) { Name = "Org/Llama-3.2-1B-Instruct" }).IsOk);
        var metadata = GgufReader.Read(copy.Output).Value.Metadata;
        Assert.Equal(("Llama 3.2 1B Instruct", "Org"), (metadata["general.name"]!.AsText(), metadata["general.organization"]!.AsText()));
    }

    // Writes the weights anew under other names, with more tensors of float32 that count up from 0.
    private static void Rewrite(CheckpointCopy copy, Func<string, string> rename, params (string Name, long[] Shape)[] more)
    {
        var path = copy.File("model.safetensors");
        var specs = new List<SafetensorsSpec>();
        var data = new MemoryStream();
        using (var file = SafetensorsFile.Open(path).Value)
        {
            foreach (var tensor in file.Tensors)
            {
                specs.Add(new SafetensorsSpec(rename(tensor.Name), tensor.Type, tensor.Shape));
                var bytes = new byte[tensor.Bytes];
                file.Read(tensor, 0, bytes);
                data.Write(bytes);
            }
        }

        foreach (var (name, shape) in more)
        {
            specs.Add(new SafetensorsSpec(name, SafetensorsDType.F32, shape));
            var count = (int)shape.Aggregate((product, extent) => product * extent);
            data.Write(MemoryMarshal.AsBytes<float>(Enumerable.Range(0, count).Select(i => (float)i).ToArray()));
        }

        using var stream = File.Create(path);
        var writer = new SafetensorsWriter(stream, specs);
        writer.Write(data.ToArray());
        writer.Complete();
    }
}
