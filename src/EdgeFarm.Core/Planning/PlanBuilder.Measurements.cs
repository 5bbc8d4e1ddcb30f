using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <content>Benchmarks, evaluations and the entries that they serve.</content>
internal sealed partial class PlanBuilder
{
    private void AddMeasurements(ModelSpec model, ModelForms forms, SizePreflight preflight)
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
                var evaluations = AddEvaluations(model, forms, form, runtime, preflight);
                foreach (var target in form.Targets)
                {
                    AddBenchmarks(model, forms, form, runtime, target, evaluations, preflight);
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
        IReadOnlyList<(string? Target, string Job)> evaluations,
        SizePreflight preflight)
    {
        var parameters = _parameters.ForBenchmark(runtime, model);
        var memory = preflight.MemoryOf(runtime, form.PredictedSize, parameters);
        var own = evaluations.Where(e => e.Target is null || e.Target == target.Id).Select(e => e.Job).ToImmutableArray();
        var (first, devices) = form.Device is { } only ? (only, 1) : (0, Devices(target));
        for (var device = first; device < first + devices && errors.Count == 0; device++)
        {
            var number = firstNumber + _jobs.Count;
            var id = $"{sweepId}/e{number}";
            var group = GroupOf(model.Id, runtime, target, device);
            var benchmark = Add(new JobSpec
            {
                Id = NextId(),
                Kind = JobKind.Benchmark,
                Operation = "Benchmark",
                Engine = runtime.Identity,
                Parameters = parameters,
                Inputs = [new JobInput(ModelOutput, InputSource.Of(form.ArtifactJob, ModelOutput))],
                Outputs = [],
                Requirements = Measures(runtime, form.Format, target, memory),
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
                PredictedSize = form.PredictedSize,
            });
            foreach (var job in own.Append(benchmark).Append(form.ArtifactJob).Distinct())
            {
                _served[job].Entries.Add(id);
            }
        }
    }

    private readonly Dictionary<(string Toolchain, string Group), string> _baselines = [];

    /// <summary>The evaluations of a form by a runtime: once, or once per target, for each set of parameters.</summary>
    private List<(string? Target, string Job)> AddEvaluations(
        ModelSpec model, ModelForms forms, ModelForm form, RuntimeDescriptor runtime, SizePreflight preflight)
    {
        var added = new List<(string?, string)>();
        foreach (var (evaluation, quality, index) in _parameters.Evaluations(runtime, model))
        {
            var data = evaluation.TakesData && quality.Data is { } set ? spec.Data.First(d => d.Id == set) : null;
            var baseline = forms.Baseline is { } found && runtime.Reads.Contains(found.Format) ? found : null;
            if (evaluation.NeedsBaseline && (baseline is null || (form.IsBaseline && data is null)))
            {
                continue;
            }

            var inputs = new List<JobInput>();
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

            var plan = new EvaluationPlan(model, runtime, evaluation, inputs, preflight);
            foreach (var parameters in _parameters.ForEvaluation(evaluation, quality, index, model, data))
            {
                foreach (var target in quality.OnTarget ? form.Targets : (IEnumerable<TargetSpec?>)[null])
                {
                    added.Add((target?.Id, AddEvaluation(plan, parameters, form, baseline, target)));
                }
            }
        }

        return added;
    }

    /// <summary>An evaluation of one form; where it compares with what the baseline's saves, that is added before it.</summary>
    private string AddEvaluation(
        EvaluationPlan plan, ImmutableSortedDictionary<string, string> parameters, ModelForm form, ModelForm? baseline, TargetSpec? target)
    {
        if (plan.Evaluation.Reference is not { } reference)
        {
            return Add(plan.Job(NextId(), parameters, form, target, []));
        }

        var own = parameters.Remove(reference.Switch);
        if (baseline is null || parameters.GetValueOrDefault(reference.Switch) == "false")
        {
            return Add(plan.Job(NextId(), own, form, target, []));
        }

        var neutral = own;
        foreach (var parameter in plan.Evaluation.Parameters.Where(p => reference.Neutral.Contains(p.Name)))
        {
            neutral = parameter.Default is { } value ? neutral.SetItem(parameter.Name, value) : neutral.Remove(parameter.Name);
        }

        var saving = plan.Job(NextId(), neutral.SetItem(reference.Save, "true"), baseline, target, []);
        var saved = Add(saving with { Outputs = [reference.Output] });
        return form.ArtifactJob == baseline.ArtifactJob && own.SequenceEqual(neutral)
            ? saved
            : Add(plan.Job(NextId(), own, form, target, [new JobInput(reference.Output, InputSource.Of(saved, reference.Output))]));
    }

    /// <summary>What the evaluations of all forms of a model have in common.</summary>
    private sealed record EvaluationPlan(ModelSpec Model, RuntimeDescriptor Runtime, EvaluationDescriptor Evaluation, IReadOnlyList<JobInput> Inputs, SizePreflight Preflight)
    {
        public JobSpec Job(
            string id, ImmutableSortedDictionary<string, string> parameters, ModelForm form, TargetSpec? target, ImmutableArray<JobInput> further) => new()
            {
                Id = id,
                Kind = JobKind.Evaluate,
                Operation = Evaluation.Operation,
                Engine = Runtime.Identity,
                Parameters = parameters,
                Inputs = Ordered([.. Inputs, .. further, new JobInput(ModelOutput, InputSource.Of(form.ArtifactJob, ModelOutput))]),
                Outputs = [],
                Requirements = Measures(Runtime, form.Format, target, Preflight.MemoryOf(Runtime, form.PredictedSize, parameters)),
                Model = Model.Id,
                Form = form.Name,
                Target = target?.Id,
                TimeoutSeconds = EvaluationSeconds,
            };
    }

    private static JobRequirements Measures(RuntimeDescriptor runtime, string format, TargetSpec? target, long memory) => JobRequirements.None with
    {
        Runtime = runtime.Identity.Id,
        Format = format,
        MemoryBytes = memory,
        Properties = target is null ? [] : [.. target.Require.Select(r => new Requirement(r.Key, r.Value))],
    };
}
