using System.Numerics.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>
/// Kullback-Leibler divergence of a part of a histogram from the same part merged into few levels, as TensorRT's calibration has it and
/// ONNX Runtime's follows it. A merged level is one number, so that a part costs as many logarithms as there are levels: everything else
/// is a difference of sums that were made once.
/// </summary>
internal sealed class Divergence
{
    // What an empty bin gets, taken from the others evenly.
    private const float Epsilon = 0.0001f;

    private readonly long[] _counts;
    private readonly int _levels;
    private readonly long[] _sums;
    private readonly int[] _filled;

    // Sums over filled bins of c log c, log c and 1/c: (c - t) log(c - t) to the second order of what is taken, t, which is below 1/4.
    private readonly double[] _entropy;
    private readonly double[] _logs;
    private readonly double[] _inverses;
    private readonly double[] _values;
    private readonly double[] _weights;

    /// <summary>Prepares a histogram.</summary>
    /// <param name="counts">Values in each bin.</param>
    /// <param name="levels">Levels that bins are merged into.</param>
    public Divergence(long[] counts, int levels)
    {
        (_counts, _levels) = (counts, levels);
        (_sums, _filled) = (new long[counts.Length + 1], new int[counts.Length + 1]);
        (_entropy, _logs, _inverses) = (new double[counts.Length + 1], new double[counts.Length + 1], new double[counts.Length + 1]);
        (_values, _weights) = (new double[levels + 1], new double[levels + 1]);
        for (var i = 0; i < counts.Length; i++)
        {
            var (c, isFilled) = (counts[i], counts[i] > 0);
            var log = isFilled ? Math.Log(c) : 0;
            _sums[i + 1] = _sums[i] + c;
            _filled[i + 1] = _filled[i] + (isFilled ? 1 : 0);
            _entropy[i + 1] = _entropy[i] + (c * log);
            _logs[i + 1] = _logs[i] + log;
            _inverses[i + 1] = _inverses[i] + (isFilled ? 1.0 / c : 0);
        }
    }

    /// <summary>Divergence of the bins from <paramref name="start"/> to before <paramref name="end"/>; what lies outside counts for the outermost of them.</summary>
    /// <returns>Nat; positive infinity where there is nothing to compare.</returns>
    public double Of(int start, int end)
    {
        var size = end - start;
        var (below, above) = (_sums[start], _sums[^1] - _sums[end]);
        var (left, right) = (_counts[start] + below, _counts[end - 1] + above);
        var filled = _filled[end - 1] - _filled[start + 1] + (left > 0 ? 1 : 0) + (right > 0 ? 1 : 0);
        if (filled == 0)
        {
            return double.PositiveInfinity;
        }

        var taken = (double)(Epsilon * (size - filled) / filled);
        var total = (_sums[^1] - (taken * filled)) + ((size - filled) * (double)Epsilon);
        if (!Merge(start, end, left, right, taken))
        {
            return double.PositiveInfinity;
        }

        // Sum of p log p, the outermost bins as they have become.
        var inner = filled - (left > 0 ? 1 : 0) - (right > 0 ? 1 : 0);
        var own = (_entropy[end - 1] - _entropy[start + 1]) - (taken * (_logs[end - 1] - _logs[start + 1] + inner)) + (taken * taken / 2 * (_inverses[end - 1] - _inverses[start + 1]))
            + Outer(left, taken) + Outer(right, taken) + ((size - filled) * Epsilon * Math.Log(Epsilon));
        var merged = 0.0;
        var mergedTotal = 0.0;
        var width = size / _levels;
        for (var level = 0; level <= _levels; level++)
        {
            mergedTotal += _values[level] * (level < _levels ? width : size - (_levels * width));
        }

        TensorPrimitives.Log(_values, _values);
        merged = TensorPrimitives.Dot(_weights, _values);
        return ((own - merged) / total) - Math.Log(total) + Math.Log(mergedTotal);
    }

    // Fills in each level's value in the merged histogram, and the weight of its bins in the true one. The last entry is for the bins
    // that do not divide evenly: they are in the last level's sum, though not in its width, and so empty in the merged one.
    private bool Merge(int start, int end, long left, long right, double taken)
    {
        var size = end - start;
        var width = size / _levels;
        var zeros = size - (_levels * width);
        var empty = zeros;
        for (var level = 0; level < _levels; level++)
        {
            var (first, last) = (start + (level * width), start + ((level + 1) * width));
            var sum = _sums[level == _levels - 1 ? end : last] - _sums[first];
            var (filled, weight) = Weigh(first, last, start, end, left, right, taken);
            var value = filled == 0 ? 0 : sum / filled;
            empty += value == 0 ? width : 0;
            (_values[level], _weights[level]) = (value, weight);
        }

        _values[_levels] = 0;
        _weights[_levels] = zeros == 0 ? 0 : Weigh(end - zeros, end, start, end, left, right, taken).Weight;
        if (empty == size)
        {
            return false;
        }

        double mergedTaken = Epsilon * empty / (size - empty);
        for (var level = 0; level <= _levels; level++)
        {
            _values[level] = _values[level] == 0 ? Epsilon : _values[level] - mergedTaken;
        }

        return true;
    }

    // Filled bins among some, and the sum of what smoothing makes of them.
    private (int Filled, double Weight) Weigh(int first, int last, int start, int end, long left, long right, double taken)
    {
        var (filled, sum) = (_filled[last] - _filled[first], _sums[last] - _sums[first]);
        if (first == start)
        {
            filled += (left > 0 ? 1 : 0) - (_counts[start] > 0 ? 1 : 0);
            sum += left - _counts[start];
        }

        if (last == end)
        {
            filled += (right > 0 ? 1 : 0) - (_counts[end - 1] > 0 ? 1 : 0);
            sum += right - _counts[end - 1];
        }

        return (filled, sum - (filled * taken) + ((last - first - filled) * (double)Epsilon));
    }

    private static double Outer(long count, double taken) => count > 0 ? (count - taken) * Math.Log(count - taken) : 0;
}
