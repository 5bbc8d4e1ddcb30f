using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime;

/// <summary>ONNX Runtime as the job host drives it: jobs in, results out. See <see cref="OnnxRuntimeDescriptor"/> for operations and parameters.</summary>
public sealed class OnnxRuntimeEngine : IToolchainEngine
{
    private const string ModelName = "model", ModelFile = "model.onnx", TokenizerFile = "tokenizer.json", CalibrationName = "calibration", DataName = "data", BaselineName = "baseline";
    private const string DimsPrefix = "dims.";

    // What a report names one by one; the rest is counted, so that a result stays small.
    private const int MaxListed = 500, MaxLayers = 20;

    /// <inheritdoc/>
    public string Id => OnnxRuntimeDescriptor.Id;

    /// <inheritdoc/>
    public Outcome<EngineProbe> Probe(CancellationToken cancellationToken)
    {
        var probe = OnnxRuntimeProbe.Run();
        if (!probe.IsOk)
        {
            return probe.Failure!;
        }

        var info = probe.Value;
        return new EngineProbe(
            new ToolchainInfo(OnnxRuntimeDescriptor.Identity with { Release = info.Version }, [.. OnnxRuntimeDescriptor.Value.Passes.Select(p => p.Type)]),
            new RuntimeInfo(OnnxRuntimeDescriptor.RuntimeIdentity with { Release = info.Version }, "cpu", LibraryDigest(info.LibraryPath), [FormatNames.Onnx], ["cpu", .. ExecutionProviders.Devices.Select(d => d.Id)]),
            [.. ExecutionProviders.Devices.Select(Describe)],
            [.. ExecutionProviders.Problems, $"ONNX Runtime {info.Version}, execution providers {string.Join(", ", info.Providers)}, from {info.LibraryPath}"]);
    }

    /// <inheritdoc/>
    public Outcome<EngineResult> Run(JobContext job, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(job);
        try
        {
            return job.Kind switch
            {
                JobKind.Optimize => Optimize(job, cancellationToken),
                JobKind.Benchmark => Benchmark(job, cancellationToken),
                JobKind.Evaluate when job.Operation == OnnxRuntimeDescriptor.CompareOperation => Evaluate(job, cancellationToken),
                _ => Failure.Unsupported($"ONNX Runtime has no operation {job.Kind} {job.Operation}"),
            };
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    private static Outcome<EngineResult> Optimize(JobContext job, CancellationToken cancellation)
    {
        CalibrationData? calibration = null;
        if (job.Inputs.TryGetValue(CalibrationName, out var samples))
        {
            var loaded = CalibrationData.Load(samples.Path, Directories(job, ModelName));
            if (!loaded.IsOk)
            {
                return loaded.Failure!;
            }

            calibration = loaded.Value;
        }

        // A model whose weights outgrow one message is two files: a directory of its own keeps them together.
        var directory = Path.Combine(job.OutputDirectory, ModelName);
        Directory.CreateDirectory(directory);
        var outcome = OnnxOptimizer.Run(
            new OnnxOptimizeRequest(Model(job, ModelName), Path.Combine(directory, ModelFile), [new Passes.PassStep(job.Operation, job.Parameters.Where(p => !p.Key.StartsWith(DimsPrefix, StringComparison.Ordinal)).ToDictionary())])
            {
                Dims = Dims(job),
                Calibration = calibration,
                Threads = job.AutoThreads,
                Provider = job.DeviceId,
                Progress = job.Progress,
            },
            job.Log,
            cancellation);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var result = outcome.Value;
        var fileName = ModelName;
        if (Directories(job, ModelName).Select(d => Path.Combine(d, TokenizerFile)).FirstOrDefault(File.Exists) is { } tokenizer)
        {
            // The next pass, or an evaluation on texts, has this output alone.
            File.Copy(tokenizer, Path.Combine(directory, TokenizerFile));
        }
        else if (result.Files.Count == 1)
        {
            fileName = ModelFile;
            File.Move(result.Files[0], Path.Combine(job.OutputDirectory, ModelFile));
            Directory.Delete(directory);
        }

        var report = result.Passes[0];
        return new EngineResult
        {
            Outputs = [new OutputFile(ModelName, fileName, FormatNames.Onnx)],
            Result = Result(OnnxRuntimeDescriptor.Identity) with
            {
                Flags = report.Synthetic ? ["synthetic_input"] : [],
                Warnings = [.. report.Warnings, .. result.NotLoaded is { } why ? [why] : Array.Empty<string>()],
                Report = Report(result, report),
            },
        };
    }

    private static Outcome<EngineResult> Benchmark(JobContext job, CancellationToken cancellation)
    {
        var outcome = OnnxBenchmark.Run(
            new OnnxBenchmarkRequest(Model(job, ModelName))
            {
                Settings = Settings(job),
                Dims = Dims(job),
                Seed = Integer(job, "seed", 1),
                MinimumRuns = Integer(job, "min_runs", 100),
                Profile = Text(job, "profile", "true") == "true",
                MinimumTime = TimeSpan.FromSeconds(double.Parse(Text(job, "min_seconds", "1"), CultureInfo.InvariantCulture)),
            },
            job.Log,
            cancellation);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var result = outcome.Value;
        var size = job.Inputs[ModelName].Artifact.Size;
        return new EngineResult
        {
            Result = Result(OnnxRuntimeDescriptor.RuntimeIdentity) with
            {
                Measurements = [.. result.Metrics.Select(m => new Measurement(m.Metric, m.Metric == "size" ? [size] : [.. m.Samples], OnnxRuntimeDescriptor.Id))],
                Settings = result.Settings.ToImmutableSortedDictionary(StringComparer.Ordinal),
                Flags = [.. result.Flags],
                Report = JsonSerializer.Serialize(new
                {
                    warmup_runs = result.WarmupRuns,
                    runs = result.Runs,
                    operators = result.Profile?.Operators.Take(MaxLayers).Select(o => new { op_type = o.OpType, provider = o.Provider, nodes = o.Nodes, seconds = o.Seconds, share = Math.Round(o.Share, 4) }),
                    slowest_nodes = result.Profile?.Nodes.Take(MaxLayers).Select(n => new { node = n.Node, op_type = n.OpType, provider = n.Provider, seconds = n.Seconds }),
                    nodes_by_provider = result.Profile?.Nodes.GroupBy(n => n.Provider).ToDictionary(g => g.Key, g => g.Count()),
                }),
            },
        };
    }

    private static Outcome<EngineResult> Evaluate(JobContext job, CancellationToken cancellation)
    {
        var settings = Settings(job);
        var outcome = OnnxEvaluation.Run(
            new OnnxEvaluationRequest(Model(job, ModelName), Model(job, BaselineName))
            {
                Settings = settings,
                DataPath = job.Inputs.TryGetValue(DataName, out var data) ? data.Path : null,
                Labels = job.Parameters.GetValueOrDefault("labels"),
                ModelDirectories = [.. Directories(job, ModelName), .. Directories(job, BaselineName)],
                LayerSamples = Integer(job, "layer_samples", 2),
                Dims = Dims(job),
                Seed = Integer(job, "seed", 1),
                MaxSamples = Integer(job, "max_samples", 0),
                SyntheticSamples = Integer(job, "synthetic_samples", 16),
            },
            job.Log,
            cancellation);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var result = outcome.Value;
        return new EngineResult
        {
            Result = Result(OnnxRuntimeDescriptor.RuntimeIdentity) with
            {
                Measurements = [.. result.Metrics.Select(m => new Measurement(m.Metric, [.. m.Samples], OnnxRuntimeDescriptor.Id))],
                Settings = settings.Recorded().ToImmutableSortedDictionary(StringComparer.Ordinal),
                Flags = [.. result.Flags],
                Warnings = [.. result.Notes],
                Report = Layers(result),
            },
        };
    }

    private static string Report(OnnxOptimizeResult result, PassReport report) => JsonSerializer.Serialize(new
    {
        pass = report.Pass,
        parameters = report.Parameters,
        source_bytes = result.SourceBytes,
        bytes = result.OutputBytes,
        changed_nodes = report.Changed.Count,
        skipped_nodes = report.Skipped.Count,
        changed = report.Changed.Take(MaxListed).Select(c => new { node = c.Node, op_type = c.OpType, became = c.Became }),
        skipped = report.Skipped.Take(MaxListed).Select(s => new { node = s.Node, op_type = s.OpType, reason = s.Reason }),
        weights = result.Weights.Take(MaxListed).Select(w => new { name = w.Name, format = w.Format, sqnr_db = w.SqnrDb is { } db ? Math.Round(db, 2) : (double?)null }),
        least_sqnr_db = result.Weights.Min(w => w.SqnrDb) is { } least ? Math.Round(least, 2) : (double?)null,
        notes = report.Notes,
        figures = report.Figures,
        precision_class = report.PrecisionClass.Length > 0 ? report.PrecisionClass : null,
        explanation = report.Explanation,
        choice = report.Chosen is null ? null : Choice(report),
        search = report.Search.Take(MaxListed).Select(s => new { what = s.What, cosine = Math.Round(s.Cosine, 6), integer_weights = s.IntegerWeights, kept = s.Kept }),
    });

    private static object Choice(PassReport report) => new
    {
        form = report.Chosen,
        trials = report.Trials.Select(t => new
        {
            form = t.Form,
            recipe = t.Recipe,
            reason = t.Reason,
            verdict = t.Verdict,
            bytes = t.Bytes,
            degradation = Finite(t.Degradation),
            cosine = Finite(t.Cosine),
            latency_ratio = Finite(t.LatencyRatio),
            latency_interval = t.LatencyInterval is { } interval ? new[] { interval.Low, interval.High } : null,
            seconds = t.Seconds,
        }),
        excluded = report.Excluded.Select(e => new { form = e.Form, reason = e.Reason }),
    };

    private static string Layers(OnnxEvaluationResult result) => JsonSerializer.Serialize(new
    {
        samples = result.Samples,
        differing_values = result.Layers.Count,
        // Where the error is greatest, and where it comes from.
        worst_layers = result.Layers.OrderBy(l => l.SqnrDb ?? double.NegativeInfinity).Take(MaxLayers).Select(Layer),
        costliest_nodes = result.Layers.Where(l => l.LostDb > 0).OrderByDescending(l => l.LostDb).Take(MaxLayers).Select(Layer),
    });

    private static object Layer(LayerError layer) => new
    {
        tensor = layer.Tensor,
        node = layer.Node,
        op_type = layer.OpType,
        sqnr_db = Rounded(layer.SqnrDb),
        lost_db = Rounded(layer.LostDb),
        cosine = layer.Cosine is { } cosine && double.IsFinite(cosine) ? Math.Round(cosine, 6) : (double?)null,
        max_error = double.IsFinite(layer.MaxError) ? layer.MaxError : (double?)null,
    };

    private static double? Finite(double? value) => value is { } v && double.IsFinite(v) ? v : null;

    private static double? Rounded(double? value) => value is { } v && double.IsFinite(v) ? Math.Round(v, 2) : null;

    private static JobResult Result(EngineIdentity identity)
    {
        var probe = OnnxRuntimeProbe.Run();
        var info = probe.IsOk ? probe.Value : throw new FailureException(probe.Failure!);
        return new JobResult { Engine = identity with { Release = info.Version }, LibraryVariant = "cpu", LibraryDigest = LibraryDigest(info.LibraryPath) };
    }

    private static string LibraryDigest(string path)
    {
        if (path.Length == 0)
        {
            return "";
        }

        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private static OrtSettings Settings(JobContext job)
    {
        var settings = new OrtSettings
        {
            IntraOpThreads = Text(job, "threads", "auto") == "auto" ? job.AutoThreads : Integer(job, "threads", 1),
            InterOpThreads = Integer(job, "inter_op_threads", 1),
            AllowSpinning = Text(job, "allow_spinning", "true") == "true",
            GraphOptimization = Text(job, "graph_optimization", "all"),
            Provider = Text(job, "provider", "auto") is var provider && provider != "auto" ? provider : job.DeviceId,
        };
        return Text(job, "x64_quant_precision", "false") == "true"
            ? settings with { Config = new Dictionary<string, string> { ["session.x64quantprecision"] = "1" } }
            : settings;
    }

    private static Dictionary<string, long[]> Dims(JobContext job)
    {
        var dims = new Dictionary<string, long[]>(StringComparer.Ordinal);
        foreach (var (key, value) in job.Parameters.Where(p => p.Key.StartsWith(DimsPrefix, StringComparison.Ordinal)))
        {
            var shape = value.Split(',').Select(d => long.TryParse(d, NumberStyles.None, CultureInfo.InvariantCulture, out var dim) ? dim : -1).ToArray();
            dims[key[DimsPrefix.Length..]] = shape.All(d => d > 0) ? shape
                : throw new FailureException(Failure.InvalidInput($"{key} '{value}' is not a list of positive dimensions"));
        }

        return dims;
    }

    // A plug-in's device has no memory figure in ONNX Runtime's list; 0 stands for unknown.
    private static Device Describe(PluginDevice plugin)
    {
        var hardware = plugin.Device.HardwareDevice;
        var properties = ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, new Dictionary<string, PropertyValue>
        {
            ["execution_provider"] = PropertyValue.Of(plugin.Device.EpName),
            ["vendor"] = PropertyValue.Of(hardware.Vendor),
        });
        return new Device(
            plugin.Id, hardware.Type.ToString().ToLowerInvariant(), properties, 0, $"{plugin.Device.EpName}; {hardware.Vendor}; {hardware.VendorId:x4}:{hardware.DeviceId:x4}");
    }

    private static string[] Directories(JobContext job, string input) =>
        job.Inputs.TryGetValue(input, out var file) && Directory.Exists(file.Path) ? [file.Path] : [];

    private static string Model(JobContext job, string input)
    {
        if (!job.Inputs.TryGetValue(input, out var file))
        {
            throw new FailureException(new Failure(FailureType.Internal, $"the job {job.Operation} came without its input {input}"));
        }

        if (!Directory.Exists(file.Path))
        {
            return file.Path;
        }

        var models = Directory.EnumerateFiles(file.Path, "*.onnx").Take(2).ToList();
        return models.Count == 1 ? models[0]
            : throw new FailureException(Failure.InvalidInput($"'{file.Artifact.FileName}' holds {(models.Count == 0 ? "no" : "several")} .onnx files at its top; it needs one"));
    }

    private static string Text(JobContext job, string name, string fallback) => job.Parameters.GetValueOrDefault(name) is { Length: > 0 } text ? text : fallback;

    private static int Integer(JobContext job, string name, int fallback) =>
        int.TryParse(Text(job, name, fallback.ToString(CultureInfo.InvariantCulture)), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new FailureException(Failure.InvalidInput($"{name} '{job.Parameters[name]}' is not a whole number"));
}
