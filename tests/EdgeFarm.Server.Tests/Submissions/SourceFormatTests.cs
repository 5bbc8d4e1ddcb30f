using EdgeFarm.Server.Submissions;

namespace EdgeFarm.Server.Tests.Submissions;

public sealed class SourceFormatTests
{
    [Theory]
    [InlineData("model.gguf", "", "gguf")]
    [InlineData("model.ONNX", "this is text, and its import will say so", "onnx")]
    [InlineData("test.npz", "", "npz")]
    [InlineData("notes.txt", "", "text")]
    [InlineData("", "GGUF\u0003", "gguf")]
    [InlineData("", "PK\u0003\u0004", "npz")]
    [InlineData("x.bin", "some words\nand more", "text")]
    [InlineData("x.bin", "\u0001\u0002\u0003", "unknown")]
    [InlineData("x.bin", "", "unknown")]
    public void A_known_extension_is_believed_and_else_the_bytes_are(string name, string head, string expected) =>
        Assert.Equal(expected, SourceFormat.OfFile(name, System.Text.Encoding.Latin1.GetBytes(head)));

    [Fact]
    public void An_onnx_model_without_a_name_is_known_by_its_first_fields() =>
        Assert.Equal("onnx", SourceFormat.OfFile("", [0x08, 0x08, 0x12, 0x07, 0x70, 0x79]));

    [Theory]
    [InlineData("hf", "config.json", "model.safetensors", "tokenizer.json")]
    [InlineData("onnx", "model.onnx", "model.onnx.data")]
    [InlineData("unknown", "a.onnx", "b.onnx")]
    [InlineData("unknown", "sub/config.json", "sub/model.safetensors")]
    public void A_directory_is_known_by_the_files_directly_in_it(string expected, params string[] names) => Assert.Equal(expected, SourceFormat.OfTree(names));
}
