using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;

namespace EdgeFarm.Toolchains.JobHosts.Wire;

/// <summary>JSON of the wire, generated at build time: a job host starts faster without reflection.</summary>
[JsonSourceGenerationOptions(
    UseStringEnumConverter = true,
    Converters =
    [
        typeof(DigestConverter),
        typeof(PropertyValueConverter),
        typeof(OrdinalDictionaryConverter<string>),
        typeof(OrdinalDictionaryConverter<InputFile>),
        typeof(OrdinalDictionaryConverter<ArtifactRef>),
        typeof(OrdinalDictionaryConverter<PropertyValue>),
    ])]
[JsonSerializable(typeof(JobHostRequest))]
[JsonSerializable(typeof(JobHostMessage))]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(InputFile))]
[JsonSerializable(typeof(ArtifactRef))]
[JsonSerializable(typeof(PropertyValue))]
internal sealed partial class JobHostJson : JsonSerializerContext;

internal sealed class DigestConverter : JsonConverter<Digest>
{
    public override Digest Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        var text = reader.GetString();
        return string.IsNullOrEmpty(text) ? default
            : Digest.TryParse(text, out var digest) ? digest
            : throw new JsonException("not a digest");
    }

    public override void Write(Utf8JsonWriter writer, Digest value, JsonSerializerOptions options) => writer.WriteStringValue(value.Hex);
}

/// <summary>A text as a string, a number as a number, a set as an array.</summary>
internal sealed class PropertyValueConverter : JsonConverter<PropertyValue>
{
    public override PropertyValue Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                return PropertyValue.Of(reader.GetString()!);
            case JsonTokenType.Number:
                return PropertyValue.Of(reader.GetDouble());
            case JsonTokenType.StartArray:
                var items = new List<string>();
                while (reader.Read() && reader.TokenType == JsonTokenType.String)
                {
                    items.Add(reader.GetString()!);
                }

                return reader.TokenType == JsonTokenType.EndArray ? PropertyValue.Of(items) : throw new JsonException("a property's set holds texts only");
            default:
                throw new JsonException("a property is a text, a number or a set of texts");
        }
    }

    public override void Write(Utf8JsonWriter writer, PropertyValue value, JsonSerializerOptions options)
    {
        if (value.Number is { } number)
        {
            writer.WriteNumberValue(number);
        }
        else if (value.Items is { } items)
        {
            writer.WriteStartArray();
            foreach (var item in items)
            {
                writer.WriteStringValue(item);
            }

            writer.WriteEndArray();
        }
        else
        {
            writer.WriteStringValue(value.Text);
        }
    }
}

/// <summary>Keeps the ordinal order of keys, which the BCL's own converter replaces by the culture's.</summary>
internal sealed class OrdinalDictionaryConverter<T> : JsonConverter<ImmutableSortedDictionary<string, T>>
{
    public override ImmutableSortedDictionary<string, T> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        var item = (System.Text.Json.Serialization.Metadata.JsonTypeInfo<T>)options.GetTypeInfo(typeof(T));
        var entries = ImmutableSortedDictionary.CreateBuilder<string, T>(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            reader.Read();
            entries[key] = JsonSerializer.Deserialize(ref reader, item) ?? throw new JsonException($"'{key}' has no value");
        }

        return entries.ToImmutable();
    }

    public override void Write(Utf8JsonWriter writer, ImmutableSortedDictionary<string, T> value, JsonSerializerOptions options)
    {
        var item = (System.Text.Json.Serialization.Metadata.JsonTypeInfo<T>)options.GetTypeInfo(typeof(T));
        writer.WriteStartObject();
        foreach (var (key, entry) in value)
        {
            writer.WritePropertyName(key);
            JsonSerializer.Serialize(writer, entry, item);
        }

        writer.WriteEndObject();
    }
}
