using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;

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

    private readonly uint[] _counts = new uint[Bins];

    // Half the width of the whole: a power of two, so that widening merges pairs exactly. 0 until there is a value.
    private double _reach;

    /// <summary>Counts finite values.</summary>
    /// <param name="values">The values.</param>
    /// <param name="scan">Their bounds.</param>
    public void Add(ReadOnlySpan<float> values, FloatScan scan)
    {
        if (values.IsEmpty)
        {
            return;
        }

        var magnitude = Math.Max(Math.Abs(scan.Min), Math.Abs(scan.Max));
        if (_reach == 0)
        {
            _reach = Math.Pow(2, Math.Ceiling(Math.Log2(Math.Max(magnitude, 1e-30))));
        }

        while (magnitude > _reach)
        {
            Widen();
        }

        var factor = (float)(Bins / 2 / _reach);
        ref var counts = ref MemoryMarshal.GetArrayDataReference(_counts);
        var at = 0;
        if (Vector256.IsHardwareAccelerated)
        {
            // No value lies outside, so the place of the highest is the only one to be cut.
            var (factors, middle, last) = (Vector256.Create(factor), Vector256.Create(Bins / 2f), Vector256.Create(Bins - 1));
            ref var first = ref MemoryMarshal.GetReference(values);
            for (; at <= values.Length - 8; at += 8)
            {
                var places = Vector256.Min(Vector256.ConvertToInt32((Vector256.LoadUnsafe(ref first, (nuint)at) * factors) + middle), last);
                var (low, high) = (places.GetLower().AsUInt64(), places.GetUpper().AsUInt64());
                Count(ref counts, low.ToScalar());
                Count(ref counts, low.GetElement(1));
                Count(ref counts, high.ToScalar());
                Count(ref counts, high.GetElement(1));
            }
        }

        for (; at < values.Length; at++)
        {
            _counts[Math.Clamp((int)((values[at] * factor) + (Bins / 2f)), 0, Bins - 1)]++;
        }

        static void Count(ref uint counts, ulong two)
        {
            Unsafe.Add(ref counts, (nuint)(uint)two)++;
            Unsafe.Add(ref counts, (nuint)(two >> 32))++;
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
