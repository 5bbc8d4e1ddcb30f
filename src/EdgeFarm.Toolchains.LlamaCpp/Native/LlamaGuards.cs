using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>Checks at load that the library is the one whose structs the table describes: a mismatch would corrupt memory, not fail.</summary>
internal static unsafe class LlamaGuards
{
    private const byte Filler = 0xCD;

    /// <summary>The table for the loaded library. Unsupported when there is none or the library contradicts it.</summary>
    public static LlamaAbi Check(LlamaApi api, LlamaLibraryFiles files, IReadOnlyList<LlamaAbi> known)
    {
        var version = LlamaApi.Text(api.Version());
        var abi = known.FirstOrDefault(candidate => version == candidate.Version || version.StartsWith(candidate.Version + "-", StringComparison.Ordinal))
            ?? throw Mismatch(files, $"is llama.cpp {version}");
        var commit = LlamaApi.Text(api.GgmlCommit());
        if (files.Packaged && commit != abi.PackagedCommit)
        {
            throw Mismatch(files, $"was built from commit {commit}, not from {abi.PackagedCommit}");
        }

        // The probe calls the functions as the x64 System V convention lays it down: a struct is returned through the first argument.
        if (RuntimeInformation.ProcessArchitecture == Architecture.X64 && !OperatingSystem.IsWindows())
        {
            Require(files, "llama_model_params", Written((nint)api.ModelDefaultParams), abi.Model.Size);
            Require(files, "llama_context_params", Written((nint)api.ContextDefaultParams), abi.Context.Size);
            Require(files, "llama_model_quantize_params", Written((nint)api.QuantizeDefaultParams), abi.Quantize.Size);
        }

        var model = api.ModelDefaultParams();
        var context = api.ContextDefaultParams();
        var quantize = api.QuantizeDefaultParams();
        Require(files, "default n_gpu_layers", model.GetInt32(abi.Model.GpuLayers), -1);
        Require(files, "default n_ctx", context.GetInt32(abi.Context.Ctx), 512);
        Require(files, "default n_batch", context.GetInt32(abi.Context.Batch), 2048);
        Require(files, "default n_ubatch", context.GetInt32(abi.Context.Ubatch), 512);
        Require(files, "default n_seq_max", context.GetInt32(abi.Context.SeqMax), 1);
        Require(files, "default type_k", context.GetInt32(abi.Context.TypeK), 1);
        Require(files, "default type_v", context.GetInt32(abi.Context.TypeV), 1);
        Require(files, "default ftype", quantize.GetInt32(abi.Quantize.Ftype), 7);
        Require(files, "default output_tensor_type", quantize.GetInt32(abi.Quantize.OutputType), abi.TypeCount);
        Require(files, "default token_embedding_type", quantize.GetInt32(abi.Quantize.EmbeddingType), abi.TypeCount);
        Require(files, "default max_buf_size", quantize.GetInt64(abi.Quantize.MaxBuffer), 8L << 30);
        Require(files, "ggml_tensor_overhead", (long)api.TensorOverhead(), abi.Tensor.Overhead);
        if (LlamaApi.Text(api.OpName(abi.OpMulMat)) != "MUL_MAT" || LlamaApi.Text(api.OpName(abi.OpMulMatId)) != "MUL_MAT_ID")
        {
            throw Mismatch(files, "numbers ggml's operations otherwise");
        }

        return abi;
    }

    /// <summary>How many bytes of a filled buffer a *_default_params function writes. Trailing padding of a struct counts in steps of 8.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Written(nint function)
    {
        var buffer = stackalloc byte[ParamsBuffer.Size];
        new Span<byte>(buffer, ParamsBuffer.Size).Fill(Filler);
        ((delegate* unmanaged[Cdecl]<byte*, byte*>)function)(buffer);
        var last = new ReadOnlySpan<byte>(buffer, ParamsBuffer.Size).LastIndexOfAnyExcept(Filler);
        return (last + 8) / 8 * 8;
    }

    private static void Require(LlamaLibraryFiles files, string what, long found, long expected)
    {
        if (found != expected)
        {
            throw Mismatch(files, $"has {what} {found} where {expected} is expected");
        }
    }

    private static FailureException Mismatch(LlamaLibraryFiles files, string what) => new(Failure.Unsupported(
        $"the library {files.Llama} {what}, which this EdgeFarm cannot drive; use a build of llama.cpp {string.Join(" or ", LlamaAbi.Known.Select(abi => abi.Version))}"));
}
