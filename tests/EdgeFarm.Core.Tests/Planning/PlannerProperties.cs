using CsCheck;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestCatalog;

namespace EdgeFarm.Core.Tests.Planning;

public sealed class PlannerProperties
{
    private static readonly (string Id, string Format)[] Models = [("a", "gguf"), ("b", "onnx"), ("c", "hf"), ("d", "onnx")];

    private static readonly Gen<RecipeSpec> Recipe = Gen.OneOf<RecipeSpec>(
        Gen.Select(Gen.OneOf("F16", "Q8_0", "Q4_K_M", "Q4_K_M+imatrix", "IQ2_XS").Array[1, 4], Gen.OneOf("text", "matrix", "set"), Gen.Int[0, 4], (types, data, named) =>
            Types("llama.cpp", types) with { Calibration = named == 0 ? null : data }),
        Gen.Select(Gen.OneOf("text", "matrix"), Gen.OneOf("-1", "5").Array[1, 2], (data, chunks) => Chain(
            "llama.cpp", $"chain-{data}{string.Concat(chunks)}", Pass("GgufQuantize", ("type", ["Q8_0", "Q4_K_M"]), ("imatrix", [data]), ("imatrix_chunks", [.. chunks.Distinct()])))),
        Gen.OneOf("fp32", "dynamic-int8", "auto").Array[1, 3].Select(t => Types("onnxruntime", t)),
        Gen.OneOf("16", "32").Select(size => Chain("onnxruntime", $"tuned{size}", Pass("OnnxSimplify"), Pass("OnnxAutoOpt"), Pass("OnnxMatMulNBits", ("block_size", [size])))),
        Gen.Select(Gen.Int[0, 2], Gen.OneOf("16", "32", "64").Array[1, 3], (depth, sizes) => Chain(
            "onnxruntime",
            $"chain{depth}{string.Concat(sizes)}",
            [.. Enumerable.Repeat(Pass("OnnxSimplify"), depth), Pass("OnnxMatMulNBits", ("block_size", [.. sizes.Distinct()]))])));

    private static readonly Gen<SweepSpec> Specs =
        from models in Gen.Shuffle(Models, 1, 4)
        from recipes in Recipe.Array[1, 4]
        from targets in Gen.Int[0, 3]
        from devices in Gen.Int[0, 3]
        from labels in Gen.Bool
        from onTarget in Gen.Bool
        from quality in Gen.Int[0, 2]
        from cache in Gen.OneOf("f16", "q8_0", "q8_0,f16", "f16,q4_0")
        from compared in Gen.OneOf("true", "false")
        select Spec([.. models.Select(m => Model(m.Id))], [.. recipes]) with
        {
            Data = [new DataSetSpec("text", "file:text", null), new DataSetSpec("set", "file:set", labels ? "label" : null), new DataSetSpec("matrix", "file:matrix", null)],
            Targets = [.. Enumerable.Range(0, targets).Select(i => new TargetSpec($"t{i}", Parameters(), devices))],
            Quality = [.. new[] { NoQuality with { Text = "text", OnTarget = onTarget, Parameters = models.Any(m => m.Format is "gguf" or "hf") && recipes.Any(r => r.Toolchain == "llama.cpp") ? Parameters(("type_k", cache), ("kld", compared)) : Parameters() }, NoQuality with { Data = "set" } }.Take(quality)],
        };

    internal static IReadOnlyDictionary<string, ArtifactRef> Sources { get; } = Models
        .ToDictionary(m => m.Id, m => Artifact(m.Id, m.Format))
        .Concat([new("text", Artifact("text", "text")), new("set", Artifact("set", "npz")), new("matrix", Artifact("matrix", "gguf"))])
        .ToDictionary(p => p.Key, p => p.Value);

    /// <summary>Specs that the planner accepts, with their plans.</summary>
    internal static Gen<(SweepSpec Spec, SweepPlan Plan)> Accepted { get; } =
        Specs.Select(s => (Spec: s, Plan: Planner.Plan("s", s, Sources, Three))).Where(p => p.Plan.IsOk).Select(p => (p.Spec, p.Plan.Value));

    [Fact]
    public void Any_accepted_spec_plans_to_an_acyclic_graph_in_order() => Accepted.Sample(accepted =>
    {
        var known = new Dictionary<string, JobSpec>();
        foreach (var job in accepted.Plan.Jobs)
        {
            foreach (var input in job.Inputs.Where(i => i.Source.Artifact is null))
            {
                Assert.Contains(input.Source.Output!, known[input.Source.Job!].Outputs);
            }

            known.Add(job.Id, job);
        }
    });

    [Fact]
    public void No_job_is_planned_twice() => Accepted.Sample(accepted =>
    {
        // A benchmark is told apart by its group; all others by what their action digest is made of, and an evaluation by its target.
        var keys = accepted.Plan.Jobs.Select(j => string.Join(
            '\n',
            [
                $"{j.Kind} {j.Operation} {j.Engine} {j.DeviceGroup} {j.Target}",
                .. j.Parameters.Select(p => $"{p.Key}={p.Value}"),
                .. j.Inputs.Select(i => $"{i.Name}:{i.Source}"),
            ])).ToList();

        Assert.Equal(keys.Count, keys.Distinct().Count());
    });

    [Fact]
    public void Every_entry_has_its_jobs_and_a_baseline_on_the_same_device_group() => Accepted.Sample(accepted =>
    {
        var jobs = accepted.Plan.Jobs.ToDictionary(j => j.Id);
        var entries = accepted.Plan.Entries.ToDictionary(e => e.Id);
        foreach (var entry in entries.Values)
        {
            var benchmark = jobs[entry.BenchmarkJob];
            Assert.Equal(entry.Id, Assert.Single(benchmark.Entries));
            Assert.Equal(InputSource.Of(entry.ArtifactJob, "model"), benchmark.Inputs.Single().Source);
            Assert.Contains(entry.Id, jobs[entry.ArtifactJob].Entries);
            Assert.All(entry.EvaluationJobs, e => Assert.Contains(entry.Id, jobs[e].Entries));
            Assert.Equal(benchmark.DeviceGroup, jobs[entries[entry.BaselineId].BenchmarkJob].DeviceGroup);
            Assert.Equal(entry.IsBaseline, entry.BaselineId == entry.Id);
        }
    });

    [Fact]
    public void What_is_shared_is_made_once_and_what_compares_compares_with_the_baselines() => Accepted.Sample(accepted =>
    {
        foreach (var model in accepted.Plan.Jobs.GroupBy(j => j.Model))
        {
            Assert.True(model.Count(j => j.Kind == JobKind.Import) == 1);
            Assert.True(model.Count(j => j.Operation == "HfToGguf") <= 1, "one conversion");
            foreach (var saved in model.Where(j => j.Outputs.Contains("logits")).GroupBy(j => (j.Target, string.Join(',', j.Inputs.Select(i => i.Source)))))
            {
                Assert.Single(saved);
                Assert.Equal("F16", saved.Single().Form);
                Assert.Equal("f16", saved.Single().Parameters["type_k"]);
            }

            foreach (var compared in model.Where(j => j.Operation == "Perplexity"))
            {
                Assert.DoesNotContain("kld", compared.Parameters.Keys);
                Assert.True(compared.Outputs.IsEmpty != compared.Parameters.ContainsKey("save_logits"));
            }
        }
    });

    [Fact]
    public void A_pass_that_measures_runs_where_its_form_is_measured() => Accepted.Sample(accepted =>
    {
        var jobs = accepted.Plan.Jobs.ToDictionary(j => j.Id);
        foreach (var entry in accepted.Plan.Entries)
        {
            for (var job = jobs[entry.ArtifactJob]; job.Kind != JobKind.Import; job = jobs[job.Inputs.Single(i => i.Name == "model").Source.Job!])
            {
                var measures = job.Operation == "OnnxAutoOpt";
                Assert.Equal(measures, job.IsExclusive);
                Assert.Equal(!measures, job.IsCacheable);
                if (measures)
                {
                    var place = entry.Runtime == entry.Toolchain ? jobs[entry.BenchmarkJob].DeviceGroup : job.DeviceGroup;
                    Assert.Equal((entry.Target, place), (job.Target, job.DeviceGroup));
                    Assert.Equal(entry.Runtime == entry.Toolchain ? jobs[entry.BenchmarkJob].Requirements.Properties : job.Requirements.Properties, job.Requirements.Properties);
                    Assert.Equal(("onnxruntime", "onnxruntime", "OnnxAutoOpt"), (job.Requirements.Runtime, job.Requirements.Toolchain, job.Requirements.Pass));
                }
            }
        }
    });

    [Fact]
    public void Equal_arguments_give_equal_plans() => Accepted.Sample(accepted =>
    {
        var again = Planner.Plan("s", accepted.Spec, Sources, Three).Value;
        Assert.Equal(accepted.Plan.Jobs.Select(Print), again.Jobs.Select(Print));
    });

    private static string Print(JobSpec job) =>
        $"{job.Id} {job.Kind} {job.Operation} {job.Form} {job.DeviceGroup} {string.Join(',', job.Parameters)} {string.Join(',', job.Inputs.Select(i => i.Name + i.Source))}";
}
