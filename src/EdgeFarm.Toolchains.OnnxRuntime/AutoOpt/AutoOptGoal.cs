namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>What is made as small as it can be.</summary>
internal enum Objective
{
    /// <summary>Time of one run.</summary>
    Latency,

    /// <summary>Bytes of the model.</summary>
    Size,
}

/// <summary>What degradation is counted in.</summary>
internal enum QualityMetric
{
    /// <summary>Mean cosine of the outputs with the source's.</summary>
    Cosine,

    /// <summary>Norm of the outputs' error over the norm of the source's outputs; 0.1 is an SQNR of 20 dB.</summary>
    RelativeError,

    /// <summary>Share of samples with the source's best class.</summary>
    Top1Agreement,

    /// <summary>Share of samples whose best class is the label's.</summary>
    Accuracy,
}

/// <summary>How good a form's outputs are on the judged samples.</summary>
/// <param name="Cosine">See <see cref="QualityMetric.Cosine"/>; null where values are not finite.</param>
/// <param name="RelativeError">See <see cref="QualityMetric.RelativeError"/>; null where values are not finite.</param>
/// <param name="Top1">See <see cref="QualityMetric.Top1Agreement"/>; null where no output is a row of classes.</param>
/// <param name="Accuracy">See <see cref="QualityMetric.Accuracy"/>; null without labels.</param>
internal sealed record QualityFigures(double? Cosine, double? RelativeError, double? Top1, double? Accuracy);

/// <summary>What a form must keep, and what is wanted of it beyond that.</summary>
/// <param name="Objective">What is minimized among the forms that keep it.</param>
/// <param name="Metric">What degradation is counted in.</param>
/// <param name="MaxDegradation">Most that may be lost against the source, 0 to 1, in the metric's own unit.</param>
internal sealed record AutoOptGoal(Objective Objective, QualityMetric Metric, double MaxDegradation)
{
    // Rounding of sums must not fail a form whose outputs are the source's.
    private const double Rounding = 1e-9;

    /// <summary>What a form lost, at least 0; null where the metric has no value for it, and then the goal is missed.</summary>
    public double? Degradation(QualityFigures form, QualityFigures source)
    {
        var lost = Metric switch
        {
            QualityMetric.Cosine => 1 - form.Cosine,
            QualityMetric.RelativeError => form.RelativeError,
            QualityMetric.Top1Agreement => 1 - form.Top1,
            _ => source.Accuracy - form.Accuracy,
        };
        return lost is { } value && double.IsFinite(value) ? Math.Max(0, value) : null;
    }

    /// <summary>Whether so much may be lost.</summary>
    public bool Allows(double? degradation) => degradation <= MaxDegradation + Rounding;

    /// <summary>
    /// The cosine that a search which only knows cosines is given as its goal: half of what may be lost, because it reaches its goal barely
    /// and on samples that it chose by, and the form is judged on others.
    /// </summary>
    public double SearchedCosine => Metric switch
    {
        QualityMetric.Cosine => 1 - (MaxDegradation / 2),
        // Of a vector and one that is off by e of its length at right angles.
        QualityMetric.RelativeError => 1 / Math.Sqrt(1 + (MaxDegradation * MaxDegradation / 4)),
        // Classes tell nothing about cosines.
        _ => 0.98,
    };

    /// <summary>The metric as users write it.</summary>
    public string MetricName => NameOf(Metric);

    /// <summary>A metric as users write it.</summary>
    public static string NameOf(QualityMetric metric) => metric switch
    {
        QualityMetric.Cosine => "cosine",
        QualityMetric.RelativeError => "relative_error",
        QualityMetric.Top1Agreement => "top1_agreement",
        _ => "accuracy",
    };

    /// <summary>The metric of a name; null where there is none.</summary>
    public static QualityMetric? MetricOf(string name)
    {
        foreach (var metric in Enum.GetValues<QualityMetric>())
        {
            if (NameOf(metric) == name)
            {
                return metric;
            }
        }

        return null;
    }
}
