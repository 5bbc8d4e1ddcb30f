namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>
/// Times of runs, at most <see cref="Most"/> of them: when there are more, every second is dropped and from then on only every second,
/// fourth, ... run is kept. What is kept is spread evenly over all runs and in their order.
/// </summary>
internal sealed class KeptSamples
{
    /// <summary>Most samples that are kept.</summary>
    public const int Most = 10_000;

    private const int ThroughputWindows = 10;

    private readonly List<double> _kept = [];
    private readonly List<(int Runs, double Seconds)> _windows = [];
    private int _stride = 1;
    private int _windowRuns = 1;

    /// <summary>Runs taken.</summary>
    public long Runs { get; private set; }

    /// <summary>Time of all runs, s.</summary>
    public double Total { get; private set; }

    /// <summary>The kept times, s.</summary>
    public IReadOnlyList<double> Values => _kept;

    /// <summary>Runs a second in 10 to 20 windows of equally many runs (fewer where there were fewer runs); the last one that is not full is left out.</summary>
    public IReadOnlyList<double> Throughput => [.. _windows.Where(w => w.Runs == _windowRuns).Select(w => w.Runs / w.Seconds)];

    /// <summary>Adds a run's time, s.</summary>
    public void Add(double seconds)
    {
        if (Runs % _stride == 0)
        {
            if (_kept.Count == Most)
            {
                Halve(_kept);
                _stride *= 2;
            }

            if (Runs % _stride == 0)
            {
                _kept.Add(seconds);
            }
        }

        if (_windows.Count == 0 || _windows[^1].Runs == _windowRuns)
        {
            if (_windows.Count == 2 * ThroughputWindows)
            {
                for (var i = 0; i < ThroughputWindows; i++)
                {
                    _windows[i] = (_windows[2 * i].Runs + _windows[(2 * i) + 1].Runs, _windows[2 * i].Seconds + _windows[(2 * i) + 1].Seconds);
                }

                _windows.RemoveRange(ThroughputWindows, ThroughputWindows);
                _windowRuns *= 2;
            }

            _windows.Add((0, 0));
        }

        _windows[^1] = (_windows[^1].Runs + 1, _windows[^1].Seconds + seconds);
        Runs++;
        Total += seconds;
    }

    private static void Halve(List<double> values)
    {
        for (var i = 0; 2 * i < values.Count; i++)
        {
            values[i] = values[2 * i];
        }

        values.RemoveRange((values.Count + 1) / 2, values.Count - ((values.Count + 1) / 2));
    }
}
