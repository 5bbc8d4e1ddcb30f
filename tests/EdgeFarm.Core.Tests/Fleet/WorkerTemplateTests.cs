using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Tests.Fleet;

public sealed class WorkerTemplateTests
{
    private static readonly ToolchainCatalog Catalog = new([TestCatalog.LlamaCpp, TestCatalog.OnnxRuntime]);

    [Fact]
    public void A_template_is_a_worker_that_requirements_can_be_matched_with()
    {
        var template = Assert.Single(WorkerTemplate.ParseAll(
            "cpu-x64: os=linux arch=x64 device.kind=cpu cpu.features=avx2,fma cpu.cores.physical=8 memory.total=32GiB device.memory=16GiB label.room=lab", Catalog).Value);
        Assert.Equal("cpu-x64", template.DeviceClass);
        var device = Assert.Single(template.Worker.Devices);
        Assert.Equal(("cpu", "cpu", 16L << 30), (device.Id, device.Kind, device.MemoryBytes));

        Assert.Empty(Lacks(template, new("os", "linux"), new("arch", "X64"), new("cpu.features", "fma"), new("memory.total", "32GiB"), new("label.room", "lab")));
        Assert.Equal(4, Lacks(template, new("os", "macos"), new("cpu.features", "avx512f"), new("cpu.cores.physical", "9"), new("gpu.vendor", "nvidia")).Length);
        Assert.Empty(RequirementMatcher.Lacks(template.Worker, device, new JobRequirements("llama.cpp", "GgufQuantize", "onnxruntime", "onnx", [])));
        Assert.NotEmpty(RequirementMatcher.Lacks(template.Worker, device, JobRequirements.None with { MemoryBytes = 17L << 30 }));
    }

    [Fact]
    public void A_worker_for_an_accelerator_has_a_cpu_too()
    {
        var template = Assert.Single(WorkerTemplate.ParseAll("cuda: os=linux arch=x64 device.kind=gpu gpu.vendor=nvidia gpu.compute_capability=8.9", Catalog).Value);
        Assert.Equal(["gpu", "cpu"], template.Worker.Devices.Select(d => d.Kind));
        Assert.Single(Candidates(template, new("gpu.vendor", "nvidia"), new("gpu.compute_capability", "8.0"), new("os", "linux")), d => d.Kind == "gpu");
        Assert.Single(Candidates(template, new("device.kind", "cpu"), new("arch", "x64")), d => d.Kind == "cpu");
        Assert.Empty(Candidates(template, new("device.kind", "cpu"), new("gpu.vendor", "nvidia")));
    }

    [Fact]
    public void Toolchains_can_be_narrowed()
    {
        var template = Assert.Single(WorkerTemplate.ParseAll("slim: os=linux toolchains=onnxruntime", Catalog).Value);
        Assert.Equal(["onnxruntime"], template.Worker.Toolchains.Select(t => t.Identity.Id));
        Assert.Equal(["onnxruntime"], template.Worker.Runtimes.Select(t => t.Identity.Id));
    }

    [Theory]
    [InlineData("", "there is no worker template")]
    [InlineData("cpu-x64 os=linux", "'cpu-x64 os=linux' is no worker template")]
    [InlineData("c: os", "'os' is no property; write KEY=VALUE")]
    [InlineData("c: os=", "'os=' is no property")]
    [InlineData("c: device.memory=much", "device.memory needs a number, not 'much'")]
    [InlineData("c: device.memory=-1", "device.memory must be 0 to")]
    [InlineData("c: toolchains=tensorrt", "there is no toolchain 'tensorrt'; known: llama.cpp, onnxruntime")]
    [InlineData("c: host=h1", "'host' belongs to one worker")]
    [InlineData("c: os=linux\nc: os=macos", "the device class 'c' has two worker templates")]
    public void What_is_wrong_is_told(string text, string message)
    {
        var parsed = WorkerTemplate.ParseAll(text, Catalog);
        Assert.Contains(message, parsed.Failure!.Message, StringComparison.Ordinal);
    }

    private static Lack[] Lacks(WorkerTemplate template, params Requirement[] properties) =>
        [.. RequirementMatcher.Nearest(template.Worker, JobRequirements.None with { Properties = [.. properties] })];

    private static Device[] Candidates(WorkerTemplate template, params Requirement[] properties) =>
        [.. RequirementMatcher.Candidates(template.Worker, JobRequirements.None with { Properties = [.. properties] })];
}
