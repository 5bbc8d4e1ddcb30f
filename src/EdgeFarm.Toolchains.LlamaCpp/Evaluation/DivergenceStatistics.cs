using System.Runtime.InteropServices;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Evaluation;

/// <summary>One position: how the model's distribution differs from the baseline's. Precision as the reference has it, single where it has single.</summary>
/// <param name="Nll">Negative log-likelihood of the right token by the model.</param>
/// <param name="BaseNll">The same by the baseline.</param>
/// <param name="Divergence">KL divergence, nat.</param>
/// <param name="ProbabilityChange">Probability of the right token, model less baseline.</param>
/// <param name="SameTop">Whether both think the same token the most probable.</param>
internal readonly record struct DivergenceRow(float Nll, float BaseNll, double Divergence, float ProbabilityChange, bool SameTop)
{
    // Tokens that the baseline thinks less probable than e^-16 carry nothing.
    private const float LeastLogProbability = -16;

    public static unsafe DivergenceRow Compute(float* logits, ReadOnlySpan<ushort> baseline, int vocabulary, int token)
    {
        var most = logits[0];
        var top = 0;
        for (var i = 1; i < vocabulary; i++)
        {
            if (logits[i] > most)
            {
                (most, top) = (logits[i], i);
            }
        }

        double sum = 0;
        for (var i = 0; i < vocabulary; i++)
        {
            sum += MathF.Exp(logits[i] - most);
        }

        var logSum = (float)Math.Log(sum);
        var scale = MemoryMarshal.Read<float>(MemoryMarshal.AsBytes(baseline));
        var least = MemoryMarshal.Read<float>(MemoryMarshal.AsBytes(baseline[2..]));
        var codes = baseline.Slice(4, vocabulary);
        var nll = most + logSum - logits[token];
        var baseNll = -((scale * codes[token]) + least);
        most += logSum;
        double divergence = 0;
        var (baseTop, baseMost) = (-1, 0f);
        for (var i = 0; i < vocabulary; i++)
        {
            var logProbability = (scale * codes[i]) + least;
            if (i == 0 || logProbability > baseMost)
            {
                (baseMost, baseTop) = (logProbability, i);
            }

            if (logProbability > LeastLogProbability)
            {
                divergence += MathF.Exp(logProbability) * (logProbability - logits[i] + most);
            }
        }

        return new DivergenceRow(nll, baseNll, divergence, MathF.Exp(-nll) - MathF.Exp(-baseNll), top == baseTop);
    }
}

/// <summary>Statistics over all positions.</summary>
internal sealed class DivergenceStatistics(int count)
{
    private static readonly double[] s_percentiles = [0, 0.1, 1, 5, 10, 50, 90, 95, 99, 99.9, 100];

    private readonly DivergenceRow[] _rows = new DivergenceRow[count];

    public void Set(int position, DivergenceRow row) => _rows[position] = row;

    /// <summary>The figures, or null when a prediction is no number.</summary>
    public DivergenceResult? Result(int chunks, IReadOnlyDictionary<string, string> settings, LlamaLibraryInfo library)
    {
        var nll = Mean(row => row.Nll, row => row.Nll * row.Nll);
        var baseNll = Mean(row => row.BaseNll, row => row.BaseNll * row.BaseNll);
        var divergence = Mean(row => row.Divergence, row => row.Divergence * row.Divergence);
        if (!double.IsFinite(nll.Value) || !double.IsFinite(divergence.Value))
        {
            return null;
        }

        var covariance = count < 10 ? 0 : ((Sum(row => row.Nll * row.BaseNll) / count) - (nll.Value * baseNll.Value)) / (count - 1);
        var correlation = nll.StandardError * baseNll.StandardError is > 0 and var product ? covariance / product : 0;
        var ratioError = Math.Sqrt(Math.Max(0, (nll.StandardError * nll.StandardError) + (baseNll.StandardError * baseNll.StandardError) - (2 * covariance)));
        var change = Mean(row => row.ProbabilityChange, row => Squared(row));
        var squared = Mean(row => Squared(row), row => Squared(row) * Squared(row));
        var rms = Math.Sqrt(squared.Value);
        var same = (double)_rows.Count(row => row.SameTop) / count;
        return new DivergenceResult(
            Exponential(nll.Value, nll.StandardError),
            Exponential(baseNll.Value, baseNll.StandardError),
            Exponential(nll.Value - baseNll.Value, ratioError),
            correlation,
            divergence,
            Percentiles(),
            change,
            new Estimate(rms, rms > 0 ? 0.5 / rms * squared.StandardError : 0),
            new Estimate(same, count > 1 ? Math.Sqrt(same * (1 - same) / (count - 1)) : 0),
            chunks,
            count,
            settings,
            library);
    }

    private static double Squared(DivergenceRow row) => row.ProbabilityChange * row.ProbabilityChange;

    private static Estimate Exponential(double log, double error) => new(Math.Exp(log), Math.Exp(log) * error);

    private double Sum(Func<DivergenceRow, double> value)
    {
        double sum = 0;
        foreach (var row in _rows)
        {
            sum += value(row);
        }

        return sum;
    }

    private Estimate Mean(Func<DivergenceRow, double> value, Func<DivergenceRow, double> square)
    {
        var mean = Sum(value) / count;
        var variance = (Sum(square) / count) - (mean * mean);
        return new Estimate(mean, variance > 0 && count > 10 ? Math.Sqrt(variance / (count - 1)) : 0);
    }

    // Linear interpolation in single precision, as the reference; its median of an even count is the mean of the two in the middle.
    private SortedDictionary<double, double> Percentiles()
    {
        var values = Array.ConvertAll(_rows, row => (float)row.Divergence);
        Array.Sort(values);
        var found = new SortedDictionary<double, double>();
        foreach (var percentile in s_percentiles)
        {
            var at = (float)(percentile / 100) * (values.Length - 1);
            var below = Math.Min((int)at, values.Length - 1);
            var part = at - below;
            found[percentile] = percentile == 50 && values.Length % 2 == 0
                ? 0.5f * (values[values.Length / 2] + values[(values.Length / 2) - 1])
                : ((1 - part) * values[below]) + (part * values[Math.Min(below + 1, values.Length - 1)]);
        }

        return found;
    }
}
