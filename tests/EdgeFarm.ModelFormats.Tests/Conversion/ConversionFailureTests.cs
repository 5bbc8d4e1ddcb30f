using System.Text.Json.Nodes;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Tests.Conversion;

public class ConversionFailureTests
{
    private const string Sharded = "llama3-tied-bf16-sharded";

    [Theory]
    [InlineData("architectures", """["BloomForCausalLM"]""", FailureType.Unsupported, "Gemma2ForCausalLM, Gemma3ForCausalLM")]
    [InlineData("architectures", "null", FailureType.InvalidInput, "architectures")]
    [InlineData("quantization_config", """{"quant_method": "gptq"}""", FailureType.Unsupported, "quantized")]
    [InlineData("num_attention_heads", "3", FailureType.InvalidInput, "not a multiple")]
    [InlineData("num_hidden_layers", "0", FailureType.InvalidInput, "num_hidden_layers: is 0")]
    [InlineData("num_hidden_layers", "3", FailureType.InvalidInput, "layer 2; it is incomplete")]
    [InlineData("num_hidden_layers", "1", FailureType.Unsupported, "model.layers.1.")]
    [InlineData("hidden_size", "\"64\"", FailureType.InvalidInput, "not an integer")]
    [InlineData("hidden_size", "128", FailureType.InvalidInput, "config.json makes it")]
    [InlineData("vocab_size", "99999999999", FailureType.InvalidInput, "vocab_size")]
    [InlineData("vocab_size", "508", FailureType.InvalidInput, "has the shape")]
    [InlineData("rope_scaling", """{"rope_type": "mrope"}""", FailureType.Unsupported, "mrope")]
    [InlineData("rope_scaling", """{"rope_type": "longrope"}""", FailureType.Unsupported, "longrope")]
    [InlineData("rope_theta", "-1.0", FailureType.InvalidInput, "must be positive")]
    public void A_config_that_cannot_be_converted_is_refused(string key, string value, FailureType type, string reason)
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        Refused(copy.Config(key, value), type, reason);
    }

    [Fact]
    public void A_checkpoint_that_lacks_a_shard_is_refused()
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        File.Delete(copy.File("model-00002-of-00003.safetensors"));
        Refused(copy, FailureType.InvalidInput, "model-00002-of-00003.safetensors");
    }

    [Fact]
    public void An_index_that_disagrees_with_its_shards_is_refused()
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        copy.Edit("model.safetensors.index.json", root => root["weight_map"]!["model.layers.9.mlp.up_proj.weight"] = "model-00001-of-00003.safetensors");
        Refused(copy, FailureType.InvalidInput, "is in none");
    }

    [Theory]
    [InlineData("../model.safetensors")]
    [InlineData("/etc/model.safetensors")]
    [InlineData("sub/model.safetensors")]
    [InlineData("..")]
    [InlineData("")]
    public void A_shard_outside_the_directory_is_refused(string name)
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        copy.Edit("model.safetensors.index.json", root => root["weight_map"]!["model.norm.weight"] = name);
        Refused(copy, FailureType.InvalidInput, "not the name of a safetensors file");
    }

    [Fact]
    public void A_unigram_vocabulary_is_refused()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        File.Copy(TestData.Local("unigram/tokenizer.model"), copy.File("tokenizer.model"), overwrite: true);
        Refused(copy, FailureType.Unsupported, "unigram");
    }

    [Fact]
    public void An_unknown_regular_expression_is_refused()
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        copy.Edit("tokenizer.json", root => root["pre_tokenizer"]!["pretokenizers"]![0]!["pattern"] = JsonNode.Parse("""{"Regex": "\\w+"}"""));
        Refused(copy, FailureType.Unsupported, @"\w+");
    }

    [Fact]
    public void A_token_without_a_row_is_refused()
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        copy.Edit("tokenizer.json", root => root["model"]!["vocab"]!["extra"] = 509);
        Refused(copy, FailureType.InvalidInput, "token 509 has no row");
    }

    [Fact]
    public void Files_that_are_missing_are_named()
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        File.Delete(copy.File("tokenizer.json"));
        Refused(copy, FailureType.InvalidInput, "neither tokenizer.json nor tokenizer.model");
        File.Delete(copy.File("config.json"));
        Refused(copy, FailureType.InvalidInput, "config.json");
        Assert.Equal(FailureType.InvalidInput, CheckpointConverter.Convert(new(copy.File("nothing"), copy.Output)).Failure?.Type);
    }

    [Fact]
    public void Pickled_weights_are_refused()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        File.Move(copy.File("model.safetensors"), copy.File("pytorch_model.bin"));
        Refused(copy, FailureType.Unsupported, "safetensors");
    }

    [Fact]
    public void An_output_without_a_directory_or_over_the_weights_is_refused()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        Assert.Equal(FailureType.InvalidInput, CheckpointConverter.Convert(new(copy.Path, copy.File("no/such/out.gguf"))).Failure?.Type);
        Assert.Equal(FailureType.InvalidInput, CheckpointConverter.Convert(new(copy.Path, copy.Path)).Failure?.Type);
        var weights = File.ReadAllBytes(copy.File("model.safetensors"));
        Assert.Equal(FailureType.InvalidInput, CheckpointConverter.Convert(new(copy.Path, copy.File("model.safetensors"))).Failure?.Type);
        Assert.Equal(weights, File.ReadAllBytes(copy.File("model.safetensors")));
    }

    [Theory]
    [InlineData("write")]
    [InlineData("verify")]
    public async Task A_cancelled_conversion_leaves_nothing(string stage)
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        await File.WriteAllTextAsync(copy.Output, "what was here before");
        using var cancellation = new CancellationTokenSource();
        var progress = new Listener(report =>
        {
            if (report.Stage == stage)
            {
                cancellation.Cancel();
            }
        });
        var outcome = await CheckpointConverter.ConvertAsync(new(copy.Path, copy.Output), progress, cancellation.Token);
        Assert.Equal(FailureType.Cancelled, outcome.Failure?.Type);
        Assert.Equal([copy.Output], copy.Leftovers);
        Assert.Equal("what was here before", await File.ReadAllTextAsync(copy.Output));
    }

    [Fact]
    public void Progress_counts_up_to_the_whole_file_twice()
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{Sharded}"));
        var reports = new List<ConversionProgress>();
        var report = CheckpointConverter.Convert(new(copy.Path, copy.Output), new Listener(reports.Add)).Value;
        foreach (var stage in (string[])["write", "verify"])
        {
            var of = reports.Where(r => r.Stage == stage).ToArray();
            Assert.Equal(report.Tensors.Select(tensor => tensor.Name), of.Select(r => r.Tensor));
            Assert.Equal(of[^1].BytesTotal, of[^1].BytesDone);
            Assert.Equal(of.Select(r => r.BytesDone).Order(), of.Select(r => r.BytesDone));
        }
    }

    [Fact]
    public void The_comparison_finds_a_single_wrong_number()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/gemma2-bf16"));
        foreach (var type in (ConversionOutType[])[ConversionOutType.F32, ConversionOutType.F16, ConversionOutType.BF16, ConversionOutType.Q8_0])
        {
            Assert.True(CheckpointConverter.Convert(new(copy.Path, copy.Output, type)).IsOk);
            using var checkpoint = Checkpoint.Open(copy.Path).Value;
            var plan = TensorPlanner.Plan(checkpoint, TensorPlanner.MatrixType(checkpoint, type), []);
            var file = GgufReader.Read(copy.Output).Value;
            new ConversionVerifier(copy.Output, file.Metadata, plan).Verify(_ => { }, default);

            foreach (var tensor in (GgufTensor[])[file.Tensors[0], file.Tensors[^1], file.Tensor("blk.1.attn_q.weight")!, file.Tensor("blk.0.attn_norm.weight")!])
            {
                var bytes = File.ReadAllBytes(copy.Output);
                bytes[file.FileOffset(tensor) + tensor.Bytes - 1] ^= 0x30;
                var broken = copy.File("broken.gguf");
                File.WriteAllBytes(broken, bytes);
                var failure = Assert.Throws<FailureException>(() => new ConversionVerifier(broken, file.Metadata, plan).Verify(_ => { }, default));
                Assert.Contains(tensor.Name, failure.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void The_report_says_how_well_the_file_matches()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/gemma2-bf16"));
        var exact = CheckpointConverter.Convert(new(copy.Path, copy.Output, ConversionOutType.F32)).Value.Proof;
        Assert.Equal((exact.TensorsCompared, double.PositiveInfinity, null), (exact.ExactTensors, exact.WorstSnr, exact.WorstTensor));
        var rounded = CheckpointConverter.Convert(new(copy.Path, copy.Output, ConversionOutType.Q8_0)).Value.Proof;
        Assert.True(rounded.ExactTensors < rounded.TensorsCompared);
        Assert.InRange(rounded.WorstSnr, 38, 60);
    }

    private static void Refused(CheckpointCopy copy, FailureType type, string reason)
    {
        var outcome = CheckpointConverter.Convert(new(copy.Path, copy.Output));
        Assert.Equal(type, outcome.Failure?.Type);
        Assert.Contains(reason, outcome.Failure!.Message, StringComparison.Ordinal);
        Assert.Empty(copy.Leftovers);
    }

    private sealed class Listener(Action<ConversionProgress> listen) : IProgress<ConversionProgress>
    {
        public void Report(ConversionProgress value) => listen(value);
    }
}
