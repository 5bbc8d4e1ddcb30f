namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>Adds up how far a form's outputs are from the baseline's.</summary>
internal sealed class OutputComparison
{
    // A row of logits or probabilities; anything wider is no choice among classes.
    private const int MaxClasses = 1 << 18;

    private double _signal;
    private double _noise;
    private double _cosines;
    private long _rows;
    private long _top1;
    private long _top5;
    private long _choices;

    /// <summary>Largest absolute difference.</summary>
    public double MaxError { get; private set; }

    /// <summary>Values that were not finite in the form's outputs while the baseline's were.</summary>
    public long NonFinite { get; private set; }

    /// <summary>Signal to noise over all values, dB; null where the outputs are identical or have no finite figure.</summary>
    public double? SqnrDb => _noise > 0 && _signal > 0 && NonFinite == 0 ? 10 * Math.Log10(_signal / _noise) : null;

    /// <summary>Whether every value was the same.</summary>
    public bool Identical => _noise == 0 && NonFinite == 0;

    /// <summary>Mean cosine between the rows (samples) of the outputs.</summary>
    public double? Cosine => _rows > 0 && NonFinite == 0 ? _cosines / _rows : null;

    /// <summary>Share of equal best classes.</summary>
    public double? Top1 => _choices > 0 ? (double)_top1 / _choices : null;

    /// <summary>Share of the baseline's best class among the form's best five.</summary>
    public double? Top5 => _choices > 0 ? (double)_top5 / _choices : null;

    /// <summary>Adds one sample's output.</summary>
    /// <param name="expected">Baseline.</param>
    /// <param name="actual">Form; as long.</param>
    /// <param name="classes">Size of the last dimension.</param>
    public void Add(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, long classes)
    {
        double dot = 0, left = 0, right = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            double e = expected[i], a = actual[i];
            if (!double.IsFinite(a))
            {
                NonFinite += double.IsFinite(e) ? 1 : 0;
                continue;
            }

            if (!double.IsFinite(e))
            {
                continue;
            }

            dot += e * a;
            left += e * e;
            right += a * a;
            _noise += (e - a) * (e - a);
            MaxError = Math.Max(MaxError, Math.Abs(e - a));
        }

        _signal += left;
        _rows++;
        _cosines += left == 0 && right == 0 ? 1 : left == 0 || right == 0 ? 0 : dot / Math.Sqrt(left * right);
        if (classes is > 1 and <= MaxClasses)
        {
            for (var at = 0; at + classes <= expected.Length; at += (int)classes)
            {
                Choose(expected.Slice(at, (int)classes), actual.Slice(at, (int)classes));
            }
        }
    }

    /// <summary>Index of the largest value; the first of equals.</summary>
    public static int Best(ReadOnlySpan<float> values)
    {
        var best = 0;
        for (var i = 1; i < values.Length; i++)
        {
            best = values[i] > values[best] ? i : best;
        }

        return best;
    }

    private void Choose(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        var best = Best(expected);
        var better = 0;
        for (var i = 0; i < actual.Length; i++)
        {
            better += actual[i] > actual[best] || (actual[i] == actual[best] && i < best) ? 1 : 0;
        }

        _choices++;
        _top1 += better == 0 ? 1 : 0;
        _top5 += better < 5 ? 1 : 0;
    }
}
