using System.Collections.Immutable;
using EdgeFarm.Server.SweepFiles.Schema;
using EdgeFarm.Server.SweepFiles.Yaml;

namespace EdgeFarm.Server.SweepFiles;

/// <summary>Collects the ids that a sweep defines before anything that refers to them is read.</summary>
internal static class SweepIds
{
    /// <summary>The ids of models, data sets and targets; doubled ones are errors.</summary>
    public static IReadOnlyDictionary<ScalarKind, ImmutableArray<string>> Collect(YamlNode document, List<SweepFileError> errors)
    {
        var spec = (document as YamlMapping)?.Find("spec") as YamlMapping;
        var artifacts = new Dictionary<string, int>(StringComparer.Ordinal);
        return new Dictionary<ScalarKind, ImmutableArray<string>>
        {
            [ScalarKind.Model] = Of(spec, "models", artifacts, errors),
            [ScalarKind.DataSet] = Of(spec, "data", artifacts, errors),
            [ScalarKind.Target] = Of(spec, "targets", new Dictionary<string, int>(StringComparer.Ordinal), errors),
        };
    }

    private static ImmutableArray<string> Of(YamlMapping? spec, string key, Dictionary<string, int> lines, List<SweepFileError> errors)
    {
        var found = ImmutableArray.CreateBuilder<string>();
        var items = (spec?.Find(key) as YamlList)?.Items ?? [];
        for (var i = 0; i < items.Count; i++)
        {
            if ((items[i] as YamlMapping)?.Find("id") is not YamlScalar { IsNull: false } id)
            {
                continue;
            }

            if (lines.TryAdd(id.Text, id.Position.Line))
            {
                found.Add(id.Text);
            }
            else
            {
                errors.Add(new SweepFileError(id.Position, $"spec.{key}[{i}].id", $"the id '{id.Text}' stands already in line {lines[id.Text]}", []));
            }
        }

        return found.ToImmutable();
    }
}
