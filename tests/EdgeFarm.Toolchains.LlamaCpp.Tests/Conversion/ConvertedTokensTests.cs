using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Conversion;

/// <summary>llama.cpp splits text with a converted file as the checkpoint's tokenizer does.</summary>
public class ConvertedTokensTests
{
    [SkippableTheory]
    [InlineData("llama2")]
    [InlineData("llama3")]
    [InlineData("mistral")]
    [InlineData("smollm")]
    [InlineData("qwen2")]
    [InlineData("phi3")]
    [InlineData("phi4")]
    [InlineData("gemma")]
    public void Token_ids_are_as_listed(string tokenizer)
    {
        using var reference = Open(tokenizer);
        using var folder = new TemporaryFolder();
        var checkpoint = ConvertedModel.Reference($"checkpoints/{reference.RootElement.GetProperty("checkpoint").GetString()}");
        Check(reference, ConvertedModel.Convert(checkpoint, folder), 73);
    }

    [SkippableTheory]
    [InlineData("llama2")]
    [InlineData("mistral")]
    [InlineData("phi3")]
    [InlineData("gemma")]
    public void Token_ids_are_the_same_without_tokenizer_model(string tokenizer)
    {
        using var reference = Open(tokenizer);
        using var folder = new TemporaryFolder();
        var copy = Copy(reference, folder, "a-name-that-says-nothing");
        File.Delete(Path.Combine(copy, "tokenizer.model"));
        // What transformers 5 saves has no added_tokens_decoder either.
        var config = Path.Combine(copy, "tokenizer_config.json");
        var root = JsonNode.Parse(File.ReadAllText(config))!.AsObject();
        root.Remove("added_tokens_decoder");
        File.WriteAllText(config, root.ToJsonString());
        Check(reference, ConvertedModel.Convert(copy, folder), 73);
    }

    [SkippableTheory]
    [InlineData("phi3", "Phi-3-mini-4k-instruct")]
    [InlineData("phi4", "phi-3-in-name-only")]
    public void Token_ids_do_not_depend_on_the_name(string tokenizer, string name)
    {
        using var reference = Open(tokenizer);
        using var folder = new TemporaryFolder();
        Check(reference, ConvertedModel.Convert(Copy(reference, folder, name), folder), 73);
    }

    private static JsonDocument Open(string tokenizer) => JsonDocument.Parse(File.ReadAllBytes(ConvertedModel.Reference($"tokenizers/{tokenizer}.json")));

    private static string Copy(JsonDocument reference, TemporaryFolder folder, string name)
    {
        var source = ConvertedModel.Reference($"checkpoints/{reference.RootElement.GetProperty("checkpoint").GetString()}");
        var target = Directory.CreateDirectory(folder[name]).FullName;
        foreach (var file in Directory.GetFiles(source))
        {
            File.WriteAllBytes(Path.Combine(target, Path.GetFileName(file)), File.ReadAllBytes(file));
        }

        return target;
    }

    private static void Check(JsonDocument reference, string model, int least)
    {
        var rows = reference.RootElement.GetProperty("rows").EnumerateArray().ToArray();
        Assert.True(rows.Length >= least, $"{rows.Length} strings");
        var texts = rows.Select(row => row.GetProperty("text").GetString()!).ToArray();
        foreach (var (key, llama, addSpecial) in new[] { ("ids", "llama_cpp", false), ("ids_special", "llama_cpp_special", true) })
        {
            // A few strings that llama.cpp splits differently whatever the file says have its own ids in the list.
            var expected = rows.Select(row => (row.TryGetProperty(llama, out var own) ? own : row.GetProperty(key)).EnumerateArray().Select(id => id.GetInt32()).ToArray());
            foreach (var (text, ids, actual) in texts.Zip(expected, ConvertedModel.Tokenize(model, texts, addSpecial)))
            {
                Assert.True(ids.SequenceEqual(actual), $"{key} of \"{text}\": expected {string.Join(' ', ids)}, got {string.Join(' ', actual)}");
            }
        }
    }
}
