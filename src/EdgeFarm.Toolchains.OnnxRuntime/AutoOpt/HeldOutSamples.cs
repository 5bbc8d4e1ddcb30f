using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Data;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>Some rows of a data set as a data set.</summary>
/// <param name="all">The whole.</param>
/// <param name="rows">Numbers of its rows, in order.</param>
internal sealed class PickedSamples(SampleSet all, IReadOnlyList<int> rows) : SampleSet
{
    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Names => all.Names;

    /// <summary>Numbers of the rows in the whole set.</summary>
    public IReadOnlyList<int> Rows => rows;

    /// <inheritdoc/>
    public override IReadOnlyList<long> ShapeOf(string name) => [rows.Count, .. all.ShapeOf(name).Skip(1)];

    /// <inheritdoc/>
    public override NpyArray Read(string name, int first, int count)
    {
        if (count == 1)
        {
            return all.Read(name, rows[first], 1);
        }

        var parts = Enumerable.Range(first, count).Select(i => all.Read(name, rows[i], 1)).ToList();
        return new NpyArray(parts[0].Type, [count, .. parts[0].Shape.Skip(1)], [.. parts.SelectMany(p => p.Bytes)]);
    }
}

/// <summary>Parts a data set: forms are judged on samples that their passes have not seen.</summary>
internal static class HeldOutSamples
{
    /// <summary>
    /// The samples to calibrate on and those to judge on, spread evenly over the set (neighbours are often alike). Where there are too
    /// few for both, both are the whole set.
    /// </summary>
    /// <param name="all">The set.</param>
    /// <param name="rows">Its rows that the model takes.</param>
    /// <param name="batch">Rows that the model takes at a time.</param>
    /// <param name="judged">Wanted rows to judge on; never more than half.</param>
    public static (PickedSamples Calibration, PickedSamples Judged) Split(SampleSet all, int rows, int batch, int judged)
    {
        var wanted = Math.Min(Math.Max(judged, batch), rows / 2) / batch * batch;
        if (wanted == 0)
        {
            var whole = Enumerable.Range(0, rows).ToList();
            return (new PickedSamples(all, whole), new PickedSamples(all, [.. whole.Take(Math.Max(judged, batch) / batch * batch)]));
        }

        // The middle of each of as many equal parts.
        var held = Enumerable.Range(0, wanted).Select(i => (int)(((2L * i) + 1) * rows / (2L * wanted))).ToList();
        var taken = held.ToHashSet();
        return (new PickedSamples(all, [.. Enumerable.Range(0, rows).Where(i => !taken.Contains(i))]), new PickedSamples(all, held));
    }
}
