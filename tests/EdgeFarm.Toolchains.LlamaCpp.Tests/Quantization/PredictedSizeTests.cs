using System.Collections.Immutable;
using EdgeFarm.Core.Planning;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Quantization;

/// <summary>The sizes that the planner tells beforehand against the library's own plan.</summary>
public class PredictedSizeTests
{
    public static TheoryData<string> Types => [.. LlamaQuantTypes.All.Select(type => type.Name)];

    [Theory]
    [MemberData(nameof(Types))]
    public void A_size_is_predicted_within_six_percent(string type)
    {
        using var folder = new TemporaryFolder();
        var file = GgufReader.Read(TestData.Model).Value;
        var matrices = file.Tensors.Where(tensor => tensor.Shape.Count > 1)
            .GroupBy(tensor => tensor.Name == "token_embd.weight" ? "output" : tensor.Name.Split('.')[2])
            .ToImmutableSortedDictionary(group => group.Key, group => group.Sum(tensor => tensor.Elements), StringComparer.Ordinal);
        var shape = new ModelShape(matrices, file.Tensors.Where(tensor => tensor.Shape.Count == 1).Sum(tensor => tensor.Elements), file.DataOffset, 0);

        var plan = LlamaQuantizer.Plan(new QuantizeRequest(TestData.Model, folder["out.gguf"], type)).Value;
        var rule = LlamaCppDescriptor.Value.FindPass(LlamaCppDescriptor.QuantizationPass)!.Precision!;

        Assert.InRange((double)rule.Sizes[type].Predict(shape) / plan.OutputBytes, 0.94, 1.06);
    }
}
