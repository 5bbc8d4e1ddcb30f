using CsCheck;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Inspect;
using EdgeFarm.ModelFormats.Safetensors;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.ModelFormats.Tests;

public class ArbitraryBytesTests
{
    [Fact]
    public void No_reader_does_anything_but_refuse_arbitrary_bytes() => Gen.Byte.Array[0, 200].Sample(bytes =>
    {
        using var directory = new TemporaryDirectory();
        var path = directory.File("x");
        File.WriteAllBytes(path, bytes);
        using var stream = new MemoryStream([.. "GGUF\u0003\0\0\0"u8, .. bytes]);
        Failure?[] failures = [GgufReader.Read(path).Failure, GgufReader.Read(stream, "x").Failure, SafetensorsFile.Open(path).Failure];
        Assert.All(failures, failure => Assert.Equal(FailureType.InvalidInput, failure?.Type));
        Assert.True(SentencePieceModel.Read(path).Failure is null or { Type: FailureType.InvalidInput or FailureType.Unsupported });
        Assert.True(ModelInspector.Inspect(path).Failure is { Type: FailureType.InvalidInput or FailureType.Unsupported });
    }, iter: 500);
}
