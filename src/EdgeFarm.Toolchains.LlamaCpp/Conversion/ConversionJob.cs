using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Conversion;

/// <summary>The pass that makes a GGUF file of a checkpoint directory: the input <c>model</c> is a directory, the output <c>model</c> a file.</summary>
internal static class ConversionJob
{
    // Reading back compares every tensor, which takes about as long as writing.
    private const double WriteShare = 0.5;

    /// <summary>Words of <c>outtype</c>, as llama.cpp's converter has them.</summary>
    public static IReadOnlyDictionary<string, ConversionOutType> OutTypes { get; } = new SortedDictionary<string, ConversionOutType>(StringComparer.Ordinal)
    {
        ["auto"] = ConversionOutType.Auto,
        ["bf16"] = ConversionOutType.BF16,
        ["f16"] = ConversionOutType.F16,
        ["f32"] = ConversionOutType.F32,
        ["q8_0"] = ConversionOutType.Q8_0,
    };

    /// <summary>Converts, loads the file with llama.cpp, and tells what a user should know of it.</summary>
    public static Outcome<(ConversionReport Report, LlamaLibraryInfo Library)> Run(JobContext job, string output, JobParameters parameters, LlamaHooks hooks)
    {
        var input = job.Inputs["model"];
        var word = parameters.Text("outtype", "auto");
        if (!OutTypes.TryGetValue(word, out var outType))
        {
            return Failure.InvalidInput($"the parameter outtype is \"{word}\"; it takes {string.Join(", ", OutTypes.Keys)}");
        }

        // The directory's own name: where it lies on this machine has nothing to do with the model.
        var request = new ConversionRequest(input.Path, output, outType, parameters.Boolean("strict")) { Name = input.Artifact.FileName };
        var converted = CheckpointConverter.Convert(request, new Progress(hooks), hooks.Cancellation);
        if (!converted.IsOk)
        {
            return converted.Failure!;
        }

        // A file that llama.cpp does not load is none of its models, whatever the comparison with the checkpoint says.
        var probe = LlamaProbe.Run(hooks: hooks);
        var failure = probe.Failure ?? LlamaModelLoad.Run(output, hooks: hooks).Failure;
        if (failure is not null)
        {
            File.Delete(output);
            return failure;
        }

        return (converted.Value, probe.Value);
    }

    /// <summary>The report of the result: what the file is, how well it matches, and the warnings with their codes.</summary>
    public static string Describe(ConversionReport report) => JsonSerializer.Serialize(new
    {
        architecture = report.Architecture,
        file_type = report.FileType.ToString(),
        precision_class = PrecisionClass(report.FileType.ToString()),
        bits_per_weight = Math.Round(8.0 * report.Bytes / report.Parameters, 4),
        parameters = report.Parameters,
        tensors_compared = report.Proof.TensorsCompared,
        exact_tensors = report.Proof.ExactTensors,
        least_snr_db = double.IsFinite(report.Proof.WorstSnr) ? Math.Round(report.Proof.WorstSnr, 2) : (double?)null,
        warnings = report.Warnings.Select(warning => new { code = warning.Code.ToString(), message = warning.Message, computes_differently = warning.ComputesDifferently }),
    });

    private static string PrecisionClass(string type) => type switch { "F32" => "full", "Q8_0" => "5-8", _ => "half" };

    // Synchronous: System.Progress would report on the thread pool, out of order and after the end.
    private sealed class Progress(LlamaHooks hooks) : IProgress<ConversionProgress>
    {
        public void Report(ConversionProgress value)
        {
            var done = value.BytesTotal > 0 ? (double)value.BytesDone / value.BytesTotal : 1;
            var isWriting = value.Stage == "write";
            hooks.Progress?.Invoke(new LlamaProgress(isWriting ? "convert" : value.Stage, isWriting ? done * WriteShare : WriteShare + (done * (1 - WriteShare)), value.Tensor));
        }
    }
}
