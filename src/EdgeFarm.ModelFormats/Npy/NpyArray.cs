using System.Runtime.InteropServices;

namespace EdgeFarm.ModelFormats.Npy;

/// <summary>Element types that are read from .npy files. Objects (pickles), strings and records never are.</summary>
public enum NpyType
{
    /// <summary>One byte, 0 or 1.</summary>
    Bool,

    /// <summary>Signed 8-bit.</summary>
    Int8,

    /// <summary>Unsigned 8-bit.</summary>
    UInt8,

    /// <summary>Signed 16-bit.</summary>
    Int16,

    /// <summary>Unsigned 16-bit.</summary>
    UInt16,

    /// <summary>Signed 32-bit.</summary>
    Int32,

    /// <summary>Unsigned 32-bit.</summary>
    UInt32,

    /// <summary>Signed 64-bit.</summary>
    Int64,

    /// <summary>Unsigned 64-bit.</summary>
    UInt64,

    /// <summary>Half precision.</summary>
    Float16,

    /// <summary>Single precision.</summary>
    Float32,

    /// <summary>Double precision.</summary>
    Float64,
}

/// <summary>A dense array in C order, little-endian.</summary>
public sealed class NpyArray
{
    /// <summary>Makes an array; the bytes are not copied.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="shape">Dimensions, none negative; empty for a scalar.</param>
    /// <param name="bytes">Elements in C order, exactly as many bytes as the shape needs.</param>
    public NpyArray(NpyType type, IReadOnlyList<long> shape, byte[] bytes)
    {
        var count = shape.Aggregate(1L, (a, d) => checked(a * d));
        if (count * ElementBytes(type) != bytes.LongLength)
        {
            throw new ArgumentException($"{bytes.LongLength} bytes do not make {type} [{string.Join(',', shape)}]", nameof(bytes));
        }

        (Type, Shape, Bytes, Count) = (type, shape, bytes, count);
    }

    /// <summary>Element type.</summary>
    public NpyType Type { get; }

    /// <summary>Dimensions; empty for a scalar.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>Elements.</summary>
    public long Count { get; }

    /// <summary>The elements, little-endian, C order.</summary>
    public byte[] Bytes { get; }

    /// <summary>Size of the first dimension; 1 for a scalar.</summary>
    public long Rows => Shape.Count == 0 ? 1 : Shape[0];

    /// <summary>An array of floats.</summary>
    public static NpyArray Of(IReadOnlyList<long> shape, ReadOnlySpan<float> values) =>
        new(NpyType.Float32, shape, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>An array of 64-bit integers.</summary>
    public static NpyArray Of(IReadOnlyList<long> shape, ReadOnlySpan<long> values) =>
        new(NpyType.Int64, shape, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>Bytes of one element.</summary>
    public static int ElementBytes(NpyType type) => type switch
    {
        NpyType.Bool or NpyType.Int8 or NpyType.UInt8 => 1,
        NpyType.Int16 or NpyType.UInt16 or NpyType.Float16 => 2,
        NpyType.Int32 or NpyType.UInt32 or NpyType.Float32 => 4,
        _ => 8,
    };

    /// <summary>The bytes of rows <paramref name="start"/> to <paramref name="start"/> + <paramref name="count"/> along the first dimension.</summary>
    public ReadOnlySpan<byte> RowBytes(long start, long count)
    {
        var stride = Rows == 0 ? 0 : Bytes.LongLength / Rows;
        return Bytes.AsSpan(checked((int)(start * stride)), checked((int)(count * stride)));
    }

    /// <summary>The elements as floats, whatever the type.</summary>
    public float[] ToFloats() => Type switch
    {
        NpyType.Float32 => MemoryMarshal.Cast<byte, float>(Bytes).ToArray(),
        NpyType.Float64 => Array.ConvertAll(MemoryMarshal.Cast<byte, double>(Bytes).ToArray(), v => (float)v),
        NpyType.Float16 => Array.ConvertAll(MemoryMarshal.Cast<byte, Half>(Bytes).ToArray(), v => (float)v),
        NpyType.UInt64 => Array.ConvertAll(MemoryMarshal.Cast<byte, ulong>(Bytes).ToArray(), v => (float)v),
        _ => Array.ConvertAll(ToInt64s(), v => (float)v),
    };

    /// <summary>The elements as 64-bit integers; throws <see cref="InvalidOperationException"/> for floating-point types.</summary>
    public long[] ToInt64s() => Type switch
    {
        NpyType.Bool or NpyType.UInt8 => Array.ConvertAll(Bytes, v => (long)v),
        NpyType.Int8 => Array.ConvertAll(MemoryMarshal.Cast<byte, sbyte>(Bytes).ToArray(), v => (long)v),
        NpyType.Int16 => Array.ConvertAll(MemoryMarshal.Cast<byte, short>(Bytes).ToArray(), v => (long)v),
        NpyType.UInt16 => Array.ConvertAll(MemoryMarshal.Cast<byte, ushort>(Bytes).ToArray(), v => (long)v),
        NpyType.Int32 => Array.ConvertAll(MemoryMarshal.Cast<byte, int>(Bytes).ToArray(), v => (long)v),
        NpyType.UInt32 => Array.ConvertAll(MemoryMarshal.Cast<byte, uint>(Bytes).ToArray(), v => (long)v),
        NpyType.Int64 => MemoryMarshal.Cast<byte, long>(Bytes).ToArray(),
        NpyType.UInt64 => Array.ConvertAll(MemoryMarshal.Cast<byte, ulong>(Bytes).ToArray(), v => checked((long)v)),
        _ => throw new InvalidOperationException($"an array of {Type} holds no integers"),
    };
}
