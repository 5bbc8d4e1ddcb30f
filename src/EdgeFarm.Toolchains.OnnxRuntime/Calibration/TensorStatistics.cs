using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;

namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>What one tensor's values are over the samples.</summary>
/// <param name="name">The tensor.</param>
internal sealed class TensorStatistics(string name)
{
    private float _min = float.PositiveInfinity;
    private float _max = float.NegativeInfinity;
    private float _leastMagnitude = float.PositiveInfinity;
    private double _sumMin;
    private double _sumMax;
    private List<float[]>? _kept = [];
    private GrowingHistogram? _growing;

    /// <summary>Samples that had values.</summary>
    public int Steps { get; private set; }

    /// <summary>Smallest and largest value.</summary>
    public TensorRange Observed => new(_min, _max);

    /// <summary>Mean of the samples' smallest and of their largest values.</summary>
    public TensorRange Mean => new((float)(_sumMin / Steps), (float)(_sumMax / Steps));

    /// <summary>Whether the histogram has to be filled by running the samples again.</summary>
    public bool NeedsSecondPass => Steps > 0 && _kept is null && _growing is null;

    /// <summary>Takes one sample's values.</summary>
    /// <param name="values">The values.</param>
    /// <param name="counted">Whether a histogram will be wanted.</param>
    /// <param name="total">Bytes that all tensors keep.</param>
    /// <param name="most">Bytes that they may.</param>
    /// <param name="inOnePass">Whether values that are not kept are counted at once.</param>
    /// <exception cref="FailureException">InvalidInput: a value is not finite.</exception>
    public void Add(ReadOnlySpan<float> values, bool counted, ref long total, long most, bool inOnePass)
    {
        if (values.IsEmpty)
        {
            return;
        }

        var scan = FloatScan.Of(values);
        if (!scan.IsFinite)
        {
            throw new FailureException(Failure.InvalidInput($"'{name}' has infinite or NaN values on the calibration samples, so it has no bounds"));
        }

        (_min, _max) = (Math.Min(_min, scan.Min), Math.Max(_max, scan.Max));
        (_sumMin, _sumMax) = (_sumMin + scan.Min, _sumMax + scan.Max);
        Steps++;
        if (!counted)
        {
            return;
        }

        _leastMagnitude = Math.Min(_leastMagnitude, scan.LeastMagnitude);
        if (_kept is not null && Interlocked.Add(ref total, values.Length * sizeof(float)) <= most)
        {
            _kept.Add(values.ToArray());
            return;
        }

        // The sum is never taken back: once there are too many values for one tensor there are for all, and each lets go in its turn.
        if (_kept is not null && inOnePass)
        {
            _growing = new GrowingHistogram();
            _kept.ForEach(v => _growing.Add(v, FloatScan.Of(v)));
        }

        _kept = null;
        _growing?.Add(values, scan);
    }

    /// <summary>The histogram that a method wants; empty where a second pass has to fill it.</summary>
    public Histogram Histogram(CalibrationSettings settings)
    {
        var magnitude = Math.Max(Math.Abs(_min), Math.Abs(_max));
        var histogram = settings.Method switch
        {
            CalibrationMethod.Percentile when settings.Symmetric => new Histogram(_leastMagnitude, magnitude, settings.Bins, magnitudes: true),
            CalibrationMethod.Mse => new Histogram(_min, _max, settings.Bins, magnitudes: false),
            _ => new Histogram(-magnitude, magnitude, settings.Bins, magnitudes: false),
        };
        _kept?.ForEach(v => histogram.Add(v));
        _growing?.Pour(histogram);
        return histogram;
    }
}
