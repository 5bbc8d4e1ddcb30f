using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.SweepFiles.Schema;

namespace EdgeFarm.Server.SweepFiles;

/// <summary>Makes a spec out of values that the schema accepted.</summary>
internal static class SweepSpecBinder
{
    private static readonly ImmutableSortedSet<string> QualityFields = ImmutableSortedSet.Create(StringComparer.Ordinal, "text", "data", "models", "on");

    /// <summary>The spec; what no schema can tell is added to the errors.</summary>
    public static SweepSpec Bind(SweepMapping root, List<SweepFileError> errors)
    {
        var spec = root.Mapping("spec")!;
        var metadata = root.Mapping("metadata");
        return new SweepSpec(
            metadata?.Text("name") ?? SweepSchema.DefaultName,
            Texts(metadata?.Mapping("labels")),
            [.. spec.Mappings("models").Select(m => new ModelSpec(m.Text("id")!, m.Text("source")!, Dims(m.Mapping("dims"))))],
            [.. spec.Mappings("data").Select(d => new DataSetSpec(d.Text("id")!, d.Text("source")!, d.Text("labels")))],
            [.. spec.Mappings("recipes").Select(Recipe)],
            [.. spec.Mappings("targets").Select(t => Target(t, errors))],
            Texts(spec.Mapping("benchmark")),
            [.. spec.Mappings("quality").Select(Quality)])
        {
            Limits = new SweepLimits(Bytes(spec.Mapping("limits"), "size", errors), Bytes(spec.Mapping("limits"), "memory", errors)),
        };
    }

    private static RecipeSpec Recipe(SweepMapping recipe) => new(
        recipe.Text("toolchain")!,
        recipe.Text("name"),
        [.. recipe.Texts("types")],
        [.. recipe.Mappings("passes").Select(p => new PassSpec(p.Text("type")!, Lists(p, except: "type")))],
        [.. recipe.Texts("models")],
        [.. recipe.Texts("on")])
    {
        Calibration = recipe.Text("calibration"),
    };

    private static TargetSpec Target(SweepMapping target, List<SweepFileError> errors)
    {
        var require = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var (property, value) in target.Mapping("require")?.Entries ?? ImmutableDictionary<string, SweepValue>.Empty)
        {
            var wanted = string.Join(",", ((SweepList)value).Items.OfType<SweepScalar>().Select(s => s.Text));
            var definition = PropertyDefinition.Of(property);
            if (definition.Match is PropertyMatch.Minimum && !RequirementMatcher.TryReadNumber(wanted, out _))
            {
                var example = definition.Unit == "bytes" ? "16GiB" : "8";
                errors.Add(new SweepFileError(value.Position, value.Path, $"expected a number such as {example}, found '{wanted}'", []));
            }

            require[property] = wanted;
        }

        var devices = target.Text("devices") switch
        {
            null or "one" => 1,
            "each" => 0,
            var number => int.Parse(number, CultureInfo.InvariantCulture),
        };
        return new TargetSpec(target.Text("id")!, require.ToImmutable(), devices);
    }

    private static long? Bytes(SweepMapping? limits, string key, List<SweepFileError> errors)
    {
        if (limits?.Entries.GetValueOrDefault(key) is not SweepScalar scalar)
        {
            return null;
        }

        if (RequirementMatcher.TryReadNumber(scalar.Text, out var bytes) && bytes is >= 1 and <= long.MaxValue / 2)
        {
            return (long)bytes;
        }

        errors.Add(new SweepFileError(scalar.Position, scalar.Path, $"expected bytes such as 2GiB, found '{scalar.Text}'", []));
        return null;
    }

    private static QualitySpec Quality(SweepMapping quality) => new(
        quality.Text("text"),
        quality.Text("data"),
        [.. quality.Texts("models")],
        quality.Text("on") == "target",
        quality.Entries.Where(e => !QualityFields.Contains(e.Key)).ToImmutableSortedDictionary(e => e.Key, e => Joined(e.Value), StringComparer.Ordinal));

    /// <summary>The text of a scalar; those of a list with commas between them.</summary>
    private static string Joined(SweepValue value) => value is SweepList list
        ? string.Join(',', list.Items.OfType<SweepScalar>().Select(s => s.Text))
        : ((SweepScalar)value).Text;

    private static ImmutableSortedDictionary<string, ImmutableArray<long>> Dims(SweepMapping? dims) =>
        (dims?.Entries ?? ImmutableDictionary<string, SweepValue>.Empty).ToImmutableSortedDictionary(
            e => e.Key,
            e => ((SweepList)e.Value).Items.OfType<SweepScalar>().Select(s => long.Parse(s.Text, CultureInfo.InvariantCulture)).ToImmutableArray(),
            StringComparer.Ordinal);

    private static ImmutableSortedDictionary<string, ImmutableArray<string>> Lists(SweepMapping mapping, string except) =>
        mapping.Entries.Where(e => e.Key != except).ToImmutableSortedDictionary(
            e => e.Key, e => ((SweepList)e.Value).Items.OfType<SweepScalar>().Select(s => s.Text).ToImmutableArray(), StringComparer.Ordinal);

    private static ImmutableSortedDictionary<string, string> Texts(SweepMapping? mapping) =>
        (mapping?.Entries.Where(e => e.Value is SweepScalar) ?? []).ToImmutableSortedDictionary(e => e.Key, e => ((SweepScalar)e.Value).Text, StringComparer.Ordinal);
}
