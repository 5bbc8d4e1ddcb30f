using System.Runtime.InteropServices;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>
/// The backends for accelerators that come as npm packages, and what <c>doctor</c> says of them: a machine that has the driver lacks the
/// backend until somebody asks for it, because the packages are large.
/// </summary>
internal static class LlamaAccelerators
{
    // The package (of either release) holds machine code for 8.6, 8.9, 12.0 and 12.1, and PTX of ISA 9.1, which is CUDA 13.1's, for the others.
    private const string CudaDriver =
        "GPUs of compute capability 8.6, 8.9, 12.0 and 12.1 run it with NVIDIA's driver 580 or later, all others (Turing, A100, H100, H200, B200) need 590 or later";

    private static readonly IReadOnlyList<PackagedBackend> s_packaged =
    [
        new("cuda", "CUDA", ["libcuda.so.1", "nvcuda.dll"], $"150 MB; it needs the CUDA 13 runtime: libcudart.so.13 and libcublas.so.13. {CudaDriver}"),
        new("vulkan", "Vulkan", ["libvulkan.so.1", "vulkan-1.dll"], "25 MB"),
    ];

    /// <summary>One line for each backend that is missing though its driver is here, that does not load, or that finds no device.</summary>
    public static IEnumerable<string> Notes(LlamaLibraryInfo info) => Notes(info, Here(), HasDriver);

    /// <summary>What to do where a device is listed and does not compute.</summary>
    public static string Advice(LlamaLibraryInfo info, LlamaDevice device) => device.Backend.ToLowerInvariant() is "cuda" && info.Packaged
        ? $"{CudaDriver}; {LlamaLibraryFiles.Variable} can name a build of llama.cpp for your driver"
        : $"Update its driver, or name a build of llama.cpp for it in {LlamaLibraryFiles.Variable}";

    internal static IEnumerable<string> Notes(LlamaLibraryInfo info, string platform, Func<PackagedBackend, bool> hasDriver)
    {
        foreach (var problem in info.Problems)
        {
            yield return $"llama.cpp's {problem.Backend} backend is here and does not work: {problem.Reason}. {Hint(problem.Backend)}";
        }

        foreach (var backend in s_packaged)
        {
            var serves = info.Devices.Any(device => device.Backend.Equals(backend.Title, StringComparison.OrdinalIgnoreCase));
            var broken = info.Problems.Any(problem => problem.Backend == backend.Name);
            if (serves || broken || platform is not ("linux-x64" or "win-x64") || !hasDriver(backend))
            {
                continue;
            }

            if (info.Loaded.Contains(backend.Name))
            {
                yield return $"llama.cpp's {backend.Name} backend is loaded and finds no device. {Hint(backend.Name)}";
            }
            else if (info.Packaged)
            {
                yield return $"this machine has a driver for {backend.Title}, and this build of EdgeFarm lacks llama.cpp's {backend.Name} backend ({backend.Needs}): "
                    + $"build with -p:LlamaCppBackends={backend.Name}, or install npm's @node-llama-cpp/{platform}-{backend.Name}@{Release(platform)} anywhere and name its bins folder in EDGEFARM_LLAMA_LIB";
            }
        }
    }

    // Where the package of the newest llama.cpp that a platform has stands in the registry.
    private static string Release(string platform) => platform == "win-x64" ? "3.21.1" : "3.22.1";

    private static string Hint(string backend) => backend switch
    {
        "vulkan" => "Install the Vulkan loader and a driver (Debian: libvulkan1, mesa-vulkan-drivers). A software driver is used only when GGML_VK_VISIBLE_DEVICES names it, e.g. 0",
        "cuda" => $"Install NVIDIA's driver and the CUDA 13 runtime (libcudart.so.13, libcublas.so.13). {CudaDriver}",
        _ => "Install its driver",
    };

    private static string Here() =>
        (OperatingSystem.IsLinux() ? "linux" : OperatingSystem.IsMacOS() ? "osx" : "win") + "-" + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    private static bool HasDriver(PackagedBackend backend)
    {
        foreach (var library in backend.Drivers)
        {
            if (NativeLibrary.TryLoad(library, out var handle))
            {
                NativeLibrary.Free(handle);
                return true;
            }
        }

        return false;
    }
}

/// <summary>A backend that comes as an npm package.</summary>
/// <param name="Name">Its name in file names and for <c>LlamaCppBackends</c>.</param>
/// <param name="Title">ggml's name of it.</param>
/// <param name="Drivers">Libraries of its driver, by system.</param>
/// <param name="Needs">Size of the download, and what it needs beside the driver.</param>
internal sealed record PackagedBackend(string Name, string Title, IReadOnlyList<string> Drivers, string Needs);
