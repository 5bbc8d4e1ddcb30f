using System.Text.Json.Nodes;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Tests.Conversion;

/// <summary>What llama.cpp would load and compute differently converts with a typed warning, and strict refuses it.</summary>
public class ConversionWarningTests
{
    [Theory]
    [InlineData("llama3-tied-bf16-sharded", "tie_word_embeddings", "false", ConversionWarningCode.OutputTied)]
    [InlineData("llama3-tied-bf16-sharded", "rope_scaling", """{"rope_type": "dynamic", "factor": 2.0}""", ConversionWarningCode.RopeIgnored)]
    [InlineData("llama3-tied-bf16-sharded", "hidden_act", "\"gelu\"", ConversionWarningCode.ActivationIgnored)]
    [InlineData("llama3-tied-bf16-sharded", "partial_rotary_factor", "0.5", ConversionWarningCode.RopeIgnored)]
    [InlineData("phi3-longrope-f16", "sliding_window", "512", ConversionWarningCode.SlidingWindowIgnored)]
    [InlineData("gemma2-bf16", "query_pre_attn_scalar", "224", ConversionWarningCode.AttentionScaleIgnored)]
    [InlineData("gemma2-bf16", "query_pre_attn_scalar", null, ConversionWarningCode.AttentionScaleIgnored)]
    [InlineData("gemma2-bf16", "rope_theta", "1000000.0", ConversionWarningCode.RopeIgnored)]
    [InlineData("gemma2-bf16", "layer_types", """["full_attention", "sliding_attention", "sliding_attention", "full_attention"]""", ConversionWarningCode.LayerPatternIgnored)]
    [InlineData("gemma2-bf16", "tie_word_embeddings", "false", ConversionWarningCode.OutputTied)]
    [InlineData("gemma2-bf16", "use_bidirectional_attention", "true", ConversionWarningCode.DirectionIgnored)]
    public void A_config_that_llama_cpp_cannot_express_is_told(string checkpoint, string key, string? value, ConversionWarningCode code)
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{checkpoint}"));
        var before = CheckpointConverter.Convert(new(copy.Path, copy.Output)).Value;
        Assert.DoesNotContain(before.Warnings, warning => warning.ComputesDifferently);
        File.Delete(copy.Output);

        copy.Config(key, value);
        var report = CheckpointConverter.Convert(new(copy.Path, copy.Output)).Value;
        Assert.Equal([code], report.Warnings.Where(warning => warning.ComputesDifferently).Select(warning => warning.Code));
        File.Delete(copy.Output);

        var strict = CheckpointConverter.Convert(new(copy.Path, copy.Output, Strict: true));
        Assert.Equal(FailureType.Unsupported, strict.Failure?.Type);
        Assert.Contains(report.Warnings.First(warning => warning.ComputesDifferently).Message, strict.Failure!.Message, StringComparison.Ordinal);
        Assert.Empty(copy.Leftovers);
    }

    [SkippableTheory]
    [InlineData("mistral-window-bf16", ConversionWarningCode.SlidingWindowIgnored)]
    [InlineData("phi3-bf16", ConversionWarningCode.SlidingWindowIgnored)]
    public void A_window_of_the_reference_is_told(string checkpoint, ConversionWarningCode code)
    {
        using var directory = new TemporaryDirectory();
        var report = CheckpointConverter.Convert(new(TestData.Shared($"reference/hf/checkpoints/{checkpoint}"), directory.File("o"))).Value;
        Assert.Equal([code], report.Warnings.Select(warning => warning.Code));
    }

    [SkippableFact]
    public void A_window_of_Qwen_counts_only_when_it_is_used()
    {
        using var copy = new CheckpointCopy(TestData.Shared("reference/hf/checkpoints/qwen2-tied-bf16"));
        copy.Config("sliding_window", "16");
        Assert.DoesNotContain(Codes(copy), code => code == ConversionWarningCode.SlidingWindowIgnored);
        copy.Config("use_sliding_window", "true");
        Assert.DoesNotContain(Codes(copy), code => code == ConversionWarningCode.SlidingWindowIgnored);
        copy.Config("max_window_layers", "1");
        Assert.Contains(Codes(copy), code => code == ConversionWarningCode.SlidingWindowIgnored);
    }

    [SkippableFact]
    public void Gemma_3_with_another_pattern_is_told()
    {
        using var copy = new CheckpointCopy(TestData.Shared("reference/hf/checkpoints/gemma3-bf16"));
        Assert.Empty(Codes(copy));
        copy.Config("sliding_window_pattern", "3");
        Assert.Equal([ConversionWarningCode.LayerPatternIgnored], Codes(copy));
    }

    [Fact]
    public void Numbers_beyond_half_precision_are_told()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        var report = CheckpointConverter.Convert(new(copy.Path, copy.Output, ConversionOutType.F16)).Value;
        var warning = Assert.Single(report.Warnings);
        Assert.Equal((ConversionWarningCode.OverflowToInfinity, true), (warning.Code, warning.ComputesDifferently));
        Assert.Contains("blk.0.ffn_down.weight", warning.Message, StringComparison.Ordinal);
        File.Delete(copy.Output);

        Assert.Equal(FailureType.Unsupported, CheckpointConverter.Convert(new(copy.Path, copy.Output, ConversionOutType.F16, Strict: true)).Failure?.Type);
        Assert.Empty(copy.Leftovers);
        Assert.Empty(CheckpointConverter.Convert(new(copy.Path, copy.Output, ConversionOutType.F32, Strict: true)).Value.Warnings);
    }

    [Theory]
    [InlineData("phi3-longrope-f16", "my-model", "My Model (Phi-3)")]
    [InlineData("phi3-longrope-f16", "Phi-3-mini-4k-instruct", "Phi 3 Mini 4k Instruct (Phi-3)")]
    [InlineData("llama3-tied-bf16-sharded", "phi3-like-llama", "Phi 3 Like Llama")]
    public void The_name_chooses_the_tokenization_that_the_model_has(string checkpoint, string directory, string name)
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{checkpoint}"), directory);
        var report = CheckpointConverter.Convert(new(copy.Path, copy.Output)).Value;
        Assert.Equal([ConversionWarningCode.NameAdjusted], report.Warnings.Select(warning => warning.Code));
        Assert.Equal(name, GgufReader.Read(copy.Output).Value.Metadata["general.name"]!.AsText());
    }

    [Theory]
    [InlineData("llama-edge-f32")]
    [InlineData("phi3-longrope-f16")]
    [InlineData("gemma2-bf16")]
    public void Scores_are_recovered_from_the_merges(string checkpoint)
    {
        using var copy = new CheckpointCopy(TestData.Local($"checkpoints/{checkpoint}"));
        Assert.True(CheckpointConverter.Convert(new(copy.Path, copy.Output)).IsOk);
        var original = GgufReader.Read(copy.Output).Value.Metadata;

        File.Delete(copy.File("tokenizer.model"));
        copy.Edit("tokenizer_config.json", root => root.Remove("added_tokens_decoder"));
        var report = CheckpointConverter.Convert(new(copy.Path, copy.Output)).Value;
        Assert.Contains(report.Warnings, warning => warning is { Code: ConversionWarningCode.ScoresRecovered, ComputesDifferently: false });
        var recovered = GgufReader.Read(copy.Output).Value.Metadata;

        foreach (var key in (string[])["tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token"])
        {
            Assert.Equal(original[key] is null, recovered[key] is null);
            Assert.True(original[key] is null || original[key]!.SameAs(recovered[key]!), key);
        }

        // What decides is the order in which pieces win, for every piece that merging can yield.
        var tokens = (string[])original["tokenizer.ggml.tokens"]!.Value;
        var merged = Enumerable.Range(0, tokens.Length)
            .Where(id => ((int[])original["tokenizer.ggml.token_type"]!.Value)[id] == 1 && new System.Globalization.StringInfo(tokens[id]).LengthInTextElements > 1).ToArray();
        Assert.True(merged.Length > 50, $"{merged.Length} pieces");
        int[] Order(GgufMetadata metadata) => [.. merged.OrderByDescending(id => ((float[])metadata["tokenizer.ggml.scores"]!.Value)[id])];
        Assert.Equal(Order(original), Order(recovered));
    }

    [Fact]
    public void A_normalizer_that_llama_cpp_lacks_is_told()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama3-tied-bf16-sharded"));
        copy.Edit("tokenizer.json", root => root["normalizer"] = JsonNode.Parse("""{"type": "NFC"}"""));
        Assert.Equal([ConversionWarningCode.NormalizerIgnored], Codes(copy));
        copy.Edit("tokenizer.json", root => root["normalizer"] = JsonNode.Parse("""{"type": "Lowercase"}"""));
        Assert.Equal([ConversionWarningCode.TokenizationDiffers], Codes(copy));
    }

    [Fact]
    public void Whole_words_without_merging_are_told_when_llama_cpp_does_otherwise()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama3-tied-bf16-sharded"));
        copy.Edit("tokenizer.json", root => root["model"]!["ignore_merges"] = false);
        Assert.Equal([ConversionWarningCode.TokenizationDiffers], Codes(copy));
    }

    [Fact]
    public void Rows_that_are_no_whole_blocks_become_F16()
    {
        using var directory = new TemporaryDirectory();
        var checkpoint = GeneratedCheckpoint.Write(directory.File("c"), hidden: 48, layers: 1, feedForward: 64, shards: 1);
        var report = CheckpointConverter.Convert(new(checkpoint, directory.File("out.gguf"), ConversionOutType.Q8_0)).Value;
        Assert.Contains(report.Warnings, warning => warning.Code == ConversionWarningCode.StoredAsF16);
        Assert.Equal(GgmlType.F16, report.Tensors.Single(tensor => tensor.Name == "token_embd.weight").Type);
        Assert.Equal(GgmlType.Q8_0, report.Tensors.Single(tensor => tensor.Name == "blk.0.ffn_down.weight").Type);
    }

    private static ConversionWarningCode[] Codes(CheckpointCopy copy) =>
        [.. CheckpointConverter.Convert(new(copy.Path, copy.Output)).Value.Warnings.Select(warning => warning.Code)];
}
