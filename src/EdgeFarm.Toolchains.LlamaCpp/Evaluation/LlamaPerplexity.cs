using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Evaluation;

/// <summary>Perplexity and KL divergence of a model on a text, as llama-perplexity computes them.</summary>
public static unsafe class LlamaPerplexity
{
    /// <summary>
    /// Computes a perplexity. InvalidInput for a bad model or text, Unsupported, OutOfMemory, Cancelled; Internal when the model's
    /// predictions are no numbers.
    /// </summary>
    public static Outcome<PerplexityResult> Run(PerplexityRequest request, LlamaHooks? hooks = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return LlamaLibrary.Run(request.Settings.LibraryPath, hooks ?? LlamaHooks.None, (library, log) => Perplexity(library, log, request, hooks ?? LlamaHooks.None));
    }

    /// <summary>Compares a model with a baseline's logits. Fails as <see cref="Run"/> does; InvalidInput also when the vocabularies differ.</summary>
    public static Outcome<DivergenceResult> Compare(DivergenceRequest request, LlamaHooks? hooks = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return LlamaLibrary.Run(request.Settings.LibraryPath, hooks ?? LlamaHooks.None, (library, log) => Divergence(library, log, request, hooks ?? LlamaHooks.None));
    }

    private static PerplexityResult Perplexity(LlamaLibrary library, LlamaLog log, PerplexityRequest request, LlamaHooks hooks)
    {
        using var reader = new ChunkReader(library, log, request.Settings, request.Settings.Context, hooks);
        var tokens = reader.Tokenize(request.Text);
        var most = tokens.Length / reader.ContextLength;
        var chunks = request.Settings.Chunks < 0 ? most : Math.Min(request.Settings.Chunks, most);
        var (sum, squares, count) = (0.0, 0.0, 0L);
        if (request.LogitsOutput is { } output)
        {
            AtomicFile.Write(output, stream =>
            {
                LogitsFile.WriteHead(stream, reader.ContextLength, reader.VocabSize, chunks, tokens.AsSpan(0, chunks * reader.ContextLength));
                var rowLength = LogitsFile.RowLength(reader.VocabSize);
                var rows = new ushort[reader.ScoredPerChunk * rowLength];
                Score((logits, token, position) => LogitsFile.EncodeRow((float*)logits, reader.VocabSize, token, rows.AsSpan(position * rowLength, rowLength)), () => stream.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(rows.AsSpan())));
            });
        }
        else
        {
            Score((logits, token, _) => NegativeLogLikelihood((float*)logits, reader.VocabSize, token), () => { });
        }

        if (count == 0)
        {
            throw new FailureException(Failure.InvalidInput("chunks is 0; at least one chunk must be read"));
        }

        var mean = sum / count;
        var variance = (squares / count) - (mean * mean);
        var perplexity = Math.Exp(mean);
        return double.IsFinite(perplexity)
            ? new PerplexityResult(perplexity, variance > 0 && count > 1 ? Math.Sqrt(variance / (count - 1)) * perplexity : 0, chunks, count, reader.Settings, library.Info)
            : throw new FailureException(Failure.InvalidInput($"{request.Settings.Model} predicts what is no number on {request.Text}: its weights are broken or overflow in F16"));

        void Score(Func<nint, int, int, double> rowScore, Action chunkDone)
        {
            var scores = new double[reader.ScoredPerChunk];
            reader.Read(
                tokens,
                chunks,
                (chunk, logits) =>
                {
                    var at = (chunk * reader.ContextLength) + reader.FirstScored;
                    var first = (nint)logits;
                    Parallel.For(0, scores.Length, new ParallelOptions { MaxDegreeOfParallelism = reader.Threads }, i =>
                        scores[i] = rowScore(first + (nint)((long)i * reader.VocabSize * sizeof(float)), tokens[at + i + 1], i));
                    foreach (var score in scores)
                    {
                        sum += score;
                        squares += score * score;
                    }

                    count += scores.Length;
                    chunkDone();
                },
                "perplexity");
        }
    }

    // Sums in the reference's order and precision: exponentials in single, the sum in double.
    private static double NegativeLogLikelihood(float* logits, int vocabulary, int token)
    {
        var most = logits[0];
        for (var i = 1; i < vocabulary; i++)
        {
            most = Math.Max(most, logits[i]);
        }

        double sum = 0;
        for (var i = 0; i < vocabulary; i++)
        {
            sum += MathF.Exp(logits[i] - most);
        }

        return -(logits[token] - most - Math.Log(sum));
    }

    private static DivergenceResult Divergence(LlamaLibrary library, LlamaLog log, DivergenceRequest request, LlamaHooks hooks)
    {
        using var baseline = OpenBaseline(request.BaselineLogits);
        var (contextLength, vocabulary, chunks, tokens) = LogitsFile.ReadHead(baseline);
        using var reader = new ChunkReader(library, log, request.Settings, contextLength, hooks);
        if (reader.VocabSize != vocabulary)
        {
            throw new FailureException(Failure.InvalidInput($"{request.BaselineLogits} was computed with a vocabulary of {vocabulary}, and {request.Settings.Model} has {reader.VocabSize}; compare forms of one model"));
        }

        var rowLength = LogitsFile.RowLength(vocabulary);
        var rows = new ushort[reader.ScoredPerChunk * rowLength];
        var statistics = new DivergenceStatistics(reader.ScoredPerChunk * chunks);
        reader.Read(
            tokens,
            chunks,
            (chunk, logits) =>
            {
                baseline.ReadExactly(System.Runtime.InteropServices.MemoryMarshal.AsBytes(rows.AsSpan()));
                var at = (chunk * contextLength) + reader.FirstScored;
                var first = (nint)logits;
                Parallel.For(0, reader.ScoredPerChunk, new ParallelOptions { MaxDegreeOfParallelism = reader.Threads }, i =>
                    statistics.Set(
                        (chunk * reader.ScoredPerChunk) + i,
                        DivergenceRow.Compute((float*)(first + (nint)((long)i * vocabulary * sizeof(float))), rows.AsSpan(i * rowLength, rowLength), vocabulary, tokens[at + i + 1])));
            },
            "kld");
        return statistics.Result(chunks, reader.Settings, library.Info)
            ?? throw new FailureException(Failure.InvalidInput($"{request.Settings.Model} predicts what is no number: its weights are broken or overflow in F16"));
    }

    private static FileStream OpenBaseline(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FailureException(Failure.InvalidInput($"{path}: cannot be read ({e.Message})"));
        }
    }
}
