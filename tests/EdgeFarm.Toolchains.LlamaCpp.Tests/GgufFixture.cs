using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests;

/// <summary>Writes changed copies of the sample model.</summary>
internal static class GgufFixture
{
    /// <summary>A copy of the sample model with changed metadata, tensors left out, or changed data.</summary>
    public static string Write(string path, Action<GgufMetadata>? metadata = null, Func<GgufTensor, bool>? keep = null, Action<string, byte[]>? data = null)
    {
        var source = GgufReader.Read(TestData.Model).Value;
        metadata?.Invoke(source.Metadata);
        var tensors = source.Tensors.Where(tensor => keep?.Invoke(tensor) ?? true).ToList();
        using var input = File.OpenRead(TestData.Model);
        using var output = File.Create(path);
        var writer = new GgufWriter(output, source.Metadata, [.. tensors.Select(tensor => new GgufTensorSpec(tensor.Name, tensor.Type, tensor.Shape))]);
        foreach (var tensor in tensors)
        {
            var bytes = new byte[tensor.Bytes];
            input.Position = source.FileOffset(tensor);
            input.ReadExactly(bytes);
            data?.Invoke(tensor.Name, bytes);
            writer.Write(bytes);
        }

        return path;
    }
}
