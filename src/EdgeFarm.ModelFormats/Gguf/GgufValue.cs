namespace EdgeFarm.ModelFormats.Gguf;

/// <summary>Type of a metadata value; the number is the one in GGUF files.</summary>
public enum GgufValueType : uint
{
    /// <summary>8-bit unsigned integer.</summary>
    UInt8 = 0,

    /// <summary>8-bit signed integer.</summary>
    Int8 = 1,

    /// <summary>16-bit unsigned integer.</summary>
    UInt16 = 2,

    /// <summary>16-bit signed integer.</summary>
    Int16 = 3,

    /// <summary>32-bit unsigned integer.</summary>
    UInt32 = 4,

    /// <summary>32-bit signed integer.</summary>
    Int32 = 5,

    /// <summary>IEEE single precision.</summary>
    Float32 = 6,

    /// <summary>One byte, 0 or 1.</summary>
    Bool = 7,

    /// <summary>UTF-8 text with a 64-bit length.</summary>
    String = 8,

    /// <summary>Values of one type with a 64-bit count.</summary>
    Array = 9,

    /// <summary>64-bit unsigned integer.</summary>
    UInt64 = 10,

    /// <summary>64-bit signed integer.</summary>
    Int64 = 11,

    /// <summary>IEEE double precision.</summary>
    Float64 = 12,
}

/// <summary>A metadata value with the type it has in the file.</summary>
public sealed class GgufValue
{
    internal GgufValue(GgufValueType type, object value, GgufValueType? elementType = null) =>
        (Type, Value, ElementType) = (type, value, elementType);

    /// <summary>The type.</summary>
    public GgufValueType Type { get; }

    /// <summary>Type of an array's elements; null for anything else.</summary>
    public GgufValueType? ElementType { get; }

    /// <summary>
    /// The value as the .NET type of the same width (<see cref="byte"/> ... <see cref="double"/>, <see cref="bool"/>,
    /// <see cref="string"/>), or an array of it (<c>string[]</c>, <c>float[]</c>, ...; <c>GgufValue[]</c> for arrays of arrays).
    /// </summary>
    public object Value { get; }

    /// <summary>An unsigned 8-bit value.</summary>
    public static GgufValue Of(byte value) => new(GgufValueType.UInt8, value);

    /// <summary>An unsigned 32-bit value.</summary>
    public static GgufValue Of(uint value) => new(GgufValueType.UInt32, value);

    /// <summary>A signed 32-bit value.</summary>
    public static GgufValue Of(int value) => new(GgufValueType.Int32, value);

    /// <summary>An unsigned 64-bit value.</summary>
    public static GgufValue Of(ulong value) => new(GgufValueType.UInt64, value);

    /// <summary>A signed 64-bit value.</summary>
    public static GgufValue Of(long value) => new(GgufValueType.Int64, value);

    /// <summary>A single-precision value.</summary>
    public static GgufValue Of(float value) => new(GgufValueType.Float32, value);

    /// <summary>A double-precision value.</summary>
    public static GgufValue Of(double value) => new(GgufValueType.Float64, value);

    /// <summary>A truth value.</summary>
    public static GgufValue Of(bool value) => new(GgufValueType.Bool, value);

    /// <summary>Text.</summary>
    public static GgufValue Of(string value) => new(GgufValueType.String, value);

    /// <summary>An array of text.</summary>
    public static GgufValue OfArray(string[] values) => new(GgufValueType.Array, values, GgufValueType.String);

    /// <summary>An array of single-precision values.</summary>
    public static GgufValue OfArray(float[] values) => new(GgufValueType.Array, values, GgufValueType.Float32);

    /// <summary>An array of signed 32-bit values.</summary>
    public static GgufValue OfArray(int[] values) => new(GgufValueType.Array, values, GgufValueType.Int32);

    /// <summary>An array of unsigned 32-bit values.</summary>
    public static GgufValue OfArray(uint[] values) => new(GgufValueType.Array, values, GgufValueType.UInt32);

    /// <summary>An array of truth values.</summary>
    public static GgufValue OfArray(bool[] values) => new(GgufValueType.Array, values, GgufValueType.Bool);

    /// <summary>An array of arrays.</summary>
    public static GgufValue OfArray(GgufValue[] values) => new(GgufValueType.Array, values, GgufValueType.Array);

    /// <summary>The text, or null when this is not text.</summary>
    public string? AsText() => Value as string;

    /// <summary>The value as an integer of any width; null when it is none or exceeds 2^63-1.</summary>
    public long? AsInteger() => Value switch
    {
        byte v => v,
        sbyte v => v,
        ushort v => v,
        short v => v,
        uint v => v,
        int v => v,
        ulong v when v <= long.MaxValue => (long)v,
        long v => v,
        _ => null,
    };

    /// <summary>The value as a number; null when it is none.</summary>
    public double? AsNumber() => Value switch
    {
        float v => v,
        double v => v,
        _ => AsInteger(),
    };

    /// <summary>Whether the two have the same type and the same bits.</summary>
    public bool SameAs(GgufValue other)
    {
        if (Type != other.Type || ElementType != other.ElementType)
        {
            return false;
        }

        return (Value, other.Value) switch
        {
            (string a, string b) => a == b,
            (float a, float b) => BitConverter.SingleToInt32Bits(a) == BitConverter.SingleToInt32Bits(b),
            (double a, double b) => BitConverter.DoubleToInt64Bits(a) == BitConverter.DoubleToInt64Bits(b),
            (float[] a, float[] b) => a.Length == b.Length && a.Zip(b).All(p => BitConverter.SingleToInt32Bits(p.First) == BitConverter.SingleToInt32Bits(p.Second)),
            (double[] a, double[] b) => a.Length == b.Length && a.Zip(b).All(p => BitConverter.DoubleToInt64Bits(p.First) == BitConverter.DoubleToInt64Bits(p.Second)),
            (GgufValue[] a, GgufValue[] b) => a.Length == b.Length && a.Zip(b).All(p => p.First.SameAs(p.Second)),
            (Array a, Array b) => a.Length == b.Length && a.Cast<object>().SequenceEqual(b.Cast<object>()),
            var (a, b) => a.Equals(b),
        };
    }

    /// <inheritdoc/>
    public override string ToString() => Value is Array array
        ? $"{ElementType}[{array.Length}]"
        : Convert.ToString(Value, System.Globalization.CultureInfo.InvariantCulture) ?? "";
}

/// <summary>Metadata in the order of the file; keys are unique.</summary>
public sealed class GgufMetadata
{
    private readonly List<KeyValuePair<string, GgufValue>> _entries = [];
    private readonly Dictionary<string, GgufValue> _byKey = new(StringComparer.Ordinal);

    /// <summary>Key of the alignment of tensor data.</summary>
    public const string AlignmentKey = "general.alignment";

    /// <summary>Keys and values in file order.</summary>
    public IReadOnlyList<KeyValuePair<string, GgufValue>> Entries => _entries;

    /// <summary>The value of a key, or null.</summary>
    public GgufValue? this[string key] => _byKey.GetValueOrDefault(key);

    /// <summary>Value of <c>general.architecture</c>, or null.</summary>
    public string? Architecture => this["general.architecture"]?.AsText();

    /// <summary>Appends an entry; false when the key is there already.</summary>
    public bool TryAdd(string key, GgufValue value)
    {
        if (!_byKey.TryAdd(key, value))
        {
            return false;
        }

        _entries.Add(new(key, value));
        return true;
    }

    /// <summary>Appends an entry, or replaces the value of a key where it stands.</summary>
    public void Set(string key, GgufValue value)
    {
        if (TryAdd(key, value))
        {
            return;
        }

        _byKey[key] = value;
        _entries[_entries.FindIndex(entry => entry.Key == key)] = new(key, value);
    }
}
