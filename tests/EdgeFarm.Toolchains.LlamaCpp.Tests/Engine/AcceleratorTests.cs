using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Engine;

/// <summary>What needs no accelerator: words of the library's log, advice of <c>doctor</c>, which backends are ever loaded.</summary>
public sealed class AcceleratorTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Lines of llama.cpp 0.5.0 on Mesa's software driver.
    [Fact]
    public void Memory_on_the_device_is_summed_up_from_the_librarys_log()
    {
        var ledger = new DeviceLedger("Vulkan0");
        ledger.Read("load_tensors: offloaded 7/7 layers to GPU");
        ledger.Read("load_tensors:   CPU_Mapped model buffer size =     2.00 MiB");
        ledger.Read("load_tensors:      Vulkan0 model buffer size =    11.01 MiB");
        Assert.Equal((7, 7), ledger.Layers);
        Assert.Equal(11.01 * 1024 * 1024, ledger.Peak, 1.0);

        ledger.StartContext();
        ledger.Read("llama_context: Vulkan_Host  output buffer size =     0.02 MiB");
        ledger.Read("llama_kv_cache:    Vulkan0 KV buffer size =     3.00 MiB");
        ledger.Read("sched_reserve:    Vulkan0 compute buffer size =     9.00 MiB");
        ledger.Read("sched_reserve: Vulkan_Host compute buffer size =     1.52 MiB");
        Assert.Equal(23.01 * 1024 * 1024, ledger.Peak, 1.0);
        Assert.Equal(9.0 * 1024 * 1024, ledger.Compute);

        // The next context takes the place of this one.
        ledger.StartContext();
        ledger.Read("llama_kv_cache:    Vulkan0 KV buffer size =     1.00 MiB");
        Assert.Equal(0, ledger.Compute);
        Assert.Equal(23.01 * 1024 * 1024, ledger.Peak, 1.0);
    }

    [Fact]
    public void A_device_with_buffers_of_several_kinds_is_one()
    {
        var ledger = new DeviceLedger("MTL0");
        ledger.Read("load_tensors:  MTL0_Mapped model buffer size =    10.00 MiB");
        ledger.Read("load_tensors: MTL0_Private model buffer size =     5.00 MiB");
        ledger.Read("load_tensors:        MTL01 model buffer size =    50.00 MiB");

        Assert.Equal(15.0 * 1024 * 1024, ledger.Model);
    }

    [Fact]
    public void A_device_is_proven_by_a_product_of_matrices()
    {
        Assert.Null(LlamaDeviceProof.Run("cpu"));
        Assert.Equal(FailureType.Unsupported, LlamaDeviceProof.Run("cuda:77")!.Type);
    }

    [Fact]
    public void The_loaders_own_reason_is_told()
    {
        const string File = "/opt/x/libggml-cuda.so";
        const string Message = $"Unable to load shared library '{File}' or one of its dependencies. In order to help diagnose loading problems, consider using a tool like strace:\nlibcudart.so.13: cannot open shared object file: No such file or directory\n{File}: cannot open shared object file: No such file or directory";

        Assert.Equal("libcudart.so.13: cannot open shared object file: No such file or directory", LlamaLibraryFiles.Reason(Message, File));
        Assert.Equal("no format that is known", LlamaLibraryFiles.Reason("no format that is known\nmore", File));
    }

    [Fact]
    public void Doctor_names_a_backend_whose_driver_is_here()
    {
        var notes = LlamaAccelerators.Notes(Library(), "linux-x64", backend => backend.Name == "cuda").ToList();

        var note = Assert.Single(notes);
        Assert.Contains("-p:LlamaCppBackends=cuda", note, StringComparison.Ordinal);
        Assert.Contains("@node-llama-cpp/linux-x64-cuda@3.22.1", note, StringComparison.Ordinal);
        Assert.Contains("EDGEFARM_LLAMA_LIB", note, StringComparison.Ordinal);
        Assert.Empty(LlamaAccelerators.Notes(Library(), "linux-x64", _ => false));
        Assert.Empty(LlamaAccelerators.Notes(Library(), "linux-arm64", _ => true));
    }

    [Fact]
    public void Doctor_tells_a_backend_that_does_not_work_from_one_that_finds_nothing_and_is_silent_about_one_that_serves()
    {
        var broken = Library() with { Problems = [new LlamaBackendProblem("vulkan", "libvulkan.so.1: cannot open shared object file")] };
        var note = Assert.Single(LlamaAccelerators.Notes(broken, "linux-x64", backend => backend.Name == "vulkan"));
        Assert.Contains("libvulkan.so.1", note, StringComparison.Ordinal);
        Assert.Contains("mesa-vulkan-drivers", note, StringComparison.Ordinal);

        var blind = Library() with { Loaded = ["vulkan"] };
        Assert.Contains("finds no device", Assert.Single(LlamaAccelerators.Notes(blind, "linux-x64", backend => backend.Name == "vulkan")), StringComparison.Ordinal);

        var serving = blind with { Devices = [new LlamaDevice("Vulkan0", "llvmpipe", LlamaDeviceKind.Gpu, "Vulkan", 1, 1, null)] };
        Assert.Empty(LlamaAccelerators.Notes(serving, "linux-x64", backend => backend.Name == "vulkan"));
    }

    [Theory]
    [InlineData("CUDA0", LlamaDeviceKind.Gpu, "cuda:0")]
    [InlineData("Vulkan12", LlamaDeviceKind.Gpu, "vulkan:12")]
    [InlineData("MTL0", LlamaDeviceKind.Gpu, "mtl:0")]
    [InlineData("Metal", LlamaDeviceKind.Gpu, "metal:0")]
    [InlineData("CPU", LlamaDeviceKind.Cpu, "cpu")]
    public void A_device_has_the_farms_id(string name, LlamaDeviceKind kind, string id) =>
        Assert.Equal(id, new LlamaDevice(name, "", kind, "", 0, 0, null).FarmId);

    // A library by RPC's name beside the others; what it holds would load.
    [SkippableFact]
    public void The_RPC_backend_is_never_loaded()
    {
        Skip.IfNot(Directory.Exists(LlamaLibraryFiles.PackagedDirectory), $"there is no {LlamaLibraryFiles.PackagedDirectory}");
        foreach (var file in Directory.EnumerateFiles(LlamaLibraryFiles.PackagedDirectory))
        {
            File.CreateSymbolicLink(_folder[Path.GetFileName(file)], file);
        }

        File.Copy(Path.Combine(LlamaLibraryFiles.PackagedDirectory, "libggml-cpu-x64.so"), _folder["libggml-rpc.so"]);
        File.Copy(Path.Combine(LlamaLibraryFiles.PackagedDirectory, "libggml-cpu-x64.so"), _folder["libggml-rpc-haswell.so"]);
        var files = LlamaLibraryFiles.Locate(_folder[""]);

        Assert.Equal(["cpu"], files.Backends(accelerators: false, []).Select(backend => backend.Backend));
        Assert.Empty(files.Backends(accelerators: true, []));
        Assert.DoesNotContain("ggml-rpc", File.ReadAllText("/proc/self/maps"), StringComparison.Ordinal);
    }

    private static LlamaLibraryInfo Library() => new("0.5.0-dev", "0.25.1", "0ad4a86", "zen4", [], Digest.OfText("library"), "/natives", true, [], [], []);
}
