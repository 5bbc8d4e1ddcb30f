using System.Text.Json;
using EdgeFarm.Cluster.Tests.Harness;
using EdgeFarm.Tests.Shared;

namespace EdgeFarm.Cluster.Tests;

/// <summary>
/// A sweep whose target is an accelerator, on llama.cpp's Vulkan backend with Mesa's software driver (Debian: mesa-vulkan-drivers), which is
/// a device only where GGML_VK_VISIBLE_DEVICES names it.
/// </summary>
public sealed class AcceleratorSweepTests
{
    [SkippableFact]
    public async Task A_sweep_targets_an_accelerator_beside_the_processor_and_its_quality_is_measured_there()
    {
        var environment = new Dictionary<string, string>
        {
            ["EDGEFARM_LLAMA_LIB"] = NpmPackages.Bins("llama-vulkan", "linux-x64-vulkan"),
            ["GGML_VK_VISIBLE_DEVICES"] = "0",
        };
        await using var farm = await Farm.StartAsync(environment: environment);
        var devices = (await farm.WorkersAsync()).Single().GetProperty("devices").EnumerateArray().ToList();
        Skip.IfNot(devices.Exists(d => d.GetProperty("id").GetString() == "vulkan:0"), "there is no Vulkan driver (Debian: apt-get install mesa-vulkan-drivers libvulkan1)");
        farm.Write("gpu.yaml", """
            spec:
              models: [{id: m, source: bundled:edgefarm-tiny}]
              data: [{id: held-out, source: bundled:held-out}]
              recipes: [{toolchain: llama.cpp, types: [F16, Q8_0]}]
              targets:
                - {id: gpu, require: {gpu.backend: Vulkan}}
                - {id: processor, require: {device.kind: cpu}}
              benchmark: {prompt: 8, generate: 2, repetitions: 2, warmup: 0}
              quality: {text: held-out, chunks: 1, context: 64, on: target}
            """);

        (await farm.RunAsync("submit", "gpu.yaml", "--id", "gpu", "--wait")).Expect(0);

        var entries = await farm.EntriesAsync("gpu");
        Assert.Equal(
            ["F16 gpu vulkan:0", "F16 processor cpu", "Q8_0 gpu vulkan:0", "Q8_0 processor cpu"],
            entries.Select(e => $"{Text(e, "form")} {Text(e, "target")} {Text(e, "device")}").Order(StringComparer.Ordinal));
        foreach (var entry in entries)
        {
            var isGpu = Text(entry, "target") == "gpu";
            Assert.Equal(isGpu, Text(entry.GetProperty("library"), "variant").StartsWith("vulkan+", StringComparison.Ordinal));
            Assert.Equal(isGpu, entry.GetProperty("metrics").TryGetProperty("device_memory", out _));
            Assert.Empty(entry.TryGetProperty("warnings", out var warnings)
                ? warnings.EnumerateArray().Select(w => w.GetString()!).Where(w => w.Contains("variant of the library", StringComparison.Ordinal))
                : []);
        }

        // Each target's figures compare with logits of its own, so the baseline of the two differs by rounding and no more.
        var baselines = entries.Where(e => Text(e, "form") == "F16").Select(e => Metric(e, "perplexity")).ToList();
        Assert.Equal(baselines[0], baselines[1], baselines[0] * 0.01);
        Assert.All(entries.Where(e => Text(e, "form") == "Q8_0"), e => Assert.True(Metric(e, "kld_mean") > 0));
    }

    private static string Text(JsonElement element, string name) => element.GetProperty(name).GetString()!;

    private static double Metric(JsonElement entry, string name) => entry.GetProperty("metrics").GetProperty(name).GetProperty("value").GetDouble();
}
