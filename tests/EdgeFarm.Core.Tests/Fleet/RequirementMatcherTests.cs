using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using static EdgeFarm.Core.Tests.TestCatalog;

namespace EdgeFarm.Core.Tests.Fleet;

public sealed class RequirementMatcherTests
{
    private static readonly WorkerCapability Worker = new(
        "host-1",
        "worker-1",
        ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal)
            .Add("os", PropertyValue.Of("linux"))
            .Add("arch", PropertyValue.Of("x64"))
            .Add("memory.total", PropertyValue.Of(16d * 1024 * 1024 * 1024))
            .Add("cpu.features", PropertyValue.Of(["avx2", "avx512f"])),
        Parameters(("room", "lab")),
        [
            new Device("cpu", "cpu", ImmutableSortedDictionary<string, PropertyValue>.Empty, 16_000_000_000, ""),
            new Device("cuda:0", "gpu", ImmutableSortedDictionary<string, PropertyValue>.Empty.Add("gpu.vendor", PropertyValue.Of("nvidia")), 8_000_000_000, ""),
        ],
        [new RuntimeInfo(Llama, "haswell", "", ["gguf"], ["cpu"])],
        [new ToolchainInfo(Llama, ["GgufQuantize"])],
        2);

    [Theory]
    [InlineData("os", "Linux", true)]
    [InlineData("arch", "arm64", false)]
    [InlineData("memory.total", "16GiB", true)]
    [InlineData("memory.total", "17GB", true)]
    [InlineData("memory.total", "18GB", false)]
    [InlineData("memory.total", "much", false)]
    [InlineData("cpu.features", "avx512f, avx2", true)]
    [InlineData("cpu.features", "avx2,neon", false)]
    [InlineData("label.room", "lab", true)]
    [InlineData("label.floor", "1", false)]
    [InlineData("device.kind", "cpu", true)]
    [InlineData("host", "host-1", true)]
    [InlineData("worker", "worker-2", false)]
    [InlineData("unheard.of", "x", false)]
    public void A_property_is_matched_as_its_definition_says(string property, string value, bool matches) => Assert.Equal(
        matches,
        RequirementMatcher.Lacks(Worker, Worker.Devices[0], JobRequirements.None with { Properties = [new Requirement(property, value)] }).IsEmpty);

    [Fact]
    public void A_runtime_serves_some_devices_only()
    {
        var needed = JobRequirements.None with { Runtime = "llama.cpp", Format = "gguf" };
        Assert.Equal(["cpu"], RequirementMatcher.Candidates(Worker, needed).Select(d => d.Id));
        var lack = Assert.Single(RequirementMatcher.Lacks(Worker, Worker.Devices[1], needed));
        Assert.Equal("needs runtime llama.cpp on cuda:0, has cpu", lack.ToString());
    }

    [Fact]
    public void What_lacks_is_told()
    {
        var lacks = RequirementMatcher.Nearest(Worker, new JobRequirements("onnxruntime", "X", "openvino", "onnx", [new Requirement("arch", "arm64")]));
        Assert.Equal(
            ["needs toolchain onnxruntime, has llama.cpp", "needs runtime openvino, has llama.cpp", "needs arch = arm64, has x64"],
            lacks.Select(l => l.ToString()));
        Assert.Equal("needs pass X of llama.cpp, has llama.cpp b6000", Assert.Single(RequirementMatcher.Nearest(Worker, JobRequirements.None with { Toolchain = "llama.cpp", Pass = "X" })).ToString());
    }

    [Fact]
    public void Memory_of_the_device_counts()
    {
        var needed = JobRequirements.None with { MemoryBytes = 10_000_000_000 };
        Assert.Equal(["cpu"], RequirementMatcher.Candidates(Worker, needed).Select(d => d.Id));
    }
}
