using System.Diagnostics;
using System.Globalization;
using EdgeFarm.Core.Jobs;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>A benchmark of one model in this process.</summary>
/// <param name="ModelPath">The .onnx file.</param>
public sealed record OnnxBenchmarkRequest(string ModelPath)
{
    /// <summary>Session settings.</summary>
    public OrtSettings Settings { get; init; } = new();

    /// <summary>Shapes of inputs by name, where the model leaves them open.</summary>
    public IReadOnlyDictionary<string, long[]> Dims { get; init; } = new Dictionary<string, long[]>();

    /// <summary>Seed of the inputs' values.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Fewest measured runs.</summary>
    public int MinimumRuns { get; init; } = 100;

    /// <summary>Least time of measured runs together.</summary>
    public TimeSpan MinimumTime { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Bound on the time to warm up.</summary>
    public TimeSpan WarmupLimit { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Times that the model is loaded for <c>load_time</c>, and again for <c>load_time_cold</c>.</summary>
    public int Loads { get; init; } = 3;

    /// <summary>Whether the model is run a few times more under ONNX Runtime's profiler, in a session of its own.</summary>
    public bool Profile { get; init; } = true;
}

/// <summary>Samples of one metric, in the order in which they were taken.</summary>
/// <param name="Metric">The contract's name.</param>
/// <param name="Unit">The contract's unit.</param>
/// <param name="HigherIsBetter">Direction.</param>
/// <param name="Samples">At least one, all finite.</param>
public sealed record OnnxMetric(string Metric, string Unit, bool HigherIsBetter, IReadOnlyList<double> Samples);

/// <summary>What a benchmark measured.</summary>
/// <param name="Metrics"><c>latency</c>, <c>throughput</c>, <c>load_time</c>, <c>load_time_cold</c> where the system lets the file's pages be evicted, <c>fallback_nodes</c> where it was profiled, <c>peak_memory</c>, <c>model_memory</c>, <c>size</c>.</param>
/// <param name="Settings">Session settings, input shapes and seed, as run.</param>
/// <param name="WarmupRuns">Runs before measuring began.</param>
/// <param name="Flags"><c>unsteady</c> where warm-up hit its bound.</param>
/// <param name="RuntimeVersion">ONNX Runtime's release.</param>
public sealed record OnnxBenchmarkResult(
    IReadOnlyList<OnnxMetric> Metrics,
    IReadOnlyDictionary<string, string> Settings,
    int WarmupRuns,
    IReadOnlyList<string> Flags,
    string RuntimeVersion)
{
    /// <summary>Where the time goes; null where it was not profiled.</summary>
    public OperatorProfile? Profile { get; init; }

    /// <summary>Measured runs, of which at most <see cref="KeptSamples.Most"/> samples are kept.</summary>
    public long Runs { get; init; }
}

/// <summary>Measures latency, throughput, load time and memory of a model. One benchmark a process, or the memory figures mean nothing.</summary>
public static class OnnxBenchmark
{
    // Steady: the medians of two neighbouring windows differ by less than this share.
    private const double SteadyShare = 0.05;
    private const int SteadyWindow = 10;

    /// <summary>Runs the benchmark.</summary>
    public static Outcome<OnnxBenchmarkResult> Run(OnnxBenchmarkRequest request, Action<string>? log = null, CancellationToken cancellation = default)
    {
        try
        {
            return Measure(request, log ?? (_ => { }), cancellation);
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (OperationCanceledException)
        {
            return new Failure(FailureType.Cancelled, "the benchmark was cancelled");
        }
        catch (Exception e) when (OrtFailures.IsExpected(e))
        {
            return OrtFailures.From(e, Path.GetFileName(request.ModelPath), "run");
        }
    }

    private static OnnxBenchmarkResult Measure(OnnxBenchmarkRequest request, Action<string> log, CancellationToken cancellation)
    {
        var version = OrtEnv.Instance().GetVersionString();
        var size = ArtifactBytes(request.ModelPath);
        var before = ProcessMemory.Resident();
        var settings = new SortedDictionary<string, string>(request.Settings.Recorded().ToDictionary(), StringComparer.Ordinal)
        {
            ["seed"] = request.Seed.ToString(CultureInfo.InvariantCulture),
        };
        KeptSamples latencies;
        IReadOnlyDictionary<string, long[]> shapes;
        int warmup;
        bool steady;
        long peak;
        using (var session = OrtSession.Load(request.ModelPath, request.Settings))
        {
            shapes = ModelInputs.Shapes(session, request.Dims);
            foreach (var (name, dims) in shapes)
            {
                settings[$"input.{name}"] = string.Join('x', dims);
            }

            var inputs = ModelInputs.Seeded(session, shapes, request.Seed).ToDictionary(i => i.Key, i => ModelInputs.ToOrt(session, i.Key, i.Value), StringComparer.Ordinal);
            try
            {
                using var binding = session.Inner.CreateIoBinding();
                using var options = new RunOptions();
                foreach (var (name, value) in inputs)
                {
                    binding.BindInput(name, value);
                }

                foreach (var output in session.Outputs)
                {
                    binding.BindOutputToDevice(output, OrtMemoryInfo.DefaultInstance);
                }

                (warmup, steady) = WarmUp(session, options, binding, request, cancellation);
                log($"warm after {warmup} runs{(steady ? "" : ", not steady")}");
                latencies = Time(session, options, binding, request, cancellation);
                peak = ProcessMemory.Peak();
            }
            finally
            {
                foreach (var value in inputs.Values)
                {
                    value.Dispose();
                }
            }
        }

        var loads = new List<double>();
        for (var i = 0; i < request.Loads; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            var start = Stopwatch.GetTimestamp();
            using var session = OrtSession.Load(request.ModelPath, request.Settings);
            loads.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        var cold = ColdLoads(request, cancellation);
        var profile = request.Profile
            ? OperatorProfile.Take(
                request.ModelPath,
                request.Settings,
                session => ModelInputs.Seeded(session, shapes, request.Seed).ToDictionary(i => i.Key, i => ModelInputs.ToOrt(session, i.Key, i.Value), StringComparer.Ordinal),
                cancellation)
            : null;
        var metrics = new List<OnnxMetric>
        {
            new("latency", "s", false, latencies.Values),
            new("throughput", "1/s", true, latencies.Throughput),
            new("peak_memory", "bytes", false, [peak]),
            new("model_memory", "bytes", false, [Math.Max(0, peak - before)]),
            new("size", "bytes", false, [size]),
        };
        if (loads.Count > 0)
        {
            metrics.Add(new("load_time", "s", false, loads));
        }

        if (cold.Count > 0)
        {
            metrics.Add(new("load_time_cold", "s", false, cold));
        }

        if (profile is { Nodes.Count: > 0 })
        {
            metrics.Add(new("fallback_nodes", "1", false, [profile.NodesNotOn(ExecutionProviders.FullName(request.Settings.Provider))]));
        }

        return new OnnxBenchmarkResult(metrics, settings, warmup, steady ? [] : ["unsteady"], version) { Profile = profile, Runs = latencies.Runs };
    }

    // Empty where the file could not be put out of the cache: a warm load is not passed off as a cold one.
    private static List<double> ColdLoads(OnnxBenchmarkRequest request, CancellationToken cancellation)
    {
        var cold = new List<double>();
        string[] files = [request.ModelPath, .. File.Exists(request.ModelPath + ".data") ? [request.ModelPath + ".data"] : Array.Empty<string>()];
        for (var i = 0; i < request.Loads; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (!PageCache.Evict(files))
            {
                return [];
            }

            var start = Stopwatch.GetTimestamp();
            using var session = OrtSession.Load(request.ModelPath, request.Settings);
            cold.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return cold;
    }

    private static (int Runs, bool Steady) WarmUp(OrtSession session, RunOptions options, OrtIoBinding binding, OnnxBenchmarkRequest request, CancellationToken cancellation)
    {
        var start = Stopwatch.GetTimestamp();
        var runs = 0;
        double? last = null;
        var window = new double[SteadyWindow];
        while (Stopwatch.GetElapsedTime(start) < request.WarmupLimit)
        {
            for (var i = 0; i < window.Length; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                window[i] = RunOnce(session, options, binding);
                runs++;
            }

            Array.Sort(window);
            var median = (window[(SteadyWindow / 2) - 1] + window[SteadyWindow / 2]) / 2;
            if (last is { } previous && Math.Abs(median - previous) <= SteadyShare * previous)
            {
                return (runs, true);
            }

            last = median;
        }

        return (runs, false);
    }

    private static KeptSamples Time(OrtSession session, RunOptions options, OrtIoBinding binding, OnnxBenchmarkRequest request, CancellationToken cancellation)
    {
        var samples = new KeptSamples();
        while (samples.Runs < request.MinimumRuns || samples.Total < request.MinimumTime.TotalSeconds)
        {
            cancellation.ThrowIfCancellationRequested();
            samples.Add(RunOnce(session, options, binding));
        }

        return samples;
    }

    private static double RunOnce(OrtSession session, RunOptions options, OrtIoBinding binding)
    {
        var start = Stopwatch.GetTimestamp();
        try
        {
            session.Inner.RunWithBinding(options, binding);
        }
        catch (OnnxRuntimeException e)
        {
            throw new FailureException(OrtFailures.From(e, session.Name, "run"));
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static long ArtifactBytes(string path)
    {
        var file = new FileInfo(path);
        if (!file.Exists)
        {
            throw new FailureException(Failure.InvalidInput($"model '{path}' does not exist"));
        }

        var data = new FileInfo(path + ".data");
        return file.Length + (data.Exists ? data.Length : 0);
    }
}
