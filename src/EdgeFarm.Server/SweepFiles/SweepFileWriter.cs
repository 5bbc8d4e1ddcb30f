using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.SweepFiles.Schema;

namespace EdgeFarm.Server.SweepFiles;

/// <summary>Writes a spec as a sweep file that reads back as the same spec.</summary>
public static partial class SweepFileWriter
{
    /// <summary>The file's text, ended by a line break.</summary>
    public static string Write(SweepSpec spec)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"apiVersion: {SweepSchema.ApiVersion}\nkind: {SweepSchema.Kind}\n");
        text.Append(CultureInfo.InvariantCulture, $"metadata: {Flow([("name", Scalar(spec.Name)), .. Optional("labels", spec.Labels.Count > 0, () => Map(spec.Labels))])}\nspec:\n");
        List(text, "models", spec.Models.Select(m => Flow(
        [
            ("id", Scalar(m.Id)),
            ("source", Scalar(m.Source)),
            .. Optional("dims", m.Dims.Count > 0, () => Flow(m.Dims.Select(d => (Scalar(d.Key), Numbers(d.Value))))),
        ])));
        List(text, "data", spec.Data.Select(d => Flow(
            [("id", Scalar(d.Id)), ("source", Scalar(d.Source)), .. Optional("labels", d.Labels is not null, () => Scalar(d.Labels!))])));
        List(text, "recipes", spec.Recipes.Select(Recipe));
        List(text, "targets", spec.Targets.Select(t => Flow(
        [
            ("id", Scalar(t.Id)),
            .. Optional("require", t.Require.Count > 0, () => Map(t.Require)),
            ("devices", t.Devices == 0 ? "each" : t.Devices.ToString(CultureInfo.InvariantCulture)),
        ])));
        if (spec.Benchmark.Count > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"  benchmark: {Map(spec.Benchmark)}\n");
        }

        if (spec.Limits is { Size: not null } or { Memory: not null })
        {
            text.Append(CultureInfo.InvariantCulture, $"  limits: {Flow(
            [
                .. Optional("size", spec.Limits.Size is not null, () => spec.Limits.Size!.Value.ToString(CultureInfo.InvariantCulture)),
                .. Optional("memory", spec.Limits.Memory is not null, () => spec.Limits.Memory!.Value.ToString(CultureInfo.InvariantCulture)),
            ])}\n");
        }

        List(text, "quality", spec.Quality.Select(q => Flow(
        [
            .. Optional("text", q.Text is not null, () => Scalar(q.Text!)),
            .. Optional("data", q.Data is not null, () => Scalar(q.Data!)),
            .. Optional("models", !q.Models.IsEmpty, () => Words(q.Models)),
            ("on", q.OnTarget ? "target" : "any"),
            .. q.Parameters.Select(p => (Scalar(p.Key), p.Value.Contains(',', StringComparison.Ordinal) ? Words(p.Value.Split(',')) : Scalar(p.Value))),
        ])));
        return text.ToString();
    }

    private static string Recipe(RecipeSpec recipe) => Flow(
    [
        ("toolchain", Scalar(recipe.Toolchain)),
        .. Optional("name", recipe.Name is not null, () => Scalar(recipe.Name!)),
        .. Optional("types", !recipe.Types.IsEmpty, () => Words(recipe.Types)),
        .. Optional("calibration", recipe.Calibration is not null, () => Scalar(recipe.Calibration!)),
        .. Optional("passes", !recipe.Passes.IsEmpty, () => "[" + string.Join(", ", recipe.Passes.Select(p => Flow(
            [("type", Scalar(p.Type)), .. p.Parameters.Select(x => (Scalar(x.Key), Words(x.Value)))]))) + "]"),
        .. Optional("models", !recipe.Models.IsEmpty, () => Words(recipe.Models)),
        .. Optional("on", !recipe.On.IsEmpty, () => Words(recipe.On)),
    ]);

    private static void List(StringBuilder text, string key, IEnumerable<string> items)
    {
        var all = items.ToArray();
        if (all.Length > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"  {key}:\n{string.Concat(all.Select(i => $"    - {i}\n"))}");
        }
    }

    private static IEnumerable<(string, string)> Optional(string key, bool stands, Func<string> value) => stands ? [(key, value())] : [];

    private static string Flow(IEnumerable<(string Key, string Value)> entries) => "{" + string.Join(", ", entries.Select(e => $"{e.Key}: {e.Value}")) + "}";

    private static string Map(IEnumerable<KeyValuePair<string, string>> entries) => Flow(entries.Select(e => (Scalar(e.Key), Scalar(e.Value))));

    private static string Words(IEnumerable<string> words) => "[" + string.Join(", ", words.Select(Scalar)) + "]";

    private static string Numbers(IEnumerable<long> numbers) => "[" + string.Join(", ", numbers) + "]";

    /// <summary>
    /// A scalar: plain where YAML takes it for itself, else in double quotes. A number or boolean stays plain, because a quoted one is a
    /// text, which fields of those types refuse.
    /// </summary>
    private static string Scalar(string value)
    {
        if (PlainPattern().IsMatch(value) && value is not ("null" or "Null" or "NULL"))
        {
            return value;
        }

        var text = new StringBuilder("\"");
        foreach (var rune in value.EnumerateRunes())
        {
            text.Append(rune.Value switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                < 0x20 or (>= 0x7f and <= 0x9f) or 0x2028 or 0x2029 or 0xfeff or > 0xffff => string.Create(CultureInfo.InvariantCulture, $"\\U{rune.Value:x8}"),
                _ => rune.ToString(),
            });
        }

        return text.Append('"').ToString();
    }

    [GeneratedRegex(@"\A([A-Za-z0-9_/][A-Za-z0-9_./+-]*(:[A-Za-z0-9_./+-]+)*|[-+]?\.?[0-9][0-9.eE+-]*)\z")]
    private static partial Regex PlainPattern();
}
