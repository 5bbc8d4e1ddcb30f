using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestCatalog;

namespace EdgeFarm.Core.Tests.Planning;

/// <summary>Sizes and memory before any job runs.</summary>
public sealed class SizePreflightTests
{
    private static readonly Dictionary<string, ArtifactRef> Sources = new() { ["m"] = Artifact("m", "gguf"), ["text"] = Artifact("text", "text") };

    // 8 billion weights, 1 billion of them in the output; 64 Ki elements of keys and values per token.
    private static readonly ModelShape Shape = new(
        ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, [KeyValuePair.Create("ffn_up", 7_000_000_000L), KeyValuePair.Create("output", 1_000_000_000L)]), 1000, 500, 65536);

    private static readonly ImmutableSortedDictionary<string, double> s_cacheBytes =
        ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, [KeyValuePair.Create("f16", 2.0), KeyValuePair.Create("q4_0", 0.5625)]);

    private static ToolchainCatalog Catalog => new([LlamaCpp with
    {
        Passes = [.. LlamaCpp.Passes.Select(p => p.Precision is not { } rule ? p : p with
        {
            Precision = rule with
            {
                Sizes = ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal,
                [
                    KeyValuePair.Create("F16", new FormSize(16, Roles())),
                    KeyValuePair.Create("Q8_0", new FormSize(8.5, Roles())),
                    KeyValuePair.Create("Q4_K_M", new FormSize(4.5, Roles().Add("output", 6.5))),
                ]),
                SizedBy = ["imatrix_chunks"],
            },
        })],
        Runtime = LlamaCpp.Runtime! with { Memory = new MemoryEstimate(["prompt", "generate"], ["n_depth"], ["context"], ["type_k", "type_v"], s_cacheBytes, 100) },
    }]);

    [Fact]
    public void A_form_has_its_size_and_its_jobs_ask_for_the_memory()
    {
        var plan = Plan(Spec([Model("m")], [Types("llama.cpp", "Q4_K_M")]));

        const long quantized = (31_500_000_000 + 6_500_000_000 + 32_000) / 8;
        var entry = plan.Entries.Single(e => e.Form == "Q4_K_M");
        Assert.Equal(quantized + 500, entry.PredictedSize);
        Assert.Equal(16_000_000_000 + 4000 + 500, plan.Entries.Single(e => e.Form == "F16").PredictedSize);
        var benchmark = plan.Jobs.Single(j => j.Id == entry.BenchmarkJob);
        Assert.Equal(entry.PredictedSize + (512L * 65536 * 2) + 100, benchmark.Requirements.MemoryBytes);
        Assert.All(plan.Jobs.Where(j => j.Kind is JobKind.Import or JobKind.Optimize), j => Assert.Equal(0, j.Requirements.MemoryBytes));
    }

    [Theory]
    [InlineData("f16", "f16", 2)]
    [InlineData("f16", "q4_0", 1.28125)]
    [InlineData("q4_0", "q4_0", 0.5625)]
    [InlineData("of-tomorrow", "f16", 2)]
    public void The_types_of_keys_and_values_tell_the_memory_of_the_cache(string keys, string values, double bytes)
    {
        var estimate = new MemoryEstimate(["prompt"], [], [], ["type_k", "type_v"], s_cacheBytes, 100);
        Assert.Equal(1000 + (long)(512 * 65536 * bytes) + 100, estimate.Predict(1000, Shape, Parameters(("prompt", "512"), ("type_k", keys), ("type_v", values))));
    }

    [Theory]
    [InlineData(5_000_000_000, null, "Q8_0: it would have about 7.92 GiB, and limits.size is 4.66 GiB")]
    [InlineData(null, 8_000_000_000, "Q8_0: it would take about 7.98 GiB of memory, and limits.memory is 7.45 GiB")]
    [InlineData(9_000_000_000, 9_000_000_000, "")]
    public void Only_a_limit_of_the_sweep_refuses_a_form_and_never_the_baseline(long? size, long? memory, string refused)
    {
        var plan = Plan(Spec([Model("m")], [Types("llama.cpp", "Q8_0", "Q4_K_M")]) with { Limits = new SweepLimits(size, memory) });

        Assert.Equal(refused.Length == 0 ? ["F16", "Q8_0", "Q4_K_M"] : ["F16", "Q4_K_M"], plan.Entries.Select(e => e.Form));
        Assert.Equal(refused, string.Join('\n', plan.LeftOut.Select(l => $"{l.What.Split(' ')[^1]}: {l.Reason}")));
        Assert.DoesNotContain(plan.Jobs, j => refused.Length > 0 && j.Form == "Q8_0");
    }

    [Fact]
    public void What_cannot_be_told_is_unknown_and_refused_by_no_limit()
    {
        var spec = Spec([Model("m")], [Chain("llama.cpp", "odd", Pass("GgufQuantize", ("type", ["Q8_0"]), ("imatrix_chunks", ["3"])))]) with { Limits = new SweepLimits(1, 1) };

        Assert.Equal(0, Plan(spec).Entries.Single(e => e.Form == "odd").PredictedSize);
        Assert.All(Planner.Plan("s", spec, Sources, Catalog).Value.Entries, e => Assert.Equal(0, e.PredictedSize));
    }

    private static SweepPlan Plan(SweepSpec spec) => Planner.Plan("s", spec, Sources, Catalog, shapes: new Dictionary<string, ModelShape> { ["m"] = Shape }).Value;

    private static ImmutableSortedDictionary<string, double> Roles() => ImmutableSortedDictionary.Create<string, double>(StringComparer.Ordinal);
}
