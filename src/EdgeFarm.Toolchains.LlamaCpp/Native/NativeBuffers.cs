namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>
/// A parameter struct of llama.cpp, passed and returned by value. It is larger than any release's struct: a library that has grown its
/// struct then writes into the padding, not over the stack, and the guards at load can see it.
/// </summary>
internal unsafe struct ParamsBuffer
{
    public const int Size = 512;

    public fixed byte Bytes[Size];

    public int GetInt32(int offset)
    {
        fixed (byte* p = Bytes)
        {
            return *(int*)(p + offset);
        }
    }

    public long GetInt64(int offset)
    {
        fixed (byte* p = Bytes)
        {
            return *(long*)(p + offset);
        }
    }

    public void Set(int offset, int value)
    {
        fixed (byte* p = Bytes)
        {
            *(int*)(p + offset) = value;
        }
    }

    public void Set(int offset, nint value)
    {
        fixed (byte* p = Bytes)
        {
            *(nint*)(p + offset) = value;
        }
    }

    public void Set(int offset, bool value) => Bytes[offset] = value ? (byte)1 : (byte)0;
}

/// <summary><c>llama_batch</c>: passed by value, its arrays belong to the library when <c>llama_batch_init</c> made it.</summary>
internal unsafe struct LlamaBatch
{
    public int Tokens;
    public int* Token;
    public float* Embd;
    public int* Pos;
    public int* SeqCount;
    public int** SeqId;
    public sbyte* Logits;
}

/// <summary><c>ggml_backend_dev_props</c>.</summary>
internal unsafe struct DeviceProps
{
    public byte* Name;
    public byte* Description;
    public nuint MemoryFree;
    public nuint MemoryTotal;
    public int Type;
    public byte* DeviceId;
    public long Caps;
}

/// <summary><c>ggml_init_params</c>.</summary>
internal unsafe struct GgmlInitParams
{
    public nuint MemorySize;
    public void* Memory;
    public byte NoAlloc;
}

/// <summary><c>ggml_type_traits</c>, as far as it is read here.</summary>
internal unsafe struct TypeTraits
{
    public byte* Name;
    public long BlockSize;
    public long BlockSizeInterleave;
    public nuint TypeSize;
    public byte IsQuantized;
    public delegate* unmanaged[Cdecl]<void*, float*, long, void> ToFloat;
}

/// <summary><c>ggml_threadpool_params</c>.</summary>
internal unsafe struct ThreadpoolParams
{
    public fixed byte Bytes[LlamaAbi.ThreadpoolParamsSize];
}
