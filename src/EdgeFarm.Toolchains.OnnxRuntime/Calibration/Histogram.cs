namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>
/// Counts of values in bins of equal width. Edges and assignment follow NumPy's histogram in single precision, because bounds that are
/// bin edges are compared with those of ONNX Runtime's calibrators.
/// </summary>
internal sealed class Histogram
{
    private readonly float _first;
    private readonly float _last;
    private readonly bool _magnitudes;

    /// <summary>An empty histogram.</summary>
    /// <param name="first">Lowest edge.</param>
    /// <param name="last">Highest edge; where it equals the lowest, both are moved apart by half.</param>
    /// <param name="bins">Number of bins.</param>
    /// <param name="magnitudes">Whether absolute values are counted.</param>
    public Histogram(float first, float last, int bins, bool magnitudes)
    {
        (_first, _last) = first == last ? (first - 0.5f, last + 0.5f) : (first, last);
        _magnitudes = magnitudes;
        Counts = new long[bins];
        Edges = new float[bins + 1];
        var step = (_last - _first) / bins;
        for (var i = 0; i < bins; i++)
        {
            Edges[i] = (i * step) + _first;
        }

        Edges[bins] = _last;
    }

    /// <summary>Values in each bin.</summary>
    public long[] Counts { get; }

    /// <summary>Bin edges, one more than there are bins.</summary>
    public float[] Edges { get; }

    /// <summary>Counts many values at once, those near an edge on the inner side of it.</summary>
    public void Add(float value, long count)
    {
        var inside = Math.Clamp(_magnitudes ? Math.Abs(value) : value, _first, _last);
        Counts[Math.Min((int)((inside - _first) / (_last - _first) * Counts.Length), Counts.Length - 1)] += count;
    }

    /// <summary>Counts values; those outside the edges are left out.</summary>
    public void Add(ReadOnlySpan<float> values)
    {
        var (bins, width) = (Counts.Length, _last - _first);
        foreach (var raw in values)
        {
            var value = _magnitudes ? Math.Abs(raw) : raw;
            if (!(value >= _first && value <= _last))
            {
                continue;
            }

            var index = Math.Min((int)((value - _first) / width * bins), bins - 1);
            if (value < Edges[index])
            {
                index--;
            }
            else if (index != bins - 1 && value >= Edges[index + 1])
            {
                index++;
            }

            Counts[index]++;
        }
    }
}
