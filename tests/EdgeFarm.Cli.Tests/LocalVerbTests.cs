using EdgeFarm.Artifacts;

namespace EdgeFarm.Cli.Tests;

public sealed class LocalVerbTests : CliHarness
{
    [Fact]
    public async Task A_model_file_is_told_as_table_and_document()
    {
        var path = WriteSafetensors("w.safetensors");
        var (code, output, error) = await RunAsync("inspect", path, "--tensors");
        Assert.True(code == 0, error);
        Assert.Contains("format           safetensors", output, StringComparison.Ordinal);
        Assert.Contains("parameters       6", output, StringComparison.Ordinal);
        Assert.Contains("[2, 3]", output, StringComparison.Ordinal);

        (code, output, _) = await RunAsync("inspect", path, "--json");
        var document = Document(output);
        Assert.Equal((0, "safetensors", 6, 32.0), (code, (string?)document["format"], (int)document["parameters"]!, (double)document["bits_per_weight"]!));
        Assert.Equal("F32", (string?)document["types"]![0]!["type"]);
        Assert.Null(document["tensors"]);
    }

    [Fact]
    public async Task An_artifact_of_the_farm_is_fetched_looked_at_and_removed()
    {
        var path = WriteSafetensors("w.safetensors");
        var stored = (await Server.Store.ImportAsync(path, ImportMode.Copy, CancellationToken.None)).Value;
        var (code, output, error) = await ClientAsync("inspect", stored.Digest.ToString(), "--json");
        Assert.True(code == 0, error);
        Assert.Equal(("safetensors", stored.Digest.ToString()), ((string?)Document(output)["format"], (string?)Document(output)["model"]));

        (code, _, error) = await ClientAsync("inspect", $"sha256:{new string('0', 64)}");
        Assert.Equal(2, code);
        Assert.Contains("the farm holds no artifact", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a.gguf", "GGUF\u0003\0\0\0\u0001")]
    [InlineData("a.safetensors", "\u0010\0\0\0\0\0\0\0{\"x\":")]
    [InlineData("a.onnx", "junk of no kind")]
    [InlineData("a.txt", "some text")]
    public async Task Broken_and_foreign_files_are_exit_code_2_with_the_reason(string name, string content)
    {
        var path = Path.Combine(Folder, name);
        File.WriteAllText(path, content);
        var (code, output, error) = await RunAsync("inspect", path, "--json");

        Assert.Equal(2, code);
        Assert.StartsWith("error: ", error, StringComparison.Ordinal);
        Assert.Contains(name, error, StringComparison.Ordinal);
        Assert.Equal("invalid_argument", (string?)Document(output)["error"]!["code"]);
    }

    [Fact]
    public async Task A_checkpoint_of_an_unknown_architecture_is_told_as_far_as_its_files_go()
    {
        var folder = Directory.CreateDirectory(Path.Combine(Folder, "odd")).FullName;
        File.WriteAllText(Path.Combine(folder, "config.json"), """{"architectures": ["OddForCausalLM"], "model_type": "odd", "num_hidden_layers": 3, "max_position_embeddings": 77}""");
        File.Move(WriteSafetensors("model.safetensors"), Path.Combine(folder, "model.safetensors"));
        var (code, output, error) = await RunAsync("inspect", folder, "--json");

        Assert.True(code == 0, error);
        var document = Document(output);
        Assert.Equal(("hf", "OddForCausalLM", 3, 77), ((string?)document["format"], (string?)document["architecture"], (int)document["layers"]!, (int)document["context_length"]!));
        Assert.Contains("OddForCausalLM", (string?)document["notes"]![0], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("inspect", "hf:nothing")]
    [InlineData("inspect", "none.gguf")]
    [InlineData("convert", "none", "-o", "x.gguf")]
    [InlineData("quantize", "none.gguf", "Q8_0", "-o", "x.gguf")]
    [InlineData("quantize", "none.gguf", "Q8_0")]
    [InlineData("quantize", "none.gguf", "Q8_0", "-o", "x.gguf", "--set", "bits")]
    public async Task Bad_input_of_local_verbs_is_exit_code_2_and_a_document(params string[] args)
    {
        var (code, output, error) = await RunAsync([.. args, "--json"]);
        Assert.Equal(2, code);
        Assert.StartsWith("error: ", error, StringComparison.Ordinal);
        Assert.Equal("invalid_argument", (string?)Document(output)["error"]!["code"]);
    }

    [Fact]
    public async Task A_demo_that_cannot_start_writes_a_document()
    {
        var file = Path.Combine(Folder, "file");
        File.WriteAllText(file, "");
        var (code, output, error) = await RunAsync("demo", "--json", "--data", Path.Combine(file, "below"));

        Assert.Equal(2, code);
        Assert.Contains("cannot be used", error, StringComparison.Ordinal);
        Assert.Contains("cannot be used", (string?)Document(output)["error"]!["message"], StringComparison.Ordinal);
    }

    private string WriteSafetensors(string name)
    {
        var header = """{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"""u8;
        var path = Path.Combine(Folder, name);
        using var stream = File.Create(path);
        stream.Write(BitConverter.GetBytes((long)header.Length));
        stream.Write(header);
        stream.Write(new byte[24]);
        return path;
    }
}
