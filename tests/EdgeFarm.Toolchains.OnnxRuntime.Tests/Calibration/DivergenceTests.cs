using CsCheck;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Calibration;

/// <summary>The divergence from sums against its definition, term by term.</summary>
public sealed class DivergenceTests
{
    private const int Levels = 128;

    [Fact]
    public void Sums_give_what_the_definition_gives() =>
        Gen.Select(Gen.Int[0, 4], Gen.Int[0, 1000], Gen.Int[Levels + 1, 700]).Sample(
            (kind, seed, bins) =>
            {
                var random = new Random(seed);
                var counts = Enumerable.Range(0, bins).Select(i => kind switch
                {
                    0 => random.NextInt64(0, 4),
                    1 => random.NextInt64(0, 1_000_000),
                    2 => random.Next(10) == 0 ? random.NextInt64(0, 100) : 0,
                    3 => (long)(1e5 * Math.Exp(-Math.Pow((i - (bins / 2.0)) / (bins / 12.0), 2))),
                    _ => i == bins / 2 ? 50_000 : 0,
                }).ToArray();
                var divergence = new Divergence(counts, Levels);
                for (var cut = 0; bins - (2 * cut) > Levels; cut += 37)
                {
                    var (expected, actual) = (Direct(counts, cut, bins - cut), divergence.Of(cut, bins - cut));
                    // The definition rounds each bin to single precision.
                    var near = double.IsInfinity(expected) ? double.IsInfinity(actual) : Math.Abs(expected - actual) <= 2e-4 * Math.Max(1, Math.Abs(expected));
                    Assert.True(near, $"{expected} by definition, {actual} by sums");
                }
            },
            iter: 300,
            threads: 1);

    private static double Direct(long[] counts, int start, int end)
    {
        var size = end - start;
        var p = counts.AsSpan(start, size).ToArray();
        p[0] += counts.Take(start).Sum();
        p[^1] += counts.Skip(end).Sum();
        var width = size / Levels;
        var q = new long[size];
        for (var level = 0; level < Levels; level++)
        {
            var first = level * width;
            var sum = counts.Skip(start + first).Take(level == Levels - 1 ? size - first : width).Sum();
            var filled = p.Skip(first).Take(width).Count(c => c > 0);
            if (filled != 0)
            {
                q.AsSpan(first, width).Fill(sum / filled);
            }
        }

        if (Smooth(p) is not { } left || Smooth(q) is not { } right)
        {
            return double.PositiveInfinity;
        }

        var (leftSum, rightSum) = (left.Sum(v => (double)v), right.Sum(v => (double)v));
        return left.Zip(right, (a, b) => a / leftSum * Math.Log(a / leftSum / (b / rightSum))).Sum();
    }

    private static float[]? Smooth(long[] counts)
    {
        var zeros = counts.Count(c => c == 0);
        return zeros == counts.Length ? null : Array.ConvertAll(counts, c => c == 0 ? 0.0001f : c - (0.0001f * zeros / (counts.Length - zeros)));
    }
}
