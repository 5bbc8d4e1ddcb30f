using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.ModelFormats.Tests.Tokenizers;

public sealed class WordPieceTests : IDisposable
{
    private static readonly string[] Vocabulary =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "hello", "world", "!", "'", "s", "$", "cafe", "中", "国", "a", "##b", "ᄒ", "##ᅡ", "##ᆫ"];

    private readonly string _path = Path.Combine(Path.GetTempPath(), $"edgefarm-{Guid.NewGuid():N}.json");

    [Theory]
    [InlineData("Hello, world!", "2 8 1 9 10 3")]
    [InlineData("unaffable", "2 5 6 7 3")]
    [InlineData("unaffablex", "2 1 3")]
    [InlineData("HELLO\u0000 \u200bworld", "2 8 9 3")]
    [InlineData("it's $", "2 1 11 12 13 3")]
    [InlineData("Café CAFE\u0301", "2 14 14 3")]
    [InlineData("hello中国world", "2 8 15 16 9 3")]
    [InlineData("한", "2 19 20 21 3")]
    [InlineData("hello[MASK]world [SEP]", "2 8 4 9 3 3")]
    [InlineData("", "2 3")]
    [InlineData("hello\u00a0\u3000world\r\n", "2 8 9 3")]
    public void Text_becomes_the_longest_pieces(string text, string expected) =>
        Assert.Equal(expected, string.Join(' ', Load(Json()).Encode(text, 16).Ids));

    [Fact]
    public void What_is_too_long_is_cut_within_the_special_tokens()
    {
        var tokens = Load(Json()).Encode("hello world hello world", 4);
        Assert.Equal([2, 8, 9, 3], tokens.Ids);
        Assert.Equal([0, 0, 0, 0], tokens.TypeIds);
        Assert.Equal([2, 1, 3], Load(Json()).Encode(new string('a', 101), 8).Ids);
    }

    [Fact]
    public void Cased_tokenizers_and_bert_processing_are_read()
    {
        var tokenizer = Load(Json(
            normalizer: """{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":false,"strip_accents":null,"lowercase":false}""",
            processor: """{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]}"""));
        Assert.Equal([2, 1, 8, 3], tokenizer.Encode("Hello hello", 16).Ids);
        Assert.Equal(WordPieceTokenizer.DefaultMaxLength, tokenizer.MaxLength);
    }

    [Theory]
    [InlineData("""{"type":"BPE","vocab":{},"merges":[]}""", FailureType.Unsupported, "WordPiece")]
    [InlineData("""{"type":"WordPiece","unk_token":"[NO]","vocab":{"a":1}}""", FailureType.InvalidInput, "[NO]")]
    [InlineData("""{"type":"WordPiece","vocab":{"[UNK]":-1}}""", FailureType.InvalidInput, "-1")]
    public void Other_models_are_refused_with_the_reason(string model, FailureType type, string part)
    {
        File.WriteAllText(_path, Json(model: model));
        var failure = WordPieceTokenizer.Load(_path).Failure!;
        Assert.Equal(type, failure.Type);
        Assert.Contains(part, failure.Message, StringComparison.Ordinal);
    }

    // 600 texts that Hugging Face's tokenizers turned into 64 ids each.
    [SkippableFact]
    public void Ids_are_those_of_the_reference()
    {
        var root = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(string.IsNullOrEmpty(root), "EDGEFARM_TEST_DATA is not set, and the model's tokenizer.json is not in the repository");
        var directory = Path.Combine(root, "models/minilm-l6");
        var tokenizer = WordPieceTokenizer.Load(Path.Combine(directory, "tokenizer.json")).Value;
        var pairs = File.ReadLines(Path.Combine(directory, "pairs.jsonl")).Select(l => JsonDocument.Parse(l).RootElement).ToList();
        foreach (var (file, key) in new[] { ("queries.npz", "query"), ("passages.npz", "passage") })
        {
            var expected = NpyFile.Load(Path.Combine(directory, file)).Value["input_ids"];
            var width = (int)expected.Shape[1];
            Assert.Equal(pairs.Count, expected.Rows);
            var ids = expected.ToInt64s();
            for (var i = 0; i < pairs.Count; i++)
            {
                var actual = tokenizer.Encode(pairs[i].GetProperty(key).GetString()!, width).Ids.ToList();
                actual.AddRange(Enumerable.Repeat(tokenizer.PadId, width - actual.Count));
                Assert.Equal(ids[(i * width)..((i + 1) * width)], actual);
            }
        }
    }

    public void Dispose() => File.Delete(_path);

    private WordPieceTokenizer Load(string json)
    {
        File.WriteAllText(_path, json);
        var loaded = WordPieceTokenizer.Load(_path);
        Assert.True(loaded.IsOk, loaded.Failure?.Message);
        return loaded.Value;
    }

    private static string Json(string? model = null, string? normalizer = null, string? processor = null) => $$"""
        {
          "added_tokens": [{{string.Join(',', Vocabulary.Take(5).Select((t, i) => $$"""{"id":{{i}},"content":"{{t}}","special":true}"""))}}],
          "normalizer": {{normalizer ?? """{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}"""}},
          "pre_tokenizer": {"type":"BertPreTokenizer"},
          "post_processor": {{processor ?? """
            {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],
             "special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2]},"[SEP]":{"id":"[SEP]","ids":[3]}}}
            """}},
          "model": {{model ?? $$"""{"type":"WordPiece","unk_token":"[UNK]","max_input_chars_per_word":100,"vocab":{{JsonSerializer.Serialize(Vocabulary.Select((t, i) => (t, i)).ToDictionary(p => p.t, p => p.i))}}}"""}}
        }
        """;
}
