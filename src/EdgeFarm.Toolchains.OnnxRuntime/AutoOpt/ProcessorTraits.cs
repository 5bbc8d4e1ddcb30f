using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>What a planner needs to know of where the model runs.</summary>
/// <param name="IsCpu">Whether ONNX Runtime's CPU provider runs it; of other providers' kernels nothing is known beforehand.</param>
/// <param name="IsX64">Whether it is an x64 processor.</param>
/// <param name="Dots">Whether it multiplies 8-bit integers four at a time into 32 bits (VNNI, AMX, dot product); without, products of full range may saturate on x64.</param>
/// <param name="Instructions">Name of what it does so with, for users; empty where it does not.</param>
internal sealed record ProcessorTraits(bool IsCpu, bool IsX64, bool Dots, string Instructions)
{
    private const int Leaf = 7;
    private const int Avx512Vnni = 11, AvxVnni = 4, AmxInt8 = 25;

    /// <summary>This machine's processor.</summary>
    /// <param name="isCpu">See <see cref="IsCpu"/>.</param>
    public static ProcessorTraits Detect(bool isCpu)
    {
        var instructions = "";
        if (X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= Leaf)
        {
            var first = X86Base.CpuId(Leaf, 0);
            var second = first.Eax >= 1 ? X86Base.CpuId(Leaf, 1) : default;
            instructions = Has(first.Edx, AmxInt8) ? "AMX" : Has(first.Ecx, Avx512Vnni) ? "AVX-512 VNNI" : Has(second.Eax, AvxVnni) ? "AVX VNNI" : "";
        }
        else if (Dp.IsSupported)
        {
            instructions = "dot product";
        }

        return new ProcessorTraits(isCpu, RuntimeInformation.ProcessArchitecture == Architecture.X64, instructions.Length > 0, instructions);
    }

    private static bool Has(int register, int bit) => (register >> bit & 1) != 0;
}
