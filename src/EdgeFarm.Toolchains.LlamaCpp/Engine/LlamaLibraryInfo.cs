using EdgeFarm.Core.Artifacts;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>What kind of device ggml calls a device.</summary>
public enum LlamaDeviceKind
{
    /// <summary>The processor, with system memory.</summary>
    Cpu = 0,

    /// <summary>A graphics processor with memory of its own.</summary>
    Gpu = 1,

    /// <summary>A graphics processor that shares the system's memory.</summary>
    IntegratedGpu = 2,

    /// <summary>An accelerator that works beside the CPU backend (BLAS, AMX).</summary>
    Accelerator = 3,

    /// <summary>Several devices under one name.</summary>
    Meta = 4,
}

/// <summary>A device that the library can compute on.</summary>
/// <param name="Name">ggml's name (<c>CPU</c>, <c>CUDA0</c>, <c>Vulkan0</c>): what a benchmark's <c>Device</c> takes.</param>
/// <param name="Description">The hardware's name.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Backend">The backend that serves it (<c>CPU</c>, <c>CUDA</c>, <c>Vulkan</c>).</param>
/// <param name="MemoryFree">Bytes free when it was asked.</param>
/// <param name="MemoryTotal">Bytes in all.</param>
/// <param name="DeviceId">PCI address, where there is one.</param>
public sealed record LlamaDevice(
    string Name, string Description, LlamaDeviceKind Kind, string Backend, long MemoryFree, long MemoryTotal, string? DeviceId)
{
    /// <summary>The farm's id of the device: <c>cpu</c>, and <c>cuda:0</c> for ggml's <c>CUDA0</c>.</summary>
    public string FarmId => Kind == LlamaDeviceKind.Cpu ? "cpu"
        : Name.TrimEnd([.. "0123456789"]) is var backend && backend.Length < Name.Length ? $"{backend.ToLowerInvariant()}:{Name[backend.Length..]}"
        : $"{Name.ToLowerInvariant()}:0";
}

/// <summary>Which build of llama.cpp is at work: stands beside every measurement, because variants differ in speed and in the last digits.</summary>
/// <param name="Version">Release, as <c>llama_version()</c> gives it.</param>
/// <param name="GgmlVersion">Release of ggml.</param>
/// <param name="Commit">Source commit of ggml in the build.</param>
/// <param name="Variant">The CPU backend that was chosen for this machine (<c>haswell</c>, <c>zen4</c>, ...); <c>generic</c> for a build with one only.</param>
/// <param name="Features">SIMD features that the chosen backend uses (<c>AVX2</c>, <c>FMA</c>, ...), in the library's order.</param>
/// <param name="Digest">SHA-256 over the digests of libllama, libggml and libggml-base.</param>
/// <param name="Directory">Where the libraries lie.</param>
/// <param name="Packaged">Whether these are the libraries that EdgeFarm ships, not a build of the user's own.</param>
/// <param name="Devices">The devices; those of accelerators once something has asked for them.</param>
/// <param name="Loaded">Names of the accelerators' backends that are loaded, whether they found a device or not.</param>
/// <param name="Problems">Backends whose libraries are there and do not work here.</param>
public sealed record LlamaLibraryInfo(
    string Version,
    string GgmlVersion,
    string Commit,
    string Variant,
    IReadOnlyList<string> Features,
    Digest Digest,
    string Directory,
    bool Packaged,
    IReadOnlyList<LlamaDevice> Devices,
    IReadOnlyList<string> Loaded,
    IReadOnlyList<LlamaBackendProblem> Problems)
{
    /// <summary>The released version without what the build appends (<c>0.5.0-dev</c> is <c>0.5.0</c>).</summary>
    public string Release => Version.Split('-')[0];
}
