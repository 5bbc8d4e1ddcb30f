using System.Security.Cryptography;
using System.Text.Json;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Quantization;

/// <summary>The bytes are those of llama-quantize (the digests of the model's card).</summary>
public class QuantizerBytesTests
{
    public static TheoryData<string> Plain =>
    [
        "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_0", "Q5_1", "Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS",
        "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K",
    ];

    public static TheoryData<string> Weighted =>
    [
        "Q4_K_M", "Q3_K_M", "Q2_K", "Q2_K_S", "IQ4_XS", "IQ3_M", "IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
    ];

    [SkippableTheory]
    [MemberData(nameof(Plain))]
    public void A_plain_form_is_byte_identical(string type)
    {
        using var folder = new TemporaryFolder();
        var result = Quantize(new QuantizeRequest(TestData.Model, folder["out.gguf"], type));

        var card = TestData.Card(type);
        Assert.Equal(card.GetProperty("bytes").GetInt64(), result.OutputBytes);
        Assert.Equal(card.GetProperty("sha256").GetString(), Digest(File.ReadAllBytes(result.Output)));
        Assert.Equal(["out.gguf"], folder.Files);
    }

    [SkippableTheory]
    [MemberData(nameof(Weighted))]
    public void A_form_with_an_importance_matrix_is_byte_identical(string type)
    {
        using var folder = new TemporaryFolder();
        var imatrix = TestData.Reference("imatrix.gguf");
        var result = Quantize(new QuantizeRequest(TestData.Model, folder["out.gguf"], type) { Imatrix = imatrix });

        var card = TestData.Card(type + "+imatrix");
        var file = GgufReader.Read(result.Output).Value;
        Assert.Equal(card.GetProperty("tensor_data_sha256").GetString(), Digest(File.ReadAllBytes(result.Output).AsSpan((int)file.DataOffset)));
        if (card.TryGetProperty("sha256", out JsonElement whole))
        {
            Assert.Equal(whole.GetString(), Digest(File.ReadAllBytes(result.Output)));
        }
    }

    private static QuantizeResult Quantize(QuantizeRequest request)
    {
        var outcome = LlamaQuantizer.Run(request);
        Assert.True(outcome.IsOk, $"{outcome.Failure}\n{outcome.Failure?.LogTail}");
        return outcome.Value;
    }

    private static string Digest(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
