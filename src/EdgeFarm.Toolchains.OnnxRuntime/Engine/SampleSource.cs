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

    /// <summary>
    /// Rows of a data set. Arrays that are no input of the model (labels) are left out. An array with one dimension more than its input
    /// holds a whole input for each sample: so samples reach inputs that have no batch, or not as their first dimension.
    /// </summary>
    /// <exception cref="FailureException">InvalidInput: an input has no array, or one of another shape.</exception>
    public static SampleSource From(OrtSession session, SampleSet data, int maxSamples)
    {
        var arrays = session.Inputs.ToDictionary(name => name, name => Bind(session, data, name), StringComparer.Ordinal);
        if (arrays.Count == 0)
        {
            throw Invalid($"'{session.Name}' has no inputs");
        }

        var rows = arrays.Values.First().Rows;
        if (arrays.Values.Any(a => a.Rows != rows) || rows == 0)
        {
            throw Invalid($"the data set's arrays have different or no rows: {string.Join(", ", arrays.Select(a => $"{a.Key} {a.Value.Rows}"))}; an array that holds a whole input for each sample has one dimension more than the input");
        }

        var batch = (int)arrays.Values.Max(a => a.Batch);
        if (batch > 1 && arrays.FirstOrDefault(a => a.Value.IsWhole).Key is { } whole)
        {
            throw Invalid($"'{session.Name}' takes {batch} samples at a time, but the data set has a whole '{whole}' for each");
        }

        var count = (int)Math.Min(rows, maxSamples > 0 ? maxSamples : int.MaxValue) / batch * batch;
        if (count == 0)
        {
            throw Invalid($"'{session.Name}' takes {batch} samples at a time, the data set has {rows}");
        }

        return new SampleSource(count, batch, Enumerable.Range(0, count / batch).Select(b => (b * batch, (IReadOnlyDictionary<string, NpyArray>)arrays.ToDictionary(
            a => a.Key, a => a.Value.Read(data, b * batch, batch), StringComparer.Ordinal))));
    }

    private static Binding Bind(OrtSession session, SampleSet data, string input)
    {
        var array = data.Names.Contains(input) ? input
            : session.Inputs.Count == 1 && data.Names.Contains(NpyFile.SingleName) ? NpyFile.SingleName
            : throw Invalid($"the data set has no array '{input}' for '{session.Name}'; it has {string.Join(", ", data.Names)}");
        var (dims, shape) = (session.Inner.InputMetadata[input].Dimensions, data.ShapeOf(array));
        if (shape.Count == dims.Length + 1 && Fits(dims, shape.Skip(1)))
        {
            return new Binding(array, shape[0], 1, IsWhole: true);
        }

        if (shape.Count == dims.Length && Fits(dims.Skip(1), shape.Skip(1)))
        {
            return shape.Count == 0 ? new Binding(array, 1, 1, IsWhole: false) : new Binding(array, shape[0], Math.Max(1, dims[0]), IsWhole: false);
        }

        var wanted = string.Join(", ", dims.Select(d => d > 0 ? $"{d}" : "any"));
        throw Invalid(
            $"'{session.Name}' takes '{input}' as [{wanted}], the data set has [{string.Join(", ", shape)}]; samples run along the first dimension, or each is a whole input: [samples{(wanted.Length > 0 ? $", {wanted}" : "")}]");

        static bool Fits(IEnumerable<int> dims, IEnumerable<long> shape) => dims.Zip(shape).All(p => p.First <= 0 || p.First == p.Second);
    }

    /// <summary>How an array of a data set becomes an input.</summary>
    /// <param name="Array">Its name.</param>
    /// <param name="Rows">Samples in it.</param>
    /// <param name="Batch">Samples that the input takes at a time; 1 where it takes any number.</param>
    /// <param name="IsWhole">Whether each sample is a whole input.</param>
    private sealed record Binding(string Array, long Rows, long Batch, bool IsWhole)
    {
        public NpyArray Read(SampleSet data, int first, int count)
        {
            var read = data.Read(Array, first, count);
            return IsWhole ? new NpyArray(read.Type, [.. read.Shape.Skip(1)], read.Bytes) : read;
        }
    }

    private static FailureException Invalid(string message) => new(Failure.InvalidInput(message));
}
