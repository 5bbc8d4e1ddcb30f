using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>How a context computes; names and defaults as in llama.cpp.</summary>
internal sealed record ContextOptions
{
    public required int Ctx { get; init; }

    public required int Batch { get; init; }

    public int Ubatch { get; init; } = 512;

    public int SeqMax { get; init; } = 1;

    public required int Threads { get; init; }

    public GgmlType TypeK { get; init; } = GgmlType.F16;

    public GgmlType TypeV { get; init; } = GgmlType.F16;

    /// <summary>-1 lets the library decide, 0 is off, 1 is on.</summary>
    public int FlashAttention { get; init; } = -1;

    /// <summary>Called for each node of a graph, see <c>ggml_backend_sched_eval_callback</c>; null for none.</summary>
    public nint EvalCallback { get; init; }

    public nint EvalData { get; init; }
}

/// <summary>A context of a model with a thread pool of its own, which ends its computations when the operation is cancelled.</summary>
internal sealed unsafe class LlamaContext : IDisposable
{
    private readonly LlamaLibrary _library;
    private readonly CancellationToken _cancellation;
    private readonly int _threads;
    private readonly int _batch;
    private GCHandle _abortData;
    private readonly ContextLog _made = new();
    private long _calls, _tokens;
    private void* _handle;
    private void* _threadpool;

    /// <summary>Makes a context. OutOfMemory or Unsupported, from the library's log.</summary>
    public LlamaContext(LlamaLibrary library, LlamaLog log, LlamaModel model, ContextOptions options, CancellationToken cancellation)
    {
        (_library, _cancellation, _threads, _batch) = (library, cancellation, options.Threads, options.Batch);
        _abortData = GCHandle.Alloc(this);
        var layout = library.Abi.Context;
        var parameters = library.Api.ContextDefaultParams();
        parameters.Set(layout.Ctx, options.Ctx);
        parameters.Set(layout.Batch, options.Batch);
        parameters.Set(layout.Ubatch, options.Ubatch);
        parameters.Set(layout.SeqMax, options.SeqMax);
        parameters.Set(layout.Threads, options.Threads);
        parameters.Set(layout.ThreadsBatch, options.Threads);
        parameters.Set(layout.FlashAttention, options.FlashAttention);
        parameters.Set(layout.TypeK, (int)options.TypeK);
        parameters.Set(layout.TypeV, (int)options.TypeV);
        parameters.Set(layout.EvalCallback, options.EvalCallback);
        parameters.Set(layout.EvalData, options.EvalData);
        parameters.Set(layout.Abort, (nint)(delegate* unmanaged[Cdecl]<void*, byte>)&OnAbort);
        parameters.Set(layout.AbortData, GCHandle.ToIntPtr(_abortData));
        parameters.Set(layout.SwaFull, false);
        model.Ledger?.StartContext();
        log.Line = line =>
        {
            _made.Read(line);
            model.Ledger?.Read(line);
        };
        _handle = library.Api.InitFromModel(model.Handle, parameters);
        log.Line = null;
        if (_handle is null)
        {
            _abortData.Free();
            var reason = log.Errors is { Length: > 0 } errors ? errors : "no reason was given";
            var memory = reason.Contains("alloc", StringComparison.OrdinalIgnoreCase) || reason.Contains("memory", StringComparison.OrdinalIgnoreCase);
            throw new FailureException(new Failure(
                memory ? FailureType.OutOfMemory : FailureType.Unsupported,
                $"llama.cpp cannot make a context of {options.Ctx} tokens (batch {options.Batch}, type_k {options.TypeK}, type_v {options.TypeV}): {reason}"));
        }

        if (model.Placement.Offloads && model.Ledger is not { Compute: > 0 })
        {
            Dispose();
            throw new FailureException(Failure.Unsupported(
                $"llama.cpp put layers of the model on {model.Placement.Device} and computes nothing there: it would have run on the CPU without a word"));
        }

        AttachThreadpool();
    }

    /// <summary>The context as the library made it, with what was computed so far.</summary>
    /// <param name="test">What it served.</param>
    public ContextReport Report(string test) => new(
        test,
        (int)_library.Api.NCtx(_handle),
        (int)_library.Api.NBatch(_handle),
        (int)_library.Api.NUbatch(_handle),
        _library.Api.NThreads(_handle),
        _library.Api.NThreadsBatch(_handle),
        _made.TypeK,
        _made.TypeV,
        _made.CacheBytes,
        _made.FlashAttention,
        _calls,
        _tokens);

    public void* Handle => _handle;

    /// <summary>Empties the KV cache.</summary>
    /// <param name="data">Whether the cells' contents are wiped too.</param>
    public void Clear(bool data) => _library.Api.MemoryClear(_library.Api.GetMemory(_handle), data ? (byte)1 : (byte)0);

    /// <summary>Decodes tokens of one sequence at the next positions; logits of the last one only.</summary>
    public void Decode(Span<int> tokens)
    {
        Count(tokens.Length);
        fixed (int* first = tokens)
        {
            Check(_library.Api.Decode(_handle, _library.Api.BatchGetOne(first, tokens.Length)));
        }
    }

    /// <summary>Decodes a batch that the caller filled.</summary>
    public void Decode(LlamaBatch batch)
    {
        Count(batch.Tokens);
        Check(_library.Api.Decode(_handle, batch));
    }

    /// <summary>Waits until all results are there.</summary>
    public void Synchronize() => _library.Api.Synchronize(_handle);

    /// <summary>Logits of output <paramref name="index"/> of the last batch, by position in the batch; negative counts from the end. Valid until the next decode.</summary>
    public float* Logits(int index) => _library.Api.GetLogitsIth(_handle, index) is var logits && logits is not null
        ? logits
        : throw new FailureException(new Failure(FailureType.Internal, $"llama.cpp has no logits for position {index} of the batch"));

    /// <summary>Logits of all outputs of the last batch, row by row. Valid until the next decode.</summary>
    public float* AllLogits() => _library.Api.GetLogits(_handle);

    public void Dispose()
    {
        if (_handle is null)
        {
            return;
        }

        _library.Api.Free(_handle);
        _handle = null;
        _abortData.Free();
        if (_threadpool is not null)
        {
            ((delegate* unmanaged[Cdecl]<void*, void>)CpuFunction("ggml_threadpool_free\0"u8))(_threadpool);
            _threadpool = null;
        }
    }

    // Without a pool of its own a context starts and stops its threads with each graph, which llama-bench does not do either.
    private void AttachThreadpool()
    {
        var create = (delegate* unmanaged[Cdecl]<ThreadpoolParams*, void*>)CpuFunction("ggml_threadpool_new\0"u8);
        if (create is null)
        {
            return;
        }

        var parameters = _library.Api.ThreadpoolParamsDefault(_threads);
        _threadpool = create(&parameters);
        _library.Api.AttachThreadpool(_handle, _threadpool, null);
        _library.Api.SetNThreads(_handle, _threads, _threads);
    }

    private void* CpuFunction(ReadOnlySpan<byte> name)
    {
        fixed (byte* text = name)
        {
            return _library.Api.RegGetProcAddress(_library.Api.DevBackendReg(_library.Api.DevByType((int)LlamaDeviceKind.Cpu)), text);
        }
    }

    // The library asserts this, and an assertion ends the process.
    private void Count(int tokens)
    {
        if (tokens < 1 || tokens > _batch)
        {
            throw new ArgumentOutOfRangeException(nameof(tokens), tokens, $"a batch has 1 to {_batch} tokens");
        }

        (_calls, _tokens) = (_calls + 1, _tokens + tokens);
    }

    private void Check(int code)
    {
        _cancellation.ThrowIfCancellationRequested();
        if (code != 0)
        {
            throw new FailureException(new Failure(FailureType.Internal, $"llama_decode failed with code {code}{(code == 1 ? " (no room in the KV cache)" : "")}"));
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static byte OnAbort(void* data) =>
        GCHandle.FromIntPtr((nint)data).Target is LlamaContext { _cancellation.IsCancellationRequested: true } ? (byte)1 : (byte)0;
}
