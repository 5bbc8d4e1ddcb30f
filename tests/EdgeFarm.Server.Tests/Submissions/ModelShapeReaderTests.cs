using System.Reflection;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Planning;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.Server.Submissions;

namespace EdgeFarm.Server.Tests.Submissions;

public sealed class ModelShapeReaderTests : IDisposable
{
    private static readonly string Checkpoint = Path.Combine(
        typeof(ModelShapeReaderTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!,
        "src", "EdgeFarm.Samples", "models", "edgefarm-tiny");

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-server-tests-");
    private readonly DiskArtifactStore _store;

    public ModelShapeReaderTests() => _store = DiskArtifactStore.Open(Path.Combine(_folder.FullName, "store"), TimeProvider.System).Value;

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task A_checkpoint_and_its_gguf_have_the_same_shape()
    {
        var gguf = Path.Combine(_folder.FullName, "tiny.gguf");
        Assert.True(CheckpointConverter.Convert(new ConversionRequest(Checkpoint, gguf)).IsOk);

        var checkpoint = (await ReadAsync(Checkpoint, "hf"))!;
        var converted = (await ReadAsync(gguf, "gguf"))!;

        Assert.Equal(5_770_496, checkpoint.Parameters);
        Assert.Equal(4096 * 256, checkpoint.Matrices["output"]);
        Assert.Equal(6 * 2 * 128, checkpoint.CacheWidth);
        Assert.Equal(checkpoint.Matrices, converted.Matrices);
        Assert.Equal((checkpoint.Vectors, checkpoint.CacheWidth), (converted.Vectors, converted.CacheWidth));
    }

    [Theory]
    [InlineData("gguf", "model.gguf", "GGUF and what follows")]
    [InlineData("gguf", "model.gguf", "")]
    [InlineData("onnx", "model.onnx", "x")]
    public async Task What_cannot_be_read_has_no_shape(string format, string name, string content)
    {
        var path = Path.Combine(_folder.FullName, name);
        await File.WriteAllTextAsync(path, content);

        Assert.Null(await ReadAsync(path, format));
    }

    [Theory]
    [InlineData("\xff\xff\xff\xff\xff\xff\xff\x7f{}")]
    [InlineData("\x10\0\0\0\0\0\0\0{\"a\":{\"shape\":3}}")]
    [InlineData("\x37\0\0\0\0\0\0\0{\"a\":{\"shape\":[9223372036854775807,9223372036854775807]}}")]
    [InlineData("\x11\0\0\0\0\0\0\0{\"a\":{\"shape\":[-1]}}")]
    [InlineData("\x02\0\0")]
    public async Task A_hostile_header_has_no_shape(string header)
    {
        var directory = Directory.CreateDirectory(Path.Combine(_folder.FullName, "checkpoint")).FullName;
        await File.WriteAllTextAsync(Path.Combine(directory, "config.json"), "{}");
        await File.WriteAllBytesAsync(Path.Combine(directory, "model.safetensors"), System.Text.Encoding.Latin1.GetBytes(header));

        Assert.Null(await ReadAsync(directory, "hf"));
    }

    private async Task<ModelShape?> ReadAsync(string path, string format)
    {
        var stored = (await _store.ImportAsync(path, ImportMode.Copy, default)).Value;
        var shapes = await new ModelShapeReader(_store).ReadAsync(new Dictionary<string, ArtifactRef> { ["m"] = stored.ToRef(format, Path.GetFileName(path)) }, default);
        return shapes.GetValueOrDefault("m");
    }
}
