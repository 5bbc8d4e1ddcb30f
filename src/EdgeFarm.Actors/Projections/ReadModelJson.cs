using System.Text.Json;
using System.Text.Json.Serialization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;

namespace EdgeFarm.Actors.Projections;

/// <summary>
/// Documents of the read model as JSON. They may change with any release: a rebuild writes them anew from the journal, which is
/// the truth and has a format of its own.
/// </summary>
internal static class ReadModelJson
{
    private static readonly JsonSerializerOptions Options = new()
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new DigestConverter(), new PropertyValueConverter() },
    };

    public static string Write<T>(T value) => JsonSerializer.Serialize(value, Options);

    public static void Write<T>(Utf8JsonWriter json, T value) => JsonSerializer.Serialize(json, value, Options);

    public static T Read<T>(string json) => JsonSerializer.Deserialize<T>(json, Options)!;

    private sealed class DigestConverter : JsonConverter<Digest>
    {
        public override Digest Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            Digest.TryParse(reader.GetString(), out var digest) ? digest : default;

        public override void Write(Utf8JsonWriter writer, Digest value, JsonSerializerOptions options) => writer.WriteStringValue(value.Hex);
    }

    private sealed class PropertyValueConverter : JsonConverter<PropertyValue>
    {
        public override PropertyValue Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType switch
        {
            JsonTokenType.Number => PropertyValue.Of(reader.GetDouble()),
            JsonTokenType.StartArray => PropertyValue.Of(JsonSerializer.Deserialize<string[]>(ref reader, options)!),
            _ => PropertyValue.Of(reader.GetString()!),
        };

        public override void Write(Utf8JsonWriter writer, PropertyValue value, JsonSerializerOptions options)
        {
            if (value.Number is { } number)
            {
                writer.WriteNumberValue(number);
            }
            else if (value.Items is { } items)
            {
                JsonSerializer.Serialize(writer, items.ToArray(), options);
            }
            else
            {
                writer.WriteStringValue(value.Text);
            }
        }
    }
}
