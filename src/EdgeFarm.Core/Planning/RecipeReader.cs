using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>A form that a recipe asks for: its passes in order, with resolved parameters.</summary>
/// <param name="Name">Canonical name.</param>
/// <param name="Steps">Passes; empty for the form that the source already is.</param>
/// <param name="PrecisionClass">See <see cref="FormDescriptor"/>; empty when unknown.</param>
internal sealed record RecipeForm(string Name, ImmutableArray<PassStep> Steps, string PrecisionClass);

/// <summary>Turns recipes into forms, and says what is wrong with those that it cannot.</summary>
internal sealed class RecipeReader(ToolchainCatalog catalog, IReadOnlySet<string> dataSets, List<PlanError> errors)
{
    /// <summary>The forms of a recipe; empty when it has errors.</summary>
    public ImmutableArray<RecipeForm> Read(RecipeSpec recipe, string path)
    {
        if (catalog.Find(recipe.Toolchain) is not { } toolchain)
        {
            Error($"{path}.toolchain", $"there is no toolchain '{recipe.Toolchain}'; there are {ParameterReader.List(catalog.Toolchains.Select(t => t.Identity.Id))}");
            return [];
        }

        if (recipe.Types.IsEmpty == recipe.Passes.IsEmpty)
        {
            Error(path, "a recipe has either 'types' or 'passes'");
            return [];
        }

        var before = errors.Count;
        var forms = recipe.Passes.IsEmpty ? Named(toolchain, recipe, path) : Chain(toolchain, recipe, path);
        return errors.Count == before ? forms : [];
    }

    /// <summary>A form that the toolchain names, with the defaults of its passes filled in.</summary>
    public static RecipeForm Resolve(ToolchainDescriptor toolchain, FormDescriptor form) => new(
        form.Name,
        [
            .. form.Steps.Select(step =>
            {
                var values = ParameterReader.Defaults(toolchain.FindPass(step.Type)?.Parameters ?? []);
                foreach (var (name, value) in step.Parameters)
                {
                    values[name] = value;
                }

                return step with { Parameters = values.ToImmutable() };
            }),
        ],
        form.PrecisionClass);

    private ImmutableArray<RecipeForm> Named(ToolchainDescriptor toolchain, RecipeSpec recipe, string path)
    {
        var forms = ImmutableArray.CreateBuilder<RecipeForm>();
        for (var i = 0; i < recipe.Types.Length; i++)
        {
            if (toolchain.FindForm(recipe.Types[i]) is not { } form)
            {
                Error(
                    $"{path}.types[{i}]",
                    $"{recipe.Toolchain} has no type '{recipe.Types[i]}'; it has {ParameterReader.List(toolchain.Forms.Select(f => f.Name))}");
            }
            else if (form.Steps.FirstOrDefault(s => toolchain.FindPass(s.Type) is null) is { } step)
            {
                Error($"{path}.types[{i}]", $"{recipe.Toolchain} describes {form.Name} with the pass {step.Type}, which it does not have");
            }
            else
            {
                forms.Add(Resolve(toolchain, form));
            }
        }

        return forms.ToImmutable();
    }

    private ImmutableArray<RecipeForm> Chain(ToolchainDescriptor toolchain, RecipeSpec recipe, string path)
    {
        var variants = new List<Variant> { new([], []) };
        var name = recipe.Name ?? string.Join("+", recipe.Passes.Select(p => p.Type));
        string? format = null;
        for (var i = 0; i < recipe.Passes.Length; i++)
        {
            var spec = recipe.Passes[i];
            var at = $"{path}.passes[{i}]";
            if (toolchain.FindPass(spec.Type) is not { } pass)
            {
                Error($"{at}.type", $"{recipe.Toolchain} has no pass '{spec.Type}'; it has {ParameterReader.List(toolchain.Passes.Select(p => p.Type))}");
                return [];
            }

            if (format is not null && !pass.InputFormats.Contains(format))
            {
                Error($"{at}.type", $"{pass.Type} reads {ParameterReader.List(pass.InputFormats)}, but the pass before it writes {format}");
                return [];
            }

            format = pass.OutputFormat;
            if (Values(recipe.Toolchain, pass, spec, at) is not { } values || Multiply(variants, pass, values, at) is not { } product)
            {
                return [];
            }

            variants = product;
        }

        return [.. variants.Select(v => new RecipeForm(v.Name(name, recipe), v.Steps, PrecisionOf(v.Steps)))];
    }

    /// <summary>Canonical values of the parameters that a recipe sets, or null after an error.</summary>
    private List<(string Name, ImmutableArray<string> Values)>? Values(string toolchain, PassDescriptor pass, PassSpec spec, string path)
    {
        var before = errors.Count;
        var read = new List<(string, ImmutableArray<string>)>();
        foreach (var (name, values) in spec.Parameters)
        {
            if (pass.Parameters.FirstOrDefault(p => p.Name == name) is not { } parameter)
            {
                Error(
                    $"{path}.{name}",
                    $"pass {pass.Type} of {toolchain} has no parameter '{name}'; it has {ParameterReader.List(pass.Parameters.Select(p => p.Name))}");
                continue;
            }

            if (values.IsEmpty)
            {
                Error($"{path}.{name}", "a list of values needs at least one");
                continue;
            }

            var canonical = ImmutableArray.CreateBuilder<string>();
            for (var i = 0; i < values.Length; i++)
            {
                var at = values.Length == 1 ? $"{path}.{name}" : $"{path}.{name}[{i}]";
                if (ParameterReader.Read(parameter, values[i], dataSets, out var problem) is not { } value)
                {
                    Error(at, problem);
                }
                else if (canonical.Contains(value))
                {
                    Error(at, $"{value} stands twice in the list");
                }
                else
                {
                    canonical.Add(value);
                }
            }

            read.Add((name, canonical.ToImmutable()));
        }

        return errors.Count == before ? read : null;
    }

    private List<Variant>? Multiply(
        List<Variant> variants, PassDescriptor pass, List<(string Name, ImmutableArray<string> Values)> values, string path)
    {
        long count = variants.Count;
        foreach (var (_, options) in values)
        {
            count *= options.Length;
            if (count > Planner.MaxForms)
            {
                Error(path, $"the lists of values expand to more than {Planner.MaxForms} forms; list fewer values");
                return null;
            }
        }

        var steps = new List<(ImmutableSortedDictionary<string, string> Parameters, ImmutableArray<Choice> Choices)>
        {
            (ParameterReader.Defaults(pass.Parameters).ToImmutable(), []),
        };
        foreach (var (name, options) in values)
        {
            steps = [.. steps.SelectMany(s => options.Select(o => (
                s.Parameters.SetItem(name, o),
                options.Length > 1 ? s.Choices.Add(new Choice(pass.Type, name, o)) : s.Choices)))];
        }

        return [.. variants.SelectMany(v => steps.Select(s =>
            new Variant(v.Steps.Add(new PassStep(pass.Type, s.Parameters)), v.Choices.AddRange(s.Choices))))];
    }

    private static string PrecisionOf(ImmutableArray<PassStep> steps)
    {
        var text = steps.Reverse().Select(s => s.Parameters.GetValueOrDefault("bits")).FirstOrDefault(b => b is not null);
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var bits)
            ? bits switch { <= 2 => "1-2", <= 4 => "3-4", <= 8 => "5-8", <= 16 => "half", _ => "full" }
            : "";
    }

    private void Error(string path, string message) => errors.Add(new PlanError(path, message));

    /// <summary>One value out of a list.</summary>
    private sealed record Choice(string Type, string Name, string Value);

    private sealed record Variant(ImmutableArray<PassStep> Steps, ImmutableArray<Choice> Choices)
    {
        /// <summary>The recipe's name and what was chosen from lists; a parameter that two passes list is told apart by its pass.</summary>
        public string Name(string recipe, RecipeSpec spec)
        {
            if (Choices.IsEmpty)
            {
                return recipe;
            }

            var words = Choices.Select(c => spec.Passes.Count(p => p.Parameters.TryGetValue(c.Name, out var values) && values.Length > 1) > 1
                ? $"{c.Type}.{c.Name}={c.Value}"
                : $"{c.Name}={c.Value}");
            return $"{recipe}[{string.Join(",", words)}]";
        }
    }
}
