using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>A form that a recipe asks for: its passes in order, with resolved parameters.</summary>
/// <param name="Name">Canonical name.</param>
/// <param name="Steps">Passes; empty for the form that the source already is.</param>
/// <param name="PrecisionClass">See <see cref="FormDescriptor"/>; empty when unknown.</param>
internal sealed record RecipeForm(string Name, ImmutableArray<PassStep> Steps, string PrecisionClass);

/// <summary>Turns recipes into forms, and says what is wrong with those that it cannot.</summary>
internal sealed class RecipeReader(
    ToolchainCatalog catalog, IReadOnlySet<string> dataSets, IReadOnlyDictionary<string, ArtifactRef> sources, List<PlanError> errors)
{
    /// <summary>Parameter of passes that the calibration data set of a recipe fills in every named form.</summary>
    private const string CalibrationParameter = "calibration";

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
    /// <param name="toolchain">The toolchain.</param>
    /// <param name="form">The form.</param>
    /// <param name="calibration">Id of the data set to calibrate it with, or null.</param>
    public static RecipeForm Resolve(ToolchainDescriptor toolchain, FormDescriptor form, string? calibration = null)
    {
        var steps = ImmutableArray.CreateBuilder<PassStep>(form.Steps.Length);
        foreach (var step in form.Steps)
        {
            var parameters = toolchain.FindPass(step.Type)?.Parameters ?? [];
            var values = ParameterReader.Defaults(parameters);
            if (calibration is not null && parameters.Any(p => p.Name == CalibrationParameter))
            {
                values[CalibrationParameter] = calibration;
            }

            foreach (var (name, value) in step.Parameters)
            {
                values[name] = value;
            }

            if (calibration is not null && form.Calibration is { } filled && steps.Count == form.Steps.Length - 1)
            {
                values[filled] = calibration;
            }

            steps.Add(step with { Parameters = values.ToImmutable() });
        }

        return new RecipeForm(form.Name, steps.MoveToImmutable(), form.PrecisionClass);
    }

    private ImmutableArray<RecipeForm> Named(ToolchainDescriptor toolchain, RecipeSpec recipe, string path)
    {
        var forms = ImmutableArray.CreateBuilder<RecipeForm>();
        var isCalibrated = false;
        if (recipe.Calibration is { } data && !dataSets.Contains(data))
        {
            Error($"{path}.calibration", $"the sweep has no data set '{data}'; it has {ParameterReader.List(dataSets)}");
            return [];
        }

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
            else if (form.Calibration is { } needed && recipe.Calibration is null)
            {
                Error(
                    $"{path}.types[{i}]",
                    $"{form.Name} needs '{needed}': name a data set in the recipe's 'calibration' ({Accepted(toolchain, form)})");
            }
            else
            {
                var resolved = Resolve(toolchain, form, recipe.Calibration);
                isCalibrated |= resolved.Steps.Any(s => s.Parameters.Any(p => IsDataSet(toolchain, s, p.Key)));
                CheckData(toolchain, resolved.Steps, $"{path}.calibration");
                forms.Add(resolved);
            }
        }

        if (recipe.Calibration is not null && !isCalibrated && forms.Count == recipe.Types.Length)
        {
            var calibrated = toolchain.Forms.Where(f => f.Calibration is not null).Select(f => f.Name).Take(3).ToList();
            Error($"{path}.calibration", "no type of this recipe takes calibration data; remove it" + (calibrated.Count == 0 ? "" : $", or name types such as {ParameterReader.List(calibrated)}"));
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

        if (recipe.Calibration is not null)
        {
            Error($"{path}.calibration", "is for named types; in a chain the pass itself names its data set");
        }

        for (var i = 0; i < recipe.Passes.Length; i++)
        {
            CheckData(toolchain, variants.Select(v => v.Steps[i]), $"{path}.passes[{i}]");
        }

        return [.. variants.Select(v => new RecipeForm(v.Name(name, recipe), v.Steps, PrecisionOf(toolchain, v.Steps)))];
    }

    private static bool IsDataSet(ToolchainDescriptor toolchain, PassStep step, string parameter) =>
        toolchain.FindPass(step.Type)?.Parameters.Any(p => p.Name == parameter && p.Type == ParameterType.DataSet) ?? false;

    /// <summary>What the data set of a calibrated form may be.</summary>
    private static string Accepted(ToolchainDescriptor toolchain, FormDescriptor form) =>
        toolchain.FindPass(form.Steps[^1].Type)!.Parameters.First(p => p.Name == form.Calibration).Description;

    /// <summary>Whether data sets that must be prepared can be.</summary>
    private void CheckData(ToolchainDescriptor toolchain, IEnumerable<PassStep> steps, string path)
    {
        foreach (var step in steps)
        {
            foreach (var parameter in toolchain.FindPass(step.Type)!.Parameters)
            {
                if (toolchain.FindPreparation(parameter.PreparedBy) is { } preparation
                    && step.Parameters.TryGetValue(parameter.Name, out var data)
                    && sources.TryGetValue(data, out var artifact)
                    && artifact.Format != preparation.OutputFormat
                    && !preparation.DataFormats.Contains(artifact.Format))
                {
                    Error(path, $"data set {data} is of format {artifact.Format}; {parameter.Name} takes {ParameterReader.List(preparation.DataFormats.Add(preparation.OutputFormat))}");
                }
            }
        }
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

    private static string PrecisionOf(ToolchainDescriptor toolchain, ImmutableArray<PassStep> steps)
    {
        foreach (var step in steps.Reverse())
        {
            if (toolchain.FindPass(step.Type)?.Precision is { } rule)
            {
                return step.Parameters.TryGetValue(rule.Parameter, out var value) ? rule.Classes.GetValueOrDefault(value, "") : "";
            }

            if (int.TryParse(step.Parameters.GetValueOrDefault("bits"), NumberStyles.None, CultureInfo.InvariantCulture, out var bits))
            {
                return bits switch { <= 2 => "1-2", <= 4 => "3-4", <= 8 => "5-8", <= 16 => "half", _ => "full" };
            }
        }

        return "";
    }

    private void Error(string path, string message)
    {
        var error = new PlanError(path, message);
        if (!errors.Contains(error))
        {
            errors.Add(error);
        }
    }

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
