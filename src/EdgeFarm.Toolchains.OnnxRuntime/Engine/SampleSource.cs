using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Data;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>Samples for a model, in batches of the size that it wants (1 where it takes any).</summary>
internal sealed class SampleSource
{
    private SampleSource(int count, int batch, IEnumerable<(int First, IReadOnlyDictionary<string, NpyArray> Arrays)> batches) =>
        (Count, Batch, Batches) = (count, batch, batches);

    /// <summary>Samples in all.</summary>
    public int Count { get; }

    /// <summary>Samples in a batch.</summary>
    public int Batch { get; }

    /// <summary>Number of the first sample of a batch, and an array per input.</summary>
    public IEnumerable<(int First, IReadOnlyDictionary<string, NpyArray> Arrays)> Batches { get; }

    /// <summary>Seeded samples.</summary>
    public static SampleSource Seeded(OrtSession session, IReadOnlyDictionary<string, long[]> shapes, int seed, int count) =>
        new(count, 1, Enumerable.Range(0, count).Select(i => (i, ModelInputs.Seeded(session, shapes, seed + i))));

    /// <summary>Rows of a data set. Arrays that are no input of the model (labels) are left out.</summary>
    /// <exception cref="FailureException">InvalidInput: an input has no array, or one of another shape.</exception>
    public static SampleSource From(OrtSession session, SampleSet data, int maxSamples)
    {
        var arrays = new Dictionary<string, (string Array, IReadOnlyList<long> Shape)>(StringComparer.Ordinal);
        foreach (var name in session.Inputs)
        {
            var array = data.Names.Contains(name) ? name
                : session.Inputs.Count == 1 && data.Names.Contains(NpyFile.SingleName) ? NpyFile.SingleName
                : throw Invalid($"the data set has no array '{name}' for '{session.Name}'; it has {string.Join(", ", data.Names)}");
            var (dims, shape) = (session.Inner.InputMetadata[name].Dimensions, data.ShapeOf(array));
            if (shape.Count != dims.Length || dims.Skip(1).Where((d, i) => d > 0 && d != shape[i + 1]).Any())
            {
                throw Invalid($"'{session.Name}' takes '{name}' as [{string.Join(", ", dims.Select(d => d > 0 ? $"{d}" : "any"))}], the data set has [{string.Join(", ", shape)}]");
            }

            arrays[name] = (array, shape);
        }

        if (arrays.Count == 0)
        {
            throw Invalid($"'{session.Name}' has no inputs");
        }

        var rows = arrays.Values.First().Shape is { Count: > 0 } first ? first[0] : 1;
        if (arrays.Values.Any(a => (a.Shape.Count > 0 ? a.Shape[0] : 1) != rows) || rows == 0)
        {
            throw Invalid($"the data set's arrays have different or no rows: {string.Join(", ", arrays.Select(a => $"{a.Key} {(a.Value.Shape.Count > 0 ? a.Value.Shape[0] : 1)}"))}");
        }

        var batch = (int)Math.Max(1, session.Inputs.Max(i => session.Inner.InputMetadata[i].Dimensions is { Length: > 0 } d ? d[0] : 1));
        var count = (int)Math.Min(rows, maxSamples > 0 ? maxSamples : int.MaxValue) / batch * batch;
        if (count == 0)
        {
            throw Invalid($"'{session.Name}' takes {batch} samples at a time, the data set has {rows}");
        }

        return new SampleSource(count, batch, Enumerable.Range(0, count / batch).Select(b => (b * batch, (IReadOnlyDictionary<string, NpyArray>)arrays.ToDictionary(
            a => a.Key, a => data.Read(a.Value.Array, b * batch, batch), StringComparer.Ordinal))));
    }

    private static FailureException Invalid(string message) => new(Failure.InvalidInput(message));
}
