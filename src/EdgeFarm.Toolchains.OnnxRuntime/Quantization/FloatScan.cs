using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>Bounds of many floats, found while reading them once.</summary>
/// <param name="Min">Smallest value; positive infinity where there is none.</param>
/// <param name="Max">Largest value; negative infinity where there is none.</param>
/// <param name="LeastMagnitude">Smallest absolute value; positive infinity where there is none.</param>
/// <param name="IsFinite">Whether no value is infinite or NaN; where it is false the bounds mean nothing.</param>
internal readonly record struct FloatScan(float Min, float Max, float LeastMagnitude, bool IsFinite)
{
    // Below this a second thread costs more than it saves.
    private const int LeastPerThread = 1 << 18;

    /// <summary>Reads all values.</summary>
    public static FloatScan Of(ReadOnlySpan<float> values)
    {
        // Bits of absolute values order as the values do, and those of infinities and NaN come last.
        const int Magnitude = 0x7FFFFFFF, Infinite = 0x7F800000;
        var (min, max) = (float.PositiveInfinity, float.NegativeInfinity);
        var (least, most) = (Infinite, 0);
        var at = 0;
        if (Vector256.IsHardwareAccelerated && values.Length >= Vector256<float>.Count)
        {
            var (mins, maxs) = (Vector256.Create(min), Vector256.Create(max));
            var (leasts, mosts) = (Vector256.Create(least), Vector256<int>.Zero);
            var mask = Vector256.Create(Magnitude);
            ref var first = ref MemoryMarshal.GetReference(values);
            for (; at <= values.Length - Vector256<float>.Count; at += Vector256<float>.Count)
            {
                var v = Vector256.LoadUnsafe(ref first, (nuint)at);
                var bits = v.AsInt32() & mask;
                mins = Vector256.MinNative(mins, v);
                maxs = Vector256.MaxNative(maxs, v);
                leasts = Vector256.Min(leasts, bits);
                mosts = Vector256.Max(mosts, bits);
            }

            for (var i = 0; i < Vector256<float>.Count; i++)
            {
                (min, max) = (Math.Min(min, mins[i]), Math.Max(max, maxs[i]));
                (least, most) = (Math.Min(least, leasts[i]), Math.Max(most, mosts[i]));
            }
        }

        for (; at < values.Length; at++)
        {
            var bits = BitConverter.SingleToInt32Bits(values[at]) & Magnitude;
            (min, max) = (Math.Min(min, values[at]), Math.Max(max, values[at]));
            (least, most) = (Math.Min(least, bits), Math.Max(most, bits));
        }

        return new FloatScan(min, max, BitConverter.Int32BitsToSingle(least), most < Infinite);
    }

    /// <summary>Reads all values, large arrays in parts side by side.</summary>
    public static FloatScan Of(ReadOnlyMemory<float> values, int threads)
    {
        var parts = Math.Clamp(values.Length / LeastPerThread, 1, Math.Max(1, threads));
        if (parts == 1)
        {
            return Of(values.Span);
        }

        var scans = new FloatScan[parts];
        Parallel.For(0, parts, new ParallelOptions { MaxDegreeOfParallelism = threads }, i =>
        {
            var (start, end) = ((int)((long)values.Length * i / parts), (int)((long)values.Length * (i + 1) / parts));
            scans[i] = Of(values.Span[start..end]);
        });
        return scans.Aggregate((a, b) => new FloatScan(Math.Min(a.Min, b.Min), Math.Max(a.Max, b.Max), Math.Min(a.LeastMagnitude, b.LeastMagnitude), a.IsFinite && b.IsFinite));
    }
}
