using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Toolchains.LlamaCpp.Benchmarking;
using EdgeFarm.Toolchains.LlamaCpp.Conversion;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Evaluation;
using EdgeFarm.Toolchains.LlamaCpp.Imatrix;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp;

/// <summary>llama.cpp as the job host drives it: jobs in, results out. See <see cref="LlamaCppDescriptor"/> for operations and parameters.</summary>
public sealed class LlamaCppEngine : IToolchainEngine
{
    private const string ModelFile = "model.gguf", ImatrixFile = "imatrix.gguf", LogitsName = "logits";

    /// <inheritdoc/>
    public string Id => LlamaCppDescriptor.Id;

    /// <inheritdoc/>
    public Outcome<EngineProbe> Probe(CancellationToken cancellationToken)
    {
        var probe = LlamaProbe.Run(hooks: new LlamaHooks(Cancellation: cancellationToken));
        if (!probe.IsOk)
        {
            return probe.Failure!;
        }

        var info = probe.Value;
        var identity = Identity(info);
        var devices = Computing(info).ToList();
        var accelerators = devices.Where(device => device.Kind != LlamaDeviceKind.Cpu).ToList();
        return new EngineProbe(
            new ToolchainInfo(identity, [.. LlamaCppDescriptor.Value.Passes.Select(pass => pass.Type), .. LlamaCppDescriptor.Value.Preparations.Select(preparation => preparation.Operation)]),
            new RuntimeInfo(identity, info.Variant, info.Digest.Hex, [FormatNames.Gguf], [.. devices.Select(device => device.FarmId)]),
            [.. accelerators.Select(ToDevice)],
            [$"llama.cpp {info.Version} ({info.Commit}), CPU variant {info.Variant}, features {string.Join(" ", info.Features)}, from {info.Directory}", .. LlamaAccelerators.Notes(info)])
        {
            Unproven = [.. accelerators.Select(device => new UnprovenDevice(device.FarmId, LlamaAccelerators.Advice(info, device)))],
        };
    }

    /// <inheritdoc/>
    public Outcome<EngineResult> Run(JobContext job, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(job);
        try
        {
            var parameters = new JobParameters(job.Parameters);
            var hooks = new LlamaHooks((_, line) => job.Log(line), step => job.Progress(step.Fraction, $"{step.Stage} {step.Detail}".TrimEnd()), cancellationToken);
            return (job.Kind, job.Operation) switch
            {
                (JobKind.Optimize, LlamaCppDescriptor.ConversionPass) => Convert(job, parameters, hooks),
                (JobKind.Optimize, LlamaCppDescriptor.QuantizationPass) => Quantize(job, parameters, hooks),
                (JobKind.Optimize, LlamaCppDescriptor.ImportanceMatrixPass) => ImportanceMatrix(job, parameters, hooks),
                (JobKind.Benchmark, UnprovenDevice.Proof) => LlamaDeviceProof.Run(job.DeviceId, hooks: hooks) is { } failure ? failure : new EngineResult { Result = new JobResult() },
                (JobKind.Benchmark, _) => Benchmark(job, parameters, hooks),
                (JobKind.Evaluate, LlamaCppDescriptor.PerplexityOperation) => Perplexity(job, parameters, hooks),
                _ => Failure.Unsupported($"llama.cpp has no operation {job.Kind} {job.Operation}"),
            };
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    private static Outcome<EngineResult> Convert(JobContext job, JobParameters parameters, LlamaHooks hooks)
    {
        Input(job, "model");
        var outcome = ConversionJob.Run(job, Path.Combine(job.OutputDirectory, ModelFile), parameters, hooks);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var (report, library) = outcome.Value;
        return new EngineResult
        {
            Outputs = [new OutputFile("model", ModelFile, FormatNames.Gguf)],
            Result = Result(library) with
            {
                Report = ConversionJob.Describe(report),
                Warnings = [.. report.Warnings.Select(warning => warning.Message)],
            },
        };
    }

    private static Outcome<EngineResult> Quantize(JobContext job, JobParameters parameters, LlamaHooks hooks)
    {
        var request = new QuantizeRequest(Input(job, "model"), Path.Combine(job.OutputDirectory, ModelFile), parameters.Text("ftype", ""))
        {
            Imatrix = job.Inputs.TryGetValue("imatrix", out var imatrix) ? imatrix.Path : null,
            ImatrixName = imatrix?.Artifact.FileName,
            OutputTensorType = parameters.Text("output_tensor_type"),
            TokenEmbeddingType = parameters.Text("token_embedding_type"),
            TensorTypes = [.. parameters.Pairs("tensor_type").Select(pair => new TensorTypeOverride(pair.Left, pair.Right))],
            Pure = parameters.Boolean("pure"),
            AllowRequantize = parameters.Boolean("allow_requantize"),
            LeaveOutputTensor = parameters.Boolean("leave_output_tensor"),
            PruneLayers = parameters.Integers("prune_layers"),
            Threads = job.AutoThreads,
        };
        var plan = LlamaQuantizer.Plan(request, hooks);
        return !plan.IsOk ? plan.Failure! : plan.Value.Unchanged ? Unchanged(request, plan.Value, hooks) : Quantized(request, hooks);
    }

    private static Outcome<EngineResult> Unchanged(QuantizeRequest request, QuantizePlan plan, LlamaHooks hooks)
    {
        var probe = LlamaProbe.Run(hooks: hooks);
        var loaded = LlamaModelLoad.Run(request.Input, hooks: hooks);
        if (!probe.IsOk || !loaded.IsOk)
        {
            return (probe.Failure ?? loaded.Failure)!;
        }

        var bits = 8.0 * new FileInfo(request.Input).Length / plan.Tensors.Sum(tensor => tensor.Elements);
        var form = LlamaQuantTypes.All.First(type => type.Name == plan.Form);
        return new EngineResult
        {
            Outputs = [new OutputFile("model", ModelFile, FormatNames.Gguf, SameAsInput: "model")],
            Result = Result(probe.Value) with { Report = Report(plan.Form, bits, form.PrecisionClass, plan.FallbackTensors, plan.Tensors) },
        };
    }

    private static Outcome<EngineResult> Quantized(QuantizeRequest request, LlamaHooks hooks)
    {
        var outcome = LlamaQuantizer.Run(request, hooks);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var result = outcome.Value;
        return new EngineResult
        {
            Outputs = [new OutputFile("model", ModelFile, FormatNames.Gguf)],
            Result = Result(result.Library) with
            {
                Report = Report(result.Form, result.BitsPerWeight, result.PrecisionClass, result.FallbackTensors, result.Tensors),
                Warnings = result.FallbackTensors == 0 ? [] :
                    [string.Create(CultureInfo.InvariantCulture, $"{result.FallbackTensors} of {result.Tensors.Count} tensors have rows that {result.Form}'s types do not divide, and got another type")],
            },
        };
    }

    /// <summary>The output <c>imatrix</c> from the inputs <c>model</c> and <c>calibration</c>, a text: shared by all forms that need one.</summary>
    private static Outcome<EngineResult> ImportanceMatrix(JobContext job, JobParameters parameters, LlamaHooks hooks)
    {
        var settings = new EvaluationSettings(Input(job, "model"))
        {
            Context = parameters.Integer("context", 512),
            Chunks = parameters.Integer("chunks", -1),
            Threads = job.AutoThreads,
            Device = Device(job),
        };
        var text = Input(job, "calibration");
        var outcome = LlamaImatrix.Run(
            new ImatrixRequest(settings, text, Path.Combine(job.OutputDirectory, ImatrixFile))
            {
                DatasetName = job.Inputs["calibration"].Artifact.FileName,
                ProcessOutput = parameters.Boolean("process_output"),
            },
            hooks);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var result = outcome.Value;
        return new EngineResult
        {
            Outputs = [new OutputFile("imatrix", ImatrixFile, FormatNames.Gguf)],
            Result = Result(result.Library) with
            {
                Report = JsonSerializer.Serialize(new { entries = result.Entries, chunks = result.Chunks, incomplete_entries = result.IncompleteEntries }),
                Warnings = result.IncompleteEntries == 0 ? [] :
                    [string.Create(CultureInfo.InvariantCulture, $"{result.IncompleteEntries} weights have experts that no token of the calibration text was routed to; take a longer text")],
            },
        };
    }

    private static Outcome<EngineResult> Benchmark(JobContext job, JobParameters parameters, LlamaHooks hooks)
    {
        var outcome = LlamaBenchmark.Run(
            new BenchmarkRequest(Input(job, "model"))
            {
                Prompt = parameters.Integer("prompt", 512),
                Generation = parameters.Integer("generate", 128),
                Depth = parameters.Integer("n_depth", 0),
                Repetitions = parameters.Integer("repetitions", 5),
                Warmup = parameters.IntegerOrAuto("warmup"),
                Threads = parameters.IntegerOrAuto("threads") ?? job.AutoThreads,
                Batch = parameters.Integer("n_batch", 2048),
                Ubatch = parameters.Integer("n_ubatch", 512),
                TypeK = parameters.Text("type_k", "f16"),
                TypeV = parameters.Text("type_v", "f16"),
                FlashAttention = parameters.FlashAttention(),
                Device = Device(job),
                GpuLayers = parameters.Integer("n_gpu_layers", -1),
            },
            hooks);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var result = outcome.Value;
        return new EngineResult
        {
            Result = Result(result.Library, job.DeviceId) with
            {
                Measurements = [.. result.Metrics.Select(metric => new Measurement(metric.Metric, [.. metric.Samples], LlamaCppDescriptor.Id))],
                Settings = result.Settings.ToImmutableSortedDictionary(StringComparer.Ordinal),
                Flags = result.Steady ? [] : ["unsteady"],
                Report = JsonSerializer.Serialize(new
                {
                    model = result.ModelDescription,
                    parameters = result.Parameters,
                    contexts = result.Contexts.Select(context => new
                    {
                        test = context.Test,
                        n_ctx = context.Ctx,
                        n_batch = context.Batch,
                        n_ubatch = context.Ubatch,
                        n_threads = context.Threads,
                        n_threads_batch = context.ThreadsBatch,
                        type_k = context.TypeK,
                        type_v = context.TypeV,
                        kv_cache_bytes = context.CacheBytes,
                        flash_attn = context.FlashAttention,
                        decode_calls = context.DecodeCalls,
                        decoded_tokens = context.DecodedTokens,
                    }),
                    offloaded_layers = result.OffloadedLayers,
                    warmup = result.Warmups.Select(warmup => new { test = warmup.Test, runs = warmup.Runs, seconds = warmup.Seconds, steady = warmup.Steady }),
                }),
            },
        };
    }

    /// <summary>
    /// Perplexity on the input <c>text</c>. With the input <c>logits</c> (a baseline's) also the KL divergence from them, on the text that
    /// they hold; with the parameter <c>save_logits</c> the output <c>logits</c>.
    /// </summary>
    private static Outcome<EngineResult> Perplexity(JobContext job, JobParameters parameters, LlamaHooks hooks)
    {
        var settings = new EvaluationSettings(Input(job, "model"))
        {
            Context = parameters.Integer("context", 512),
            Chunks = parameters.Integer("chunks", 20),
            Threads = parameters.IntegerOrAuto("threads") ?? job.AutoThreads,
            TypeK = parameters.Text("type_k", "f16"),
            TypeV = parameters.Text("type_v", "f16"),
            FlashAttention = parameters.FlashAttention(),
            Device = Device(job),
            GpuLayers = parameters.Integer("n_gpu_layers", -1),
        };
        if (job.Inputs.TryGetValue(LogitsName, out var baseline))
        {
            var compared = LlamaPerplexity.Compare(new DivergenceRequest(settings, baseline.Path), hooks);
            return compared.IsOk ? Divergence(compared.Value, job.DeviceId) : compared.Failure!;
        }

        var save = parameters.Boolean("save_logits");
        var outcome = LlamaPerplexity.Run(new PerplexityRequest(settings, Input(job, "text"), save ? Path.Combine(job.OutputDirectory, LogitsName) : null), hooks);
        if (!outcome.IsOk)
        {
            return outcome.Failure!;
        }

        var result = outcome.Value;
        return new EngineResult
        {
            Outputs = save ? [new OutputFile(LogitsName, LogitsName, LogitsName)] : [],
            Result = Result(result.Library, job.DeviceId) with
            {
                Measurements = [new Measurement("perplexity", [result.Perplexity], LlamaCppDescriptor.Id, result.StandardError)],
                Settings = result.Settings.ToImmutableSortedDictionary(StringComparer.Ordinal).SetItem("chunks", result.Chunks.ToString(CultureInfo.InvariantCulture)),
                Report = JsonSerializer.Serialize(new { chunks = result.Chunks, scored_tokens = result.ScoredTokens }),
            },
        };
    }

    private static EngineResult Divergence(DivergenceResult result, string device)
    {
        static Measurement Of(string metric, Estimate estimate) => new(metric, [estimate.Value], LlamaCppDescriptor.Id, estimate.StandardError);
        return new EngineResult
        {
            Result = Result(result.Library, device) with
            {
                Measurements =
                [
                    Of("perplexity", result.Perplexity),
                    Of("kld_mean", result.MeanDivergence),
                    .. LlamaCppDescriptor.DivergencePercentiles.Select(p => new Measurement(p.Metric, [result.DivergencePercentiles[p.Percentile]], LlamaCppDescriptor.Id)),
                    Of("same_top", result.SameTop),
                    Of("rms_dp", result.RmsProbabilityChange),
                    Of("mean_dp", result.MeanProbabilityChange),
                    Of("perplexity_ratio", result.PerplexityRatio),
                ],
                Settings = result.Settings.ToImmutableSortedDictionary(StringComparer.Ordinal).SetItem("chunks", result.Chunks.ToString(CultureInfo.InvariantCulture)),
                Report = JsonSerializer.Serialize(new
                {
                    chunks = result.Chunks,
                    scored_tokens = result.ScoredTokens,
                    perplexity_ratio = result.PerplexityRatio,
                    baseline_perplexity = result.BaselinePerplexity,
                    log_perplexity_correlation = result.LogPerplexityCorrelation,
                    kld = result.DivergencePercentiles.ToDictionary(pair => pair.Key.ToString(CultureInfo.InvariantCulture), pair => pair.Value),
                    mean_delta_p = result.MeanProbabilityChange,
                    rms_delta_p = result.RmsProbabilityChange,
                }),
            },
        };
    }

    private static JobResult Result(LlamaLibraryInfo info, string device = "cpu") => new()
    {
        Engine = Identity(info),
        LibraryVariant = RuntimeInfo.VariantOn(device, info.Variant),
        LibraryDigest = info.Digest.Hex,
    };

    // Builds of the user's own may say the packaged build's release and commit, and compute something else.
    private static EngineIdentity Identity(LlamaLibraryInfo info) =>
        new(LlamaCppDescriptor.Id, info.Release, info.Packaged ? info.Commit : $"library:{info.Digest.Hex}");

    private static string Report(string form, double bits, string precision, int fallback, IReadOnlyList<QuantizedTensor> tensors) =>
        JsonSerializer.Serialize(new
        {
            form,
            bits_per_weight = Math.Round(bits, 4),
            precision_class = precision,
            parameters = tensors.Sum(tensor => tensor.Elements),
            fallback_tensors = fallback,
            types = tensors.GroupBy(tensor => tensor.Type).OrderBy(group => group.Key).ToDictionary(group => group.Key.ToString(), group => group.Count()),
            least_sqnr_db = tensors.Min(tensor => tensor.SqnrDecibels) is { } least ? Math.Round(least, 2) : (double?)null,
        });

    private static string Input(JobContext job, string name) => job.Inputs.TryGetValue(name, out var input)
        ? input.Path
        : throw new FailureException(new Failure(FailureType.Internal, $"the job {job.Operation} came without its input {name}"));

    // An accelerator that works beside the CPU backend (AMX, BLAS) is no device that one could choose.
    private static IEnumerable<LlamaDevice> Computing(LlamaLibraryInfo info) =>
        info.Devices.Where(device => device.Kind is LlamaDeviceKind.Cpu or LlamaDeviceKind.Gpu or LlamaDeviceKind.IntegratedGpu);

    private static string Device(JobContext job)
    {
        if (job.DeviceId == "cpu")
        {
            return "cpu";
        }

        var probe = LlamaProbe.Run();
        var info = probe.IsOk ? probe.Value : throw new FailureException(probe.Failure!);
        return Computing(info).FirstOrDefault(device => device.FarmId == job.DeviceId)?.Name
            ?? throw new FailureException(Failure.Unsupported($"llama.cpp has no device {job.DeviceId} here; it has {string.Join(", ", Computing(info).Select(device => device.FarmId))}. {string.Join("; ", LlamaAccelerators.Notes(info))}".TrimEnd('.', ' ')));
    }

    private static Device ToDevice(LlamaDevice device) => new(
        device.FarmId,
        "gpu",
        ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal)
            .Add("gpu.name", PropertyValue.Of(device.Description))
            .Add("gpu.backend", PropertyValue.Of(device.Backend))
            .Add("gpu.integrated", PropertyValue.Of(device.Kind == LlamaDeviceKind.IntegratedGpu ? "true" : "false"))
            .AddRange(device.DeviceId is { Length: > 0 } address ? [new("pci.address", PropertyValue.Of(address))] : []),
        device.MemoryTotal,
        string.Create(CultureInfo.InvariantCulture, $"{device.Backend} {device.Description} {device.MemoryTotal} bytes"));
}
