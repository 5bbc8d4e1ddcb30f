using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.ModelFormats.Tests.Tokenizers;

public class TokenizerFilesTests
{
    [Fact]
    public void A_SentencePiece_model_is_read_from_its_protobuf_fields()
    {
        var model = SentencePieceModel.Read(TestData.Local("checkpoints/llama-edge-f32/tokenizer.model")).Value;
        Assert.Equal(480, model.Pieces.Count);
        Assert.True(model.AddsSpacePrefix);
        Assert.Equal(("<unk>", TokenKind.Unknown), (model.Pieces[0].Text, model.Pieces[0].Kind));
        Assert.Equal(("<0x0A>", TokenKind.Byte), (model.Pieces[13].Text, model.Pieces[13].Kind));
        Assert.False(SentencePieceModel.Read(TestData.Local("checkpoints/gemma2-bf16/tokenizer.model")).Value.AddsSpacePrefix);
    }

    [Theory]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer.model")]
    [InlineData("tokenizer_config.json")]
    [InlineData("config.json")]
    public void Mutated_files_are_read_or_refused(string name)
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        var sound = File.ReadAllBytes(copy.File(name));
        var refused = 0;
        for (var seed = 1; seed <= 400; seed++)
        {
            File.WriteAllBytes(copy.File(name), Mutator.Mutate(sound, new Random(seed)));
            var opened = Checkpoint.Open(copy.Path);
            var failure = opened.Failure;
            if (opened.IsOk)
            {
                using var checkpoint = opened.Value;
                failure = checkpoint.ReadTokenizer().Failure;
            }

            Assert.True(failure is null or { Type: FailureType.InvalidInput or FailureType.Unsupported }, $"seed {seed}: {failure}");
            refused += failure is null ? 0 : 1;
        }

        Assert.InRange(refused, 1, 400);
    }

    [Theory]
    [InlineData("tokenizer.json", """{"model": {"type": "Unigram", "vocab": []}}""", FailureType.Unsupported, "Unigram")]
    [InlineData("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": -1}}}""", FailureType.InvalidInput, "is -1")]
    [InlineData("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b c"]}}""", FailureType.InvalidInput, "not two pieces")]
    [InlineData("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}""", FailureType.InvalidInput, "1 parts")]
    [InlineData("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": 0}}}""", FailureType.Unsupported, "neither byte-level nor")]
    [InlineData("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"\ud800": 0}}}""", FailureType.InvalidInput, "tokenizer.json")]
    [InlineData("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": 0}}, "pre_tokenizer": {"type": "ByteLevel"}}""", FailureType.InvalidInput, "no merges")]
    [InlineData("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Punctuation"}, {"type": "ByteLevel"}]}}""", FailureType.Unsupported, "Punctuation + ByteLevel")]
    [InlineData("tokenizer_config.json", """{"added_tokens_decoder": {"one": {"content": "x"}}}""", FailureType.InvalidInput, "not a token id")]
    [InlineData("tokenizer_config.json", """[]""", FailureType.InvalidInput, "not an object")]
    [InlineData("tokenizer_config.json", """{"chat_template": [{"name": "x"}]}""", FailureType.InvalidInput, "template")]
    public void A_broken_tokenizer_file_is_refused(string name, string content, FailureType type, string reason)
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        File.WriteAllText(copy.File(name), content);
        using var checkpoint = Checkpoint.Open(copy.Path).Value;
        var failure = checkpoint.ReadTokenizer().Failure;
        Assert.Equal(type, failure?.Type);
        Assert.Contains(reason, failure!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Chat_templates_come_from_the_config_before_the_files()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama-edge-f32"));
        ChatTemplates Read()
        {
            using var checkpoint = Checkpoint.Open(copy.Path).Value;
            return checkpoint.ReadTokenizer().Value.Templates;
        }

        File.WriteAllText(copy.File("chat_template.jinja"), "from jinja");
        copy.Edit("tokenizer_config.json", root => root["chat_template"] = "from config");
        Assert.Equal("from config", Read().Default);
        copy.Edit("tokenizer_config.json", root => root.Remove("chat_template"));
        Assert.Equal("from jinja", Read().Default);
        Directory.CreateDirectory(copy.File("additional_chat_templates"));
        File.WriteAllText(copy.File("additional_chat_templates/tools.jinja"), "with tools");
        Assert.Equal([new KeyValuePair<string, string>("tools", "with tools")], Read().Named);
    }
}
