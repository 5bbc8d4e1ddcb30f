using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Gguf;

/// <summary>The binary form of metadata values.</summary>
internal static class GgufValues
{
    /// <summary>Reads a type and a value of it.</summary>
    public static GgufValue Read(BoundedReader reader, string key)
    {
        var at = reader.Position;
        return ReadOf(reader, ReadType(reader, key, at), key, 0);
    }

    private static GgufValueType ReadType(BoundedReader reader, string key, long at)
    {
        var type = reader.UInt32();
        return type <= (uint)GgufValueType.Float64
            ? (GgufValueType)type
            : throw reader.Error(at, $"the value of \"{GgufReader.Printable(key)}\" has type {type}; 0 to 12 exist");
    }

    private static GgufValue ReadOf(BoundedReader reader, GgufValueType type, string key, int depth) => type switch
    {
        GgufValueType.UInt8 => new(type, reader.Byte()),
        GgufValueType.Int8 => new(type, (sbyte)reader.Byte()),
        GgufValueType.UInt16 => new(type, reader.Scalar<ushort>()),
        GgufValueType.Int16 => new(type, reader.Scalar<short>()),
        GgufValueType.UInt32 => new(type, reader.UInt32()),
        GgufValueType.Int32 => new(type, reader.Scalar<int>()),
        GgufValueType.Float32 => new(type, reader.Scalar<float>()),
        GgufValueType.Bool => new(type, ReadBool(reader, key)),
        GgufValueType.String => new(type, reader.Text(GgufReader.MaxText, $"the value of \"{GgufReader.Printable(key)}\"")),
        GgufValueType.UInt64 => new(type, reader.UInt64()),
        GgufValueType.Int64 => new(type, reader.Scalar<long>()),
        GgufValueType.Float64 => new(type, reader.Scalar<double>()),
        _ => ReadArray(reader, key, depth + 1),
    };

    private static bool ReadBool(BoundedReader reader, string key)
    {
        var at = reader.Position;
        var value = reader.Byte();
        return value <= 1
            ? value == 1
            : throw reader.Error(at, $"a truth value of \"{GgufReader.Printable(key)}\" is {value}; 0 and 1 exist");
    }

    private static GgufValue ReadArray(BoundedReader reader, string key, int depth)
    {
        var at = reader.Position;
        if (depth > GgufReader.MaxNesting)
        {
            throw reader.Error(at, $"the arrays of \"{GgufReader.Printable(key)}\" are nested deeper than {GgufReader.MaxNesting}");
        }

        var type = ReadType(reader, key, at);
        at = reader.Position;
        var claimed = reader.UInt64();
        var room = (reader.Length - reader.Position) / SmallestSize(type);
        if (claimed > (ulong)room || claimed > GgufReader.MaxArray)
        {
            throw reader.Error(at, $"the array \"{GgufReader.Printable(key)}\" claims {claimed} elements of {type}; the rest of the file has room for {room}, and {GgufReader.MaxArray} is the limit");
        }

        var count = (int)claimed;
        object values = type switch
        {
            GgufValueType.UInt8 => reader.Scalars<byte>(count),
            GgufValueType.Int8 => reader.Scalars<sbyte>(count),
            GgufValueType.UInt16 => reader.Scalars<ushort>(count),
            GgufValueType.Int16 => reader.Scalars<short>(count),
            GgufValueType.UInt32 => reader.Scalars<uint>(count),
            GgufValueType.Int32 => reader.Scalars<int>(count),
            GgufValueType.Float32 => reader.Scalars<float>(count),
            GgufValueType.Bool => Fill(count, () => ReadBool(reader, key)),
            GgufValueType.String => Fill(count, () => reader.Text(GgufReader.MaxText, $"an element of \"{GgufReader.Printable(key)}\"")),
            GgufValueType.UInt64 => reader.Scalars<ulong>(count),
            GgufValueType.Int64 => reader.Scalars<long>(count),
            GgufValueType.Float64 => reader.Scalars<double>(count),
            _ => Fill(count, () => ReadArray(reader, key, depth + 1)),
        };
        return new GgufValue(GgufValueType.Array, values, type);
    }

    private static T[] Fill<T>(int count, Func<T> next)
    {
        var values = new T[count];
        for (var i = 0; i < count; i++)
        {
            values[i] = next();
        }

        return values;
    }

    private static int SmallestSize(GgufValueType type) => type switch
    {
        GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.Bool => 1,
        GgufValueType.UInt16 or GgufValueType.Int16 => 2,
        GgufValueType.UInt32 or GgufValueType.Int32 or GgufValueType.Float32 => 4,
        GgufValueType.Array => 12,
        _ => 8,
    };

    /// <summary>Writes the type and the value.</summary>
    public static void Write(BinaryWriter writer, GgufValue value)
    {
        writer.Write((uint)value.Type);
        WriteBody(writer, value);
    }

    private static void WriteBody(BinaryWriter writer, GgufValue value)
    {
        switch (value.Value)
        {
            case byte v: writer.Write(v); break;
            case sbyte v: writer.Write(v); break;
            case ushort v: writer.Write(v); break;
            case short v: writer.Write(v); break;
            case uint v: writer.Write(v); break;
            case int v: writer.Write(v); break;
            case float v: writer.Write(v); break;
            case bool v: writer.Write(v); break;
            case ulong v: writer.Write(v); break;
            case long v: writer.Write(v); break;
            case double v: writer.Write(v); break;
            case string v: WriteText(writer, v); break;
            case Array v: WriteArray(writer, value.ElementType!.Value, v); break;
            default: throw new ArgumentException($"a GGUF value cannot hold {value.Value.GetType()}", nameof(value));
        }
    }

    private static void WriteArray(BinaryWriter writer, GgufValueType type, Array values)
    {
        writer.Write((uint)type);
        writer.Write((ulong)values.LongLength);
        switch (values)
        {
            case string[] texts: Array.ForEach(texts, text => WriteText(writer, text)); break;
            case GgufValue[] nested: Array.ForEach(nested, inner => WriteBody(writer, inner)); break;
            case bool[] flags: Array.ForEach(flags, writer.Write); break;
            case byte[] v: writer.Write(v); break;
            case sbyte[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case ushort[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case short[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case uint[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case int[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case float[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case ulong[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case long[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            case double[] v: writer.Write(MemoryMarshal.AsBytes(v.AsSpan())); break;
            default: throw new ArgumentException($"a GGUF array cannot hold {values.GetType()}", nameof(values));
        }
    }

    /// <summary>Writes a 64-bit length and UTF-8 text.</summary>
    public static void WriteText(BinaryWriter writer, string text)
    {
        var bytes = BoundedReader.StrictUtf8.GetBytes(text);
        writer.Write((ulong)bytes.LongLength);
        writer.Write(bytes);
    }
}
