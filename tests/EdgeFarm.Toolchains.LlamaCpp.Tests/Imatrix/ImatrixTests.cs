using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Evaluation;
using EdgeFarm.Toolchains.LlamaCpp.Imatrix;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Imatrix;

public sealed class ImatrixTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [SkippableFact]
    public void A_matrix_is_the_cards_but_for_the_last_bits_of_the_CPU_variant()
    {
        var expected = GgufReader.Read(TestData.Reference("imatrix.gguf")).Value;
        var text = TestData.Reference("calibration.txt");

        var result = Run(new ImatrixRequest(new EvaluationSettings(TestData.Model) { Threads = 1 }, text, _folder["imatrix.gguf"]));

        var found = GgufReader.Read(result.Output).Value;
        Assert.Equal(new FileInfo(TestData.Reference("imatrix.gguf")).Length, new FileInfo(result.Output).Length);
        Assert.Equal(expected.Metadata.Entries.Select(entry => entry.Key), found.Metadata.Entries.Select(entry => entry.Key));
        Assert.All(expected.Metadata.Entries.Zip(found.Metadata.Entries), pair => Assert.True(pair.First.Value.SameAs(pair.Second.Value), pair.First.Key));
        Assert.Equal(
            expected.Tensors.Select(tensor => (tensor.Name, string.Join(",", tensor.Shape), tensor.Offset)),
            found.Tensors.Select(tensor => (tensor.Name, string.Join(",", tensor.Shape), tensor.Offset)));
        foreach (var (first, second) in Values(TestData.Reference("imatrix.gguf")).Zip(Values(result.Output)))
        {
            Assert.Equal(first, second, Math.Abs(first) * 0.01);
        }
    }

    [Fact]
    public void A_matrix_makes_forms_possible_that_need_one()
    {
        var matrix = Run(new ImatrixRequest(new EvaluationSettings(TestData.Model) { Threads = 1, Chunks = 4 }, TestData.HeldOut, _folder["imatrix.gguf"]) { DatasetName = "held-out" });

        Assert.Equal(4, matrix.Chunks);
        Assert.Equal(42, matrix.Entries);
        Assert.Equal(0, matrix.IncompleteEntries);
        var made = LlamaQuantizer.Run(new QuantizeRequest(TestData.Model, _folder["out.gguf"], "Q2_K_S") { Imatrix = matrix.Output });
        Assert.True(made.IsOk, made.Failure?.ToString());
        var metadata = GgufReader.Read(made.Value.Output).Value.Metadata;
        Assert.Equal("imatrix.gguf", metadata["quantize.imatrix.file"]!.AsText());
        Assert.Equal("held-out", metadata["quantize.imatrix.dataset"]!.AsText());
        Assert.Equal(4, metadata["quantize.imatrix.chunks_count"]!.AsInteger());
    }

    [Fact]
    public void A_short_text_is_invalid_input_and_leaves_nothing()
    {
        File.WriteAllText(_folder["short.txt"], "Call me Ishmael.");

        var failure = LlamaImatrix.Run(new ImatrixRequest(new EvaluationSettings(TestData.Model), _folder["short.txt"], _folder["out.gguf"])).Failure;

        Assert.Equal(FailureType.InvalidInput, failure!.Type);
        Assert.Equal(["short.txt"], _folder.Files);
    }

    private static List<float> Values(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var file = GgufReader.Read(path).Value;
        return [.. file.Tensors.SelectMany(tensor => Enumerable.Range(0, (int)tensor.Elements).Select(i => BitConverter.ToSingle(bytes, (int)file.FileOffset(tensor) + (4 * i))))];
    }

    private static ImatrixResult Run(ImatrixRequest request)
    {
        var outcome = LlamaImatrix.Run(request);
        Assert.True(outcome.IsOk, $"{outcome.Failure}\n{outcome.Failure?.LogTail}");
        return outcome.Value;
    }
}
