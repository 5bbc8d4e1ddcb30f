using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>
/// Counts of values whose range is not known beforehand: many narrow bins about 0, and where a value lies outside, neighbouring bins are
/// merged until it does not. So one run of the samples is enough, and what is poured into a histogram of eight times wider bins lies at
/// most one of those from its place.
/// </summary>
internal sealed class GrowingHistogram
{
    /// <summary>Bins.</summary>
    public const int Bins = 1 << 15;

    private const int Chunk = 4096;

    private readonly uint[] _counts = new uint[Bins];

    // Half the width of the whole: a power of two, so that widening merges pairs exactly. 0 until there is a value.
    private double _reach;

    /// <summary>Counts finite values.</summary>
    public void Add(ReadOnlySpan<float> values)
    {
        if (values.IsEmpty)
        {
            return;
        }

        var magnitude = Math.Abs(TensorPrimitives.MaxMagnitude(values));
        if (_reach == 0)
        {
            _reach = Math.Pow(2, Math.Ceiling(Math.Log2(Math.Max(magnitude, 1e-30))));
        }

        while (magnitude > _reach)
        {
            Widen();
        }

        Span<float> places = stackalloc float[Chunk];
        var factor = (float)(Bins / 2 / _reach);
        for (var start = 0; start < values.Length; start += Chunk)
        {
            var part = values.Slice(start, Math.Min(Chunk, values.Length - start));
            var place = places[..part.Length];
            TensorPrimitives.Multiply(part, factor, place);
            TensorPrimitives.Add(place, Bins / 2f, place);
            foreach (var p in place)
            {
                _counts[Math.Clamp((int)p, 0, Bins - 1)]++;
            }
        }
    }

    /// <summary>Adds what was counted to a histogram, each bin at its middle.</summary>
    public void Pour(Histogram histogram)
    {
        var width = 2 * _reach / Bins;
        for (var i = 0; i < Bins; i++)
        {
            if (_counts[i] > 0)
            {
                histogram.Add((float)(((i + 0.5) * width) - _reach), _counts[i]);
            }
        }
    }

    private void Widen()
    {
        var merged = new uint[Bins];
        for (var i = 0; i < Bins; i++)
        {
            merged[(Bins / 4) + (i / 2)] += _counts[i];
        }

        merged.CopyTo(_counts, 0);
        _reach *= 2;
    }
}
