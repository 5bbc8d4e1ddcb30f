using System.Collections.Immutable;
using EdgeFarm.Cli.Client;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.SweepFiles;

namespace EdgeFarm.Cli.Local;

/// <summary>A parameter that the user set.</summary>
/// <param name="Pass">The pass that it is for; null for whichever pass of the chain has it.</param>
/// <param name="Name">Its name.</param>
/// <param name="Value">Its value as written; for a data set the path.</param>
/// <param name="Option">The option that set it, for messages.</param>
internal sealed record LocalParameter(string? Pass, string Name, string Value, string Option);

/// <summary>What to make of an input.</summary>
/// <param name="Model">The model.</param>
/// <param name="Toolchain">Id of the toolchain; null for the one that reads the model and knows the form.</param>
/// <param name="Form">A named form, or the type of a pass.</param>
/// <param name="Parameters">What the user set.</param>
internal sealed record LocalRequest(LocalInput Model, string? Toolchain, string Form, ImmutableArray<LocalParameter> Parameters)
{
    /// <summary>Shapes of dynamic inputs, by input name.</summary>
    public ImmutableSortedDictionary<string, ImmutableArray<long>> Dims { get; init; } = ImmutableSortedDictionary.Create<string, ImmutableArray<long>>(StringComparer.Ordinal);
}

/// <summary>
/// The jobs that make one form of one model, as the planner of sweeps plans them: what a sweep would make, a local verb makes alike.
/// </summary>
/// <param name="Toolchain">The toolchain.</param>
/// <param name="Form">The form as the toolchain spells it.</param>
/// <param name="Steps">The passes with all parameters.</param>
/// <param name="PrecisionClass">See <see cref="FormDescriptor"/>; empty when unknown.</param>
/// <param name="Jobs">In the order in which they run; the last one's output <c>model</c> is the form.</param>
/// <param name="Inputs">Files of the user's by the digest that jobs name them by.</param>
internal sealed record LocalPlan(
    ToolchainDescriptor Toolchain,
    string Form,
    ImmutableArray<PassStep> Steps,
    string PrecisionClass,
    ImmutableArray<JobSpec> Jobs,
    ImmutableDictionary<Digest, LocalInput> Inputs)
{
    private const string Model = "model", Chain = "as-given", Calibration = "calibration";

    /// <summary>Plans. <see cref="BadInputException"/> for whatever the user must write differently.</summary>
    public static LocalPlan Make(LocalRequest request, ToolchainCatalog catalog)
    {
        var (toolchain, form, pass) = Find(request, catalog);
        var chain = ChainOf(toolchain, form, pass, request);
        request = request with { Parameters = [.. request.Parameters.Select(p => p.Name == Calibration ? Name(toolchain, form, chain, p) : p)] };
        if (form?.Calibration is { } needed && request.Parameters.All(p => p.Name != needed))
        {
            throw new BadInputException(
                $"{form.Name} needs '{needed}' ({toolchain.FindPass(form.Steps[^1].Type)?.Parameters.FirstOrDefault(p => p.Name == needed)?.Description}); give it with --{Calibration} PATH or --{needed.Replace('_', '-')} FILE");
        }

        var inputs = new Dictionary<string, LocalInput>(StringComparer.Ordinal) { [Model] = request.Model };
        var passes = Apply(toolchain, chain, request, inputs);
        var recipe = passes is null
            ? new RecipeSpec(toolchain.Identity.Id, null, [form!.Name], [], [], [])
            : new RecipeSpec(toolchain.Identity.Id, Chain, [], [.. passes], [], []);
        var spec = new SweepSpec(
            "local",
            ImmutableSortedDictionary<string, string>.Empty,
            [new ModelSpec(Model, $"file:{request.Model.Path}", request.Dims)],
            [.. inputs.Where(i => i.Key != Model).Select(i => new DataSetSpec(i.Key, $"file:{i.Value.Path}", null))],
            [recipe],
            [],
            ImmutableSortedDictionary<string, string>.Empty,
            []);
        var errors = Planner.TryPlan("local", spec, inputs.ToDictionary(i => i.Key, i => i.Value.Artifact), catalog, out var plan);
        if (!errors.IsEmpty)
        {
            throw new BadInputException(string.Join("; ", errors.Select(Describe)));
        }

        var entry = plan!.Entries.FirstOrDefault(e => e.Form == (passes is null ? form!.Name : Chain))
            ?? throw new BadInputException(plan.LeftOut.IsEmpty ? $"{request.Form} cannot be made of {request.Model.Artifact.FileName}" : string.Join("; ", plan.LeftOut.Select(l => l.Reason)));
        return new LocalPlan(
            toolchain,
            form is null ? pass!.Type : Called(toolchain, form, request),
            entry.Recipe,
            form?.PrecisionClass is { Length: > 0 } known && passes is null ? known : entry.PrecisionClass,
            Ancestors(plan.Jobs, entry.ArtifactJob),
            inputs.Values.ToImmutableDictionary(i => i.Artifact.Digest));
    }

    /// <summary>The toolchain that is meant, and its form or pass of the name.</summary>
    private static (ToolchainDescriptor Toolchain, FormDescriptor? Form, PassDescriptor? Pass) Find(LocalRequest request, ToolchainCatalog catalog)
    {
        var name = request.Model.Artifact.FileName;
        var format = request.Model.Artifact.Format;
        var candidates = catalog.Toolchains.Where(t => request.Toolchain is null ? t.Reads.Contains(format) : t.Identity.Id == request.Toolchain).ToArray();
        if (candidates.Length == 0)
        {
            var ids = catalog.Toolchains.Select(t => t.Identity.Id).ToArray();
            throw new BadInputException(request.Toolchain is { } wrong
                ? $"there is no toolchain '{wrong}'{Meant(wrong, ids)}; there are {string.Join(", ", ids)}"
                : $"'{name}' is no model that a toolchain reads: {string.Join("; ", catalog.Toolchains.Select(t => $"{t.Identity.Id} reads {string.Join(", ", t.Reads)}"))}");
        }

        var found = candidates.Select(t => (Toolchain: t, Form: t.FindForm(request.Form), Pass: t.FindPass(request.Form))).Where(f => f.Form is not null || f.Pass is not null).ToArray();
        return found switch
        {
            [var one] => one,
            [] => throw Unknown(request.Form, candidates),
            _ => throw new BadInputException($"several toolchains have {request.Form}: {string.Join(", ", found.Select(f => f.Toolchain.Identity.Id))}; name one with --toolchain"),
        };
    }

    private static BadInputException Unknown(string form, ToolchainDescriptor[] toolchains)
    {
        var forms = toolchains.SelectMany(t => t.Forms.Select(f => f.Name)).Distinct().ToArray();
        var passes = toolchains.SelectMany(t => t.Passes.Select(p => p.Type)).Distinct().ToArray();
        return new BadInputException(
            $"{string.Join(", ", toolchains.Select(t => t.Identity.Id))} has no form '{form}'{Meant(form, [.. forms, .. passes])}; forms: {string.Join(", ", forms)}; passes: {string.Join(", ", passes)}");
    }

    /// <summary>The passes of the chain with their parameters; a converting one first where the model's format needs it.</summary>
    private static List<PassStep> ChainOf(ToolchainDescriptor toolchain, FormDescriptor? form, PassDescriptor? pass, LocalRequest request)
    {
        var steps = (form?.Steps ?? [new PassStep(pass!.Type, ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal))]).ToList();
        var format = request.Model.Artifact.Format;
        if (steps.Count > 0 && toolchain.FindPass(steps[0].Type) is { } first && !first.InputFormats.Contains(format)
            && toolchain.Passes.FirstOrDefault(p => p.InputFormats.Contains(format) && first.InputFormats.Contains(p.OutputFormat)) is { } convert)
        {
            steps.Insert(0, new PassStep(convert.Type, ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal)));
        }

        return steps;
    }

    /// <summary>The chain with what the user set; null when he set nothing and the form is named, so that the form stands as it is.</summary>
    private static List<PassSpec>? Apply(ToolchainDescriptor toolchain, List<PassStep> chain, LocalRequest request, Dictionary<string, LocalInput> inputs)
    {
        var passes = chain.Select(s => new PassSpec(
            s.Type, s.Parameters.ToImmutableSortedDictionary(p => p.Key, p => ImmutableArray.Create(p.Value), StringComparer.Ordinal))).ToList();
        foreach (var set in request.Parameters)
        {
            var takers = Enumerable.Range(0, passes.Count).Where(i => (set.Pass is null || passes[i].Type == set.Pass) && Parameter(toolchain, passes[i], set.Name) is not null).ToArray();
            if (takers.Length == 0)
            {
                throw Missing(toolchain, passes, set);
            }

            var value = set.Value;
            if (Parameter(toolchain, passes[takers[^1]], set.Name)!.Type is ParameterType.DataSet)
            {
                // The planner reads data sets by id; the name of the parameter is as good as any.
                inputs[set.Name] = LocalInput.Open(set.Value);
                value = set.Name;
            }
            else
            {
                takers = [takers[^1]];
            }

            // Every pass that runs the model wants the samples; any other parameter is the last pass's that has it.
            foreach (var at in takers)
            {
                passes[at] = passes[at] with { Parameters = passes[at].Parameters.SetItem(set.Name, [value]) };
            }
        }

        return request.Parameters.IsEmpty && toolchain.FindForm(request.Form) is not null ? null : passes;
    }

    /// <summary>Calibration data go to the parameter that takes them, however it is called: <c>calibration</c>, or what is computed of a text.</summary>
    private static LocalParameter Name(ToolchainDescriptor toolchain, FormDescriptor? form, List<PassStep> chain, LocalParameter set)
    {
        var parameters = chain.SelectMany(s => toolchain.FindPass(s.Type)?.Parameters ?? []).ToArray();
        return parameters.Any(p => p.Name == Calibration) ? set
            : form?.Calibration is { } own ? set with { Name = own }
            : parameters.FirstOrDefault(p => p.PreparedBy is not null) is { } prepared ? set with { Name = prepared.Name }
            : set;
    }

    /// <summary>The form's name: with calibration data it may be another form of the same passes, <c>Q4_K_M+imatrix</c> for <c>Q4_K_M</c>.</summary>
    private static string Called(ToolchainDescriptor toolchain, FormDescriptor form, LocalRequest request) =>
        toolchain.Forms.FirstOrDefault(f => f.Calibration is { } data && request.Parameters.Any(p => p.Name == data)
            && f.Steps.Select(s => s.Type).SequenceEqual(form.Steps.Select(s => s.Type))
            && f.Steps.Zip(form.Steps).All(s => s.Item1.Parameters.SequenceEqual(s.Item2.Parameters)))?.Name ?? form.Name;

    private static BadInputException Missing(ToolchainDescriptor toolchain, List<PassSpec> passes, LocalParameter set)
    {
        var names = passes.SelectMany(p => toolchain.FindPass(p.Type)!.Parameters.Select(x => x.Name)).Distinct().ToArray();
        return set.Pass is { } pass && passes.All(p => p.Type != pass)
            ? new BadInputException($"{set.Option}: the chain has no pass '{pass}'; it has {string.Join(", ", passes.Select(p => p.Type))}")
            : new BadInputException($"{set.Option}: {string.Join(", ", passes.Select(p => p.Type))} has no parameter '{set.Name}'{Meant(set.Name, names)}; it has {(names.Length == 0 ? "none" : string.Join(", ", names))}");
    }

    private static ParameterDescriptor? Parameter(ToolchainDescriptor toolchain, PassSpec pass, string name) =>
        toolchain.FindPass(pass.Type)?.Parameters.FirstOrDefault(p => p.Name == name);

    /// <summary>The job and all that it needs, producers first.</summary>
    private static ImmutableArray<JobSpec> Ancestors(ImmutableArray<JobSpec> jobs, string last)
    {
        var needed = new HashSet<string>(StringComparer.Ordinal) { last };
        foreach (var job in jobs.Reverse().Where(j => needed.Contains(j.Id)))
        {
            needed.UnionWith(job.Inputs.Select(i => i.Source.Job).OfType<string>());
        }

        return [.. jobs.Where(j => needed.Contains(j.Id))];
    }

    private static string Meant(string given, IEnumerable<string> accepted) => Suggestions.Nearest(given, accepted) is { Length: > 0 } near ? $" - did you mean {near}?" : "";

    /// <summary>An error with the parameter that it is about, if it is about one: the rest of its path is of a sweep file that nobody wrote.</summary>
    private static string Describe(PlanError error)
    {
        const string Passes = "].";
        var at = error.Path.LastIndexOf(Passes, StringComparison.Ordinal);
        var name = at < 0 ? "" : error.Path[(at + Passes.Length)..];
        return name is "" or "types" or "passes" or "calibration" ? error.Message : $"{name}: {error.Message}";
    }
}
