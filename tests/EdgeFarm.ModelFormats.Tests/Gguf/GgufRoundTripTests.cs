using CsCheck;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Tests.Gguf;

public class GgufRoundTripTests
{
    private static readonly Gen<string> Text = Gen.String[Gen.Char['\u0020', '\uD7FF'], 0, 12];

    private static readonly Gen<GgufValue> Scalar = Gen.OneOf(
        Gen.Byte.Select(GgufValue.Of),
        Gen.UInt.Select(GgufValue.Of),
        Gen.Int.Select(GgufValue.Of),
        Gen.ULong.Select(GgufValue.Of),
        Gen.Long.Select(GgufValue.Of),
        Gen.Single.Select(GgufValue.Of),
        Gen.Double.Select(GgufValue.Of),
        Gen.Bool.Select(GgufValue.Of),
        Text.Select(GgufValue.Of));

    private static readonly Gen<GgufValue> Value = Gen.OneOf(
        Scalar,
        Text.Array[0, 5].Select(GgufValue.OfArray),
        Gen.Single.Array[0, 5].Select(GgufValue.OfArray),
        Gen.Int.Array[0, 5].Select(GgufValue.OfArray),
        Gen.UInt.Array[0, 5].Select(GgufValue.OfArray),
        Gen.Bool.Array[0, 5].Select(GgufValue.OfArray),
        Gen.Int.Array[0, 3].Select(GgufValue.OfArray).Array[0, 3].Select(GgufValue.OfArray));

    private static readonly Gen<GgufTensorSpec> Tensor =
        Gen.Select(Gen.Int[0, GgmlTypes.All.Count - 1].Select(i => GgmlTypes.All[i]), Gen.Int[1, 3].Array[1, 4]).Select((type, extents) =>
            new GgufTensorSpec("t", type.Type, [.. extents.Select((e, i) => (long)(i == 0 ? e * type.BlockSize : e))]));

    [Fact]
    public void What_is_written_is_read_back_bit_for_bit() =>
        Gen.Select(Gen.Select(Text, Value).Array[0, 6], Tensor.Array[0, 5], Gen.Int[0, 4]).Sample((entries, tensors, shift) =>
        {
            var metadata = new GgufMetadata();
            if (shift > 0)
            {
                metadata.TryAdd(GgufMetadata.AlignmentKey, GgufValue.Of(8u << shift));
            }

            foreach (var (i, (key, value)) in entries.Index())
            {
                metadata.TryAdd($"{i}{key}", value);
            }

            GgufTensorSpec[] specs = [.. tensors.Select((t, i) => t with { Name = $"t{i}" })];
            using var stream = new MemoryStream();
            var writer = new GgufWriter(stream, metadata, specs);
            var content = new Dictionary<string, byte[]>();
            while (writer.Current is { } current)
            {
                var bytes = new byte[current.Bytes];
                new Random(writer.Tensors.Count).NextBytes(bytes);
                content[current.Name] = bytes;
                writer.Write(bytes.AsSpan(0, bytes.Length / 2));
                writer.Write(bytes.AsSpan(bytes.Length / 2));
            }

            writer.Complete();
            Assert.Equal(writer.FileBytes, stream.Length);

            var file = GgufReader.Read(stream, "round trip").Value;
            Assert.Equal(metadata.Entries.Select(e => e.Key), file.Metadata.Entries.Select(e => e.Key));
            Assert.All(metadata.Entries, e => Assert.True(e.Value.SameAs(file.Metadata[e.Key]!), e.Key));
            Assert.Equal(specs.Select(s => (s.Name, s.Type)), file.Tensors.Select(t => (t.Name, t.Type)));
            foreach (var (spec, tensor) in specs.Zip(file.Tensors))
            {
                Assert.Equal(spec.Shape, tensor.Shape);
                Assert.Equal(0, file.FileOffset(tensor) % file.Alignment);
                Assert.Equal(content[spec.Name], stream.ToArray().AsSpan((int)file.FileOffset(tensor), (int)tensor.Bytes).ToArray());
            }
        }, iter: 300);

    [SkippableTheory]
    [InlineData("models/edgefarm-tiny/edgefarm-tiny-f16.gguf")]
    [InlineData("models/edgefarm-tiny/imatrix.gguf")]
    [InlineData("reference/hf/gguf/llama2-bf16.gguf")]
    [InlineData("reference/hf/gguf/llama-12layers-bf16.gguf")]
    [InlineData("reference/hf/gguf/phi4mini-bf16.gguf")]
    public void A_file_of_the_reference_is_written_again_byte_for_byte(string relative)
    {
        var path = TestData.Shared(relative);
        var file = GgufReader.Read(path).Value;
        var original = File.ReadAllBytes(path);
        using var stream = new MemoryStream();
        var writer = new GgufWriter(stream, file.Metadata, [.. file.Tensors.Select(t => new GgufTensorSpec(t.Name, t.Type, t.Shape))]);
        foreach (var tensor in file.Tensors)
        {
            writer.Write(original.AsSpan((int)file.FileOffset(tensor), (int)tensor.Bytes));
        }

        writer.Complete();
        Assert.True(original.AsSpan().SequenceEqual(stream.ToArray()), "bytes differ");
    }
}
