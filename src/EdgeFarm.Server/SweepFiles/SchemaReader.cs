using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Server.SweepFiles.Schema;
using EdgeFarm.Server.SweepFiles.Yaml;

namespace EdgeFarm.Server.SweepFiles;

/// <summary>
/// Checks a YAML document against the schema and gives what is right of it, so that one pass finds all errors. The depth of its
/// recursion is the schema's, not the document's.
/// </summary>
/// <param name="errors">Where errors go.</param>
/// <param name="ids">Ids that the sweep defines, for the scalars that refer to them.</param>
internal sealed class SchemaReader(List<SweepFileError> errors, IReadOnlyDictionary<ScalarKind, ImmutableArray<string>> ids)
{
    private const int MaxNameLength = 64;

    /// <summary>The checked value, or null when nothing of it can be used.</summary>
    public SweepValue? Read(SchemaNode schema, YamlNode node, string path) => schema switch
    {
        ObjectSchema o => ReadObject(o, node, path),
        MapSchema m => ReadMap(m, node, path),
        ListSchema l => ReadList(l, node, path),
        ScalarSchema s => ReadScalar(s, node, path),
        _ => throw new InvalidOperationException($"no reader for {schema.GetType().Name}"),
    };

    /// <summary>Describes what is accepted, for messages.</summary>
    public static string Expectation(SchemaNode schema) => schema switch
    {
        ObjectSchema or MapSchema => "a mapping",
        ListSchema { SingleAllowed: true } l => $"{Expectation(l.Item)} or a list of them",
        ListSchema => "a list",
        ScalarSchema s => ScalarText.Expectation(s),
        _ => "a value",
    };

    private SweepMapping? ReadObject(ObjectSchema schema, YamlNode node, string path)
    {
        if (node is not YamlMapping mapping)
        {
            return WrongType<SweepMapping>(schema, node, path);
        }

        var fields = Fields(schema, mapping);
        var names = fields.Where(f => !f.Reserved).Select(f => f.Name).ToImmutableArray();
        var entries = new Dictionary<string, SweepValue>(StringComparer.Ordinal);
        foreach (var (key, value) in mapping.Entries)
        {
            var fieldPath = Join(path, key.Text);
            var field = fields.FirstOrDefault(f => f.Name == key.Text);
            if (field is null)
            {
                errors.Add(new SweepFileError(key.Position, fieldPath, $"unknown key '{Short(key.Text)}'", names, Suggestions.Nearest(key.Text, names)));
            }
            else if (field.Reserved)
            {
                errors.Add(new SweepFileError(key.Position, fieldPath, $"'{key.Text}' is reserved, not supported yet; remove it", []));
            }
            else if (Read(field.Node, value, fieldPath) is { } read)
            {
                entries[key.Text] = read;
            }
        }

        foreach (var field in fields.Where(f => f.Required && mapping.Find(f.Name) is null))
        {
            errors.Add(new SweepFileError(mapping.Position, Join(path, field.Name), $"'{field.Name}' is missing: {field.Description.Replace("`", "", StringComparison.Ordinal)}", []));
        }

        CheckExactlyOne(schema, mapping, path);
        return new SweepMapping(mapping.Position, path, entries);
    }

    private static ImmutableArray<FieldSchema> Fields(ObjectSchema schema, YamlMapping mapping)
    {
        if (schema.Discriminator is null || mapping.Find(schema.Discriminator) is not YamlScalar chosen)
        {
            return schema.Fields;
        }

        var variant = schema.Variants.FirstOrDefault(v => v.Key == chosen.Text).Value;
        return variant.IsDefault
            ? schema.Fields
            : [.. schema.Fields.Select(f => variant.FirstOrDefault(v => v.Name == f.Name) ?? f), .. variant.Where(v => schema.Fields.All(f => f.Name != v.Name))];
    }

    private void CheckExactlyOne(ObjectSchema schema, YamlMapping mapping, string path)
    {
        var standing = schema.ExactlyOne.Count(k => mapping.Find(k) is not null);
        if (schema.ExactlyOne.Length > 0 && standing != 1)
        {
            var choices = string.Join(" or ", schema.ExactlyOne.Select(k => $"'{k}'"));
            errors.Add(new SweepFileError(mapping.Position, path, standing == 0 ? $"needs {choices}" : $"has both {choices.Replace(" or ", " and ", StringComparison.Ordinal)}; keep one of them", []));
        }
    }

    private SweepMapping? ReadMap(MapSchema schema, YamlNode node, string path)
    {
        if (node is not YamlMapping mapping)
        {
            return WrongType<SweepMapping>(schema, node, path);
        }

        var entries = new Dictionary<string, SweepValue>(StringComparer.Ordinal);
        foreach (var (key, value) in mapping.Entries)
        {
            var near = schema.KnownKeys.Contains(key.Text) ? "" : Suggestions.Nearest(key.Text, schema.KnownKeys);
            if (key.Text.Length is 0 or > MaxNameLength * 2)
            {
                errors.Add(new SweepFileError(key.Position, path, $"a key of {key.Text.Length} characters; 1 to {MaxNameLength * 2} are accepted", []));
            }
            else if (near.Length > 0 || (!schema.KnownKeys.IsEmpty && !schema.KnownKeys.Contains(key.Text) && !key.Text.Contains('.', StringComparison.Ordinal)))
            {
                // A detector's own properties have dots in their names; a name without one that the farm does not know is a slip.
                errors.Add(new SweepFileError(key.Position, Join(path, key.Text), $"unknown property '{Short(key.Text)}'", [.. schema.KnownKeys, "label.KEY"], near));
            }
            else if (Read(schema.Value, value, Join(path, key.Text)) is { } read)
            {
                entries[key.Text] = read;
            }
        }

        return new SweepMapping(mapping.Position, path, entries);
    }

    private SweepList? ReadList(ListSchema schema, YamlNode node, string path)
    {
        if (node is not YamlList list)
        {
            return schema.SingleAllowed && node is not YamlScalar { IsNull: true }
                ? Read(schema.Item, node, path) is { } single ? new SweepList(node.Position, path, [single]) : null
                : WrongType<SweepList>(schema, node, path);
        }

        if (list.Items.Count < schema.MinItems)
        {
            errors.Add(new SweepFileError(list.Position, path, $"the list is empty; it needs at least {schema.MinItems} item", []));
            return null;
        }

        var items = new List<SweepValue>();
        for (var i = 0; i < list.Items.Count; i++)
        {
            if (Read(schema.Item, list.Items[i], string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]")) is { } read)
            {
                items.Add(read);
            }
        }

        return new SweepList(list.Position, path, items);
    }

    private SweepScalar? ReadScalar(ScalarSchema schema, YamlNode node, string path)
    {
        if (node is not YamlScalar scalar || scalar.IsNull)
        {
            return WrongType<SweepScalar>(schema, node, path);
        }

        if (schema.Kind is ScalarKind.Model or ScalarKind.DataSet or ScalarKind.Target)
        {
            return ReadReference(schema.Kind, scalar, path);
        }

        var (canonical, problem) = ScalarText.Canonical(schema, scalar);
        if (canonical is not null)
        {
            return new SweepScalar(scalar.Position, path, canonical);
        }

        errors.Add(new SweepFileError(scalar.Position, path, problem!, schema.Choices, Suggestions.Nearest(scalar.Text, schema.Choices)));
        return null;
    }

    private SweepScalar? ReadReference(ScalarKind kind, YamlScalar scalar, string path)
    {
        var known = ids.TryGetValue(kind, out var defined) ? defined : [];
        if (known.Contains(scalar.Text))
        {
            return new SweepScalar(scalar.Position, path, scalar.Text);
        }

        var (what, where) = kind switch
        {
            ScalarKind.Model => ("model", "spec.models"),
            ScalarKind.Target => ("target", "spec.targets"),
            _ => ("data set", "spec.data"),
        };
        errors.Add(new SweepFileError(
            scalar.Position, path, $"there is no {what} '{Short(scalar.Text)}' in {where}", known, Suggestions.Nearest(scalar.Text, known)));
        return null;
    }

    private T? WrongType<T>(SchemaNode schema, YamlNode node, string path)
        where T : SweepValue
    {
        var accepted = schema is ScalarSchema scalar ? scalar.Choices : [];
        errors.Add(new SweepFileError(node.Position, path, $"expected {Expectation(schema)}, found {node.Kind}", accepted));
        return null;
    }

    private static string Join(string path, string key) => path.Length == 0 ? Short(key) : $"{path}.{Short(key)}";

    private static string Short(string text) => text.Length <= MaxNameLength ? text : text[..MaxNameLength] + "...";
}
