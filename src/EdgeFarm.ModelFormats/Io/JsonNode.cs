using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Unicode;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.ModelFormats.Io;

/// <summary>
/// A value of an untrusted JSON file that knows where it stands, so that every failure names the file and the place. Reading
/// something that is not there or has another type throws <see cref="FailureException"/> (InvalidInput).
/// </summary>
internal readonly struct JsonNode
{
    private readonly JsonElement _element;
    private readonly Place _place;

    private JsonNode(JsonElement element, Place place) => (_element, _place) = (element, place);

    /// <summary>The type of the value.</summary>
    public JsonValueKind Kind => _element.ValueKind;

    /// <summary>Parses a file of at most <paramref name="limit"/> bytes; duplicate keys and nesting beyond 64 are refused.</summary>
    public static JsonNode Load(string path, long limit)
    {
        var bytes = SmallFile.Read(path, limit);
        return Parse(bytes, path);
    }

    /// <summary>The file's content, or null when there is no such file.</summary>
    public static JsonNode? LoadIfExists(string path, long limit) => File.Exists(path) ? Load(path, limit) : null;

    /// <summary>Parses JSON text in UTF-8.</summary>
    public static JsonNode Parse(ReadOnlyMemory<byte> utf8, string name)
    {
        if (utf8.Span.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]))
        {
            utf8 = utf8[3..];
        }

        if (!Utf8.IsValid(utf8.Span))
        {
            throw new FailureException(Failure.InvalidInput($"{name}: not sound JSON: it is not UTF-8"));
        }

        try
        {
            // Not disposed of: the nodes live on it, and a clone would hold a large vocabulary twice.
            var root = JsonDocument.Parse(utf8, new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = 64 }).RootElement;
            if (utf8.Span.IndexOf("\\ud"u8) >= 0 || utf8.Span.IndexOf("\\uD"u8) >= 0)
            {
                ReadKeys(root);
            }

            return new JsonNode(root, new Place(null, name, -1));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // System.Text.Json reports half a surrogate pair as an invalid operation.
            throw new FailureException(Failure.InvalidInput($"{name}: not sound JSON: {e.Message}"));
        }
    }

    // Keys with half a surrogate pair throw when they are read; better here than anywhere else.
    private static void ReadKeys(JsonElement element)
    {
        if (element.ValueKind == JsonValueKind.Object)
        {
            foreach (var property in element.EnumerateObject())
            {
                _ = property.Name.Length;
                ReadKeys(property.Value);
            }
        }
        else if (element.ValueKind == JsonValueKind.Array)
        {
            foreach (var item in element.EnumerateArray())
            {
                ReadKeys(item);
            }
        }
    }

    /// <summary>The failure for something wrong with this value.</summary>
    public FailureException Error(string reason) => new(Failure.InvalidInput($"{_place}: {reason}"));

    /// <summary>The value of a key; null when the key is absent or its value is null.</summary>
    public JsonNode? Optional(string key)
    {
        if (Kind != JsonValueKind.Object)
        {
            throw Error($"is {Describe()}, not an object");
        }

        return _element.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null
            ? new JsonNode(value, new Place(_place, key, -1))
            : null;
    }

    /// <summary>The value of a key that must be there.</summary>
    public JsonNode Require(string key) => Optional(key) ?? throw Error($"has no \"{key}\"");

    /// <summary>Whether the key is there, even with the value null.</summary>
    public bool Has(string key) => Kind == JsonValueKind.Object && _element.TryGetProperty(key, out _);

    /// <summary>The text of the value.</summary>
    public string Text() => TryText(out var text) ? text : throw Error($"is {Describe()}, not text");

    /// <summary>The text of the value, if it is text.</summary>
    public bool TryText([NotNullWhen(true)] out string? text)
    {
        text = null;
        if (Kind != JsonValueKind.String)
        {
            return false;
        }

        try
        {
            text = _element.GetString()!;
            return true;
        }
        catch (InvalidOperationException)
        {
            throw Error("contains half a surrogate pair or bytes that are not UTF-8");
        }
    }

    /// <summary>The value as an integer within bounds. 1.0 counts as an integer, as in Python's configs.</summary>
    public long Integer(long min, long max)
    {
        var value = TryInteger() ?? throw Error($"is {Describe()}, not an integer");
        return value >= min && value <= max ? value : throw Error($"is {value}; {min} to {max} is possible");
    }

    /// <summary>The value as an integer, or null when it is none.</summary>
    public long? TryInteger()
    {
        if (Kind != JsonValueKind.Number)
        {
            return null;
        }

        if (_element.TryGetInt64(out var value))
        {
            return value;
        }

        return _element.TryGetDouble(out var number) && Math.Abs(number) < 1L << 53 && number == Math.Truncate(number) ? (long)number : null;
    }

    /// <summary>The value as a finite number.</summary>
    public double Number() => Kind == JsonValueKind.Number && _element.TryGetDouble(out var value) && double.IsFinite(value)
        ? value
        : throw Error($"is {Describe()}, not a number");

    /// <summary>The truth value.</summary>
    public bool Flag() => Kind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Error($"is {Describe()}, not true or false"),
    };

    /// <summary>The number of elements of an array.</summary>
    public int Count() => Kind == JsonValueKind.Array ? _element.GetArrayLength() : throw Error($"is {Describe()}, not an array");

    /// <summary>The elements of an array.</summary>
    public IEnumerable<JsonNode> Items()
    {
        Count();
        var place = _place;
        return _element.EnumerateArray().Select((item, i) => new JsonNode(item, new Place(place, "", i)));
    }

    /// <summary>Keys and values of an object.</summary>
    public IEnumerable<KeyValuePair<string, JsonNode>> Entries()
    {
        if (Kind != JsonValueKind.Object)
        {
            throw Error($"is {Describe()}, not an object");
        }

        var node = this;
        return _element.EnumerateObject().Select(property =>
        {
            var name = property.Name;
            return KeyValuePair.Create(name, new JsonNode(property.Value, new Place(node._place, name, -1)));
        });
    }

    private string Describe() => Kind is JsonValueKind.Object or JsonValueKind.Array ? $"an {Kind.ToString().ToLowerInvariant()}" : Shorten(_element.GetRawText());

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "...";

    // Spelled out only for a message: a vocabulary has a million nodes.
    private sealed class Place(Place? parent, string name, int index)
    {
        public override string ToString() => parent is null ? name : index < 0 ? $"{parent}: {Shorten(name)}" : $"{parent}[{index}]";
    }
}

/// <summary>Reads whole files with a limit.</summary>
internal static class SmallFile
{
    /// <summary>The bytes of a file; InvalidInput when it is missing, unreadable or larger than the limit.</summary>
    public static byte[] Read(string path, long limit)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            if (stream.Length > limit)
            {
                throw new FailureException(Failure.InvalidInput($"{path}: has {stream.Length} bytes; {limit} is the most that is read of such a file"));
            }

            var bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FailureException(Failure.InvalidInput($"{path}: cannot be read ({e.Message})"));
        }
    }

    /// <summary>The text of a UTF-8 file.</summary>
    public static string ReadText(string path, long limit)
    {
        try
        {
            var bytes = Read(path, limit);
            var start = bytes.AsSpan().StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]) ? 3 : 0;
            return BoundedReader.StrictUtf8.GetString(bytes, start, bytes.Length - start);
        }
        catch (System.Text.DecoderFallbackException)
        {
            throw new FailureException(Failure.InvalidInput($"{path}: is not UTF-8 text"));
        }
    }
}
