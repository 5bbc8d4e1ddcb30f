using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>Collects the jobs and entries of a plan, producers before consumers.</summary>
internal sealed class PlanBuilder(
    string sweepId,
    SweepSpec spec,
    IReadOnlyDictionary<string, ArtifactRef> sources,
    ToolchainCatalog catalog,
    ImmutableArray<TargetSpec> targets,
    int firstNumber,
    IReadOnlyDictionary<string, int> deviceCounts,
    List<PlanError> errors)
{
    private const string ModelOutput = "model";
    private const int ImportSeconds = 1800;
    private const int PassSeconds = 4 * 3600;
    private const int BenchmarkSeconds = 3600;
    private const int EvaluationSeconds = 4 * 3600;

    private readonly ImmutableArray<JobSpec>.Builder _jobs = ImmutableArray.CreateBuilder<JobSpec>();
    private readonly ImmutableArray<PlannedEntry>.Builder _entries = ImmutableArray.CreateBuilder<PlannedEntry>();
    private readonly List<LeftOut> _leftOut = [];

    /// <summary>Position of a job and the entries that it serves; they are known only after it.</summary>
    private readonly Dictionary<string, (int Index, List<string> Entries)> _served = new(StringComparer.Ordinal);
    private readonly ParameterPlan _parameters = new(spec, errors);
    private int _forms;

    /// <summary>Plans one model with the forms that each recipe of the sweep asks for.</summary>
    public void AddModel(int index, IReadOnlyList<ImmutableArray<RecipeForm>> recipeForms)
    {
        var model = spec.Models[index];
        var source = sources[model.Id];
        var byToolchain = new List<ModelForms>();
        for (var i = 0; i < spec.Recipes.Length; i++)
        {
            var recipe = spec.Recipes[i];
            var toolchain = catalog.Find(recipe.Toolchain)!;
            if (!recipe.Models.IsEmpty && !recipe.Models.Contains(model.Id))
            {
                continue;
            }

            if (!toolchain.Reads.Contains(source.Format))
            {
                _leftOut.Add(new LeftOut(
                    $"model {model.Id} x {recipe.Toolchain}", $"{recipe.Toolchain} reads {ParameterReader.List(toolchain.Reads)}, not {source.Format}"));
                continue;
            }

            if (byToolchain.Find(f => f.Toolchain == toolchain) is not { } forms)
            {
                byToolchain.Add(forms = new ModelForms(toolchain, model, source.Format, targets));
            }

            forms.Add(recipe, $"recipes[{i}]", recipeForms[i], _leftOut, errors);
        }

        byToolchain.RemoveAll(f => f.Forms.Count == 0);
        if (byToolchain.Count == 0)
        {
            var reads = spec.Recipes.Select(r => catalog.Find(r.Toolchain)!).Distinct().Select(t => $"{t.Identity.Id} reads {ParameterReader.List(t.Reads)}");
            errors.Add(new PlanError(
                $"models[{index}]", $"no recipe fits model {model.Id}, which is of format {source.Format}: {string.Join("; ", reads)}"));
            return;
        }

        byToolchain.ForEach(f => f.AddBaseline());
        _forms += byToolchain.Sum(f => f.Forms.Count);
        if (_forms > Planner.MaxForms)
        {
            errors.Add(new PlanError("recipes", $"the recipes give more than {Planner.MaxForms} forms; ask for fewer in one sweep"));
            return;
        }

        var import = AddImport(model, source, byToolchain[0].Toolchain);
        byToolchain.ForEach(f => AddPasses(model, import, f));
        foreach (var forms in byToolchain)
        {
            AddMeasurements(model, forms);
        }
    }

    /// <summary>Reports parameters that the sweep sets and nothing in the plan knows.</summary>
    public void CheckParameters() => _parameters.Check();

    /// <summary>The plan.</summary>
    public SweepPlan Build()
    {
        foreach (var (index, entries) in _served.Values)
        {
            _jobs[index] = _jobs[index] with { Entries = [.. entries] };
        }

        return new SweepPlan(_jobs.ToImmutable(), _entries.ToImmutable(), [.. _leftOut.Distinct()]);
    }

    private string AddImport(ModelSpec model, ArtifactRef source, ToolchainDescriptor toolchain) => Add(new JobSpec
    {
        Id = NextId(),
        Kind = JobKind.Import,
        Operation = "Import",
        Engine = toolchain.Identity,
        Parameters = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal),
        Inputs = [new JobInput("source", InputSource.Of(source))],
        Outputs = [ModelOutput],
        Requirements = JobRequirements.None with { Toolchain = toolchain.Identity.Id },
        Model = model.Id,
        TimeoutSeconds = ImportSeconds,
    });

    /// <summary>One job per distinct beginning of the chains: what two forms share is made once.</summary>
    private void AddPasses(ModelSpec model, string import, ModelForms forms)
    {
        var made = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var form in forms.Forms)
        {
            var job = import;
            var prefix = new StringBuilder();
            for (var i = 0; i < form.Steps.Length; i++)
            {
                var step = form.Steps[i];
                AppendStep(prefix, step);
                if (!made.TryGetValue(prefix.ToString(), out var known))
                {
                    known = AddPass(model, forms.Toolchain, step, job, i == form.Steps.Length - 1 ? form.Name : null);
                    made.Add(prefix.ToString(), known);
                }

                job = known;
            }

            form.ArtifactJob = job;
        }
    }

    /// <summary>Text that two steps share only if they are equal: lengths keep names and values apart.</summary>
    private static void AppendStep(StringBuilder text, PassStep step)
    {
        text.Append(CultureInfo.InvariantCulture, $"{step.Type.Length}:{step.Type}({step.Parameters.Count}");
        foreach (var (name, value) in step.Parameters)
        {
            text.Append(CultureInfo.InvariantCulture, $",{name.Length}:{name}={value.Length}:{value}");
        }

        text.Append(')');
    }

    private string AddPass(ModelSpec model, ToolchainDescriptor toolchain, PassStep step, string producer, string? form)
    {
        var pass = toolchain.FindPass(step.Type)!;
        var data = pass.Parameters.Where(p => p.Type == ParameterType.DataSet && step.Parameters.ContainsKey(p.Name)).ToList();
        var inputs = data.Select(p => new JobInput(p.Name, InputSource.Of(sources[step.Parameters[p.Name]])))
            .Append(new JobInput(ModelOutput, InputSource.Of(producer, ModelOutput)));
        return Add(new JobSpec
        {
            Id = NextId(),
            Kind = JobKind.Optimize,
            Operation = step.Type,
            Engine = toolchain.Identity,
            Parameters = step.Parameters.RemoveRange(data.Select(p => p.Name)),
            Inputs = Ordered(inputs),
            Outputs = [ModelOutput],
            Requirements = JobRequirements.None with { Toolchain = toolchain.Identity.Id, Pass = step.Type },
            Model = model.Id,
            Form = form,
            TimeoutSeconds = PassSeconds,
        });
    }

    private void AddMeasurements(ModelSpec model, ModelForms forms)
    {
        foreach (var form in forms.Forms)
        {
            var runtimes = catalog.Runtimes.Where(r => r.Reads.Contains(form.Format)).ToList();
            if (runtimes.Count == 0)
            {
                _leftOut.Add(new LeftOut($"model {model.Id} x {form.Name}", $"no runtime reads {form.Format}, so it is made but not measured"));
            }

            foreach (var runtime in runtimes)
            {
                // The baseline is the first form, so its entries are there before those that are compared with them.
                var evaluations = AddEvaluations(model, forms, form, runtime);
                foreach (var target in form.Targets)
                {
                    AddBenchmarks(model, forms, form, runtime, target, evaluations);
                }
            }
        }
    }

    private void AddBenchmarks(
        ModelSpec model,
        ModelForms forms,
        ModelForm form,
        RuntimeDescriptor runtime,
        TargetSpec target,
        IReadOnlyList<(string? Target, string Job)> evaluations)
    {
        var devices = target.Devices > 0 ? target.Devices : Math.Clamp(deviceCounts.GetValueOrDefault(target.Id, 1), 1, Planner.MaxDevices);
        var own = evaluations.Where(e => e.Target is null || e.Target == target.Id).Select(e => e.Job).ToImmutableArray();
        for (var device = 0; device < devices && errors.Count == 0; device++)
        {
            var number = firstNumber + _jobs.Count;
            var id = $"{sweepId}/e{number}";
            var group = $"{model.Id}|{runtime.Identity.Id}|{target.Id}|{device}";
            var benchmark = Add(new JobSpec
            {
                Id = NextId(),
                Kind = JobKind.Benchmark,
                Operation = "Benchmark",
                Engine = runtime.Identity,
                Parameters = _parameters.ForBenchmark(runtime, model),
                Inputs = [new JobInput(ModelOutput, InputSource.Of(form.ArtifactJob, ModelOutput))],
                Outputs = [],
                Requirements = Measures(runtime, form.Format, target),
                Model = model.Id,
                Form = form.Name,
                Target = target.Id,
                DeviceGroup = group,
                TimeoutSeconds = BenchmarkSeconds,
            });
            _baselines.TryGetValue((forms.Toolchain.Identity.Id, group), out var baseline);
            if (form.IsBaseline)
            {
                _baselines[(forms.Toolchain.Identity.Id, group)] = baseline = id;
            }

            _entries.Add(new PlannedEntry
            {
                Id = id,
                Model = model.Id,
                Toolchain = forms.Toolchain.Identity.Id,
                Runtime = runtime.Identity.Id,
                Form = form.Name,
                Recipe = form.Steps,
                PrecisionClass = form.PrecisionClass,
                Target = target.Id,
                IsBaseline = form.IsBaseline,
                BaselineId = baseline ?? id,
                ArtifactJob = form.ArtifactJob,
                BenchmarkJob = benchmark,
                EvaluationJobs = own,
            });
            foreach (var job in own.Append(benchmark).Append(form.ArtifactJob).Distinct())
            {
                _served[job].Entries.Add(id);
            }
        }
    }

    private readonly Dictionary<(string Toolchain, string Group), string> _baselines = [];

    /// <summary>The evaluations of a form by a runtime: once, or once per target.</summary>
    private List<(string? Target, string Job)> AddEvaluations(ModelSpec model, ModelForms forms, ModelForm form, RuntimeDescriptor runtime)
    {
        var added = new List<(string?, string)>();
        foreach (var (evaluation, quality, index) in _parameters.Evaluations(runtime, model))
        {
            var data = evaluation.TakesData && quality.Data is { } set ? spec.Data.First(d => d.Id == set) : null;
            var baseline = forms.Baseline is { } found && runtime.Reads.Contains(found.Format) ? found : null;
            if (evaluation.NeedsBaseline && (baseline is null || (form.IsBaseline && data?.Labels is null)))
            {
                continue;
            }

            var inputs = new List<JobInput> { new(ModelOutput, InputSource.Of(form.ArtifactJob, ModelOutput)) };
            if (evaluation.NeedsBaseline)
            {
                inputs.Add(new JobInput("baseline", InputSource.Of(baseline!.ArtifactJob, ModelOutput)));
            }

            if (evaluation.NeedsText)
            {
                inputs.Add(new JobInput("text", InputSource.Of(sources[quality.Text!])));
            }

            if (data is not null)
            {
                inputs.Add(new JobInput("data", InputSource.Of(sources[data.Id])));
            }

            foreach (var target in quality.OnTarget ? form.Targets : (IEnumerable<TargetSpec?>)[null])
            {
                added.Add((target?.Id, Add(new JobSpec
                {
                    Id = NextId(),
                    Kind = JobKind.Evaluate,
                    Operation = evaluation.Operation,
                    Engine = runtime.Identity,
                    Parameters = _parameters.ForEvaluation(evaluation, quality, index, model, data),
                    Inputs = Ordered(inputs),
                    Outputs = [],
                    Requirements = Measures(runtime, form.Format, target),
                    Model = model.Id,
                    Form = form.Name,
                    Target = target?.Id,
                    TimeoutSeconds = EvaluationSeconds,
                })));
            }
        }

        return added;
    }

    private static JobRequirements Measures(RuntimeDescriptor runtime, string format, TargetSpec? target) => JobRequirements.None with
    {
        Runtime = runtime.Identity.Id,
        Format = format,
        Properties = target is null ? [] : [.. target.Require.Select(r => new Requirement(r.Key, r.Value))],
    };

    private static ImmutableArray<JobInput> Ordered(IEnumerable<JobInput> inputs) => [.. inputs.OrderBy(i => i.Name, StringComparer.Ordinal)];

    private string NextId() => JobSpec.MakeId(sweepId, firstNumber + _jobs.Count);

    private string Add(JobSpec job)
    {
        if (_jobs.Count >= Planner.MaxJobs && errors.Count == 0)
        {
            errors.Add(new PlanError("targets", $"the sweep has more than {Planner.MaxJobs} jobs; ask for fewer forms, targets or devices"));
        }

        _served.Add(job.Id, (_jobs.Count, []));
        _jobs.Add(job);
        return job.Id;
    }
}
