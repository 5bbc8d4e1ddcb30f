using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;

namespace EdgeFarm.Toolchains.OnnxRuntime.Data;

/// <summary>Samples for a model's inputs, read as they are wanted, so that memory does not grow with their number.</summary>
public abstract class SampleSet
{
    /// <summary>Names of the arrays; <see cref="NpyFile.SingleName"/> for one that belongs to the model's only input.</summary>
    public abstract IReadOnlyCollection<string> Names { get; }

    /// <summary>Shape of an array, samples first.</summary>
    public abstract IReadOnlyList<long> ShapeOf(string name);

    /// <summary>Some samples of an array.</summary>
    /// <exception cref="FailureException">InvalidInput: a sample's file cannot be read.</exception>
    public abstract NpyArray Read(string name, int first, int count);
}

/// <summary>Arrays in memory.</summary>
public sealed class ArraySamples(IReadOnlyDictionary<string, NpyArray> arrays) : SampleSet
{
    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Names => [.. arrays.Keys];

    /// <inheritdoc/>
    public override IReadOnlyList<long> ShapeOf(string name) => arrays[name].Shape;

    /// <inheritdoc/>
    public override NpyArray Read(string name, int first, int count)
    {
        var array = arrays[name];
        return new NpyArray(array.Type, [count, .. array.Shape.Skip(1)], array.RowBytes(first, count).ToArray());
    }
}

/// <summary>A directory of .npy and .npz files, each with one or more samples, in the order of their names. One file is in memory at a time.</summary>
internal sealed class TensorFileSamples : SampleSet
{
    private readonly List<(string Path, int First, int Count)> _files = [];
    private readonly Dictionary<string, long[]> _shapes = new(StringComparer.Ordinal);
    private (string Path, IReadOnlyDictionary<string, NpyArray> Arrays)? _open;

    /// <summary>Reads the shapes of all files.</summary>
    /// <exception cref="FailureException">InvalidInput: files that do not fit each other.</exception>
    public TensorFileSamples(IReadOnlyList<string> paths)
    {
        var first = 0;
        foreach (var path in paths)
        {
            var arrays = Open(path);
            var count = (int)arrays.Values.Min(a => a.Rows);
            if (count == 0 || arrays.Values.Any(a => a.Rows != count))
            {
                throw Invalid(path, "has arrays with different or no rows");
            }

            if (_files.Count > 0 && !arrays.Keys.ToHashSet(StringComparer.Ordinal).SetEquals(_shapes.Keys))
            {
                throw Invalid(path, $"holds {string.Join(", ", arrays.Keys)}, '{Path.GetFileName(_files[0].Path)}' holds {string.Join(", ", _shapes.Keys)}");
            }

            foreach (var (name, array) in arrays)
            {
                if (_shapes.TryGetValue(name, out var shape) && !shape.Skip(1).SequenceEqual(array.Shape.Skip(1)))
                {
                    throw Invalid(path, $"has samples of [{string.Join(", ", array.Shape.Skip(1))}] for '{name}', the files before it of [{string.Join(", ", shape.Skip(1))}]");
                }

                _shapes[name] = [first + count, .. array.Shape.Skip(1)];
            }

            _files.Add((path, first, count));
            first += count;
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Names => _shapes.Keys;

    /// <inheritdoc/>
    public override IReadOnlyList<long> ShapeOf(string name) => _shapes[name];

    /// <inheritdoc/>
    public override NpyArray Read(string name, int first, int count)
    {
        var parts = new List<NpyArray>();
        foreach (var (path, start, rows) in _files.Where(f => f.First < first + count && f.First + f.Count > first))
        {
            var array = Open(path)[name];
            var from = Math.Max(first, start) - start;
            var to = Math.Min(first + count, start + rows) - start;
            parts.Add(new NpyArray(array.Type, [to - from, .. array.Shape.Skip(1)], array.RowBytes(from, to - from).ToArray()));
        }

        if (parts.Any(p => p.Type != parts[0].Type))
        {
            throw new FailureException(Failure.InvalidInput($"the files of the data set hold '{name}' in different types"));
        }

        return parts.Count == 1 ? parts[0] : new NpyArray(parts[0].Type, [count, .. _shapes[name].Skip(1)], [.. parts.SelectMany(p => p.Bytes)]);
    }

    private IReadOnlyDictionary<string, NpyArray> Open(string path)
    {
        if (_open is { } open && open.Path == path)
        {
            return open.Arrays;
        }

        var loaded = NpyFile.Load(path);
        _open = (path, loaded.IsOk ? loaded.Value : throw new FailureException(loaded.Failure!));
        return loaded.Value;
    }

    private static FailureException Invalid(string path, string what) => new(Failure.InvalidInput($"'{Path.GetFileName(path)}' {what}"));
}
