using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>
/// Turns a sweep into jobs: each model imported once, each chain of passes run once however many forms share it, each form
/// benchmarked by every runtime that reads it on every target, and evaluated once. Pure: equal arguments give equal plans.
/// </summary>
public static class Planner
{
    /// <summary>Most forms of one sweep.</summary>
    public const int MaxForms = 10_000;

    /// <summary>Most jobs of one plan.</summary>
    public const int MaxJobs = 1_000_000;

    /// <summary>Most devices that a target may ask for.</summary>
    public const int MaxDevices = 1_000;

    /// <summary>
    /// Plans a sweep. The failure is InvalidInput, and its message holds one line per problem; <see cref="TryPlan"/> gives them singly.
    /// </summary>
    /// <param name="sweepId">Id of the sweep; job and entry ids begin with it.</param>
    /// <param name="spec">The sweep.</param>
    /// <param name="sources">Model or data set id to artifact, whose format decides which recipes apply.</param>
    /// <param name="catalog">The toolchains.</param>
    /// <param name="firstNumber">Number of the first job, for a plan that grows an older one.</param>
    /// <param name="deviceCounts">Target id to how many devices <c>each</c> means now; one where it is absent.</param>
    /// <param name="shapes">Model id to its shape, for the sizes of its forms; those of other models are not known beforehand.</param>
    public static Outcome<SweepPlan> Plan(
        string sweepId,
        SweepSpec spec,
        IReadOnlyDictionary<string, ArtifactRef> sources,
        ToolchainCatalog catalog,
        int firstNumber = 0,
        IReadOnlyDictionary<string, int>? deviceCounts = null,
        IReadOnlyDictionary<string, ModelShape>? shapes = null)
    {
        var errors = TryPlan(sweepId, spec, sources, catalog, out var plan, firstNumber, deviceCounts, shapes);
        return errors.IsEmpty ? plan! : Failure.InvalidInput(string.Join('\n', errors));
    }

    /// <summary>Plans a sweep, or returns everything that is wrong with it; see <see cref="Plan"/>.</summary>
    public static ImmutableArray<PlanError> TryPlan(
        string sweepId,
        SweepSpec spec,
        IReadOnlyDictionary<string, ArtifactRef> sources,
        ToolchainCatalog catalog,
        out SweepPlan? plan,
        int firstNumber = 0,
        IReadOnlyDictionary<string, int>? deviceCounts = null,
        IReadOnlyDictionary<string, ModelShape>? shapes = null)
    {
        plan = null;
        var errors = new List<PlanError>();
        Check(spec, sources, errors);
        var reader = new RecipeReader(catalog, spec.Data.Select(d => d.Id).ToHashSet(StringComparer.Ordinal), sources, errors);
        var forms = spec.Recipes.Select((r, i) => reader.Read(r, $"recipes[{i}]")).ToList();
        if (errors.Count > 0)
        {
            return [.. errors];
        }

        var targets = spec.Targets.IsEmpty ? [new TargetSpec("any", Empty, 1)] : spec.Targets;
        var builder = new PlanBuilder(sweepId, spec, sources, catalog, targets, firstNumber, deviceCounts ?? ImmutableDictionary<string, int>.Empty, shapes ?? ImmutableDictionary<string, ModelShape>.Empty, errors);
        for (var i = 0; i < spec.Models.Length && errors.Count == 0; i++)
        {
            builder.AddModel(i, forms);
        }

        builder.CheckParameters();
        if (errors.Count > 0)
        {
            return [.. errors];
        }

        plan = builder.Build();
        return [];
    }

    private static readonly ImmutableSortedDictionary<string, string> Empty = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    private static void Check(SweepSpec spec, IReadOnlyDictionary<string, ArtifactRef> sources, List<PlanError> errors)
    {
        void Error(string path, string message) => errors.Add(new PlanError(path, message));
        if (spec.Models.IsEmpty)
        {
            Error("models", "a sweep needs at least one model");
        }

        if (spec.Recipes.IsEmpty)
        {
            Error("recipes", "a sweep needs at least one recipe");
        }

        var ids = new HashSet<string>(StringComparer.Ordinal);
        var named = spec.Models.Select((m, i) => (m.Id, m.Source, Path: $"models[{i}]"))
            .Concat(spec.Data.Select((d, i) => (d.Id, d.Source, Path: $"data[{i}]")));
        foreach (var (id, source, path) in named)
        {
            if (!ids.Add(id))
            {
                Error($"{path}.id", $"the id '{id}' is used twice among models and data sets");
            }

            if (!sources.ContainsKey(id))
            {
                Error($"{path}.source", $"the source '{source}' was not found");
            }
        }

        CheckTargets(spec, Error);
        var models = spec.Models.Select(m => m.Id).ToHashSet(StringComparer.Ordinal);
        var data = spec.Data.Select(d => d.Id).ToHashSet(StringComparer.Ordinal);
        var targets = spec.Targets.Select(t => t.Id).ToHashSet(StringComparer.Ordinal);
        for (var i = 0; i < spec.Recipes.Length; i++)
        {
            CheckNames(spec.Recipes[i].Models, models, $"recipes[{i}].models", "model", Error);
            CheckNames(spec.Recipes[i].On, targets, $"recipes[{i}].on", "target", Error);
        }

        for (var i = 0; i < spec.Quality.Length; i++)
        {
            var quality = spec.Quality[i];
            CheckNames(quality.Models, models, $"quality[{i}].models", "model", Error);
            if (quality.Text is { } text && !data.Contains(text))
            {
                Error($"quality[{i}].text", $"there is no data set '{text}'; there are {ParameterReader.List(data)}");
            }

            if (quality.Data is { } set && !data.Contains(set))
            {
                Error($"quality[{i}].data", $"there is no data set '{set}'; there are {ParameterReader.List(data)}");
            }
        }
    }

    private static void CheckTargets(SweepSpec spec, Action<string, string> error)
    {
        var ids = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < spec.Targets.Length; i++)
        {
            var target = spec.Targets[i];
            if (!ids.Add(target.Id))
            {
                error($"targets[{i}].id", $"the id '{target.Id}' is used twice");
            }

            if (target.Devices is < 0 or > MaxDevices)
            {
                error($"targets[{i}].devices", $"'{target.Devices}' is none of one, each, or a number from 1 to {MaxDevices}");
            }

            foreach (var (property, value) in target.Require)
            {
                if (PropertyDefinition.Of(property).Match == PropertyMatch.Minimum && !RequirementMatcher.TryReadNumber(value, out _))
                {
                    error($"targets[{i}].require.{property}", $"'{value}' is not a number; write e.g. 8 or 16GiB");
                }
            }
        }
    }

    private static void CheckNames(ImmutableArray<string> names, HashSet<string> known, string path, string what, Action<string, string> error)
    {
        for (var i = 0; i < names.Length; i++)
        {
            if (!known.Contains(names[i]))
            {
                error($"{path}[{i}]", $"there is no {what} '{names[i]}'; there are {ParameterReader.List(known)}");
            }
        }
    }
}
