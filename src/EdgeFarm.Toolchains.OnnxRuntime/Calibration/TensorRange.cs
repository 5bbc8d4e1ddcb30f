namespace EdgeFarm.Toolchains.OnnxRuntime.Calibration;

/// <summary>Bounds of a tensor's values over the calibration samples.</summary>
/// <param name="Min">Lower bound.</param>
/// <param name="Max">Upper bound.</param>
internal readonly record struct TensorRange(float Min, float Max);

/// <summary>How bounds are found.</summary>
internal enum CalibrationMethod
{
    /// <summary>Smallest and largest value.</summary>
    MinMax,

    /// <summary>Mean of the samples' smallest and of their largest values.</summary>
    MovingAverage,

    /// <summary>Bounds that a share of all values lies within.</summary>
    Percentile,

    /// <summary>Bounds whose quantized distribution is nearest to the true one (Kullback-Leibler).</summary>
    Entropy,

    /// <summary>Bounds with the least mean squared error of 256 levels.</summary>
    Mse,
}

/// <summary>A method and its numbers.</summary>
/// <param name="Method">How bounds are found.</param>
/// <param name="Percentile">Share of values within the bounds, percent; for Percentile.</param>
/// <param name="Bins">Bins of the histogram; for the methods that have one.</param>
/// <param name="Symmetric">Whether the percentile is taken of magnitudes.</param>
internal sealed record CalibrationSettings(CalibrationMethod Method, double Percentile = 99.999, int Bins = 2048, bool Symmetric = true);
