using System.Text.Json.Nodes;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Onnx;

namespace EdgeFarm.Toolchains.Imports;

/// <summary>
/// The import, which is the same for every toolchain: checks a model source by its format's reader and names the format. The model
/// stays as it is: the output <c>model</c> is the input <c>source</c>. The result's report holds <c>format</c>, <c>architecture</c> (as the
/// file names it, or null) and <c>parameters</c> (elements of all weights).
/// </summary>
public static class ImportJob
{
    /// <summary>Name of the input.</summary>
    public const string Source = "source";

    /// <summary>Name of the output.</summary>
    public const string Model = "model";

    private static ReadOnlySpan<byte> GgufMagic => "GGUF"u8;

    /// <summary>Runs the job. InvalidInput when the source is not what its name or content says, with the offset and the reason; Unsupported for a kind of source that no reader knows.</summary>
    public static Outcome<EngineResult> Run(JobContext job)
    {
        if (!job.Inputs.TryGetValue(Source, out var input))
        {
            return new Failure(FailureType.Internal, $"an import needs the input '{Source}'");
        }

        job.Progress(0, $"checking {input.Artifact.FileName}");
        var found = Inspect(input);
        if (!found.IsOk)
        {
            return found.Failure!;
        }

        var (format, report) = found.Value;
        job.Log($"{input.Artifact.FileName}: {report}");
        job.Progress(1, $"{input.Artifact.FileName} is {format}");
        return new EngineResult
        {
            Outputs = [new OutputFile(Model, input.Artifact.FileName, format, SameAsInput: Source)],
            Result = new JobResult { Report = report },
        };
    }

    private static Outcome<(string Format, string Report)> Inspect(InputFile input)
    {
        var name = input.Artifact.FileName;
        if (input.Artifact.Kind == ArtifactKind.Tree)
        {
            return InspectTree(input.Path, name);
        }

        var extension = Path.GetExtension(name);
        return IsGguf(input.Path) || extension.Equals(".gguf", StringComparison.OrdinalIgnoreCase) ? InspectGguf(input.Path, name)
            : extension.Equals(".onnx", StringComparison.OrdinalIgnoreCase) || input.Artifact.Format == FormatNames.Onnx ? InspectOnnx(input.Path, name)
            : Failure.Unsupported($"'{name}' is no model that EdgeFarm reads: it does not begin as GGUF and its name does not end in .gguf or .onnx; rename it if it is one of these");
    }

    private static Outcome<(string Format, string Report)> InspectTree(string path, string name)
    {
        // Only the directory itself is looked at: the main file of a model stands there.
        if (File.Exists(Path.Combine(path, "config.json")) && Directory.EnumerateFiles(path, "*.safetensors", SearchOption.TopDirectoryOnly).Any())
        {
            return InspectCheckpoint(path);
        }

        var models = Directory.EnumerateFiles(path, "*.onnx", SearchOption.TopDirectoryOnly).Take(2).ToList();
        return models switch
        {
            [var model] => InspectOnnx(model, $"{name}/{Path.GetFileName(model)}"),
            [_, _] => Failure.InvalidInput($"the directory '{name}' holds several .onnx files; submit the one that is meant, with its external data beside it in a directory of its own"),
            _ => Failure.Unsupported($"the directory '{name}' is no model that EdgeFarm reads so far: there is neither a Hugging Face checkpoint (config.json and *.safetensors) nor an .onnx file in it"),
        };
    }

    private static Outcome<(string Format, string Report)> InspectCheckpoint(string path)
    {
        var opened = Checkpoint.Open(path);
        if (!opened.IsOk)
        {
            return opened.Failure!;
        }

        using var checkpoint = opened.Value;
        return (FormatNames.HuggingFace, Report(FormatNames.HuggingFace, checkpoint.Config.Family.Id, checkpoint.Tensors.Sum(t => t.Source.Elements), checkpoint.Tensors.Count));
    }

    private static Outcome<(string Format, string Report)> InspectGguf(string path, string name)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
        var read = GgufReader.Read(stream, name);
        if (!read.IsOk)
        {
            return read.Failure!;
        }

        // Each count is bounded by the file's size, so the sum of at most so many tensors cannot overflow.
        var parameters = read.Value.Tensors.Sum(t => t.Elements);
        var architecture = read.Value.Metadata["general.architecture"]?.Value as string;
        return architecture is null
            ? Failure.InvalidInput($"{name}: the metadata has no text 'general.architecture', so this GGUF file is no model; take the file that the converter wrote")
            : (FormatNames.Gguf, Report(FormatNames.Gguf, architecture, parameters, read.Value.Tensors.Count));
    }

    private static Outcome<(string Format, string Report)> InspectOnnx(string path, string name)
    {
        var loaded = OnnxModel.Load(path);
        if (!loaded.IsOk)
        {
            return loaded.Failure!;
        }

        using var model = loaded.Value;
        var initializers = model.Graph.Initializer.Sum(t => t.Dims.Aggregate(1L, (product, dim) => product * dim));

        // Converters of some frameworks keep every weight in a Constant node.
        var constants = model.Graph.Node.Where(n => n.OpType == "Constant")
            .SelectMany(n => n.Attribute).Where(a => a.T is not null).Sum(a => a.T.Dims.Aggregate(1L, (product, dim) => product * dim));
        var producer = model.Proto.ProducerName;
        return (FormatNames.Onnx, Report(FormatNames.Onnx, producer.Length > 0 ? $"onnx ({producer})" : null, initializers + constants, model.Graph.Node.Count));
    }

    private static string Report(string format, string? architecture, long parameters, int parts) =>
        new JsonObject
        {
            ["format"] = format,
            ["architecture"] = architecture,
            ["parameters"] = parameters,
            [format == FormatNames.Onnx ? "nodes" : "tensors"] = parts,
        }.ToJsonString();

    private static bool IsGguf(string path)
    {
        using var handle = File.OpenHandle(path);
        Span<byte> magic = stackalloc byte[4];
        return RandomAccess.Read(handle, magic, 0) == magic.Length && magic.SequenceEqual(GgufMagic);
    }
}
