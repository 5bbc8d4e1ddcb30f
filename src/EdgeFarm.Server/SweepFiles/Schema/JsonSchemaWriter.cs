using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Server.SweepFiles.Schema;

/// <summary>Writes the sweep file's definition as a JSON Schema, for editors that check and complete YAML.</summary>
public static class JsonSchemaWriter
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The schema (draft 2020-12) for the toolchains of a farm.</summary>
    public static string Write(ToolchainCatalog catalog)
    {
        var schema = Node(SweepSchema.For(catalog));
        schema.Insert(0, "$schema", "https://json-schema.org/draft/2020-12/schema");
        schema.Insert(1, "title", "EdgeFarm sweep");
        return schema.ToJsonString(Indented) + "\n";
    }

    private static JsonObject Node(SchemaNode node) => node switch
    {
        ObjectSchema o => Object(o),
        MapSchema m => new JsonObject { ["type"] = "object", ["additionalProperties"] = Node(m.Value) },
        ListSchema { SingleAllowed: true } l => new JsonObject { ["anyOf"] = new JsonArray(Node(l.Item), List(l)) },
        ListSchema l => List(l),
        ScalarSchema s => Scalar(s),
        _ => throw new InvalidOperationException($"no JSON Schema for {node.GetType().Name}"),
    };

    private static JsonObject List(ListSchema list) =>
        new() { ["type"] = "array", ["items"] = Node(list.Item), ["minItems"] = list.MinItems };

    private static JsonObject Object(ObjectSchema schema)
    {
        var json = new JsonObject { ["type"] = "object", ["properties"] = Properties(schema.Fields) };
        if (schema.Fields.Any(f => f.Required))
        {
            json["required"] = new JsonArray([.. schema.Fields.Where(f => f.Required).Select(f => JsonValue.Create(f.Name))]);
        }

        if (schema.ExactlyOne.Length > 0)
        {
            json["oneOf"] = new JsonArray([.. schema.ExactlyOne.Select(k => new JsonObject { ["required"] = new JsonArray(k) })]);
        }

        if (schema.Discriminator is { } key)
        {
            json["allOf"] = new JsonArray([.. schema.Variants.Select(v => new JsonObject
            {
                ["if"] = new JsonObject { ["properties"] = new JsonObject { [key] = new JsonObject { ["const"] = v.Key } }, ["required"] = new JsonArray(key) },
                ["then"] = new JsonObject { ["properties"] = Properties(v.Value) },
            })]);
        }

        // Keys of a variant are known only inside its branch, so the plain additionalProperties would refuse them.
        json[schema.Discriminator is null ? "additionalProperties" : "unevaluatedProperties"] = false;
        return json;
    }

    private static JsonObject Properties(IEnumerable<FieldSchema> fields)
    {
        var properties = new JsonObject();
        foreach (var field in fields.Where(f => !f.Reserved))
        {
            var json = Node(field.Node);
            json["description"] = field.Description.Replace("`", "", StringComparison.Ordinal) + (field.Default is null ? "" : $" (default: {field.Default})");
            properties[field.Name] = json;
        }

        return properties;
    }

    private static JsonObject Scalar(ScalarSchema scalar)
    {
        var json = scalar.Kind switch
        {
            ScalarKind.Integer => Bounds(new JsonObject { ["type"] = "integer" }, scalar),
            ScalarKind.Number => Bounds(new JsonObject { ["type"] = "number" }, scalar),
            ScalarKind.Boolean => new JsonObject { ["type"] = "boolean" },
            ScalarKind.Choice => new JsonObject { ["enum"] = Words(scalar) },
            ScalarKind.Name => new JsonObject { ["type"] = "string", ["pattern"] = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" },
            ScalarKind.Source => new JsonObject { ["type"] = "string", ["pattern"] = "^(bundled:|file:|hf:|blob:sha256:)." },
            ScalarKind.Text => new JsonObject { ["type"] = new JsonArray("string", "number", "boolean") },
            _ => new JsonObject { ["type"] = "string" },
        };
        return scalar.Choices.IsEmpty || scalar.Kind is ScalarKind.Choice or ScalarKind.Text
            ? json
            : new JsonObject { ["anyOf"] = new JsonArray(new JsonObject { ["enum"] = Words(scalar) }, json) };
    }

    private static JsonArray Words(ScalarSchema scalar) => new([.. scalar.Choices.Select(c => JsonValue.Create(c))]);

    private static JsonObject Bounds(JsonObject json, ScalarSchema scalar)
    {
        if (double.IsFinite(scalar.Minimum))
        {
            json["minimum"] = scalar.Minimum;
        }

        if (double.IsFinite(scalar.Maximum))
        {
            json["maximum"] = scalar.Maximum;
        }

        return json;
    }
}
