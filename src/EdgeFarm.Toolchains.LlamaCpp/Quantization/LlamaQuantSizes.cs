using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Planning;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.Toolchains.LlamaCpp.Quantization;

/// <summary>
/// What the mixtures of llama.cpp 0.5.0 (src/llama-quant.cpp) give to the matrices of each role, as means over the layers: enough to tell
/// the size of a form within a few percent before there is a file that the library could plan. <see cref="LlamaQuantizer"/> plans exactly.
/// </summary>
internal static class LlamaQuantSizes
{
    // Role:type, or Role:type*share where only that share of the layers gets the type and the rest the mixture's own.
    private static readonly Dictionary<string, string> Mixtures = new(StringComparer.Ordinal)
    {
        ["Q5_K_M"] = "attn_v:Q6_K*0.5 attn_qkv:Q6_K ffn_down:Q6_K*0.5",
        ["Q4_K_M"] = "attn_v:Q6_K*0.5 attn_qkv:Q5_K ffn_down:Q6_K*0.5",
        ["Q4_K_S"] = "attn_v:Q5_K*0.15 ffn_down:Q5_K*0.125",
        ["IQ4_NL"] = "ffn_down:Q5_K*0.125",
        ["IQ4_XS"] = "ffn_down:Q5_K*0.125",
        ["MXFP4_MOE"] = "ffn_gate_exps:MXFP4 ffn_up_exps:MXFP4 ffn_down_exps:MXFP4",
        ["Q3_K_L"] = "attn_v:Q5_K attn_qkv:Q4_K attn_output:Q5_K ffn_down:Q5_K",
        ["Q3_K_M"] = "attn_v:Q4_K attn_qkv:Q4_K attn_output:Q4_K ffn_down:Q4_K",
        ["IQ3_M"] = "attn_v:Q4_K attn_qkv:Q4_K attn_output:Q4_K ffn_down:Q4_K*0.125",
        ["IQ3_XS"] = "attn_q:IQ3_XXS attn_k:IQ3_XXS ffn_gate:IQ3_XXS*0.75 ffn_up:IQ3_XXS*0.75",
        ["IQ3_XXS"] = "token_embd:IQ3_S attn_v:IQ3_S attn_q:IQ2_S attn_k:IQ2_S attn_output:IQ3_S ffn_down:Q3_K*0.125",
        ["Q2_K"] = "attn_v:Q3_K attn_qkv:Q3_K attn_output:Q3_K ffn_down:Q3_K",
        ["Q2_K_S"] = "ffn_down:Q4_K*0.125",
        ["IQ2_M"] = "token_embd:IQ3_S attn_v:IQ3_S attn_output:IQ3_S ffn_down:IQ3_S*0.125",
        ["IQ2_S"] = "token_embd:IQ3_S attn_v:IQ3_S attn_output:IQ3_S ffn_down:IQ3_S*0.125",
        ["IQ2_XS"] = "token_embd:Q2_K attn_v:Q2_K ffn_down:Q2_K*0.125",
        ["IQ2_XXS"] = "token_embd:Q2_K attn_v:Q2_K ffn_down:Q2_K*0.125",
        ["IQ1_M"] = "token_embd:Q2_K attn_v:Q2_K attn_output:IQ2_XXS ffn_down:Q2_K*0.125",
        ["IQ1_S"] = "token_embd:Q2_K attn_v:Q2_K attn_output:IQ2_XXS ffn_down:Q2_K*0.125",
    };

    /// <summary>What a type makes of a model.</summary>
    public static FormSize Of(LlamaQuantType type)
    {
        // Only experts become MXFP4.
        var bits = Bits(type.DefaultType == GgmlType.MXFP4 ? GgmlType.Q8_0 : type.DefaultType);
        var roles = ImmutableSortedDictionary.CreateBuilder<string, double>(StringComparer.Ordinal);
        if (Output(type) is { } output)
        {
            roles["output"] = Bits(output);
        }

        foreach (var rule in Mixtures.GetValueOrDefault(type.Name, "").Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            var (role, given) = (rule[..rule.IndexOf(':', StringComparison.Ordinal)], rule[(rule.IndexOf(':', StringComparison.Ordinal) + 1)..].Split('*'));
            var share = given.Length > 1 ? double.Parse(given[1], CultureInfo.InvariantCulture) : 1;
            roles[role] = (share * Bits(Enum.Parse<GgmlType>(given[0]))) + ((1 - share) * bits);
        }

        return new FormSize(bits, roles.ToImmutable());
    }

    /// <summary>The type of the output matrix where it is not the mixture's own.</summary>
    private static GgmlType? Output(LlamaQuantType type) => type.DefaultType switch
    {
        GgmlType.F32 or GgmlType.F16 or GgmlType.BF16 or GgmlType.Q8_0 or GgmlType.MXFP4 => null,
        GgmlType.IQ1_S or GgmlType.IQ1_M or GgmlType.IQ2_XXS or GgmlType.IQ2_XS or GgmlType.IQ2_S or GgmlType.IQ3_XXS => GgmlType.Q5_K,
        _ => GgmlType.Q6_K,
    };

    private static double Bits(GgmlType type) => GgmlTypes.Get(type).BitsPerWeight;
}
