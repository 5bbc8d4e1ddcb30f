using System.Diagnostics;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>
/// Measures forms that take turns: each round runs every one of them on the same sample, in an order that moves on by one each round, so
/// that what disturbs the machine disturbs all of them and their ratios stand.
/// </summary>
/// <param name="inputs">Samples, one a round.</param>
/// <param name="settings">How sessions are made.</param>
/// <param name="cancellation">Cancels between runs.</param>
internal sealed class PairedTimer(IReadOnlyList<IReadOnlyDictionary<string, NpyArray>> inputs, OrtSettings settings, CancellationToken cancellation)
{
    // A form's turn in a round lasts at least so long: a clock's tick and a stray interrupt weigh little against it.
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(5);

    private const int WarmUpRuns = 3, MostRuns = 1000, MostRounds = 400;

    // Fewer rounds give no interval of the median.
    private const int LeastRounds = 6;

    // An interval as narrow as this decides what is worth deciding.
    private const double Settled = 0.04;

    // Where a session's memory happens to lie makes some percent, which no number of rounds within it shows: each form is loaded anew so often.
    private const int Sessions = 3;

    // Threads of a session that is not running would spin into its neighbour's turn.
    private readonly OrtSettings _settings = settings with { Config = new Dictionary<string, string>(settings.Config, StringComparer.Ordinal) { ["session.force_spinning_stop"] = "1" } };

    /// <summary>Seconds of one run, by form and round.</summary>
    /// <param name="paths">The forms; two or three, because all of them are in memory at once. What is wanted are the ratios of the first to the others.</param>
    /// <param name="rounds">Rounds to begin with; there are more as long as a ratio's interval is wide.</param>
    /// <param name="limit">Time after which there are no more rounds than an interval needs.</param>
    /// <exception cref="FailureException">What ONNX Runtime has against one of them.</exception>
    public IReadOnlyList<IReadOnlyList<double>> Measure(IReadOnlyList<string> paths, int rounds, TimeSpan limit)
    {
        var seconds = paths.Select(_ => new List<double>()).ToList();
        var start = Stopwatch.GetTimestamp();
        for (var session = 0; session < Sessions; session++)
        {
            Measure(paths, seconds, rounds / Sessions, MostRounds / Sessions, limit * (session + 1) / Sessions, start, session);
        }

        return seconds;
    }

    private void Measure(IReadOnlyList<string> paths, List<List<double>> seconds, int rounds, int most, TimeSpan until, long start, int session)
    {
        var forms = new Form?[paths.Count];
        try
        {
            for (var i = 0; i < forms.Length; i++)
            {
                var at = (session + i) % forms.Length;
                forms[at] = new Form(paths[at], _settings, inputs, seconds[at]);
                forms[at]!.WarmUp(cancellation);
            }

            for (var round = 0; round < LeastRounds / Sessions || (Stopwatch.GetElapsedTime(start) < until && (round < rounds || (round < most && IsWide(seconds)))); round++)
            {
                for (var i = 0; i < forms.Length; i++)
                {
                    forms[(round + i) % forms.Length]!.Time(round, cancellation);
                }
            }
        }
        finally
        {
            foreach (var form in forms)
            {
                form?.Dispose();
            }
        }
    }

    private static bool IsWide(List<List<double>> seconds) => seconds.Skip(1).Any(other => LatencyRatio.Of(seconds[0], other) is var r && r.High - r.Low > Settled * r.Ratio);

    private sealed class Form : IDisposable
    {
        private readonly OrtSession _session;
        private readonly List<OrtValue> _values = [];
        private readonly List<OrtIoBinding> _bindings = [];
        private readonly RunOptions _options = new();
        private int _repeats = 1;

        public Form(string path, OrtSettings settings, IReadOnlyList<IReadOnlyDictionary<string, NpyArray>> inputs, List<double> seconds)
        {
            Seconds = seconds;
            _session = OrtSession.Load(path, settings);
            try
            {
                foreach (var arrays in inputs)
                {
                    var binding = _session.Inner.CreateIoBinding();
                    _bindings.Add(binding);
                    foreach (var (name, array) in arrays)
                    {
                        var value = ModelInputs.ToOrt(_session, name, array);
                        _values.Add(value);
                        binding.BindInput(name, value);
                    }

                    foreach (var output in _session.Outputs)
                    {
                        binding.BindOutputToDevice(output, OrtMemoryInfo.DefaultInstance);
                    }
                }
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        private List<double> Seconds { get; }

        public void WarmUp(CancellationToken cancellation)
        {
            var last = TimeSpan.Zero;
            for (var i = 0; i < WarmUpRuns; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                last = Run(_bindings[i % _bindings.Count]);
            }

            _repeats = (int)Math.Clamp(Math.Ceiling(Turn / (last > TimeSpan.Zero ? last : TimeSpan.FromMicroseconds(1))), 1, MostRuns);
        }

        public void Time(int round, CancellationToken cancellation)
        {
            var binding = _bindings[round % _bindings.Count];
            cancellation.ThrowIfCancellationRequested();

            // The others' turns took the caches: the first run is not counted where there are more.
            if (_repeats > 1)
            {
                Run(binding);
            }

            var runs = new double[_repeats];
            for (var i = 0; i < runs.Length; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                runs[i] = Run(binding).TotalSeconds;
            }

            // What interrupts one run says nothing about the form.
            Seconds.Add(Statistics.Median(runs)!.Value);
        }

        public void Dispose()
        {
            _bindings.ForEach(b => b.Dispose());
            _values.ForEach(v => v.Dispose());
            _options.Dispose();
            _session.Dispose();
        }

        private TimeSpan Run(OrtIoBinding binding)
        {
            var start = Stopwatch.GetTimestamp();
            try
            {
                _session.Inner.RunWithBinding(_options, binding);
            }
            catch (OnnxRuntimeException e)
            {
                throw new FailureException(OrtFailures.From(e, _session.Name, "run"));
            }

            return Stopwatch.GetElapsedTime(start);
        }
    }
}
