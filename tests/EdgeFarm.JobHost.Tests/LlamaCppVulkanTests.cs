using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.JobHost.Tests;

/// <summary>
/// An accelerator for real, if a slow one: llama.cpp's Vulkan backend on Mesa's software driver (Debian: mesa-vulkan-drivers), which is a
/// device only where GGML_VK_VISIBLE_DEVICES names it.
/// </summary>
public sealed class LlamaCppVulkanTests : IDisposable
{
    private const string Engine = "llama.cpp", Device = "vulkan:0";

    private readonly List<RealChild> _children = [];

    public void Dispose() => _children.ForEach(child => child.Dispose());

    private static (string, string)[] Short => [("prompt", "8"), ("generate", "2"), ("repetitions", "2"), ("warmup", "0")];

    [SkippableFact]
    public async Task A_device_is_found_with_its_memory_and_serves_the_runtime()
    {
        var run = await (await WithDriverAsync()).ProbeAsync(Engine);

        var device = Assert.Single(run.Probe!.Devices);
        Assert.Equal((Device, "gpu"), (device.Id, device.Kind));
        Assert.True(device.MemoryBytes >= 256L << 20);
        Assert.Equal("Vulkan", device.Properties["gpu.backend"].Text);
        Assert.Contains("llvmpipe", device.Properties["gpu.name"].Text, StringComparison.Ordinal);
        Assert.Equal(["cpu", Device], run.Probe.Runtime!.Devices.Order(StringComparer.Ordinal));
    }

    [SkippableFact]
    public async Task A_benchmark_runs_on_the_device_with_all_layers_and_tells_its_memory()
    {
        var child = await WithDriverAsync();

        var all = await child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], Short);

        Assert.Null(all.Failure);
        Assert.StartsWith("vulkan+", all.Result!.Result.LibraryVariant, StringComparison.Ordinal);
        Assert.Equal(("Vulkan0", "-1"), (all.Result.Result.Settings["devices"], all.Result.Result.Settings["n_gpu_layers"]));
        Assert.Equal(7, Layers(all));

        // The weights are 11 MiB; cache and buffers come on top.
        Assert.InRange(Value(all, "device_memory"), 11.0 * (1 << 20), 300.0 * (1 << 20));
        Assert.Contains(all.Result.Result.Measurements, m => m is { Metric: "tg", Samples.Length: 2 });

        var some = await child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], [.. Short, ("n_gpu_layers", "3")]);

        Assert.Null(some.Failure);
        Assert.Equal(3, Layers(some));
        Assert.True(Value(some, "device_memory") < Value(all, "device_memory"));
        var more = await child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], [.. Short, ("n_gpu_layers", "99")]);
        Assert.Equal(7, Layers(more));
    }

    [SkippableFact]
    public async Task Quality_on_the_device_is_the_processors_but_for_rounding()
    {
        var text = RealChild.Shared("models/edgefarm-tiny/eval.txt");
        var onCpu = Add(new RealChild());
        var baseline = await onCpu.RunAsync(Engine, JobKind.Evaluate, "Perplexity", [("model", RealChild.TinyModel), ("text", text)], [("chunks", "2"), ("save_logits", "true")]);
        Assert.Null(baseline.Failure);

        var run = await (await WithDriverAsync()).RunAsync(
            Engine, JobKind.Evaluate, "Perplexity", [("model", RealChild.TinyModel), ("logits", Path.Combine(onCpu.Output, "logits"))], []);

        Assert.Null(run.Failure);
        Assert.InRange(Value(run, "kld_mean"), -0.001, 0.001);
        Assert.InRange(Value(run, "same_top"), 0.97, 1);
        Assert.Equal(Value(baseline, "perplexity"), Value(run, "perplexity"), Value(baseline, "perplexity") * 0.002);
    }

    // No driver or none that may be used: the package would compute on the processor without a word.
    [SkippableFact]
    public async Task A_GPU_library_without_a_device_is_a_failure_and_not_the_processor()
    {
        var blind = Add(new RealChild(Library(), ("GGML_VK_VISIBLE_DEVICES", null), ("VK_DRIVER_FILES", "/nonexistent"), ("VK_ICD_FILENAMES", "/nonexistent")) { Device = Device });

        var probe = await blind.ProbeAsync(Engine);
        Assert.Empty(probe.Probe!.Devices);
        Assert.Equal("cpu", Assert.Single(probe.Probe.Runtime!.Devices));
        var run = await blind.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], Short);

        Assert.Equal(FailureType.Unsupported, run.Failure!.Type);
        Assert.Contains("no device vulkan:0", run.Failure.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task The_processor_stays_a_device_of_its_own_beside_it()
    {
        var child = Add(new RealChild(Library(), ("GGML_VK_VISIBLE_DEVICES", "0")));

        var run = await child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], Short);

        Assert.Null(run.Failure);
        Assert.DoesNotContain("vulkan", run.Result!.Result.LibraryVariant, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(run.Result.Result.Measurements, m => m.Metric == "device_memory");
        Assert.Equal(0, Layers(run));
    }

    private static (string, string?) Library() => ("EDGEFARM_LLAMA_LIB", NpmPackages.Bins("llama-vulkan", "linux-x64-vulkan"));

    private async Task<RealChild> WithDriverAsync()
    {
        var child = Add(new RealChild(Library(), ("GGML_VK_VISIBLE_DEVICES", "0")) { Device = Device });
        var probe = await child.ProbeAsync(Engine);
        Assert.Null(probe.Failure);
        Skip.If(probe.Probe!.Devices.IsEmpty, $"there is no Vulkan driver (Debian: apt-get install mesa-vulkan-drivers libvulkan1): {string.Join("; ", probe.Probe.Notes.Skip(1))}");
        Skip.IfNot(probe.Probe.Devices[0].Fingerprint.Contains("llvmpipe", StringComparison.Ordinal), "the first Vulkan device is not Mesa's software driver");
        return child;
    }

    private RealChild Add(RealChild child)
    {
        _children.Add(child);
        return child;
    }

    private static int Layers(JobHostRun run)
    {
        using var report = JsonDocument.Parse(run.Result!.Result.Report);
        return report.RootElement.GetProperty("offloaded_layers").GetInt32();
    }

    private static double Value(JobHostRun run, string metric) => run.Result!.Result.Measurements.Single(m => m.Metric == metric).Samples.Single();
}
