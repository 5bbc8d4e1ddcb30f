using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Server.SweepFiles.Schema;

/// <summary>The one definition of the sweep file. Whatever depends on toolchains comes from their descriptors.</summary>
internal static class SweepSchema
{
    /// <summary>The only version so far.</summary>
    public const string ApiVersion = "edgefarm/v1";

    /// <summary>The only kind so far.</summary>
    public const string Kind = "Sweep";

    /// <summary>Name of a sweep whose file gives none.</summary>
    public const string DefaultName = "sweep";

    private const int MaxDevices = 1000;

    private static readonly ScalarSchema Text = new(ScalarKind.Text);
    private static readonly ScalarSchema Name = new(ScalarKind.Name);

    /// <summary>The definition for the toolchains of a farm.</summary>
    public static ObjectSchema For(ToolchainCatalog catalog) => new(
    [
        new("apiVersion", Choice(ApiVersion), "version of this format") { Default = ApiVersion },
        new("kind", Choice(Kind), "what the file describes") { Default = Kind },
        new("metadata", Metadata, "name and labels"),
        new("spec", Spec(catalog), "what to try, where, and how to measure") { Required = true },
    ]);

    private static ObjectSchema Metadata => new(
    [
        new("name", Name, "name of the sweep; its id is made from it") { Default = DefaultName },
        new("labels", new MapSchema(Text, "KEY"), "labels of your own, to find the sweep's rows on the leaderboard by"),
    ]);

    private static ObjectSchema Spec(ToolchainCatalog catalog) => new(
    [
        new("models", new ListSchema(Model), "the models to optimize") { Required = true },
        new("data", new ListSchema(Data), "named data sets, for `quality` and for the `calibration` of recipes and passes"),
        new("recipes", new ListSchema(Recipe(catalog)), "the forms to make") { Required = true },
        new("targets", new ListSchema(Target), "where to benchmark") { Default = "one device of any worker" },
        new("benchmark", new ObjectSchema(Parameters(catalog.Runtimes.SelectMany(r => r.BenchmarkParameters))), "how to measure speed")
        {
            Default = "each runtime's defaults",
        },
        new("quality", new ListSchema(Quality(catalog)) { SingleAllowed = true }, "how to measure quality; one mapping, or a list of them for different models")
        {
            Default = "what needs no data set",
        },
        new("limits", new ObjectSchema(
        [
            new("size", Text, "most bytes of a form, e.g. `2GiB`"),
            new("memory", Text, "most bytes of memory that a form may take on a device, e.g. `6GiB`"),
        ]), "what forms must keep to, as predicted from the model's shapes; the baseline is made in any case")
        {
            Default = "none",
        },
        .. Reserved("goals", "search", "rounds", "target", "queueTimeout", "priority", "schedule"),
    ]);

    private static ObjectSchema Model => new(
    [
        new("id", Name, "how recipes and the leaderboard call it; unique among models and data sets") { Required = true },
        new("source", new ScalarSchema(ScalarKind.Source), "where it comes from: `bundled:NAME`, `file:PATH`, `hf:ORG/NAME[@REVISION]`, `blob:sha256:DIGEST`") { Required = true },
        new("dims", new MapSchema(new ListSchema(new ScalarSchema(ScalarKind.Integer) { Minimum = 1, Maximum = int.MaxValue }), "INPUT"),
            "shapes of dynamic inputs, by input name") { Default = "the model's own" },
    ]);

    private static ObjectSchema Data => new(
    [
        new("id", Name, "how `quality` and `calibration` call it; unique among models and data sets") { Required = true },
        new("source", new ScalarSchema(ScalarKind.Source), "where it comes from, as for models, but not `hf:`") { Required = true },
        new("labels", Text, "name of the array that holds the labels, for accuracy") { Default = "none" },
    ]);

    private static ObjectSchema Recipe(ToolchainCatalog catalog) => new(
    [
        new("toolchain", Choice([.. catalog.Toolchains.Select(t => t.Identity.Id)]), "what makes the forms") { Required = true },
        new("types", new ListSchema(Text), "named forms of the toolchain, one form each; or `passes`"),
        new("passes", new ListSchema(new ObjectSchema([new("type", Text, "type of the pass") { Required = true }])),
            "a chain of passes in order; lists of parameter values expand to their product"),
        new("calibration", new ScalarSchema(ScalarKind.DataSet), "id of the data set that calibrates the types which take one: samples, a text, or what was computed of them before") { Default = "none" },
        new("name", Name, "name of the form that a chain makes") { Default = "the last pass's type" },
        new("models", new ListSchema(new ScalarSchema(ScalarKind.Model)) { MinItems = 0 }, "ids of the models it applies to") { Default = "all whose format it reads" },
        new("on", new ListSchema(new ScalarSchema(ScalarKind.Target)) { MinItems = 0 }, "ids of the targets it applies to") { Default = "all" },
        .. Reserved("target"),
    ])
    {
        Discriminator = "toolchain",
        ExactlyOne = ["types", "passes"],
        Variants = [.. catalog.Toolchains.Select(t => new KeyValuePair<string, ImmutableArray<FieldSchema>>(t.Identity.Id, RecipeOf(t)))],
    };

    private static ImmutableArray<FieldSchema> RecipeOf(ToolchainDescriptor toolchain) =>
    [
        new("types", new ListSchema(Choice([.. toolchain.Forms.SelectMany(f => f.Aliases.Insert(0, f.Name))]) with { IgnoreCase = true }),
            "named forms of the toolchain, one form each; or `passes`"),
        new("passes", new ListSchema(new ObjectSchema([new("type", Choice([.. toolchain.Passes.Select(p => p.Type)]), "type of the pass") { Required = true }])
        {
            Discriminator = "type",
            Variants = [.. toolchain.Passes.Select(p => new KeyValuePair<string, ImmutableArray<FieldSchema>>(p.Type, PassParameters(p)))],
        }), "a chain of passes in order; lists of parameter values expand to their product"),
    ];

    /// <summary>The parameters of a pass as fields; each takes one value or a list of them.</summary>
    public static ImmutableArray<FieldSchema> PassParameters(PassDescriptor pass) =>
        [.. Parameters(pass.Parameters).Select(f => f with { Node = new ListSchema(f.Node) { SingleAllowed = true } })];

    private static ObjectSchema Target => new(
    [
        new("id", Name, "how `on` and the leaderboard call it") { Required = true },
        new("require", new MapSchema(new ListSchema(Text) { SingleAllowed = true }, "PROPERTY") { KnownKeys = [.. PropertyDefinition.Known.Select(p => p.Name)] },
            "what host and device must have; a list asks for all of its members") { Default = "nothing" },
        new("devices", new ScalarSchema(ScalarKind.Integer) { Choices = ["one", "each"], Minimum = 1, Maximum = MaxDevices },
            "how many physical devices measure: `one`, `each` that fits, or a number") { Default = "one" },
    ]);

    private static ObjectSchema Quality(ToolchainCatalog catalog) => new(
    [
        new("text", new ScalarSchema(ScalarKind.DataSet), "id of the text data set for perplexity"),
        new("data", new ScalarSchema(ScalarKind.DataSet), "id of the data set of tensors to compare outputs on; with `labels` also for accuracy"),
        new("models", new ListSchema(new ScalarSchema(ScalarKind.Model)) { MinItems = 0 }, "ids of the models it applies to") { Default = "all" },
        new("on", Choice("any", "target"), "`any`: once, on any worker; `target`: on each target's device") { Default = "any" },
        .. Parameters(catalog.Runtimes.SelectMany(r => r.Evaluations).SelectMany(e => e.Parameters))
            .Select(f => f.Node is ScalarSchema { Kind: ScalarKind.Text } ? f : f with { Node = new ListSchema(f.Node) { SingleAllowed = true } }),
    ]);

    /// <summary>Parameters of several engines as fields; one that several have accepts what any of them does.</summary>
    private static ImmutableArray<FieldSchema> Parameters(IEnumerable<ParameterDescriptor> parameters) =>
    [
        .. parameters.GroupBy(p => p.Name).Select(g => new FieldSchema(g.Key, Parameter([.. g]), g.First().Description) { Default = g.First().Default }),
    ];

    private static ScalarSchema Parameter(ImmutableArray<ParameterDescriptor> same)
    {
        var kinds = same.Select(p => p.Type).Distinct().ToArray();
        return new ScalarSchema(kinds is [var only] ? KindOf(only) : ScalarKind.Text)
        {
            Choices = [.. same.SelectMany(p => p.Choices).Distinct()],
            Minimum = same.Min(p => p.Minimum),
            Maximum = same.Max(p => p.Maximum),
        };
    }

    private static ScalarKind KindOf(ParameterType type) => type switch
    {
        ParameterType.Text => ScalarKind.Text,
        ParameterType.Integer => ScalarKind.Integer,
        ParameterType.Number => ScalarKind.Number,
        ParameterType.Boolean => ScalarKind.Boolean,
        ParameterType.Choice => ScalarKind.Choice,
        ParameterType.DataSet => ScalarKind.DataSet,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "no such parameter type"),
    };

    private static ScalarSchema Choice(params ImmutableArray<string> words) => new(ScalarKind.Choice) { Choices = words };

    private static IEnumerable<FieldSchema> Reserved(params string[] names) =>
        names.Select(n => new FieldSchema(n, Text, "reserved, not supported yet") { Reserved = true });
}
