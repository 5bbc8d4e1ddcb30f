using System.Collections.Frozen;

namespace EdgeFarm.Toolchains.Hosts;

/// <summary>
/// Instruction sets that inference engines choose their code by, under one name on every system: Linux's names on x86, and on Arm
/// <c>neon</c>, <c>fp16</c>, <c>dotprod</c>, <c>i8mm</c>, <c>bf16</c>, <c>fp16fml</c>, <c>sve</c>, <c>sve2</c>, <c>sme</c>, <c>sme2</c>, <c>lse</c>.
/// </summary>
internal static class CpuFeatures
{
    private static readonly FrozenDictionary<string, string> Linux = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["pni"] = "sse3",
        ["ssse3"] = "ssse3",
        ["sse4_1"] = "sse4_1",
        ["sse4_2"] = "sse4_2",
        ["avx"] = "avx",
        ["avx2"] = "avx2",
        ["f16c"] = "f16c",
        ["fma"] = "fma",
        ["bmi2"] = "bmi2",
        ["avx512f"] = "avx512f",
        ["avx512bw"] = "avx512bw",
        ["avx512cd"] = "avx512cd",
        ["avx512dq"] = "avx512dq",
        ["avx512vl"] = "avx512vl",
        ["avx512vbmi"] = "avx512_vbmi",
        ["avx512_vbmi2"] = "avx512_vbmi2",
        ["avx512_vnni"] = "avx512_vnni",
        ["avx512_bf16"] = "avx512_bf16",
        ["avx512_fp16"] = "avx512_fp16",
        ["avx_vnni"] = "avx_vnni",
        ["avx_vnni_int8"] = "avx_vnni_int8",
        ["avx_ifma"] = "avx_ifma",
        ["amx_tile"] = "amx_tile",
        ["amx_int8"] = "amx_int8",
        ["amx_bf16"] = "amx_bf16",
        ["amx_fp16"] = "amx_fp16",
        ["gfni"] = "gfni",
        ["asimd"] = "neon",
        ["neon"] = "neon",
        ["asimdhp"] = "fp16",
        ["asimddp"] = "dotprod",
        ["i8mm"] = "i8mm",
        ["bf16"] = "bf16",
        ["asimdfhm"] = "fp16fml",
        ["sve"] = "sve",
        ["sve2"] = "sve2",
        ["svei8mm"] = "svei8mm",
        ["sme"] = "sme",
        ["sme2"] = "sme2",
        ["atomics"] = "lse",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private static readonly FrozenDictionary<string, string> Sysctl = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["hw.optional.AdvSIMD"] = "neon",
        ["hw.optional.neon"] = "neon",
        ["hw.optional.arm.FEAT_FP16"] = "fp16",
        ["hw.optional.neon_fp16"] = "fp16",
        ["hw.optional.arm.FEAT_DotProd"] = "dotprod",
        ["hw.optional.arm.FEAT_I8MM"] = "i8mm",
        ["hw.optional.arm.FEAT_BF16"] = "bf16",
        ["hw.optional.arm.FEAT_FHM"] = "fp16fml",
        ["hw.optional.armv8_2_fhm"] = "fp16fml",
        ["hw.optional.arm.FEAT_SME"] = "sme",
        ["hw.optional.arm.FEAT_SME2"] = "sme2",
        ["hw.optional.arm.FEAT_LSE"] = "lse",
        ["hw.optional.armv8_1_atomics"] = "lse",
        ["hw.optional.avx1_0"] = "avx",
        ["hw.optional.avx2_0"] = "avx2",
        ["hw.optional.f16c"] = "f16c",
        ["hw.optional.fma"] = "fma",
        ["hw.optional.bmi2"] = "bmi2",
        ["hw.optional.avx512f"] = "avx512f",
        ["hw.optional.avx512bw"] = "avx512bw",
        ["hw.optional.avx512cd"] = "avx512cd",
        ["hw.optional.avx512dq"] = "avx512dq",
        ["hw.optional.avx512vl"] = "avx512vl",
        ["hw.optional.avx512vbmi"] = "avx512_vbmi",
        ["hw.optional.sse4_1"] = "sse4_1",
        ["hw.optional.sse4_2"] = "sse4_2",
        ["hw.optional.supplementalsse3"] = "ssse3",
        ["hw.optional.sse3"] = "sse3",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>From the words of <c>flags</c> or <c>Features</c> in /proc/cpuinfo.</summary>
    public static SortedSet<string> FromLinux(IEnumerable<string> words) => Map(words, Linux);

    /// <summary>From sysctl: the names whose value is 1.</summary>
    public static SortedSet<string> FromSysctl(IReadOnlyDictionary<string, string> values)
    {
        var features = Map(values.Where(v => v.Value == "1").Select(v => v.Key), Sysctl);

        // Where the kernel grants user space no streaming vectors, the instructions trap though the core has them.
        if (values.GetValueOrDefault("hw.optional.arm.sme_max_svl_b") == "0")
        {
            features.ExceptWith(["sme", "sme2"]);
        }

        return features;
    }

    /// <summary>From CPUID registers. What needs wide registers counts only if the operating system saves them.</summary>
    /// <param name="leaf1Ecx">Leaf 1, ECX.</param>
    /// <param name="leaf7">Leaf 7, subleaf 0.</param>
    /// <param name="leaf71">Leaf 7, subleaf 1.</param>
    /// <param name="avxUsable">Whether 256 bit registers are saved.</param>
    /// <param name="avx512Usable">Whether 512 bit registers are saved.</param>
    public static SortedSet<string> FromCpuid(
        int leaf1Ecx, (int Ebx, int Ecx, int Edx) leaf7, (int Eax, int Edx) leaf71, bool avxUsable, bool avx512Usable)
    {
        var features = new SortedSet<string>(StringComparer.Ordinal);
        void Add(int register, int bit, string name, bool usable = true)
        {
            if (usable && ((register >> bit) & 1) == 1)
            {
                features.Add(name);
            }
        }

        Add(leaf1Ecx, 0, "sse3");
        Add(leaf1Ecx, 9, "ssse3");
        Add(leaf1Ecx, 19, "sse4_1");
        Add(leaf1Ecx, 20, "sse4_2");
        Add(leaf1Ecx, 12, "fma", avxUsable);
        Add(leaf1Ecx, 28, "avx", avxUsable);
        Add(leaf1Ecx, 29, "f16c", avxUsable);
        Add(leaf7.Ebx, 5, "avx2", avxUsable);
        Add(leaf7.Ebx, 8, "bmi2");
        Add(leaf7.Ebx, 16, "avx512f", avx512Usable);
        Add(leaf7.Ebx, 17, "avx512dq", avx512Usable);
        Add(leaf7.Ebx, 28, "avx512cd", avx512Usable);
        Add(leaf7.Ebx, 30, "avx512bw", avx512Usable);
        Add(leaf7.Ebx, 31, "avx512vl", avx512Usable);
        Add(leaf7.Ecx, 1, "avx512_vbmi", avx512Usable);
        Add(leaf7.Ecx, 6, "avx512_vbmi2", avx512Usable);
        Add(leaf7.Ecx, 8, "gfni");
        Add(leaf7.Ecx, 11, "avx512_vnni", avx512Usable);
        Add(leaf7.Edx, 23, "avx512_fp16", avx512Usable);
        Add(leaf7.Edx, 22, "amx_bf16", avx512Usable);
        Add(leaf7.Edx, 24, "amx_tile", avx512Usable);
        Add(leaf7.Edx, 25, "amx_int8", avx512Usable);
        Add(leaf71.Eax, 4, "avx_vnni", avxUsable);
        Add(leaf71.Eax, 5, "avx512_bf16", avx512Usable);
        Add(leaf71.Eax, 21, "amx_fp16", avx512Usable);
        Add(leaf71.Eax, 23, "avx_ifma", avxUsable);
        Add(leaf71.Edx, 4, "avx_vnni_int8", avxUsable);
        return features;
    }

    /// <summary>From the Arm identification registers that Windows keeps in its registry.</summary>
    /// <param name="pfr0">ID_AA64PFR0_EL1.</param>
    /// <param name="isar0">ID_AA64ISAR0_EL1.</param>
    /// <param name="isar1">ID_AA64ISAR1_EL1.</param>
    public static SortedSet<string> FromArmRegisters(ulong pfr0, ulong isar0, ulong isar1)
    {
        var features = new SortedSet<string>(StringComparer.Ordinal);
        void Add(ulong register, int shift, string name, int atLeast = 1, int except = -1)
        {
            var field = (int)((register >> shift) & 15);
            if (field >= atLeast && field != except)
            {
                features.Add(name);
            }
        }

        // Advanced SIMD counts from 0; 15 means that there is none.
        Add(pfr0, 20, "neon", atLeast: 0, except: 15);
        Add(pfr0, 20, "fp16", atLeast: 1, except: 15);
        Add(pfr0, 32, "sve");
        Add(isar0, 20, "lse", atLeast: 2);
        Add(isar0, 44, "dotprod");
        Add(isar0, 48, "fp16fml");
        Add(isar1, 44, "bf16");
        Add(isar1, 52, "i8mm");
        return features;
    }

    private static SortedSet<string> Map(IEnumerable<string> words, FrozenDictionary<string, string> names)
    {
        var features = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var word in words)
        {
            if (names.TryGetValue(word, out var name))
            {
                features.Add(name);
            }
        }

        return features;
    }
}
