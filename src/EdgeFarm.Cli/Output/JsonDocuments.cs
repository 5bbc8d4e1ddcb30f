using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeFarm.Contracts.V1;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Value = EdgeFarm.Contracts.V1.PropertyValue;

namespace EdgeFarm.Cli.Output;

/// <summary>
/// The public API's messages as the JSON that scripts read: the protos' own names, numbers as numbers, enums as words, absent values
/// as null.
/// </summary>
internal static class JsonDocuments
{
    private const int Version = 1;

    private static readonly JsonSerializerOptions Options = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes one document: its version, then the members.</summary>
    public static void Write(TextWriter writer, JsonObject members)
    {
        members.Insert(0, "version", Version);
        writer.WriteLine(members.ToJsonString(Options));
    }

    /// <summary>The document of a leaderboard.</summary>
    public static JsonObject Leaderboard(IEnumerable<Entry> entries) => new() { ["entries"] = Array(entries) };

    /// <summary>Messages as an array.</summary>
    public static JsonArray Array(IEnumerable<IMessage> messages) => new([.. messages.Select(m => Of(m))]);

    /// <summary>A message as a value.</summary>
    public static JsonNode? Of(IMessage? message) => message switch
    {
        null => null,
        Timestamp time => time.ToDateTimeOffset().ToString("O", System.Globalization.CultureInfo.InvariantCulture),
        Duration duration => duration.ToTimeSpan().TotalSeconds,
        Value value => Property(value),
        Metric metric => WithoutUnknowns(metric),
        _ => Members(message),
    };

    /// <summary>How a pass that had a choice came to it, out of its report; nothing where it had none or the report is no JSON.</summary>
    public static IEnumerable<string> Explanation(string report)
    {
        try
        {
            return report.Length > 0 && JsonNode.Parse(report) is JsonObject read && read["explanation"] is JsonArray lines ? [.. lines.Select(l => l?.ToString() ?? "")] : [];
        }
        catch (JsonException)
        {
            return [];
        }
    }

    private static JsonObject Members(IMessage message)
    {
        var json = new JsonObject();
        foreach (var field in message.Descriptor.Fields.InDeclarationOrder())
        {
            json[field.Name] = Field(message, field);
        }

        return json;
    }

    /// <summary>A single sample has no spread, and samples come on request: those members are left out, not null.</summary>
    private static JsonObject WithoutUnknowns(Metric metric)
    {
        var json = Members(metric);
        if (metric.N <= 1)
        {
            foreach (var name in new[] { "mean", "stddev", "ci95", "p50", "p90", "p95", "p99" })
            {
                json.Remove(name);
            }
        }
        else if (metric.Ci95.Count == 0)
        {
            json["ci95"] = null;
        }

        if (metric.Samples.Count == 0)
        {
            json.Remove("samples");
        }

        return json;
    }

    private static JsonNode? Field(IMessage message, FieldDescriptor field)
    {
        var value = field.Accessor.GetValue(message);
        if (field.IsMap)
        {
            var json = new JsonObject();
            var valueField = field.MessageType.FindFieldByName("value");
            var map = (System.Collections.IDictionary)value;
            foreach (var key in map.Keys.Cast<string>().Order(StringComparer.Ordinal))
            {
                json[key] = Single(valueField, map[key]);
            }

            return json;
        }

        if (field.IsRepeated)
        {
            return new JsonArray([.. ((System.Collections.IList)value).Cast<object>().Select(v => Single(field, v))]);
        }

        return field.HasPresence && !field.Accessor.HasValue(message) ? null : Single(field, value);
    }

    private static JsonNode? Single(FieldDescriptor field, object? value) => value switch
    {
        null => null,
        IMessage message => Of(message),
        string text => text,
        bool flag => flag,
        int number => number,
        long number => number,
        double number => number,
        ByteString bytes => Convert.ToBase64String(bytes.Span),
        System.Enum word => Word(field.EnumType, Convert.ToInt32(word, System.Globalization.CultureInfo.InvariantCulture)),
        _ => throw new NotSupportedException($"no JSON for {field.FullName}"),
    };

    /// <summary>The word of an enum: failure types as documents and messages call them, all others in lower case.</summary>
    private static string? Word(EnumDescriptor type, int number)
    {
        if (number == 0 || type.FindValueByNumber(number) is not { } value)
        {
            return null;
        }

        if (type.ClrType == typeof(FailureType))
        {
            return ((FailureType)number).ToString();
        }

        // JOB_STATUS_WAITING of JobStatus is "waiting": the prefix is the type's name in the same spelling.
        var prefix = type.Name.Aggregate(0, (length, c) => length + (char.IsUpper(c) && length > 0 ? 2 : 1)) + 1;
        return value.Name[prefix..].ToLowerInvariant();
    }

    private static JsonNode? Property(Value value) => value.ValueCase switch
    {
        Value.ValueOneofCase.Text => value.Text,
        Value.ValueOneofCase.Number => value.Number,
        Value.ValueOneofCase.Items => new JsonArray([.. value.Items.Items.Select(i => JsonValue.Create(i))]),
        _ => null,
    };
}
