using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests;

public class ProbeTests
{
    [Fact]
    public void The_packaged_library_loads_and_tells_what_it_is()
    {
        var info = LlamaProbe.Run().Value;

        Assert.StartsWith("0.5.0", info.Version, StringComparison.Ordinal);
        Assert.Equal("0ad4a86", info.Commit);
        Assert.True(info.Packaged);
        Assert.NotEqual("generic", info.Variant);
        Assert.NotEmpty(info.Features);
        Assert.False(info.Digest.IsEmpty);
        var cpu = Assert.Single(info.Devices, device => device.Kind == LlamaDeviceKind.Cpu);
        Assert.True(cpu.MemoryTotal > 1L << 30);
    }
}
