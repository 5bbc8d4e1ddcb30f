using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Tests.Conversion;

/// <summary>Every checkpoint of the reference in every type: keys, values and tensors as llama.cpp's own converter writes them.</summary>
public class ReferenceTests
{
    private static readonly string[] Names =
    [
        "gemma2-bf16", "gemma3-bf16", "gemma3-scaled-f16", "llama-12layers-bf16", "llama-edge-f32", "llama-linear-f16", "llama2-bf16",
        "llama3-tied-bf16-sharded", "mistral-headdim-f32", "mistral-window-bf16", "phi3-bf16", "phi3-longrope-f16", "phi4mini-bf16",
        "qwen2-tied-bf16", "qwen25-untied-f16", "qwen3-bf16", "smollm2-bf16",
    ];

    private static readonly string[] OutTypes = ["f32", "f16", "bf16", "q8_0", "auto"];

    public static TheoryData<string, string> Cases()
    {
        var cases = new TheoryData<string, string>();
        foreach (var name in Names)
        {
            foreach (var type in OutTypes)
            {
                cases.Add(name, type);
            }
        }

        return cases;
    }

    [SkippableTheory]
    [MemberData(nameof(Cases))]
    public void All_checkpoints_convert_as_the_reference_does(string name, string type) => Check(
        TestData.Shared($"reference/hf/checkpoints/{name}"), TestData.Shared($"reference/hf/expected/{name}.json"), type);

    [SkippableTheory]
    [InlineData("llama2-bf16")]
    [InlineData("qwen3-bf16")]
    [InlineData("gemma3-scaled-f16")]
    [InlineData("phi4mini-bf16")]
    [InlineData("smollm2-bf16")]
    public void The_file_is_the_reference_file(string name)
    {
        using var directory = new TemporaryDirectory();
        var output = directory.File("out.gguf");
        var reference = TestData.Shared($"reference/hf/gguf/{name}.gguf");
        Assert.True(CheckpointConverter.Convert(new(TestData.Shared($"reference/hf/checkpoints/{name}"), output)).IsOk);
        Assert.True(File.ReadAllBytes(output).AsSpan().SequenceEqual(File.ReadAllBytes(reference)), "bytes differ");
    }

    [SkippableFact]
    public void The_bundled_model_is_the_reference_file()
    {
        using var directory = new TemporaryDirectory();
        var output = directory.File("out.gguf");
        var model = TestData.Shared("models/edgefarm-tiny");
        var report = CheckpointConverter.Convert(new(model, output, ConversionOutType.F16)).Value;
        Assert.Empty(report.Warnings);
        Assert.True(File.ReadAllBytes(output).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(model, "edgefarm-tiny-f16.gguf"))), "bytes differ");
    }

    internal static void Check(string checkpoint, string expectedPath, string type)
    {
        using var directory = new TemporaryDirectory();
        using var expected = JsonDocument.Parse(File.ReadAllBytes(expectedPath));
        var output = directory.File("out.gguf");
        var outcome = CheckpointConverter.Convert(new ConversionRequest(checkpoint, output, Enum.Parse<ConversionOutType>(type, ignoreCase: true)));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);

        var effective = type == "auto" ? expected.RootElement.GetProperty("auto_equals").GetString()! : type;
        var file = GgufReader.Read(output).Value;
        CheckMetadata(expected.RootElement.GetProperty("kv"), file, effective);

        var bytes = File.ReadAllBytes(output);
        var tensors = expected.RootElement.GetProperty("tensors").GetProperty(effective);
        Assert.Equal(tensors.EnumerateArray().Select(t => t.GetProperty("name").GetString()), file.Tensors.Select(t => t.Name));
        foreach (var (reference, tensor) in tensors.EnumerateArray().Zip(file.Tensors))
        {
            Assert.Equal((tensor.Name, reference.GetProperty("type").GetString()), (tensor.Name, tensor.Type.ToString()));
            Assert.Equal(reference.GetProperty("ne").EnumerateArray().Select(e => e.GetInt64()), tensor.Shape);
            Assert.Equal((reference.GetProperty("offset").GetInt64(), reference.GetProperty("nbytes").GetInt64()), (tensor.Offset, tensor.Bytes));
            var digest = Convert.ToHexStringLower(SHA256.HashData(bytes.AsSpan((int)file.FileOffset(tensor), (int)tensor.Bytes)));
            Assert.Equal((tensor.Name, reference.GetProperty("sha256").GetString()), (tensor.Name, digest));
        }

        // The converter writes the names of several templates in an order that changes from run to run.
        if (file.Metadata["tokenizer.chat_templates"] is null)
        {
            Assert.Equal(expected.RootElement.GetProperty("files").GetProperty(type).GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(bytes)));
        }
    }

    private static void CheckMetadata(JsonElement expected, GgufFile file, string type)
    {
        Assert.Equal(expected.EnumerateArray().Select(e => e.GetProperty("key").GetString()), file.Metadata.Entries.Select(e => e.Key));
        foreach (var (reference, (key, value)) in expected.EnumerateArray().Zip(file.Metadata.Entries))
        {
            var spelled = value.ElementType is { } element ? $"ARRAY:{element.ToString().ToUpperInvariant()}" : value.Type.ToString().ToUpperInvariant();
            Assert.Equal((key, reference.GetProperty("type").GetString()), (key, spelled));
            var texts = reference.GetProperty("value") is { ValueKind: JsonValueKind.Array } array ? [.. array.EnumerateArray().Select(Spell)] : new[] { Spell(reference.GetProperty("value")) };
            var actual = value.Value is Array values ? values.Cast<object>().Select(Spell).ToArray() : [Spell(value.Value)];
            if (key == "general.file_type")
            {
                texts = [type switch { "f32" => "0", "f16" => "1", "q8_0" => "7", _ => "32" }];
            }

            if (key == "tokenizer.chat_templates")
            {
                Array.Sort(texts);
                Array.Sort(actual);
            }

            Assert.True(texts.SequenceEqual(actual), $"{key}: expected {string.Join(", ", texts.Take(20))}, got {string.Join(", ", actual.Take(20))}");
        }
    }

    private static string Spell(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Number => value.GetDouble().ToString("R", CultureInfo.InvariantCulture),
        _ => value.GetBoolean().ToString(),
    };

    private static string Spell(object value) => value switch
    {
        string text => text,
        bool flag => flag.ToString(),
        float number => ((double)number).ToString("R", CultureInfo.InvariantCulture),
        _ => Convert.ToDouble(value, CultureInfo.InvariantCulture).ToString("R", CultureInfo.InvariantCulture),
    };
}
