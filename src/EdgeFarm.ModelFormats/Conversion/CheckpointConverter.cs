using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Io;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>
/// Converts Hugging Face checkpoints to GGUF: the same keys and tensors, bit for bit, as llama.cpp's own converter makes, tensor by
/// tensor in bounded memory. The file is read back and compared with the checkpoint before it gets its name.
/// </summary>
public static class CheckpointConverter
{
    private static readonly string[] Phi3Tokens = ["</s>", "<unk>", "<s>", "<|endoftext|>"];

    /// <summary>Converts on the thread pool; see <see cref="Convert"/>.</summary>
    public static Task<Outcome<ConversionReport>> ConvertAsync(
        ConversionRequest request, IProgress<ConversionProgress>? progress = null, CancellationToken cancellation = default) =>
        Task.Run(() => Convert(request, progress, cancellation), CancellationToken.None);

    /// <summary>
    /// Converts a checkpoint. InvalidInput for broken or contradicting files, Unsupported for what is not covered or (strict) what
    /// llama.cpp would compute differently, Cancelled, Internal when the file cannot be written or fails its comparison. A failure
    /// leaves no file behind.
    /// </summary>
    /// <param name="request">What to convert.</param>
    /// <param name="progress">Is told of every finished tensor; may be null.</param>
    /// <param name="cancellation">Ends the conversion with Cancelled.</param>
    public static Outcome<ConversionReport> Convert(
        ConversionRequest request, IProgress<ConversionProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        var opened = Checkpoint.Open(request.SourceDirectory);
        if (!opened.IsOk)
        {
            return opened.Failure!;
        }

        using var checkpoint = opened.Value;
        try
        {
            return ConvertOpened(checkpoint, request, progress, cancellation);
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (OperationCanceledException)
        {
            return new Failure(FailureType.Cancelled, $"the conversion of {request.SourceDirectory} was cancelled; no file was left behind");
        }
        catch (EndOfStreamException e)
        {
            return Failure.InvalidInput($"{request.SourceDirectory}: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new Failure(FailureType.Internal, $"{request.OutputPath}: cannot be written ({e.Message}); no file was left behind");
        }
    }

    private static ConversionReport ConvertOpened(
        Checkpoint checkpoint, ConversionRequest request, IProgress<ConversionProgress>? progress, CancellationToken cancellation)
    {
        var output = Path.GetFullPath(request.OutputPath);
        CheckOutput(checkpoint, output);
        var warnings = new List<ConversionWarning>();
        ConversionChecks.Check(checkpoint, warnings);
        var matrixType = TensorPlanner.MatrixType(checkpoint, request.OutType);
        var plan = TensorPlanner.Plan(checkpoint, matrixType, warnings);
        var parameters = plan.Sum(tensor => tensor.Spec.Shape.Aggregate(1L, (product, extent) => product * extent));
        var metadata = BuildMetadata(checkpoint, request, matrixType, parameters, warnings);
        RefuseIfStrict(request, warnings);

        ConversionProof? proof = null;
        IReadOnlyList<GgufTensor> tensors = [];
        AtomicFile.Write(
            output,
            stream =>
            {
                var writer = new GgufWriter(stream, metadata, [.. plan.Select(tensor => tensor.Spec)]);
                tensors = writer.Tensors;
                CheckSpace(output, writer.FileBytes);
                WriteTensors(plan, writer, progress, warnings, cancellation);
                RefuseIfStrict(request, warnings);
            },
            temporary =>
            {
                var tracker = new Tracker(progress, "verify", tensors);
                proof = new ConversionVerifier(temporary, metadata, plan).Verify(tracker.Finished, cancellation);
            });
        return new ConversionReport(
            output, ArchitectureMetadata.Name(checkpoint.Config.Family), matrixType, new FileInfo(output).Length, parameters, tensors, warnings, proof!);
    }

    private static GgufMetadata BuildMetadata(
        Checkpoint checkpoint, ConversionRequest request, GgmlType matrixType, long parameters, List<ConversionWarning> warnings)
    {
        var outcome = checkpoint.ReadTokenizer();
        var tokenizer = outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);
        var metadata = new GgufMetadata();
        metadata.Set("general.architecture", GgufValue.Of(ArchitectureMetadata.Name(checkpoint.Config.Family)));
        var architecture = new ArchitectureMetadata(metadata, checkpoint.Config, matrixType);
        architecture.WriteEarly();
        metadata.Set("general.type", GgufValue.Of("model"));
        var name = request.Name ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(checkpoint.Directory));
        new GeneralMetadata(metadata, checkpoint, name, parameters)
            .Write(derived => AdjustName(derived, checkpoint.Config.Family, tokenizer.Vocabulary, warnings));
        architecture.Write();
        new TokenizerMetadata(metadata, checkpoint.Config, tokenizer, warnings).Write();
        return metadata;
    }

    /// <summary>
    /// llama.cpp strips white space after special tokens, as Phi-3's tokenizer does, when general.name contains phi-3 or phi3, and
    /// fails to load a file so named that lacks Phi-3's tokens.
    /// </summary>
    private static string AdjustName(string name, ModelFamily family, Vocabulary vocabulary, List<ConversionWarning> warnings)
    {
        var isNamed = name.Contains("phi-3", StringComparison.OrdinalIgnoreCase) || name.Contains("phi3", StringComparison.OrdinalIgnoreCase);
        var isPhi = family == ModelFamily.Phi3 && vocabulary.Kind == VocabularyKind.SentencePieceBpe && Phi3Tokens.All(token => vocabulary.Tokens.Contains(token));
        if (isNamed == isPhi)
        {
            return name;
        }

        var adjusted = isPhi
            ? $"{name} (Phi-3)"
            : name.Replace("phi-3", "Phi 3", StringComparison.OrdinalIgnoreCase).Replace("phi3", "Phi 3", StringComparison.OrdinalIgnoreCase);
        warnings.Add(new ConversionWarning(ConversionWarningCode.NameAdjusted,
            $"general.name is \"{adjusted}\" instead of \"{name}\", because llama.cpp applies Phi-3's tokenization by that name", false));
        return adjusted;
    }

    private static void RefuseIfStrict(ConversionRequest request, List<ConversionWarning> warnings)
    {
        var reasons = warnings.Where(warning => warning.ComputesDifferently).Select(warning => warning.Message).ToArray();
        if (request.Strict && reasons.Length > 0)
        {
            throw new FailureException(Failure.Unsupported(
                $"{request.SourceDirectory}: refused, because llama.cpp would compute something else: {string.Join("; ", reasons)}. Convert without strict to accept that"));
        }
    }

    private static void WriteTensors(
        List<PlannedTensor> plan, GgufWriter writer, IProgress<ConversionProgress>? progress, List<ConversionWarning> warnings, CancellationToken cancellation)
    {
        var streamer = new TensorStreamer();
        var tracker = new Tracker(progress, "write", writer.Tensors);
        foreach (var (planned, tensor) in plan.Zip(writer.Tensors))
        {
            cancellation.ThrowIfCancellationRequested();
            streamer.Write(planned, writer, cancellation);
            if (streamer.Overflows > 0)
            {
                warnings.Add(new ConversionWarning(ConversionWarningCode.OverflowToInfinity,
                    $"{streamer.Overflows} numbers of {tensor.Name} are too large for {tensor.Type} and became infinite", true));
            }

            tracker.Finished(tensor);
        }

        writer.Complete();
    }

    private static void CheckOutput(Checkpoint checkpoint, string output)
    {
        if (!Directory.Exists(Path.GetDirectoryName(output)) || Directory.Exists(output))
        {
            throw new FailureException(Failure.InvalidInput($"{output}: is a directory, or its directory does not exist; name a file in an existing one"));
        }

        if (checkpoint.Shards.Any(shard => Path.GetFullPath(shard.Path) == output))
        {
            throw new FailureException(Failure.InvalidInput($"{output}: is a file of the checkpoint itself; name another"));
        }
    }

    private static void CheckSpace(string output, long bytes)
    {
        long free;
        try
        {
            free = new DriveInfo(Path.GetDirectoryName(output)!).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException)
        {
            // Some mounts cannot be asked; writing will tell.
            return;
        }

        if (free < bytes)
        {
            throw new FailureException(new Failure(FailureType.Internal, $"{output}: needs {bytes} bytes, but the disk has {free} left; free some space"));
        }
    }

    private sealed class Tracker(IProgress<ConversionProgress>? progress, string stage, IReadOnlyList<GgufTensor> tensors)
    {
        private readonly long _total = tensors.Sum(tensor => tensor.Bytes);
        private long _done;

        public void Finished(GgufTensor tensor)
        {
            _done += tensor.Bytes;
            progress?.Report(new ConversionProgress(stage, tensor.Name, _done, _total));
        }
    }
}
