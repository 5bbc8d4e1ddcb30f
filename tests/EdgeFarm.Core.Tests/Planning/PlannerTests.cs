using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestCatalog;

namespace EdgeFarm.Core.Tests.Planning;

public sealed class PlannerTests
{
    private static readonly Dictionary<string, ArtifactRef> Sources = new()
    {
        ["tiny"] = Artifact("tiny.gguf", "gguf"),
        ["tiny-hf"] = Artifact("tiny-hf", "hf"),
        ["ocr"] = Artifact("ocr.onnx", "onnx"),
        ["digits"] = Artifact("digits.onnx", "onnx"),
        ["odd"] = Artifact("odd.bin", "unknown"),
        ["text"] = Artifact("text.txt", "text"),
        ["set"] = Artifact("set.npz", "npz"),
        ["matrix"] = Artifact("imatrix.gguf", "gguf"),
    };

    [Fact]
    public void A_model_is_imported_once_and_each_form_is_made_once_and_measured()
    {
        var plan = Plan(Spec([Model("tiny")], [Types("llama.cpp", "F16", "Q8_0", "q4_k_m", "Q8_0")]));

        Assert.Single(plan.Jobs, j => j.Kind == JobKind.Import);
        Assert.Equal(["F16", "Q8_0", "Q4_K_M"], plan.Jobs.Where(j => j.Kind == JobKind.Optimize).Select(j => j.Form!));
        Assert.Equal(3, plan.Jobs.Count(j => j.Kind == JobKind.Benchmark));
        Assert.Equal(["F16", "Q8_0", "Q4_K_M"], plan.Entries.Select(e => e.Form));
        Assert.True(plan.Entries[0].IsBaseline);
        Assert.All(plan.Entries, e => Assert.Equal(plan.Entries[0].Id, e.BaselineId));
        Assert.All(plan.Entries, e => Assert.Equal("any", e.Target));
        Assert.Equal("s/0", plan.Jobs[0].Id);
        Assert.DoesNotContain(plan.Jobs, j => j.Kind == JobKind.Evaluate);
    }

    [Fact]
    public void The_baseline_is_added_first_when_the_recipes_lack_it()
    {
        var plan = Plan(Spec([Model("tiny")], [Types("llama.cpp", "Q4_K_M")]));

        Assert.Equal(["F16", "Q4_K_M"], plan.Entries.Select(e => e.Form));
        Assert.Equal(plan.Entries[0].Id, plan.Entries[1].BaselineId);
        Assert.Single(plan.Jobs.Where(j => j.Kind == JobKind.Benchmark).Select(j => j.DeviceGroup).Distinct());
    }

    [Fact]
    public void A_form_without_steps_is_the_import_itself()
    {
        var plan = Plan(Spec([Model("ocr")], [Types("onnxruntime", "fp32", "dynamic-int8")]));

        var import = plan.Jobs.Single(j => j.Kind == JobKind.Import);
        Assert.Equal(import.Id, plan.Entries[0].ArtifactJob);
        Assert.Contains(plan.Entries[0].Id, import.Entries);
        var compare = plan.Jobs.Single(j => j.Kind == JobKind.Evaluate);
        Assert.Equal("CompareOutputs", compare.Operation);
        Assert.Equal("dynamic-int8", compare.Form);
        Assert.Equal(InputSource.Of(import.Id, "model"), compare.Inputs.Single(i => i.Name == "baseline").Source);
        Assert.Equal(plan.Entries[1].Id, Assert.Single(compare.Entries));
    }

    [Fact]
    public void A_form_that_is_chosen_by_measuring_is_made_for_each_device_and_alone_there()
    {
        var spec = Spec([Model("ocr")], [Types("onnxruntime", "auto", "dynamic-int8")]) with
        {
            Targets = [new TargetSpec("small", Parameters(("device.kind", "cpu")), 2), new TargetSpec("large", Parameters(), 1)],
        };

        var plan = Plan(spec);

        var passes = plan.Jobs.Where(j => j.Operation == "OnnxAutoOpt").ToList();
        Assert.Equal(["ocr|onnxruntime|small|0", "ocr|onnxruntime|small|1", "ocr|onnxruntime|large|0"], passes.Select(j => j.DeviceGroup));
        Assert.All(passes, j => Assert.True(j.IsExclusive && !j.IsCacheable));
        Assert.Equal("device.kind", Assert.Single(passes[0].Requirements.Properties).Property);
        Assert.Single(plan.Jobs, j => j.Operation == "OnnxDynamicQuantization");

        // Each is a form of its own: measured where it was chosen, and judged by itself.
        var entries = plan.Entries.Where(e => e.Form == "auto").ToList();
        Assert.Equal(passes.Select(j => j.Id), entries.Select(e => e.ArtifactJob));
        Assert.Equal(passes.Select(j => j.DeviceGroup), entries.Select(e => plan.Jobs.Single(j => j.Id == e.BenchmarkJob).DeviceGroup));
        Assert.Equal(3, entries.Select(e => e.EvaluationJobs.Single()).Distinct().Count());
        Assert.All(entries, e => Assert.Equal(e.ArtifactJob, plan.Jobs.Single(j => j.Id == e.EvaluationJobs[0]).Inputs.Single(i => i.Name == "model").Source.Job));
    }

    [Fact]
    public void A_named_data_set_makes_the_baseline_an_evaluation_too()
    {
        // Labels may also lie in the data itself (a CSV of files, query and passage sets).
        var unlabelled = Spec([Model("digits")], [Types("onnxruntime", "dynamic-int8")]) with
        {
            Data = [new DataSetSpec("set", "file:pairs", null)],
            Quality = [NoQuality with { Data = "set" }],
        };
        Assert.Equal(["fp32", "dynamic-int8"], Plan(unlabelled).Jobs.Where(j => j.Kind == JobKind.Evaluate).Select(j => j.Form!));

        var spec = Spec([Model("digits"), Model("ocr")], [Types("onnxruntime", "dynamic-int8")]) with
        {
            Data = [new DataSetSpec("set", "file:set.npz", "label")],
            Quality = [NoQuality with { Data = "set", Models = ["digits"] }],
        };

        var evaluations = Plan(spec).Jobs.Where(j => j.Kind == JobKind.Evaluate).ToList();

        Assert.Equal(["fp32", "dynamic-int8"], evaluations.Where(j => j.Model == "digits").Select(j => j.Form!));
        Assert.All(evaluations.Where(j => j.Model == "digits"), j => Assert.Equal("label", j.Parameters["labels"]));
        Assert.All(evaluations.Where(j => j.Model == "digits"), j => Assert.Contains(j.Inputs, i => i.Name == "data"));
        var plain = Assert.Single(evaluations, j => j.Model == "ocr");
        Assert.DoesNotContain(plain.Inputs, i => i.Name == "data");
    }

    [Fact]
    public void Text_quality_runs_perplexity_once_for_all_targets()
    {
        var spec = Spec([Model("tiny")], [Types("llama.cpp", "Q8_0")]) with
        {
            Data = [new DataSetSpec("text", "bundled:text", null)],
            Quality = [NoQuality with { Text = "text", Parameters = Parameters(("chunks", "5")) }],
            Targets = [new TargetSpec("a", Parameters(("arch", "x64")), 1), new TargetSpec("b", Parameters(("arch", "arm64")), 2)],
        };

        var plan = Plan(spec);

        var evaluations = plan.Jobs.Where(j => j.Kind == JobKind.Evaluate).ToList();
        Assert.Equal(["F16", "Q8_0"], evaluations.Select(j => j.Form!));
        Assert.All(evaluations, j => Assert.Equal("5", j.Parameters["chunks"]));
        Assert.All(evaluations, j => Assert.Equal("512", j.Parameters["context"]));
        Assert.All(evaluations, j => Assert.Equal(3, j.Entries.Length));
        Assert.Equal(
            ["tiny|llama.cpp|a|0", "tiny|llama.cpp|b|0", "tiny|llama.cpp|b|1"],
            plan.Jobs.Select(j => j.DeviceGroup).OfType<string>().Distinct().Order(StringComparer.Ordinal));
        Assert.Equal(6, plan.Entries.Length);
        Assert.All(plan.Entries, e => Assert.Equal(e.Target, plan.Entries.Single(b => b.Id == e.BaselineId).Target));
    }

    [Fact]
    public void Quality_on_the_target_runs_on_each_and_is_not_cached()
    {
        var spec = Spec([Model("ocr")], [Types("onnxruntime", "dynamic-int8")]) with
        {
            Quality = [NoQuality with { OnTarget = true }],
            Targets = [new TargetSpec("a", Parameters(("arch", "x64")), 1), new TargetSpec("b", Parameters(("arch", "arm64")), 1)],
        };

        var evaluations = Plan(spec).Jobs.Where(j => j.Kind == JobKind.Evaluate).ToList();

        Assert.Equal(["a", "b"], evaluations.Select(j => j.Target!));
        Assert.Equal("arm64", evaluations[1].Requirements.Properties.Single().Value);
        Assert.All(evaluations, j => Assert.False(j.IsCacheable));
    }

    [Fact]
    public void Lists_of_values_expand_to_their_product_and_shared_beginnings_run_once()
    {
        var plan = Plan(Spec(
            [Model("ocr")],
            [
                Chain("onnxruntime", "int4", Pass("OnnxSimplify"), Pass("OnnxMatMulNBits", ("bits", ["4", "8"]), ("block_size", ["32", "128"]))),
                Chain("onnxruntime", "q", Pass("OnnxSimplify"), Pass("OnnxDynamicQuantization")),
            ]));

        Assert.Equal(
            ["fp32", "int4[bits=4,block_size=32]", "int4[bits=4,block_size=128]", "int4[bits=8,block_size=32]", "int4[bits=8,block_size=128]", "q"],
            plan.Entries.Select(e => e.Form));
        Assert.Single(plan.Jobs, j => j.Operation == "OnnxSimplify");
        Assert.Equal(["full", "3-4", "3-4", "5-8", "5-8", ""], plan.Entries.Select(e => e.PrecisionClass));
        Assert.Equal("0.5", plan.Entries[1].Recipe[1].Parameters["accuracy"]);
    }

    [Fact]
    public void A_data_set_parameter_becomes_an_input()
    {
        var spec = Spec([Model("ocr")], [Chain("onnxruntime", "cal", Pass("OnnxMatMulNBits", ("calibration", ["set"])))]) with
        {
            Data = [new DataSetSpec("set", "file:set.npz", null)],
        };

        var plan = Plan(spec);

        var pass = plan.Jobs.Single(j => j.Kind == JobKind.Optimize);
        Assert.Equal(["calibration", "model"], pass.Inputs.Select(i => i.Name));
        Assert.DoesNotContain("calibration", pass.Parameters.Keys);
        Assert.Equal("set", plan.Entries.Single(e => e.Form == "cal").Recipe.Single().Parameters["calibration"]);
    }

    [Fact]
    public void A_source_of_another_format_is_converted_first()
    {
        var plan = Plan(Spec([Model("tiny-hf")], [Types("llama.cpp", "F16", "Q8_0")]));

        Assert.Equal(["HfToGguf", "GgufQuantize", "GgufQuantize"], plan.Jobs.Where(j => j.Kind == JobKind.Optimize).Select(j => j.Operation));
    }

    [Fact]
    public void Every_runtime_that_reads_a_form_measures_it()
    {
        var plan = Plan(Spec([Model("ocr")], [Types("onnxruntime", "dynamic-int8"), Types("openvino", "ov-fp32")]), Three);

        Assert.Equal(
            [
                "onnxruntime/fp32/onnxruntime", "onnxruntime/fp32/openvino", "onnxruntime/dynamic-int8/onnxruntime",
                "onnxruntime/dynamic-int8/openvino", "openvino/ov-fp32/openvino",
            ],
            plan.Entries.Select(e => $"{e.Toolchain}/{e.Form}/{e.Runtime}"));
        Assert.Equal(plan.Entries[1].Id, plan.Entries[3].BaselineId);
        Assert.Equal(plan.Entries[4].Id, plan.Entries[4].BaselineId);
    }

    [Fact]
    public void Shapes_reach_benchmarks_and_evaluations()
    {
        var model = Model("ocr") with { Dims = ImmutableSortedDictionary<string, ImmutableArray<long>>.Empty.Add("x", [1, 3, 48, 320]) };

        var plan = Plan(Spec([model], [Types("onnxruntime", "dynamic-int8")]) with { Benchmark = Parameters(("repetitions", "7")) });

        Assert.All(plan.Jobs.Where(j => j.Kind is JobKind.Benchmark or JobKind.Evaluate), j => Assert.Equal("1,3,48,320", j.Parameters["dims.x"]));
        Assert.All(plan.Jobs.Where(j => j.Kind is JobKind.Benchmark), j => Assert.Equal("7", j.Parameters["repetitions"]));
    }

    [Fact]
    public void Shapes_reach_passes_that_could_take_samples_and_get_none()
    {
        var model = Model("ocr") with { Dims = ImmutableSortedDictionary<string, ImmutableArray<long>>.Empty.Add("x", [1, 3, 48, 320]) };

        JobSpec Job(PassSpec pass) => Plan(Spec([model], [Chain("onnxruntime", "form", pass)]) with { Data = [new DataSetSpec("set", "file:set.npz", null)] })
            .Jobs.Single(j => j.Kind == JobKind.Optimize);

        Assert.Equal("1,3,48,320", Job(Pass("OnnxMatMulNBits")).Parameters["dims.x"]);
        Assert.DoesNotContain("dims.x", Job(Pass("OnnxMatMulNBits", ("calibration", ["set"]))).Parameters.Keys);
        Assert.DoesNotContain("dims.x", Job(Pass("OnnxDynamicQuantization")).Parameters.Keys);
    }

    [Fact]
    public void A_pair_that_cannot_be_served_is_left_out_and_a_model_without_recipe_is_an_error()
    {
        var plan = Plan(Spec([Model("tiny"), Model("ocr")], [Types("llama.cpp", "Q8_0"), Types("onnxruntime", "fp32")]));
        Assert.Equal(["model tiny x onnxruntime", "model ocr x llama.cpp"], plan.LeftOut.Select(l => l.What));

        var error = Assert.Single(Errors(Spec([Model("odd")], [Types("llama.cpp", "Q8_0")])));
        Assert.Equal("models[0]", error.Path);
        Assert.Contains("llama.cpp reads gguf, hf", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_go_on_where_an_older_plan_ended()
    {
        var plan = Planner.Plan("s", Spec([Model("tiny")], [Types("llama.cpp", "Q8_0")]), Sources, Two, 40).Value;

        Assert.Equal("s/40", plan.Jobs[0].Id);
        Assert.All(plan.Entries, e => Assert.Equal("s/" + e.Id["s/e".Length..], e.BenchmarkJob));
    }

    [Fact]
    public void Each_means_as_many_devices_as_there_are()
    {
        var spec = Spec([Model("tiny")], [Types("llama.cpp", "Q8_0")]) with { Targets = [new TargetSpec("t", Parameters(), 0)] };

        var plan = Planner.Plan("s", spec, Sources, Two, 0, new Dictionary<string, int> { ["t"] = 3 }).Value;

        Assert.Equal(6, plan.Entries.Length);
    }

    public static TheoryData<SweepSpec, string, string> Mistakes => new()
    {
        { Spec([], [Types("llama.cpp", "F16")]), "models", "at least one model" },
        { Spec([Model("tiny")], []), "recipes", "at least one recipe" },
        { Spec([Model("tiny"), Model("tiny")], [Types("llama.cpp", "F16")]), "models[1].id", "used twice" },
        { Spec([Model("absent")], [Types("llama.cpp", "F16")]), "models[0].source", "bundled:absent" },
        { Spec([Model("tiny")], [Types("llama", "F16")]), "recipes[0].toolchain", "llama.cpp, onnxruntime" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16", "Q9")]), "recipes[0].types[1]", "F16, Q8_0, Q4_K_M" },
        { Spec([Model("tiny")], [Types("llama.cpp")]), "recipes[0]", "either" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxNone"))]), "recipes[0].passes[0].type", "OnnxSimplify" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxMatMulNBits", ("bit", ["4"])))]), "recipes[0].passes[0].bit", "block_size" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxMatMulNBits", ("bits", ["9"])))]), "recipes[0].passes[0].bits", "from 2 to 8" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxMatMulNBits", ("bits", ["4", "x"])))]), "recipes[0].passes[0].bits[1]", "whole number" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxMatMulNBits", ("bits", ["4", "04"])))]), "recipes[0].passes[0].bits[1]", "twice" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxMatMulNBits", ("accuracy", ["NaN"])))]), "recipes[0].passes[0].accuracy", "number" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxDynamicQuantization", ("per_channel", ["1"])))]), "recipes[0].passes[0].per_channel", "true nor false" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxMatMulNBits", ("calibration", ["none"])))]), "recipes[0].passes[0].calibration", "data set" },
        { Spec([Model("tiny")], [Chain("llama.cpp", "x", Pass("GgufQuantize"), Pass("HfToGguf"))]), "recipes[0].passes[1].type", "writes gguf" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16") with { Models = ["other"] }]), "recipes[0].models[0]", "tiny" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16") with { On = ["other"] }]), "recipes[0].on[0]", "target" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16")]) with { Benchmark = Parameters(("promt", "1")) }, "benchmark.promt", "generate, prompt, threads" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16")]) with { Benchmark = Parameters(("prompt", "0")) }, "benchmark.prompt", "from 1 to 8192" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16")]) with { Quality = [NoQuality with { Text = "x" }] }, "quality[0].text", "none" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16")]) with { Quality = [NoQuality with { Parameters = Parameters(("chunk", "1")) }] }, "quality[0].chunk", "chunks, context" },
        { Spec([Model("tiny")], [Types("llama.cpp", "F16")]) with { Targets = [new("t", Parameters(("memory.total", "big")), 1)] }, "targets[0].require.memory.total", "16GiB" },
        { Spec([Model("ocr")], [Chain("onnxruntime", "x", Pass("OnnxSimplify")), Chain("onnxruntime", "X", Pass("OnnxDynamicQuantization"))]), "recipes[1]", "another way" },
    };

    [Theory]
    [MemberData(nameof(Mistakes))]
    public void A_mistake_is_told_with_its_place_and_what_is_accepted(SweepSpec spec, string path, string words)
    {
        var error = Assert.Single(Errors(spec), e => e.Path == path);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_explosion_of_forms_is_an_error_before_it_happens()
    {
        var values = Enumerable.Range(16, 200).Select(i => i.ToString(System.Globalization.CultureInfo.InvariantCulture)).ToArray();
        var pass = Pass("OnnxMatMulNBits", ("block_size", values));

        var error = Assert.Single(Errors(Spec([Model("ocr")], [Chain("onnxruntime", "x", pass, pass, pass, pass)])));

        Assert.Equal("recipes[0].passes[1]", error.Path);
    }

    private static SweepPlan Plan(SweepSpec spec, ToolchainCatalog? catalog = null) => Planner.Plan("s", spec, Sources, catalog ?? Two).Value;

    private static ImmutableArray<PlanError> Errors(SweepSpec spec) => Planner.TryPlan("s", spec, Sources, Two, out _);
}
