using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>The functions of libllama and ggml that the engine calls, by their C names without prefix. Not thread safe beyond what the library is.</summary>
internal sealed unsafe class LlamaApi
{
    // libllama
    public readonly delegate* unmanaged[Cdecl]<byte*> Version;
    public readonly delegate* unmanaged[Cdecl]<byte*> PrintSystemInfo;
    public readonly delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<int, byte*, void*, void>, void*, void> LogSet;
    public readonly delegate* unmanaged[Cdecl]<void> BackendInit;
    public readonly delegate* unmanaged[Cdecl]<ParamsBuffer> ModelDefaultParams;
    public readonly delegate* unmanaged[Cdecl]<ParamsBuffer> ContextDefaultParams;
    public readonly delegate* unmanaged[Cdecl]<ParamsBuffer> QuantizeDefaultParams;
    public readonly delegate* unmanaged[Cdecl]<byte*, byte*, ParamsBuffer*, uint> ModelQuantize;
    public readonly delegate* unmanaged[Cdecl]<byte*, ParamsBuffer, void*> ModelLoadFromFile;
    public readonly delegate* unmanaged[Cdecl]<void*, void> ModelFree;
    public readonly delegate* unmanaged[Cdecl]<void*, ParamsBuffer, void*> InitFromModel;
    public readonly delegate* unmanaged[Cdecl]<void*, void> Free;
    public readonly delegate* unmanaged[Cdecl]<void*, void*> ModelGetVocab;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint, int> ModelDesc;
    public readonly delegate* unmanaged[Cdecl]<void*, ulong> ModelSize;
    public readonly delegate* unmanaged[Cdecl]<void*, ulong> ModelNParams;
    public readonly delegate* unmanaged[Cdecl]<void*, int> ModelNCtxTrain;
    public readonly delegate* unmanaged[Cdecl]<void*, int> ModelNLayer;
    public readonly delegate* unmanaged[Cdecl]<void*, int> ModelNEmbd;
    public readonly delegate* unmanaged[Cdecl]<void*, byte> ModelHasEncoder;
    public readonly delegate* unmanaged[Cdecl]<void*, int> VocabNTokens;
    public readonly delegate* unmanaged[Cdecl]<void*, int> VocabBos;
    public readonly delegate* unmanaged[Cdecl]<void*, byte> VocabGetAddBos;
    public readonly delegate* unmanaged[Cdecl]<void*, byte> VocabGetAddEos;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, int, int*, int, byte, byte, int> Tokenize;
    public readonly delegate* unmanaged[Cdecl]<int, int, int, LlamaBatch> BatchInit;
    public readonly delegate* unmanaged[Cdecl]<LlamaBatch, void> BatchFree;
    public readonly delegate* unmanaged[Cdecl]<int*, int, LlamaBatch> BatchGetOne;
    public readonly delegate* unmanaged[Cdecl]<void*, LlamaBatch, int> Decode;
    public readonly delegate* unmanaged[Cdecl]<void*, void> Synchronize;
    public readonly delegate* unmanaged[Cdecl]<void*, float*> GetLogits;
    public readonly delegate* unmanaged[Cdecl]<void*, int, float*> GetLogitsIth;
    public readonly delegate* unmanaged[Cdecl]<void*, void*> GetMemory;
    public readonly delegate* unmanaged[Cdecl]<void*, byte, void> MemoryClear;
    public readonly delegate* unmanaged[Cdecl]<void*, int, int, void> SetNThreads;
    public readonly delegate* unmanaged[Cdecl]<void*, uint> NCtx;
    public readonly delegate* unmanaged[Cdecl]<void*, uint> NBatch;
    public readonly delegate* unmanaged[Cdecl]<void*, uint> NUbatch;
    public readonly delegate* unmanaged[Cdecl]<void*, int> NThreads;
    public readonly delegate* unmanaged[Cdecl]<void*, int> NThreadsBatch;
    public readonly delegate* unmanaged[Cdecl]<void*, void*, void*, void> AttachThreadpool;
    public readonly delegate* unmanaged[Cdecl]<void*, int, nuint> StateSeqGetSize;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint, int, nuint> StateSeqGetData;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint, int, nuint> StateSeqSetData;

    // libggml
    public readonly delegate* unmanaged[Cdecl]<byte*, void*> BackendLoad;
    public readonly delegate* unmanaged[Cdecl]<nuint> DevCount;
    public readonly delegate* unmanaged[Cdecl]<nuint, void*> DevGet;
    public readonly delegate* unmanaged[Cdecl]<int, void*> DevByType;

    // libggml-base
    public readonly delegate* unmanaged[Cdecl]<void*, DeviceProps*, void> DevGetProps;
    public readonly delegate* unmanaged[Cdecl]<void*, void*> DevBackendReg;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*> RegName;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, void*> RegGetProcAddress;
    public readonly delegate* unmanaged[Cdecl]<void*, byte> BufferIsHost;
    public readonly delegate* unmanaged[Cdecl]<void*, void*, nuint, nuint, void> TensorGet;
    public readonly delegate* unmanaged[Cdecl]<void*, nuint> NBytes;
    public readonly delegate* unmanaged[Cdecl]<int, byte*> OpName;
    public readonly delegate* unmanaged[Cdecl]<int, byte*> TypeName;
    public readonly delegate* unmanaged[Cdecl]<byte*> GgmlVersion;
    public readonly delegate* unmanaged[Cdecl]<byte*> GgmlCommit;
    public readonly delegate* unmanaged[Cdecl]<nuint> TensorOverhead;
    public readonly delegate* unmanaged[Cdecl]<int, TypeTraits*> GetTypeTraits;
    public readonly delegate* unmanaged[Cdecl]<int, ThreadpoolParams> ThreadpoolParamsDefault;
    public readonly delegate* unmanaged[Cdecl]<GgmlInitParams, void*> GgmlInit;
    public readonly delegate* unmanaged[Cdecl]<void*, void> GgmlFree;
    public readonly delegate* unmanaged[Cdecl]<nuint> GraphOverhead;
    public readonly delegate* unmanaged[Cdecl]<void*, int, long, long, void*> NewTensor2d;
    public readonly delegate* unmanaged[Cdecl]<void*, void*, void*, void*> MulMat;
    public readonly delegate* unmanaged[Cdecl]<void*, void*> NewGraph;
    public readonly delegate* unmanaged[Cdecl]<void*, void*, void> BuildForwardExpand;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, void*> DevInit;
    public readonly delegate* unmanaged[Cdecl]<void*, void> BackendFree;
    public readonly delegate* unmanaged[Cdecl]<void*, void*, void*> AllocCtxTensors;
    public readonly delegate* unmanaged[Cdecl]<void*, void> BufferFree;
    public readonly delegate* unmanaged[Cdecl]<void*, void*, nuint, nuint, void> TensorSet;
    public readonly delegate* unmanaged[Cdecl]<void*, void*, int> GraphCompute;

    /// <summary>Binds all functions. Unsupported when one is missing.</summary>
    public LlamaApi(nint llama, nint ggml, nint ggmlBase)
    {
        Version = (delegate* unmanaged[Cdecl]<byte*>)Export(llama, "llama_version");
        PrintSystemInfo = (delegate* unmanaged[Cdecl]<byte*>)Export(llama, "llama_print_system_info");
        LogSet = (delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<int, byte*, void*, void>, void*, void>)Export(llama, "llama_log_set");
        BackendInit = (delegate* unmanaged[Cdecl]<void>)Export(llama, "llama_backend_init");
        ModelDefaultParams = (delegate* unmanaged[Cdecl]<ParamsBuffer>)Export(llama, "llama_model_default_params");
        ContextDefaultParams = (delegate* unmanaged[Cdecl]<ParamsBuffer>)Export(llama, "llama_context_default_params");
        QuantizeDefaultParams = (delegate* unmanaged[Cdecl]<ParamsBuffer>)Export(llama, "llama_model_quantize_default_params");
        ModelQuantize = (delegate* unmanaged[Cdecl]<byte*, byte*, ParamsBuffer*, uint>)Export(llama, "llama_model_quantize");
        ModelLoadFromFile = (delegate* unmanaged[Cdecl]<byte*, ParamsBuffer, void*>)Export(llama, "llama_model_load_from_file");
        ModelFree = (delegate* unmanaged[Cdecl]<void*, void>)Export(llama, "llama_model_free");
        InitFromModel = (delegate* unmanaged[Cdecl]<void*, ParamsBuffer, void*>)Export(llama, "llama_init_from_model");
        Free = (delegate* unmanaged[Cdecl]<void*, void>)Export(llama, "llama_free");
        ModelGetVocab = (delegate* unmanaged[Cdecl]<void*, void*>)Export(llama, "llama_model_get_vocab");
        ModelDesc = (delegate* unmanaged[Cdecl]<void*, byte*, nuint, int>)Export(llama, "llama_model_desc");
        ModelSize = (delegate* unmanaged[Cdecl]<void*, ulong>)Export(llama, "llama_model_size");
        ModelNParams = (delegate* unmanaged[Cdecl]<void*, ulong>)Export(llama, "llama_model_n_params");
        ModelNCtxTrain = (delegate* unmanaged[Cdecl]<void*, int>)Export(llama, "llama_model_n_ctx_train");
        ModelNLayer = (delegate* unmanaged[Cdecl]<void*, int>)Export(llama, "llama_model_n_layer");
        ModelNEmbd = (delegate* unmanaged[Cdecl]<void*, int>)Export(llama, "llama_model_n_embd");
        ModelHasEncoder = (delegate* unmanaged[Cdecl]<void*, byte>)Export(llama, "llama_model_has_encoder");
        VocabNTokens = (delegate* unmanaged[Cdecl]<void*, int>)Export(llama, "llama_vocab_n_tokens");
        VocabBos = (delegate* unmanaged[Cdecl]<void*, int>)Export(llama, "llama_vocab_bos");
        VocabGetAddBos = (delegate* unmanaged[Cdecl]<void*, byte>)Export(llama, "llama_vocab_get_add_bos");
        VocabGetAddEos = (delegate* unmanaged[Cdecl]<void*, byte>)Export(llama, "llama_vocab_get_add_eos");
        Tokenize = (delegate* unmanaged[Cdecl]<void*, byte*, int, int*, int, byte, byte, int>)Export(llama, "llama_tokenize");
        BatchInit = (delegate* unmanaged[Cdecl]<int, int, int, LlamaBatch>)Export(llama, "llama_batch_init");
        BatchFree = (delegate* unmanaged[Cdecl]<LlamaBatch, void>)Export(llama, "llama_batch_free");
        BatchGetOne = (delegate* unmanaged[Cdecl]<int*, int, LlamaBatch>)Export(llama, "llama_batch_get_one");
        Decode = (delegate* unmanaged[Cdecl]<void*, LlamaBatch, int>)Export(llama, "llama_decode");
        Synchronize = (delegate* unmanaged[Cdecl]<void*, void>)Export(llama, "llama_synchronize");
        GetLogits = (delegate* unmanaged[Cdecl]<void*, float*>)Export(llama, "llama_get_logits");
        GetLogitsIth = (delegate* unmanaged[Cdecl]<void*, int, float*>)Export(llama, "llama_get_logits_ith");
        GetMemory = (delegate* unmanaged[Cdecl]<void*, void*>)Export(llama, "llama_get_memory");
        MemoryClear = (delegate* unmanaged[Cdecl]<void*, byte, void>)Export(llama, "llama_memory_clear");
        SetNThreads = (delegate* unmanaged[Cdecl]<void*, int, int, void>)Export(llama, "llama_set_n_threads");
        NCtx = (delegate* unmanaged[Cdecl]<void*, uint>)Export(llama, "llama_n_ctx");
        NBatch = (delegate* unmanaged[Cdecl]<void*, uint>)Export(llama, "llama_n_batch");
        NUbatch = (delegate* unmanaged[Cdecl]<void*, uint>)Export(llama, "llama_n_ubatch");
        NThreads = (delegate* unmanaged[Cdecl]<void*, int>)Export(llama, "llama_n_threads");
        NThreadsBatch = (delegate* unmanaged[Cdecl]<void*, int>)Export(llama, "llama_n_threads_batch");
        AttachThreadpool = (delegate* unmanaged[Cdecl]<void*, void*, void*, void>)Export(llama, "llama_attach_threadpool");
        StateSeqGetSize = (delegate* unmanaged[Cdecl]<void*, int, nuint>)Export(llama, "llama_state_seq_get_size");
        StateSeqGetData = (delegate* unmanaged[Cdecl]<void*, byte*, nuint, int, nuint>)Export(llama, "llama_state_seq_get_data");
        StateSeqSetData = (delegate* unmanaged[Cdecl]<void*, byte*, nuint, int, nuint>)Export(llama, "llama_state_seq_set_data");

        BackendLoad = (delegate* unmanaged[Cdecl]<byte*, void*>)Export(ggml, "ggml_backend_load");
        DevCount = (delegate* unmanaged[Cdecl]<nuint>)Export(ggml, "ggml_backend_dev_count");
        DevGet = (delegate* unmanaged[Cdecl]<nuint, void*>)Export(ggml, "ggml_backend_dev_get");
        DevByType = (delegate* unmanaged[Cdecl]<int, void*>)Export(ggml, "ggml_backend_dev_by_type");

        DevGetProps = (delegate* unmanaged[Cdecl]<void*, DeviceProps*, void>)Export(ggmlBase, "ggml_backend_dev_get_props");
        DevBackendReg = (delegate* unmanaged[Cdecl]<void*, void*>)Export(ggmlBase, "ggml_backend_dev_backend_reg");
        RegName = (delegate* unmanaged[Cdecl]<void*, byte*>)Export(ggmlBase, "ggml_backend_reg_name");
        RegGetProcAddress = (delegate* unmanaged[Cdecl]<void*, byte*, void*>)Export(ggmlBase, "ggml_backend_reg_get_proc_address");
        BufferIsHost = (delegate* unmanaged[Cdecl]<void*, byte>)Export(ggmlBase, "ggml_backend_buffer_is_host");
        TensorGet = (delegate* unmanaged[Cdecl]<void*, void*, nuint, nuint, void>)Export(ggmlBase, "ggml_backend_tensor_get");
        NBytes = (delegate* unmanaged[Cdecl]<void*, nuint>)Export(ggmlBase, "ggml_nbytes");
        OpName = (delegate* unmanaged[Cdecl]<int, byte*>)Export(ggmlBase, "ggml_op_name");
        TypeName = (delegate* unmanaged[Cdecl]<int, byte*>)Export(ggmlBase, "ggml_type_name");
        GgmlVersion = (delegate* unmanaged[Cdecl]<byte*>)Export(ggmlBase, "ggml_version");
        GgmlCommit = (delegate* unmanaged[Cdecl]<byte*>)Export(ggmlBase, "ggml_commit");
        TensorOverhead = (delegate* unmanaged[Cdecl]<nuint>)Export(ggmlBase, "ggml_tensor_overhead");
        GetTypeTraits = (delegate* unmanaged[Cdecl]<int, TypeTraits*>)Export(ggmlBase, "ggml_get_type_traits");
        ThreadpoolParamsDefault = (delegate* unmanaged[Cdecl]<int, ThreadpoolParams>)Export(ggmlBase, "ggml_threadpool_params_default");
        GgmlInit = (delegate* unmanaged[Cdecl]<GgmlInitParams, void*>)Export(ggmlBase, "ggml_init");
        GgmlFree = (delegate* unmanaged[Cdecl]<void*, void>)Export(ggmlBase, "ggml_free");
        GraphOverhead = (delegate* unmanaged[Cdecl]<nuint>)Export(ggmlBase, "ggml_graph_overhead");
        NewTensor2d = (delegate* unmanaged[Cdecl]<void*, int, long, long, void*>)Export(ggmlBase, "ggml_new_tensor_2d");
        MulMat = (delegate* unmanaged[Cdecl]<void*, void*, void*, void*>)Export(ggmlBase, "ggml_mul_mat");
        NewGraph = (delegate* unmanaged[Cdecl]<void*, void*>)Export(ggmlBase, "ggml_new_graph");
        BuildForwardExpand = (delegate* unmanaged[Cdecl]<void*, void*, void>)Export(ggmlBase, "ggml_build_forward_expand");
        DevInit = (delegate* unmanaged[Cdecl]<void*, byte*, void*>)Export(ggmlBase, "ggml_backend_dev_init");
        BackendFree = (delegate* unmanaged[Cdecl]<void*, void>)Export(ggmlBase, "ggml_backend_free");
        AllocCtxTensors = (delegate* unmanaged[Cdecl]<void*, void*, void*>)Export(ggmlBase, "ggml_backend_alloc_ctx_tensors");
        BufferFree = (delegate* unmanaged[Cdecl]<void*, void>)Export(ggmlBase, "ggml_backend_buffer_free");
        TensorSet = (delegate* unmanaged[Cdecl]<void*, void*, nuint, nuint, void>)Export(ggmlBase, "ggml_backend_tensor_set");
        GraphCompute = (delegate* unmanaged[Cdecl]<void*, void*, int>)Export(ggmlBase, "ggml_backend_graph_compute");
    }

    /// <summary>Text of a C string of the library; empty for null.</summary>
    public static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text) ?? "";

    private static nint Export(nint library, string name) => NativeLibrary.TryGetExport(library, name, out var address)
        ? address
        : throw new FailureException(Failure.Unsupported($"the llama.cpp library lacks the function {name}; use a build of a supported release ({string.Join(", ", LlamaAbi.Known.Select(abi => abi.Version))})"));
}
