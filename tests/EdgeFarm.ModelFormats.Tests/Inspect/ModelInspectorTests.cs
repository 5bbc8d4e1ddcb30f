using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.ModelFormats.Inspect;

namespace EdgeFarm.ModelFormats.Tests.Inspect;

public class ModelInspectorTests
{
    [Fact]
    public void A_checkpoint_and_the_file_made_from_it_are_told_alike()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama3-tied-bf16-sharded"));
        Assert.True(CheckpointConverter.Convert(new(copy.Path, copy.Output, ConversionOutType.Q8_0)).IsOk);
        var source = ModelInspector.Inspect(copy.Path).Value;
        var file = ModelInspector.Inspect(copy.Output).Value;

        Assert.Equal((ModelFormat.Checkpoint, "LlamaForCausalLM", 512, 2), (source.Format, source.Architecture, source.ContextLength, source.Layers));
        Assert.Equal((ModelFormat.Gguf, "llama", 512, 2), (file.Format, file.Architecture, file.ContextLength, file.Layers));
        Assert.Equal(16, source.BitsPerWeight);
        Assert.InRange(file.BitsPerWeight, 8.5, 8.7);
        // The file has the factors of the rotary embedding besides.
        Assert.Equal(source.Parameters + 8, file.Parameters);
        Assert.Equal(["Q8_0", "F32"], file.Types.Select(type => type.Type));
        Assert.Equal(file.Tensors.Count, file.Types.Sum(type => type.Tensors));
        Assert.Equal(source.Tokenizer! with { Kind = "" }, file.Tokenizer! with { Kind = "" });
        Assert.Equal(("byte-level BPE", "gpt2/llama-bpe", 509, 500, 507), (source.Tokenizer.Kind, file.Tokenizer.Kind, file.Tokenizer.Tokens, file.Tokenizer.Bos, file.Tokenizer.Eos));
        Assert.Equal(Digest.HexLength, file.Tokenizer.ChatTemplateDigest!.Length);
        Assert.Equal([509L, 64], file.Tensors.Single(tensor => tensor.Name == "token_embd.weight").Shape);
    }

    [Fact]
    public void A_safetensors_file_is_told_by_its_content()
    {
        using var directory = new TemporaryDirectory();
        var source = TestData.Local("checkpoints/llama-edge-f32/model.safetensors");
        File.Copy(source, directory.File("weights"));
        var summary = ModelInspector.Inspect(directory.File("weights")).Value;
        Assert.Equal((ModelFormat.Safetensors, new FileInfo(source).Length, 32.0), (summary.Format, summary.FileBytes, summary.BitsPerWeight));
        Assert.Equal(12, summary.Tensors.Count);
    }

    [SkippableFact]
    public void The_bundled_model_has_the_figures_of_its_card()
    {
        var summary = ModelInspector.Inspect(TestData.Shared("models/edgefarm-tiny/edgefarm-tiny-f16.gguf")).Value;
        Assert.Equal((5_770_496, 11_685_536, 512, 6), (summary.Parameters, summary.FileBytes, summary.ContextLength, summary.Layers));
        Assert.Equal(4096, summary.Tokenizer!.Tokens);
    }

    [Fact]
    public void Other_files_are_refused()
    {
        using var directory = new TemporaryDirectory();
        File.WriteAllText(directory.File("a.txt"), "text");
        File.WriteAllText(directory.File("a.gguf"), "text");
        File.WriteAllText(directory.File("a.onnx"), "text");
        Assert.Equal(FailureType.Unsupported, ModelInspector.Inspect(directory.File("a.txt")).Failure?.Type);
        Assert.Equal(FailureType.InvalidInput, ModelInspector.Inspect(directory.File("a.gguf")).Failure?.Type);
        Assert.Equal(FailureType.InvalidInput, ModelInspector.Inspect(directory.File("a.onnx")).Failure?.Type);
        Assert.Equal(FailureType.InvalidInput, ModelInspector.Inspect(directory.File("missing")).Failure?.Type);
        Assert.Equal(FailureType.InvalidInput, ModelInspector.Inspect(directory.Path).Failure?.Type);
    }
}
