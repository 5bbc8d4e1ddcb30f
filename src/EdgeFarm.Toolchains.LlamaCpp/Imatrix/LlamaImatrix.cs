using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Io;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Evaluation;
using EdgeFarm.Toolchains.LlamaCpp.Native;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp.Imatrix;

/// <summary>Computes importance matrices: byte for byte what llama-imatrix writes with the same library variant.</summary>
public static class LlamaImatrix
{
    private const int ReferenceBatch = 2048;

    /// <summary>Computes and writes a matrix. InvalidInput for a bad model or text, Unsupported, OutOfMemory, Cancelled.</summary>
    public static Outcome<ImatrixResult> Run(ImatrixRequest request, LlamaHooks? hooks = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return LlamaLibrary.Run(request.Settings.LibraryPath, hooks ?? LlamaHooks.None, (library, log) => Compute(library, log, request, hooks ?? LlamaHooks.None));
    }

    private static unsafe ImatrixResult Compute(LlamaLibrary library, LlamaLog log, ImatrixRequest request, LlamaHooks hooks)
    {
        var settings = request.Settings.Batch == 0 ? request.Settings with { Batch = ReferenceBatch } : request.Settings;
        using var collector = new ActivationCollector(library, settings.Context, request.ProcessOutput);
        using var reader = new ChunkReader(library, log, settings, settings.Context, hooks, allOutputs: true, collector.Eval);
        var tokens = reader.Tokenize(request.Text);
        var most = tokens.Length / reader.ContextLength;
        var chunks = settings.Chunks < 0 ? most : Math.Min(settings.Chunks, most);
        try
        {
            reader.Read(tokens, chunks, (_, _) => Check(collector), "imatrix");
        }
        catch (FailureException) when (collector.Failure is not null)
        {
            Check(collector);
        }

        var sums = collector.Sums;
        if (sums.Count == 0)
        {
            throw new FailureException(Failure.Unsupported($"{request.Settings.Model} has no weights whose inputs an importance matrix could be made of, or no chunk was read"));
        }

        AtomicFile.Write(request.Output, stream => Write(stream, sums, request, collector.LastChunk), written => Prove(written, sums, request));
        return new ImatrixResult(
            request.Output, sums.Count, chunks, sums.Count(entry => entry.Value.Counts.Contains(0)), reader.Settings, library.Info);
    }

    private static void Check(ActivationCollector collector)
    {
        if (collector.Failure is { } failure)
        {
            throw new FailureException(failure);
        }
    }

    // What a quantization will read must be what was summed up.
    private static void Prove(string written, IReadOnlyList<KeyValuePair<string, ActivationSums>> sums, ImatrixRequest request)
    {
        if (sums.FirstOrDefault(entry => !entry.Value.Values.All(float.IsFinite)) is { Key: { } broken })
        {
            throw new FailureException(Failure.InvalidInput($"{request.Settings.Model}: the inputs of {broken} are no finite numbers on {request.Text}: its weights are broken or overflow in F16"));
        }

        var read = ImportanceMatrix.Read(written);
        var expected = sums.OrderBy(entry => entry.Key, StringComparer.Ordinal).ToList();
        if (!read.Entries.Select(entry => entry.Key).SequenceEqual(expected.Select(entry => entry.Key)))
        {
            throw new FailureException(new Failure(FailureType.Internal, $"the importance matrix did not stand the proof and was deleted: it has {read.Entries.Count} entries of {expected.Count}"));
        }

        foreach (var ((name, found), (_, entry)) in read.Entries.Zip(expected))
        {
            var columns = entry.Values.Length / entry.Counts.Length;
            if (found.Length != entry.Values.Length || found.Where((value, i) => value != Mean(entry.Values[i], entry.Counts[i / columns])).Any())
            {
                throw new FailureException(new Failure(FailureType.Internal, $"the importance matrix did not stand the proof and was deleted: {name} does not read back as it was summed up"));
            }
        }

        static float Mean(float sum, long count) => count > 0 ? sum / count : 1;
    }

    private static void Write(FileStream stream, IReadOnlyList<KeyValuePair<string, ActivationSums>> sums, ImatrixRequest request, int chunks)
    {
        var metadata = new GgufMetadata();
        metadata.TryAdd("general.type", GgufValue.Of("imatrix"));
        metadata.TryAdd("imatrix.datasets", GgufValue.OfArray([request.DatasetName ?? Path.GetFileName(request.Text)]));
        metadata.TryAdd("imatrix.chunk_count", GgufValue.Of((uint)chunks));
        metadata.TryAdd("imatrix.chunk_size", GgufValue.Of((uint)request.Settings.Context));
        static IReadOnlyList<long> Shape(long columns, long matrices) => matrices > 1 ? [columns, matrices] : [columns];
        var writer = new GgufWriter(stream, metadata,
        [
            .. sums.SelectMany(entry => new[]
            {
                new GgufTensorSpec($"{entry.Key}.in_sum2", GgmlType.F32, Shape(entry.Value.Values.Length / entry.Value.Counts.Length, entry.Value.Counts.Length)),
                new GgufTensorSpec($"{entry.Key}.counts", GgmlType.F32, Shape(1, entry.Value.Counts.Length)),
            }),
        ]);
        foreach (var (_, entry) in sums)
        {
            writer.Write(MemoryMarshal.AsBytes(entry.Values.AsSpan()));
            writer.Write(MemoryMarshal.AsBytes(Array.ConvertAll(entry.Counts, count => (float)count).AsSpan()));
        }
    }
}
