using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.Toolchains.LlamaCpp.Quantization;

/// <summary>An importance matrix as llama-imatrix writes it: for each weight tensor the mean square of its inputs, column by column.</summary>
/// <param name="Entries">Values by tensor name, in ordinal order: one per column and expert.</param>
/// <param name="Datasets">Names of the texts it was computed from.</param>
/// <param name="ChunkCount">Number of chunks it was computed from.</param>
internal sealed record ImportanceMatrix(IReadOnlyList<KeyValuePair<string, float[]>> Entries, IReadOnlyList<string> Datasets, int ChunkCount)
{
    private const string SumSuffix = ".in_sum2", CountSuffix = ".counts";

    /// <summary>Reads a file. InvalidInput when it is not an importance matrix or holds values that no activation gives.</summary>
    public static ImportanceMatrix Read(string path)
    {
        var outcome = GgufReader.Read(path);
        var file = outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);
        if (file.Metadata["imatrix.datasets"]?.Value is not string[] datasets
            || file.Metadata["imatrix.chunk_count"]?.AsInteger() is not (>= 0 and <= int.MaxValue and var chunks)
            || file.Metadata["imatrix.chunk_size"]?.AsInteger() is null)
        {
            throw Invalid(path, "imatrix.datasets, imatrix.chunk_count or imatrix.chunk_size is missing; this is not an importance matrix in GGUF form (llama-imatrix writes one)");
        }

        using var stream = File.OpenRead(path);
        var entries = file.Tensors
            .Where(tensor => tensor.Name.EndsWith(SumSuffix, StringComparison.Ordinal))
            .Select(tensor => tensor.Name[..^SumSuffix.Length])
            .Order(StringComparer.Ordinal)
            .Select(name => KeyValuePair.Create(name, ReadEntry(path, stream, file, name)))
            .ToList();
        return entries.Count > 0
            ? new ImportanceMatrix(entries, datasets, (int)chunks)
            : throw Invalid(path, "it has no entries");
    }

    private static float[] ReadEntry(string path, FileStream stream, GgufFile file, string name)
    {
        var sums = ReadTensor(path, stream, file, name + SumSuffix);
        var counts = ReadTensor(path, stream, file, name + CountSuffix);
        if (sums.Length % counts.Length != 0)
        {
            throw Invalid(path, $"{name} has {sums.Length} sums for {counts.Length} counts");
        }

        var columns = sums.Length / counts.Length;
        for (var i = 0; i < sums.Length; i++)
        {
            // The reference rounds counts to integers, and gives an expert that was never used the weight 1.
            var count = (float)(long)Math.Round(counts[i / columns], MidpointRounding.AwayFromZero);
            sums[i] = count > 0 ? sums[i] / count : 1;
            if (!float.IsFinite(sums[i]) || sums[i] < 0)
            {
                throw Invalid(path, $"value {i} of {name} is {sums[i]}, which is no mean of squares");
            }
        }

        return sums;
    }

    private static float[] ReadTensor(string path, FileStream stream, GgufFile file, string name)
    {
        var tensor = file.Tensor(name) ?? throw Invalid(path, $"the tensor {name} is missing");
        if (tensor.Type != GgmlType.F32 || tensor.Elements > Array.MaxLength / sizeof(float))
        {
            throw Invalid(path, $"the tensor {name} is not F32 or too large");
        }

        var values = new float[tensor.Elements];
        stream.Position = file.FileOffset(tensor);
        stream.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    private static FailureException Invalid(string path, string reason) => new(Failure.InvalidInput($"{path}: {reason}"));
}
