using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Evaluation;

/// <summary>Receives a chunk's logits.</summary>
/// <param name="chunk">Number of the chunk, from 0.</param>
/// <param name="logits">One row of the vocabulary's size per output position, from <see cref="ChunkReader.FirstScored"/> (or 0) on.</param>
internal unsafe delegate void ChunkHandler(int chunk, float* logits);

/// <summary>
/// Reads a text in chunks as the reference tools do: several chunks side by side as sequences of one batch, or one chunk in several
/// batches; each starts with an empty cache and, where the vocabulary wants it, with the beginning-of-text token in place of its first.
/// </summary>
internal sealed unsafe class ChunkReader : IDisposable
{
    private const int ReferenceBatch = 2048, SmallBatch = 512;
    private const long MostLogitBytes = 256L << 20;

    private readonly LlamaModel _model;
    private readonly LlamaLibrary _library;
    private readonly LlamaContext _context;
    private readonly LlamaHooks _hooks;
    private readonly int _batch;
    private readonly int _sequences;
    private readonly bool _allOutputs;

    /// <summary>Loads the model and makes a context for chunks of <paramref name="contextLength"/> tokens.</summary>
    /// <param name="library">The library.</param>
    /// <param name="log">The log of this operation.</param>
    /// <param name="settings">How to read.</param>
    /// <param name="contextLength">Tokens per chunk.</param>
    /// <param name="hooks">Progress and cancellation.</param>
    /// <param name="allOutputs">Whether all positions give logits, not only the scored half.</param>
    /// <param name="eval">Callback and its data for each node of a graph; zero for none.</param>
    public ChunkReader(
        LlamaLibrary library, LlamaLog log, EvaluationSettings settings, int contextLength, LlamaHooks hooks, bool allOutputs = false, (nint Callback, nint Data) eval = default)
    {
        Check(settings, contextLength);
        var (typeK, typeV) = (KvCache.Parse("type_k", settings.TypeK), KvCache.Parse("type_v", settings.TypeV));
        var file = GgufModelCheck.Read(settings.Model, library.Abi.MaxLayers);
        (_library, _hooks, _allOutputs, ContextLength) = (library, hooks, allOutputs, contextLength);
        var placement = new ModelPlacement(settings.Device, settings.GpuLayers);
        _model = LlamaModel.Load(library, log, settings.Model, placement, hooks);
        try
        {
            if (library.Api.VocabGetAddEos(_model.Vocab) != 0)
            {
                throw new FailureException(Failure.Unsupported($"the vocabulary of {settings.Model} ends every text with a token of its own; perplexity is not defined for it"));
            }

            var wanted = settings.Batch > 0 ? settings.Batch
                : (long)ReferenceBatch / 2 * _model.VocabSize * sizeof(float) <= MostLogitBytes ? ReferenceBatch : SmallBatch;
            _sequences = Math.Max(1, wanted / contextLength);
            _batch = Math.Min(wanted, _sequences * contextLength);
            KvCache.Check(file, (long)_sequences * contextLength, typeK, typeV);
            var threads = settings.Threads > 0 ? settings.Threads : HostThreads.Auto;
            _context = new LlamaContext(
                library,
                log,
                _model,
                new ContextOptions
                {
                    Ctx = _sequences * contextLength,
                    Batch = _batch,
                    Ubatch = settings.Ubatch,
                    SeqMax = _sequences,
                    Threads = threads,
                    TypeK = typeK,
                    TypeV = typeV,
                    FlashAttention = settings.FlashAttention,
                    EvalCallback = eval.Callback,
                    EvalData = eval.Data,
                },
                hooks.Cancellation);
            Threads = threads;
            Settings = new SortedDictionary<string, string>(StringComparer.Ordinal)
            {
                ["n_ctx"] = contextLength.ToString(CultureInfo.InvariantCulture),
                ["n_batch"] = _batch.ToString(CultureInfo.InvariantCulture),
                ["n_ubatch"] = settings.Ubatch.ToString(CultureInfo.InvariantCulture),
                ["n_threads"] = threads.ToString(CultureInfo.InvariantCulture),
                ["type_k"] = settings.TypeK.ToLowerInvariant(),
                ["type_v"] = settings.TypeV.ToLowerInvariant(),
                ["flash_attn"] = settings.FlashAttention.ToString(CultureInfo.InvariantCulture),
                ["n_gpu_layers"] = (placement.OnCpu ? 0 : settings.GpuLayers).ToString(CultureInfo.InvariantCulture),
                ["devices"] = placement.OnCpu ? "none" : settings.Device,
            };
        }
        catch
        {
            _model.Dispose();
            throw;
        }
    }

    public int ContextLength { get; }

    public int Threads { get; }

    public int VocabSize => _model.VocabSize;

    public SortedDictionary<string, string> Settings { get; }

    /// <summary>The first position of a chunk whose prediction counts: the half before it is context.</summary>
    public int FirstScored => ContextLength / 2;

    /// <summary>Predictions that count per chunk: those of the second half, but for the last, whose next token is another chunk's.</summary>
    public int ScoredPerChunk => ContextLength - 1 - FirstScored;

    /// <summary>The tokens of a text file. InvalidInput when there are fewer than two chunks.</summary>
    public int[] Tokenize(string path)
    {
        var bytes = ReadText(path);
        var text = bytes.AsSpan();
        var tokens = _model.Tokenize(text is [.., (byte)'\n'] ? text[..^1] : text);
        return tokens.Length >= 2 * ContextLength
            ? tokens
            : throw new FailureException(Failure.InvalidInput($"{path} has {tokens.Length} tokens; a context of {ContextLength} needs at least {2 * ContextLength}: take a longer text or a shorter context"));
    }

    /// <summary>Reads the first chunks of the tokens and hands each one's logits on, in order.</summary>
    public void Read(int[] tokens, int chunks, ChunkHandler handler, string stage)
    {
        var batch = _library.Api.BatchInit(Math.Min(_batch, ContextLength * _sequences), 0, 1);
        var rows = new List<float>();
        try
        {
            for (var first = 0; first < chunks; first += _sequences)
            {
                _hooks.Cancellation.ThrowIfCancellationRequested();
                _hooks.Progress?.Invoke(new LlamaProgress(stage, (double)first / chunks, string.Create(CultureInfo.InvariantCulture, $"chunk {first + 1} of {chunks}")));
                var together = Math.Min(_sequences, chunks - first);
                _context.Clear(data: true);
                if (_batch >= ContextLength)
                {
                    Fill(ref batch, tokens, first, together, 0, ContextLength);
                    _context.Decode(batch);
                    _context.Synchronize();
                    for (var sequence = 0; sequence < together; sequence++)
                    {
                        handler(first + sequence, _context.Logits((sequence * ContextLength) + (_allOutputs ? 0 : FirstScored)));
                    }
                }
                else
                {
                    ReadInParts(ref batch, tokens, first, handler, rows);
                }
            }
        }
        finally
        {
            _library.Api.BatchFree(batch);
        }
    }

    public void Dispose()
    {
        _context.Dispose();
        _model.Dispose();
    }

    /// <summary>The bytes of a text file of at most 2 GB. InvalidInput when it cannot be read.</summary>
    private static byte[] ReadText(string path)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FailureException(Failure.InvalidInput($"{path}: cannot be read ({e.Message})"));
        }
    }

    private void ReadInParts(ref LlamaBatch batch, int[] tokens, int chunk, ChunkHandler handler, List<float> rows)
    {
        rows.Clear();
        for (var start = 0; start < ContextLength; start += _batch)
        {
            var length = Math.Min(_batch, ContextLength - start);
            var outputs = Fill(ref batch, tokens, chunk, 1, start, length);
            _context.Decode(batch);
            _context.Synchronize();
            if (outputs > 0)
            {
                rows.AddRange(new ReadOnlySpan<float>(_context.AllLogits(), checked(outputs * VocabSize)));
            }
        }

        fixed (float* logits = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(rows))
        {
            handler(chunk, logits);
        }
    }

    private int Fill(ref LlamaBatch batch, int[] tokens, int chunk, int sequences, int start, int length)
    {
        var outputs = 0;
        batch.Tokens = 0;
        for (var sequence = 0; sequence < sequences; sequence++)
        {
            var at = ((chunk + sequence) * ContextLength) + start;
            for (var i = 0; i < length; i++)
            {
                var index = batch.Tokens++;
                var position = start + i;
                batch.Token[index] = position == 0 && _model.AddBos ? _model.Bos : tokens[at + i];
                batch.Pos[index] = position;
                batch.SeqCount[index] = 1;
                batch.SeqId[index][0] = sequence;
                batch.Logits[index] = _allOutputs || position >= FirstScored ? (sbyte)1 : (sbyte)0;
                outputs += batch.Logits[index];
            }
        }

        return outputs;
    }

    private static void Check(EvaluationSettings settings, int contextLength)
    {
        static void Range(string name, long value, long least, long most)
        {
            if (value < least || value > most)
            {
                throw new FailureException(Failure.InvalidInput($"{name} is {value}; {least} to {most} are possible"));
            }
        }

        Range("n_ctx", contextLength, 8, 1 << 20);
        Range("chunks", settings.Chunks, -1, int.MaxValue);
        Range("n_batch", settings.Batch, 0, 1 << 20);
        Range("n_ubatch", settings.Ubatch, 1, 1 << 20);
        Range("n_threads", settings.Threads, 0, 512);
        Range("flash_attn", settings.FlashAttention, -1, 1);
        Range("n_gpu_layers", settings.GpuLayers, -1, int.MaxValue);
    }
}
