using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Conversion;

/// <summary>llama.cpp computes from a converted F32 file what transformers computes from the checkpoint.</summary>
public class ConvertedLogitsTests
{
    [SkippableTheory]
    [InlineData("llama2-bf16")]
    [InlineData("llama3-tied-bf16-sharded")]
    [InlineData("llama-linear-f16")]
    [InlineData("llama-12layers-bf16")]
    [InlineData("mistral-window-bf16")]
    [InlineData("mistral-headdim-f32")]
    [InlineData("smollm2-bf16")]
    [InlineData("qwen2-tied-bf16")]
    [InlineData("qwen25-untied-f16")]
    [InlineData("qwen3-bf16")]
    [InlineData("phi3-bf16")]
    [InlineData("phi3-longrope-f16.40")]
    [InlineData("phi3-longrope-f16.300")]
    [InlineData("phi4mini-bf16.40")]
    [InlineData("phi4mini-bf16.300")]
    [InlineData("gemma2-bf16", 4e-3)]
    [InlineData("gemma3-bf16", 4e-3)]
    [InlineData("gemma3-scaled-f16", 1.1e-2)]
    public void Logits_are_those_of_transformers(string name, double tolerance = 1e-4)
    {
        var checkpoint = ConvertedModel.Reference($"checkpoints/{name.Split('.')[0]}");
        using var reference = SafetensorsFile.Open(ConvertedModel.Reference($"logits/{name}.safetensors")).Value;
        // Where a window is set, llama.cpp computes without it.
        var expected = reference.Tensor("transformers_no_window") ?? reference.Tensor("transformers")!;
        using var folder = new TemporaryFolder();
        var rows = ConvertedModel.Logits(ConvertedModel.Convert(checkpoint, folder), Read<int>(reference, reference.Tensor("ids")!));

        var values = Read<float>(reference, expected);
        var kept = (int)expected.Shape[0];
        var actual = rows[^kept..].SelectMany(row => row).ToArray();
        Assert.Equal(values.Length, actual.Length);
        var worst = values.Zip(actual).Max(pair => Math.Abs((double)pair.First - pair.Second));
        Assert.True(worst <= tolerance, $"{name}: logits differ by up to {worst}");
    }

    private static T[] Read<T>(SafetensorsFile file, SafetensorsTensor tensor)
        where T : unmanaged
    {
        var bytes = new byte[tensor.Bytes];
        file.Read(tensor, 0, bytes);
        return MemoryMarshal.Cast<byte, T>(bytes).ToArray();
    }
}
