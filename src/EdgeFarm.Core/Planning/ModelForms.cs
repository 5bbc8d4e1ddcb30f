using System.Collections.Immutable;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>One form of one model, as the recipes ask for it together.</summary>
internal sealed class ModelForm(RecipeForm form, string format)
{
    public string Name => form.Name;

    public ImmutableArray<PassStep> Steps => form.Steps;

    public string PrecisionClass => form.PrecisionClass;

    /// <summary>Format of its artifact.</summary>
    public string Format { get; } = format;

    public bool IsBaseline { get; set; }

    /// <summary>Targets to measure it on, in the order of the sweep.</summary>
    public List<TargetSpec> Targets { get; } = [];

    /// <summary>Bytes of its artifact as predicted; 0 when unknown.</summary>
    public long PredictedSize { get; set; }

    /// <summary>Number of the only device within its only target that it is made for and measured on; null where any will do.</summary>
    public int? Device { get; init; }

    /// <summary>Id of the job whose output <c>model</c> is its artifact.</summary>
    public string ArtifactJob { get; set; } = "";

    /// <summary>The same form, made for one device.</summary>
    public ModelForm For(TargetSpec target, int device) => new(form, Format) { IsBaseline = IsBaseline, PredictedSize = PredictedSize, Device = device, Targets = { target } };
}

/// <summary>The forms of one model that one toolchain makes, its baseline first.</summary>
internal sealed class ModelForms(ToolchainDescriptor toolchain, ModelSpec model, string format, ImmutableArray<TargetSpec> targets)
{
    public ToolchainDescriptor Toolchain { get; } = toolchain;

    public List<ModelForm> Forms { get; } = [];

    public ModelForm? Baseline => Forms.Find(f => f.IsBaseline);

    /// <summary>Adds the forms of a recipe; returns what could not be added, and errors.</summary>
    public void Add(RecipeSpec recipe, string path, ImmutableArray<RecipeForm> forms, List<LeftOut> leftOut, List<PlanError> errors)
    {
        foreach (var form in forms)
        {
            if (Fit(form) is not { } fitting)
            {
                leftOut.Add(new LeftOut(
                    $"model {model.Id} x {recipe.Toolchain} {form.Name}",
                    $"its passes do not read {format}, and {recipe.Toolchain} has no pass that converts it"));
                continue;
            }

            var added = AddOne(fitting, path, errors);
            if (!added.Name.Equals(form.Name, StringComparison.OrdinalIgnoreCase))
            {
                leftOut.Add(new LeftOut($"model {model.Id} x {recipe.Toolchain} {form.Name}", $"it is made as {added.Name} is, and measured as that"));
            }

            foreach (var target in targets.Where(t => recipe.On.IsEmpty || recipe.On.Contains(t.Id)))
            {
                if (!added.Targets.Contains(target))
                {
                    added.Targets.Add(target);
                }
            }
        }
    }

    /// <summary>Adds the unquantized form if the recipes lack it, measures it wherever another is, and puts it first.</summary>
    public void AddBaseline()
    {
        if (Toolchain.FindForm(Toolchain.BaselineForm) is not { } descriptor || Fit(RecipeReader.Resolve(Toolchain, descriptor)) is not { } fitting)
        {
            return;
        }

        var baseline = AddOne(fitting, "", []);
        baseline.IsBaseline = true;
        Forms.Remove(baseline);
        Forms.Insert(0, baseline);
        var needed = Forms.SelectMany(f => f.Targets).ToHashSet();
        baseline.Targets.Clear();
        baseline.Targets.AddRange(targets.Where(needed.Contains));
    }

    /// <summary>Forms that are made by the same job are one form: steps may spell the same work in several ways.</summary>
    public ImmutableArray<LeftOut> MergeEqual()
    {
        var merged = ImmutableArray.CreateBuilder<LeftOut>();
        foreach (var same in Forms.GroupBy(f => f.ArtifactJob).Where(g => g.Count() > 1).Select(g => g.ToList()).ToList())
        {
            foreach (var form in same.Skip(1))
            {
                same[0].Targets.AddRange(form.Targets.Where(t => !same[0].Targets.Contains(t)));
                Forms.Remove(form);
                merged.Add(new LeftOut($"model {model.Id} x {Toolchain.Identity.Id} {form.Name}", $"it is made as {same[0].Name} is, and measured as that"));
            }
        }

        return merged.ToImmutable();
    }

    private ModelForm AddOne(RecipeForm form, string path, List<PlanError> errors)
    {
        if (Forms.Find(f => f.Name.Equals(form.Name, StringComparison.OrdinalIgnoreCase)) is not { } known)
        {
            if (Forms.Find(f => f.Steps.SequenceEqual(form.Steps, StepComparer.Instance)) is { } equal)
            {
                return equal;
            }

            known = new ModelForm(form, form.Steps.IsEmpty ? format : Toolchain.FindPass(form.Steps[^1].Type)!.OutputFormat);
            Forms.Add(known);
        }
        else if (!known.Steps.SequenceEqual(form.Steps, StepComparer.Instance))
        {
            errors.Add(new PlanError(path, $"the form {form.Name} of model {model.Id} is made in another way by another recipe; give one of them a name of its own"));
        }

        return known;
    }

    /// <summary>The form as it is made from this model's format: a converting pass comes first where one is needed. Null when it cannot be made.</summary>
    private RecipeForm? Fit(RecipeForm form)
    {
        bool Accepts(string given) => form.Steps.IsEmpty
            ? Toolchain.Runtime?.Reads.Contains(given) ?? true
            : Toolchain.FindPass(form.Steps[0].Type)!.InputFormats.Contains(given);
        if (Accepts(format))
        {
            return form;
        }

        return Toolchain.Passes.FirstOrDefault(p => p.InputFormats.Contains(format) && p.OutputFormat != format && Accepts(p.OutputFormat)) is { } convert
            ? form with { Steps = form.Steps.Insert(0, new PassStep(convert.Type, ParameterReader.Defaults(convert.Parameters).ToImmutable())) }
            : null;
    }
}

/// <summary>Steps are equal when type and parameters are.</summary>
internal sealed class StepComparer : IEqualityComparer<PassStep>
{
    public static readonly StepComparer Instance = new();

    public bool Equals(PassStep? x, PassStep? y) =>
        ReferenceEquals(x, y) || (x is not null && y is not null && x.Type == y.Type && x.Parameters.SequenceEqual(y.Parameters));

    public int GetHashCode(PassStep step) => HashCode.Combine(step.Type, step.Parameters.Count);
}
