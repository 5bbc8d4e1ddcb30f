using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.Hosts.Linux;

namespace EdgeFarm.Toolchains.Tests.Hosts;

public sealed class CpuInfoTests
{
    private const string Oryon = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 asimddp sha512 asimdfhm i8mm bf16 rng bti";

    [Fact]
    public void A_server_with_amx_under_a_hypervisor()
    {
        var cpu = CpuInfo.Parse(
            "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz\nphysical id\t: 0\ncore id\t\t: 0\n"
            + "flags\t\t: avx avx2 hypervisor avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16\n\n"
            + "processor\t: 1\nvendor_id\t: GenuineIntel\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: avx avx2 hypervisor avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16\n");

        Assert.True(cpu.IsVirtual);
        Assert.Equal(["amx_bf16", "amx_int8", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx512bw", "avx512f"], cpu.Features);
        Assert.Equal((0, 0), cpu.Cores[0]);
        Assert.Equal((0, 0), cpu.Cores[1]);
    }

    [Fact]
    public void A_snapdragon_laptop()
    {
        var cpu = CpuInfo.Parse($"processor\t: 0\nBogoMIPS\t: 38.40\nFeatures\t: {Oryon}\nCPU implementer\t: 0x51\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0x001\n");
        Assert.Equal(("Oryon", "qualcomm"), (cpu.Model, cpu.Vendor));
        Assert.Equal(["bf16", "dotprod", "fp16", "fp16fml", "i8mm", "lse", "neon"], cpu.Features);
        Assert.False(cpu.IsVirtual);
    }

    [Fact]
    public void Big_and_little_cores_have_what_both_have()
    {
        static string Core(int n, string part, string features) => $"processor\t: {n}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n";
        var cpu = CpuInfo.Parse(Core(0, "0xd46", "asimd asimddp i8mm") + Core(1, "0xd46", "asimd asimddp i8mm") + Core(2, "0xd48", "asimd asimddp i8mm sve2") + Core(3, "0xfff", "asimd asimddp"));
        Assert.Equal(("Cortex-A510 + 0x41:0xfff + Cortex-X2", "arm"), (cpu.Model, cpu.Vendor));
        Assert.Equal(["dotprod", "neon"], cpu.Features);
        Assert.Equal(4, cpu.Cores.Values.Distinct().Count());
    }

    [Fact]
    public void A_graviton_has_sve() =>
        Assert.Equal(["neon", "sve", "svei8mm"], CpuInfo.Parse("processor : 0\nFeatures : fp asimd sve svei8mm\nCPU implementer : 0x41\nCPU part : 0xd40\n").Features);

    [Theory]
    [InlineData("")]
    [InlineData("\n\n\n")]
    [InlineData("no colon here")]
    [InlineData("processor : x\nmodel name\nflags : \n: :\n")]
    [InlineData("processor : 99999999999999999999\nCPU implementer : 0xzz\nCPU part : 12\n")]
    public void Broken_text_tells_nothing(string text)
    {
        var cpu = CpuInfo.Parse(text);
        Assert.Null(cpu.Model);
        Assert.Empty(cpu.Features);
        Assert.Empty(cpu.Cores);
    }

    [Fact]
    public void Features_that_the_system_does_not_save_do_not_count()
    {
        var all = CpuFeatures.FromCpuid(-1, (-1, -1, -1), (-1, -1), avxUsable: true, avx512Usable: true);
        Assert.Superset(new HashSet<string> { "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "fma" }, all);
        Assert.Equal(["bmi2", "gfni", "sse3", "sse4_1", "sse4_2", "ssse3"], CpuFeatures.FromCpuid(-1, (-1, -1, -1), (-1, -1), avxUsable: false, avx512Usable: false));
        Assert.Empty(CpuFeatures.FromCpuid(0, default, default, avxUsable: true, avx512Usable: true));
    }

    [SkippableFact]
    public void Cpuid_and_the_kernel_agree_on_this_machine()
    {
        var text = new HostSource().Read("/proc/cpuinfo");
        Skip.If(text is null || !System.Runtime.Intrinsics.X86.X86Base.IsSupported, "needs Linux on x86");
        var kernel = CpuInfo.Parse(text!).Features;
        var own = HostProber.OwnFeatures();

        // The kernel may know of features that this list of bits lacks or hide some; the ones that engines choose by must agree.
        foreach (var feature in new[] { "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni" })
        {
            Assert.Equal(kernel.Contains(feature), own.Contains(feature));
        }
    }
}
