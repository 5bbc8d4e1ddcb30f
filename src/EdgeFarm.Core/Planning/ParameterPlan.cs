using System.Collections.Immutable;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>Resolves the parameters of benchmarks and evaluations, and keeps what nothing knew.</summary>
internal sealed class ParameterPlan(SweepSpec spec, List<PlanError> errors)
{
    private static readonly QualitySpec Default =
        new(null, null, [], false, ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal));

    private readonly HashSet<string> _dataSets = spec.Data.Select(d => d.Id).ToHashSet(StringComparer.Ordinal);
    private readonly SortedSet<string> _benchmarkNames = new(StringComparer.Ordinal);
    private readonly Dictionary<int, SortedSet<string>> _evaluationNames = [];

    /// <summary>Defaults of the runtime, what the sweep sets, and the shapes of the model's dynamic inputs.</summary>
    public ImmutableSortedDictionary<string, string> ForBenchmark(RuntimeDescriptor runtime, ModelSpec model)
    {
        _benchmarkNames.UnionWith(runtime.BenchmarkParameters.Select(p => p.Name));
        var values = Resolve(runtime.BenchmarkParameters, spec.Benchmark, "benchmark");
        AddShapes(values, model);
        return values.ToImmutable();
    }

    /// <summary>Defaults of the evaluation, what the sweep sets, shapes, and the name of the labels.</summary>
    public ImmutableSortedDictionary<string, string> ForEvaluation(
        EvaluationDescriptor evaluation, QualitySpec quality, int index, ModelSpec model, DataSetSpec? data)
    {
        var values = Resolve(evaluation.Parameters, quality.Parameters, $"quality[{index}]");
        AddShapes(values, model);
        if (data?.Labels is { } labels)
        {
            values["labels"] = labels;
        }

        return values.ToImmutable();
    }

    /// <summary>
    /// The evaluations of a runtime that apply to a model, with the part of the sweep that asks for each. An evaluation that needs
    /// no text runs once per data set that the sweep names for it, or once without one.
    /// </summary>
    public IEnumerable<(EvaluationDescriptor Evaluation, QualitySpec Quality, int Index)> Evaluations(RuntimeDescriptor runtime, ModelSpec model)
    {
        var applicable = spec.Quality.Select((q, i) => (Quality: q, Index: i))
            .Where(q => q.Quality.Models.IsEmpty || q.Quality.Models.Contains(model.Id)).ToList();
        foreach (var evaluation in runtime.Evaluations)
        {
            foreach (var (_, index) in applicable)
            {
                if (!_evaluationNames.TryGetValue(index, out var names))
                {
                    _evaluationNames.Add(index, names = new SortedSet<string>(StringComparer.Ordinal));
                }

                names.UnionWith(evaluation.Parameters.Select(p => p.Name));
            }

            List<(QualitySpec Quality, int Index)> chosen;
            if (evaluation.NeedsText)
            {
                chosen = applicable.FindAll(q => q.Quality.Text is not null);
            }
            else
            {
                chosen = evaluation.TakesData ? applicable.FindAll(q => q.Quality.Data is not null) : [];
                if (chosen.Count == 0)
                {
                    chosen = [applicable.Count > 0 ? applicable[0] : (Default, -1)];
                }
            }

            foreach (var (quality, index) in chosen)
            {
                yield return (evaluation, quality, index);
            }
        }
    }

    /// <summary>Reports what the sweep sets and nothing in the plan knows.</summary>
    public void Check()
    {
        foreach (var name in spec.Benchmark.Keys.Where(k => !_benchmarkNames.Contains(k)))
        {
            Error($"benchmark.{name}", $"no runtime of this sweep has the parameter '{name}'; they have {ParameterReader.List(_benchmarkNames)}");
        }

        foreach (var (index, names) in _evaluationNames)
        {
            foreach (var name in spec.Quality[index].Parameters.Keys.Where(k => !names.Contains(k)))
            {
                Error($"quality[{index}].{name}", $"no evaluation of this sweep has the parameter '{name}'; they have {ParameterReader.List(names)}");
            }
        }
    }

    private ImmutableSortedDictionary<string, string>.Builder Resolve(
        ImmutableArray<ParameterDescriptor> parameters, ImmutableSortedDictionary<string, string> set, string path)
    {
        var values = ParameterReader.Defaults(parameters);
        foreach (var parameter in parameters)
        {
            if (!set.TryGetValue(parameter.Name, out var given))
            {
                continue;
            }

            if (ParameterReader.Read(parameter, given, _dataSets, out var problem) is { } value)
            {
                values[parameter.Name] = value;
            }
            else
            {
                Error($"{path}.{parameter.Name}", problem);
            }
        }

        return values;
    }

    private static void AddShapes(ImmutableSortedDictionary<string, string>.Builder values, ModelSpec model)
    {
        foreach (var (name, shape) in model.Dims)
        {
            values[$"dims.{name}"] = string.Join(',', shape);
        }
    }

    private void Error(string path, string message)
    {
        var error = new PlanError(path, message);
        if (!errors.Contains(error))
        {
            errors.Add(error);
        }
    }
}
