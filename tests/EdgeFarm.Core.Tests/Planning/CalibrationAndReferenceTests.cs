using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestCatalog;

namespace EdgeFarm.Core.Tests.Planning;

/// <summary>What forms share beyond their chains: a conversion, an importance matrix, the baseline's logits.</summary>
public sealed class CalibrationAndReferenceTests
{
    private static readonly Dictionary<string, ArtifactRef> Sources = new()
    {
        ["tiny"] = Artifact("tiny", "hf"),
        ["held-out"] = Artifact("held-out.txt", "text"),
        ["text"] = Artifact("calibration.txt", "text"),
        ["matrix"] = Artifact("imatrix.gguf", "gguf"),
        ["samples"] = Artifact("samples.npz", "npz"),
    };

    [Fact]
    public void A_text_becomes_one_matrix_of_the_converted_model_for_all_forms_that_take_one()
    {
        var plan = Plan(Types("llama.cpp", "Q8_0", "Q4_K_M", "q4_k_m+imatrix", "IQ2_XS") with { Calibration = "text" });

        Assert.Equal(["F16", "Q8_0", "Q4_K_M", "Q4_K_M+imatrix", "IQ2_XS+imatrix"], plan.Entries.Select(e => e.Form));
        var conversion = plan.Jobs.Single(j => j.Operation == "HfToGguf");
        var matrix = plan.Jobs.Single(j => j.Operation == "Imatrix");
        Assert.Equal("imatrix", Assert.Single(matrix.Outputs));
        Assert.Equal("-1", matrix.Parameters["chunks"]);
        Assert.Equal(InputSource.Of(Sources["text"]), matrix.Inputs.Single(i => i.Name == "calibration").Source);
        Assert.Equal(InputSource.Of(conversion.Id, "model"), matrix.Inputs.Single(i => i.Name == "model").Source);
        var takers = plan.Jobs.Where(j => j.Inputs.Any(i => i.Source == InputSource.Of(matrix.Id, "imatrix"))).ToList();
        Assert.Equal(["Q4_K_M+imatrix", "IQ2_XS+imatrix"], takers.Select(j => j.Form!));
        Assert.All(takers, j => Assert.Equal(["type"], j.Parameters.Keys));
        Assert.Equal("text", plan.Entries[^1].Recipe[^1].Parameters["imatrix"]);
    }

    [Fact]
    public void A_matrix_is_taken_as_it_is()
    {
        var plan = Plan(Types("llama.cpp", "IQ2_XS+imatrix") with { Calibration = "matrix" });

        Assert.DoesNotContain(plan.Jobs, j => j.Operation == "Imatrix");
        Assert.Equal(InputSource.Of(Sources["matrix"]), plan.Jobs.Single(j => j.Form == "IQ2_XS+imatrix" && j.Kind == JobKind.Optimize).Inputs.Single(i => i.Name == "imatrix").Source);
    }

    [Fact]
    public void A_chain_sets_how_its_matrix_is_computed_and_what_differs_is_computed_apart()
    {
        var plan = Plan(Chain("llama.cpp", "mine", Pass("GgufQuantize", ("type", ["Q4_K_M", "IQ2_XS"]), ("imatrix", ["text"]), ("imatrix_chunks", ["5", "9"]))));

        Assert.Equal(["5", "9"], plan.Jobs.Where(j => j.Operation == "Imatrix").Select(j => j.Parameters["chunks"]));
        Assert.Equal(["3-4", "", "3-4", ""], plan.Entries.Where(e => !e.IsBaseline).Select(e => e.PrecisionClass));
    }

    [Theory]
    [InlineData("IQ2_XS", null, "recipes[0].types[0]", "IQ2_XS+imatrix needs 'imatrix': name a data set in the recipe's 'calibration' (matrix)")]
    [InlineData("Q8_0", "text", "recipes[0].calibration", "no type of this recipe takes calibration data; remove it, or name types such as Q4_K_M+imatrix, IQ2_XS+imatrix")]
    [InlineData("IQ2_XS", "samples", "recipes[0].calibration", "data set samples is of format npz; imatrix takes text, gguf")]
    [InlineData("IQ2_XS", "none", "recipes[0].calibration", "the sweep has no data set 'none'; it has held-out, text, matrix, samples")]
    public void What_is_missing_or_unfit_is_said(string type, string? calibration, string path, string message)
    {
        var error = Assert.Single(Planner.TryPlan("s", Sweep(Types("llama.cpp", type) with { Calibration = calibration }), Sources, Two, out _));

        Assert.Equal(new PlanError(path, message), error);
    }

    [Fact]
    public void A_recipes_calibration_reaches_every_pass_that_takes_one()
    {
        var onnx = OnnxRuntime with { Forms = OnnxRuntime.Forms.Add(new("int4", [new("OnnxMatMulNBits", Parameters())], "3-4", "")) };
        var spec = Sweep(Types("onnxruntime", "int4") with { Calibration = "samples" });

        var plan = Planner.Plan("s", spec, new Dictionary<string, ArtifactRef>(Sources) { ["tiny"] = Artifact("m.onnx", "onnx") }, new([onnx])).Value;

        Assert.Contains(plan.Jobs.Single(j => j.Form == "int4" && j.Kind == JobKind.Optimize).Inputs, i => i == new JobInput("calibration", InputSource.Of(Sources["samples"])));
    }

    [Fact]
    public void The_baselines_evaluation_saves_logits_that_all_others_compare_with()
    {
        var plan = Plan(Types("llama.cpp", "Q8_0", "Q4_K_M"), ("chunks", "5"));

        var evaluations = plan.Jobs.Where(j => j.Kind == JobKind.Evaluate).ToList();
        Assert.Equal(["F16", "Q8_0", "Q4_K_M"], evaluations.Select(j => j.Form!));
        Assert.Equal("logits", Assert.Single(evaluations[0].Outputs));
        Assert.Equal("true", evaluations[0].Parameters["save_logits"]);
        Assert.All(evaluations.Skip(1), j => Assert.Equal(InputSource.Of(evaluations[0].Id, "logits"), j.Inputs.Single(i => i.Name == "logits").Source));
        Assert.All(evaluations, j => Assert.Equal("5", j.Parameters["chunks"]));
    }

    [Fact]
    public void Each_listed_cache_type_is_compared_with_the_baseline_at_its_default()
    {
        var plan = Plan(Types("llama.cpp", "Q8_0"), ("type_k", "f16,q8_0"));

        var evaluations = plan.Jobs.Where(j => j.Kind == JobKind.Evaluate).ToList();
        Assert.Equal(
            ["F16 f16 saves", "F16 q8_0 compares", "Q8_0 f16 compares", "Q8_0 q8_0 compares"],
            evaluations.Select(j => $"{j.Form} {j.Parameters["type_k"]} {(j.Outputs.IsEmpty ? "compares" : "saves")}"));
        Assert.Equal(evaluations[2..].Select(j => j.Id), plan.Entries.Single(e => e.Form == "Q8_0").EvaluationJobs);
        Assert.Equal(evaluations[..2].Select(j => j.Id), plan.Entries.Single(e => e.Form == "F16").EvaluationJobs);
    }

    [Fact]
    public void A_cache_type_alone_still_compares_with_the_baseline_at_its_default()
    {
        var plan = Plan(Types("llama.cpp", "Q8_0"), ("type_k", "q4_0"));

        var saved = Assert.Single(plan.Jobs, j => j.Outputs.Contains("logits"));
        Assert.Equal(("F16", "f16"), (saved.Form, saved.Parameters["type_k"]));
        Assert.All(plan.Entries, e => Assert.Equal("q4_0", plan.Jobs.Single(j => j.Id == e.EvaluationJobs.Single()).Parameters["type_k"]));
    }

    [Fact]
    public void Without_the_comparison_nothing_is_saved()
    {
        var plan = Plan(Types("llama.cpp", "Q8_0"), ("kld", "false"));

        Assert.All(plan.Jobs.Where(j => j.Kind == JobKind.Evaluate), j => Assert.True(j.Outputs.IsEmpty && !j.Inputs.Any(i => i.Name == "logits") && !j.Parameters.ContainsKey("kld")));
    }

    private static SweepPlan Plan(RecipeSpec recipe, params (string Name, string Value)[] quality)
    {
        var spec = Sweep(recipe) with { Quality = [NoQuality with { Text = "held-out", Parameters = Parameters(quality) }] };
        var plan = Planner.Plan("s", spec, Sources, Two);
        Assert.True(plan.IsOk, plan.Failure?.Message);
        return plan.Value;
    }

    private static SweepSpec Sweep(RecipeSpec recipe) => Spec([Model("tiny")], [recipe]) with
    {
        Data = [.. Sources.Keys.Where(k => k != "tiny").Select(k => new DataSetSpec(k, $"file:{k}", null))],
    };
}
