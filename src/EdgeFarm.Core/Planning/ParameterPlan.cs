using System.Collections.Immutable;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>Resolves the parameters of benchmarks and evaluations, and keeps what nothing knew.</summary>
internal sealed class ParameterPlan(SweepSpec spec, List<PlanError> errors)
{
    private const int MaxSets = 1000;

    private static readonly QualitySpec Default =
        new(null, null, [], false, ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal));

    private readonly HashSet<string> _dataSets = spec.Data.Select(d => d.Id).ToHashSet(StringComparer.Ordinal);
    private readonly SortedSet<string> _benchmarkNames = new(StringComparer.Ordinal);
    private readonly Dictionary<int, SortedSet<string>> _evaluationNames = [];

    /// <summary>Defaults of the runtime, what the sweep sets, and the shapes of the model's dynamic inputs.</summary>
    public ImmutableSortedDictionary<string, string> ForBenchmark(RuntimeDescriptor runtime, ModelSpec model)
    {
        _benchmarkNames.UnionWith(runtime.BenchmarkParameters.Select(p => p.Name));
        var values = ParameterReader.Defaults(runtime.BenchmarkParameters);
        foreach (var (name, given) in Given(runtime.BenchmarkParameters, spec.Benchmark, "benchmark", isList: false))
        {
            values[name] = given[0];
        }

        values.AddRange(Shapes(model));
        return values.ToImmutable();
    }

    /// <summary>
    /// Defaults of the evaluation, what the sweep sets, shapes, and the name of the labels: one set of parameters per member of the product
    /// of what the sweep lists, the first values first.
    /// </summary>
    public IReadOnlyList<ImmutableSortedDictionary<string, string>> ForEvaluation(
        EvaluationDescriptor evaluation, QualitySpec quality, int index, ModelSpec model, DataSetSpec? data)
    {
        var values = ParameterReader.Defaults(evaluation.Parameters);
        values.AddRange(Shapes(model));
        if (data?.Labels is { } labels)
        {
            values["labels"] = labels;
        }

        List<ImmutableSortedDictionary<string, string>> sets = [values.ToImmutable()];
        foreach (var (name, given) in Given(evaluation.Parameters, quality.Parameters, $"quality[{index}]", isList: true))
        {
            sets = [.. sets.SelectMany(s => given.Select(v => s.SetItem(name, v)))];
            if (sets.Count > MaxSets)
            {
                Error($"quality[{index}]", $"the lists of values expand to more than {MaxSets} measurements of each form; list fewer values");
                return [];
            }
        }

        return sets;
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

    /// <summary>Canonical values of the parameters that the sweep sets.</summary>
    private List<(string Name, List<string> Values)> Given(
        ImmutableArray<ParameterDescriptor> parameters, ImmutableSortedDictionary<string, string> set, string path, bool isList)
    {
        var read = new List<(string, List<string>)>();
        foreach (var parameter in parameters)
        {
            if (!set.TryGetValue(parameter.Name, out var text))
            {
                continue;
            }

            // A comma is no part of a number or a word, but may be of a text.
            var values = new List<string>();
            foreach (var given in isList && parameter.Type != ParameterType.Text ? text.Split(',') : [text])
            {
                if (ParameterReader.Read(parameter, given, _dataSets, out var problem) is not { } value)
                {
                    Error($"{path}.{parameter.Name}", problem);
                }
                else if (values.Contains(value))
                {
                    Error($"{path}.{parameter.Name}", $"{value} stands twice in the list");
                }
                else
                {
                    values.Add(value);
                }
            }

            if (values.Count > 0)
            {
                read.Add((parameter.Name, values));
            }
        }

        return read;
    }

    /// <summary>The declared shapes of a model's inputs as parameters: <c>dims.INPUT</c>.</summary>
    public static IEnumerable<KeyValuePair<string, string>> Shapes(ModelSpec model) =>
        model.Dims.Select(d => KeyValuePair.Create($"dims.{d.Key}", string.Join(',', d.Value)));

    private void Error(string path, string message)
    {
        var error = new PlanError(path, message);
        if (!errors.Contains(error))
        {
            errors.Add(error);
        }
    }
}
