using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>Collects the jobs and entries of a plan, producers before consumers.</summary>
internal sealed partial class PlanBuilder(
    string sweepId,
    SweepSpec spec,
    IReadOnlyDictionary<string, ArtifactRef> sources,
    ToolchainCatalog catalog,
    ImmutableArray<TargetSpec> targets,
    int firstNumber,
    IReadOnlyDictionary<string, int> deviceCounts,
    IReadOnlyDictionary<string, ModelShape> shapes,
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

    /// <summary>What a job does to its id.</summary>
    private readonly Dictionary<string, string> _known = new(StringComparer.Ordinal);
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

        var preflight = new SizePreflight(spec.Limits, shapes.GetValueOrDefault(model.Id));
        byToolchain.ForEach(f => Predict(model, f, preflight));
        var import = AddImport(model, source, byToolchain[0].Toolchain);
        byToolchain.ForEach(f => AddPasses(model, import, f));
        foreach (var forms in byToolchain)
        {
            AddMeasurements(model, forms, preflight);
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

    /// <summary>Tells the sizes of forms, and leaves out those that exceed a limit of the sweep.</summary>
    private void Predict(ModelSpec model, ModelForms forms, SizePreflight preflight)
    {
        foreach (var form in forms.Forms.ToList())
        {
            form.PredictedSize = preflight.SizeOf(forms.Toolchain, form.Steps);
            var memory = catalog.Runtimes.Where(r => r.Reads.Contains(form.Format))
                .Select(r => preflight.MemoryOf(r, form.PredictedSize, _parameters.ForBenchmark(r, model))).DefaultIfEmpty(0).Max();
            if (!form.IsBaseline && preflight.Refusal(form.PredictedSize, memory) is { } reason)
            {
                forms.Forms.Remove(form);
                _leftOut.Add(new LeftOut($"model {model.Id} x {forms.Toolchain.Identity.Id} {form.Name}", reason));
            }
        }
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

    /// <summary>What two forms share at the beginning of their chains is made once: see <see cref="Add"/>.</summary>
    private void AddPasses(ModelSpec model, string import, ModelForms forms)
    {
        ForEachDevice(forms);
        foreach (var form in forms.Forms)
        {
            form.ArtifactJob = import;
            for (var i = 0; i < form.Steps.Length; i++)
            {
                form.ArtifactJob = AddPass(model, forms.Toolchain, form, i);
            }
        }

        _leftOut.AddRange(forms.MergeEqual());
    }

    /// <summary>A form that is chosen by measuring is another one on each device, so it becomes as many forms of one name.</summary>
    private void ForEachDevice(ModelForms forms)
    {
        foreach (var form in forms.Forms.Where(f => f.Steps.Any(s => forms.Toolchain.FindPass(s.Type)!.Measures)).ToList())
        {
            var at = forms.Forms.IndexOf(form);
            forms.Forms.RemoveAt(at);
            forms.Forms.InsertRange(at, form.Targets.SelectMany(t => Enumerable.Range(0, Devices(t)).Select(device => form.For(t, device))));
        }
    }

    private int Devices(TargetSpec target) => target.Devices > 0 ? target.Devices : Math.Clamp(deviceCounts.GetValueOrDefault(target.Id, 1), 1, Planner.MaxDevices);

    private string AddPass(ModelSpec model, ToolchainDescriptor toolchain, ModelForm form, int number)
    {
        var (step, producer) = (form.Steps[number], form.ArtifactJob);
        var pass = toolchain.FindPass(step.Type)!;
        var parameters = step.Parameters;
        var inputs = new List<JobInput> { new(ModelOutput, InputSource.Of(producer, ModelOutput)) };
        foreach (var parameter in pass.Parameters.Where(p => p.Type == ParameterType.DataSet))
        {
            var preparation = toolchain.FindPreparation(parameter.PreparedBy);
            if (step.Parameters.TryGetValue(parameter.Name, out var data))
            {
                parameters = parameters.Remove(parameter.Name);
                inputs.Add(new JobInput(parameter.Name, preparation is not null && preparation.DataFormats.Contains(sources[data].Format)
                    ? InputSource.Of(AddPreparation(model, toolchain, preparation, parameter, step, producer, data), preparation.Output)
                    : InputSource.Of(sources[data])));
            }
            else if (preparation is null)
            {
                // Without samples a pass makes its input itself, and needs the shapes as a benchmark does.
                parameters = parameters.SetItems(ParameterPlan.Shapes(model));
            }

            parameters = parameters.RemoveRange(preparation?.Parameters.Select(p => $"{parameter.Name}_{p.Name}") ?? []);
        }

        var job = new JobSpec
        {
            Id = NextId(),
            Kind = JobKind.Optimize,
            Operation = step.Type,
            Engine = toolchain.Identity,
            Parameters = parameters,
            Inputs = Ordered(inputs),
            Outputs = [ModelOutput],
            Requirements = JobRequirements.None with { Toolchain = toolchain.Identity.Id, Pass = step.Type },
            Model = model.Id,
            Form = number == form.Steps.Length - 1 ? form.Name : null,
            TimeoutSeconds = PassSeconds,
        };
        return Add(pass.Measures && toolchain.Runtime is { } runtime ? OnDevice(job, runtime, pass.OutputFormat, form.Targets[0], form.Device ?? 0) : job);
    }

    /// <summary>The pass as one more job of the comparison that its form is measured in: on its device, and alone there.</summary>
    private static JobSpec OnDevice(JobSpec job, RuntimeDescriptor runtime, string format, TargetSpec target, int device) => job with
    {
        Requirements = Measures(runtime, format, target, 0) with { Toolchain = job.Requirements.Toolchain, Pass = job.Requirements.Pass },
        Target = target.Id,
        DeviceGroup = GroupOf(job.Model, runtime, target, device),
    };

    private static string GroupOf(string model, RuntimeDescriptor runtime, TargetSpec target, int device) => $"{model}|{runtime.Identity.Id}|{target.Id}|{device}";

    private string AddPreparation(
        ModelSpec model,
        ToolchainDescriptor toolchain,
        PreparationDescriptor preparation,
        ParameterDescriptor parameter,
        PassStep step,
        string producer,
        string data)
    {
        var values = ParameterReader.Defaults(preparation.Parameters);
        foreach (var own in preparation.Parameters)
        {
            if (step.Parameters.TryGetValue($"{parameter.Name}_{own.Name}", out var value))
            {
                values[own.Name] = value;
            }
        }

        return Add(new JobSpec
        {
            Id = NextId(),
            Kind = JobKind.Optimize,
            Operation = preparation.Operation,
            Engine = toolchain.Identity,
            Parameters = values.ToImmutable(),
            Inputs = Ordered(
            [
                new JobInput(ModelOutput, InputSource.Of(producer, ModelOutput)),
                new JobInput(preparation.DataInput, InputSource.Of(sources[data])),
            ]),
            Outputs = [preparation.Output],
            Requirements = JobRequirements.None with { Toolchain = toolchain.Identity.Id, Pass = preparation.Operation },
            Model = model.Id,
            TimeoutSeconds = PassSeconds,
        });
    }

    private static ImmutableArray<JobInput> Ordered(IEnumerable<JobInput> inputs) => [.. inputs.OrderBy(i => i.Name, StringComparer.Ordinal)];

    private string NextId() => JobSpec.MakeId(sweepId, firstNumber + _jobs.Count);

    /// <summary>Adds a job, or returns the one of this model that does the same. A benchmark is measured for each entry.</summary>
    private string Add(JobSpec job)
    {
        var key = job.Kind == JobKind.Benchmark ? "" : JobKey.Of(job);
        if (key.Length > 0 && _known.TryGetValue(key, out var known))
        {
            return known;
        }

        if (_jobs.Count >= Planner.MaxJobs && errors.Count == 0)
        {
            errors.Add(new PlanError("targets", $"the sweep has more than {Planner.MaxJobs} jobs; ask for fewer forms, targets or devices"));
        }

        if (key.Length > 0)
        {
            _known.Add(key, job.Id);
        }

        _served.Add(job.Id, (_jobs.Count, []));
        _jobs.Add(job);
        return job.Id;
    }
}
