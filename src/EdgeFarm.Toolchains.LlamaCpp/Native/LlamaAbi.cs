namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>
/// Where the fields of llama.cpp's public structs lie in one release: sizes and offsets in bytes, little-endian 64-bit targets
/// (x64 and arm64 agree). Source: include/llama.h, ggml/include/ggml.h and ggml-backend.h of the release, measured with offsetof.
/// </summary>
internal sealed record LlamaAbi
{
    /// <summary>What <c>llama_version()</c> starts with, as far as the release's number goes.</summary>
    public required string Version { get; init; }

    /// <summary><c>ggml_commit()</c> of the packaged build.</summary>
    public required string PackagedCommit { get; init; }

    public required ModelParamsLayout Model { get; init; }

    public required ContextParamsLayout Context { get; init; }

    public required QuantizeParamsLayout Quantize { get; init; }

    public required TensorLayout Tensor { get; init; }

    /// <summary>Numbers of the operations whose inputs an importance matrix is made of, with the names that <c>ggml_op_name</c> must give.</summary>
    public required int OpMulMat { get; init; }

    public required int OpMulMatId { get; init; }

    /// <summary><c>GGML_TYPE_COUNT</c>: one more than the highest tensor type.</summary>
    public required int TypeCount { get; init; }

    /// <summary><c>LLAMA_MAX_LAYERS</c>: the library asserts that a model has no more.</summary>
    public required int MaxLayers { get; init; }

    /// <summary>Sizes of the smaller structs, which have not changed in years.</summary>
    public const int KvOverrideSize = 264, KvOverrideKey = 4, KvOverrideValue = 136, KvOverrideTextMax = 127;

    public const int TensorOverrideSize = 16, ImatrixEntrySize = 24, ThreadpoolParamsSize = 528;

    private static LlamaAbi Release050 { get; } = new()
    {
        Version = "0.5.0",
        PackagedCommit = "0ad4a86",
        Model = new(Size: 80, Devices: 0, GpuLayers: 16, SplitMode: 20, LoadMode: 24, MainGpu: 32, Progress: 48, ProgressData: 56, VocabOnly: 72, CheckTensors: 73),
        Context = new(
            Size: 160, Ctx: 0, Batch: 4, Ubatch: 8, SeqMax: 12, Threads: 28, ThreadsBatch: 32, FlashAttention: 52,
            EvalCallback: 88, EvalData: 96, TypeK: 104, TypeV: 108, Abort: 112, AbortData: 120,
            OffloadKqv: 129, NoPerf: 130, OpOffload: 131, SwaFull: 132, KvUnified: 133),
        Quantize = new(
            Size: 64, Threads: 0, Ftype: 4, OutputType: 8, EmbeddingType: 12, AllowRequantize: 16, QuantizeOutput: 17, OnlyCopy: 18,
            Pure: 19, KeepSplit: 20, DryRun: 21, Imatrix: 24, KvOverrides: 32, TensorTypes: 40, PruneLayers: 48, MaxBuffer: 56),
        Tensor = new(Overhead: 368, Type: 0, Buffer: 8, Extents: 16, Strides: 48, Op: 80, Sources: 152, Data: 248, Name: 256),
        OpMulMat = 29,
        OpMulMatId = 30,
        TypeCount = 43,
        MaxLayers = 512,
    };

    /// <summary>The releases that this binding knows, the shipped one first. 0.4.0 declares the same structs (the headers were compared).</summary>
    public static IReadOnlyList<LlamaAbi> Known { get; } = [Release050, Release050 with { Version = "0.4.0", PackagedCommit = "5b4ebc5" }];
}

/// <summary>Offsets in <c>llama_model_params</c>.</summary>
internal sealed record ModelParamsLayout(
    int Size, int Devices, int GpuLayers, int SplitMode, int LoadMode, int MainGpu, int Progress, int ProgressData, int VocabOnly, int CheckTensors);

/// <summary>Offsets in <c>llama_context_params</c>.</summary>
internal sealed record ContextParamsLayout(
    int Size, int Ctx, int Batch, int Ubatch, int SeqMax, int Threads, int ThreadsBatch, int FlashAttention,
    int EvalCallback, int EvalData, int TypeK, int TypeV, int Abort, int AbortData,
    int OffloadKqv, int NoPerf, int OpOffload, int SwaFull, int KvUnified);

/// <summary>Offsets in <c>llama_model_quantize_params</c>.</summary>
internal sealed record QuantizeParamsLayout(
    int Size, int Threads, int Ftype, int OutputType, int EmbeddingType, int AllowRequantize, int QuantizeOutput, int OnlyCopy,
    int Pure, int KeepSplit, int DryRun, int Imatrix, int KvOverrides, int TensorTypes, int PruneLayers, int MaxBuffer);

/// <summary>Offsets in <c>ggml_tensor</c>; <paramref name="Overhead"/> is what <c>ggml_tensor_overhead()</c> must give.</summary>
internal sealed record TensorLayout(int Overhead, int Type, int Buffer, int Extents, int Strides, int Op, int Sources, int Data, int Name);
