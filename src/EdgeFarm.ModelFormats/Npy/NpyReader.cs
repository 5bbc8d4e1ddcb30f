using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.ModelFormats.Npy;

/// <summary>Reads the .npy format, versions 1 to 3. The header is a Python literal; only the one form that NumPy writes is understood, nothing is evaluated.</summary>
internal static class NpyReader
{
    private const int MaxHeaderBytes = 1 << 16;
    private const int MaxRank = 32;

    private static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>Reads one array from a stream of exactly <paramref name="length"/> bytes.</summary>
    public static NpyArray Read(Stream stream, long length, string name)
    {
        Span<byte> start = stackalloc byte[12];
        ReadExactly(stream, start[..10], name, 0);
        if (!start[..6].SequenceEqual(Magic))
        {
            throw Invalid(name, "does not begin as a .npy file");
        }

        int headerBytes;
        var prefix = 10;
        if (start[6] == 1)
        {
            headerBytes = BinaryPrimitives.ReadUInt16LittleEndian(start[8..]);
        }
        else if (start[6] is 2 or 3)
        {
            ReadExactly(stream, start[10..], name, 10);
            prefix = 12;
            var declared = BinaryPrimitives.ReadUInt32LittleEndian(start[8..]);
            headerBytes = declared <= MaxHeaderBytes ? (int)declared : MaxHeaderBytes + 1;
        }
        else
        {
            throw Invalid(name, $"has .npy version {start[6]}; 1 to 3 are read");
        }

        if (headerBytes > MaxHeaderBytes || headerBytes > length - prefix)
        {
            throw Invalid(name, $"declares a header longer than the file or than {MaxHeaderBytes} bytes (offset 8)");
        }

        var header = new byte[headerBytes];
        ReadExactly(stream, header, name, prefix);
        var (descr, fortran, shape) = ParseHeader(Encoding.UTF8.GetString(header), name);
        var type = ParseType(descr, name);
        long count = 1;
        foreach (var dim in shape)
        {
            if (dim != 0 && count > long.MaxValue / 16 / dim)
            {
                throw Invalid(name, $"has shape ({string.Join(", ", shape)}), which is too large");
            }

            count *= dim;
        }

        var bytes = count * NpyArray.ElementBytes(type);
        if (bytes != length - prefix - headerBytes)
        {
            throw Invalid(name, $"has shape ({string.Join(", ", shape)}) of {descr}, which needs {bytes} bytes, and holds {length - prefix - headerBytes}");
        }

        if (bytes > Array.MaxLength)
        {
            throw new FailureException(Failure.Unsupported($"'{name}' has {bytes} bytes; an array of at most {Array.MaxLength} bytes is read"));
        }

        var data = new byte[bytes];
        ReadExactly(stream, data, name, prefix + headerBytes);
        return new NpyArray(type, shape, fortran && shape.Count(d => d > 1) > 1 ? ToRowMajor(data, shape, NpyArray.ElementBytes(type)) : data);
    }

    private static void ReadExactly(Stream stream, Span<byte> buffer, string name, long offset)
    {
        try
        {
            var read = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            if (read < buffer.Length)
            {
                throw Invalid(name, $"is truncated: {buffer.Length} bytes are expected at offset {offset}, {read} are there");
            }
        }
        catch (InvalidDataException e)
        {
            throw Invalid(name, $"cannot be decompressed: {e.Message}");
        }
    }

    private static byte[] ToRowMajor(byte[] data, long[] shape, int size)
    {
        var result = new byte[data.Length];
        var index = new long[shape.Length];
        var strides = new long[shape.Length];
        long stride = 1;
        for (var d = 0; d < shape.Length; d++)
        {
            (strides[d], stride) = (stride, stride * shape[d]);
        }

        for (var target = 0; target < data.Length; target += size)
        {
            long source = 0;
            for (var d = 0; d < shape.Length; d++)
            {
                source += index[d] * strides[d];
            }

            data.AsSpan((int)(source * size), size).CopyTo(result.AsSpan(target));
            for (var d = shape.Length - 1; d >= 0 && ++index[d] == shape[d]; d--)
            {
                index[d] = 0;
            }
        }

        return result;
    }

    private static NpyType ParseType(string descr, string name)
    {
        NpyType? type = descr.TrimStart('<', '|', '=') switch
        {
            "b1" or "?" => NpyType.Bool,
            "i1" => NpyType.Int8,
            "u1" => NpyType.UInt8,
            "i2" => NpyType.Int16,
            "u2" => NpyType.UInt16,
            "i4" => NpyType.Int32,
            "u4" => NpyType.UInt32,
            "i8" => NpyType.Int64,
            "u8" => NpyType.UInt64,
            "f2" => NpyType.Float16,
            "f4" => NpyType.Float32,
            "f8" => NpyType.Float64,
            _ => null,
        };
        return type ?? throw Invalid(name, descr.Contains('O', StringComparison.Ordinal)
            ? "holds Python objects (a pickle), which are never read; save numbers"
            : $"has elements of type '{descr}'; little-endian bool, int, uint and float types are read");
    }

    private static (string Descr, bool Fortran, long[] Shape) ParseHeader(string text, string name)
    {
        string? descr = null;
        bool? fortran = null;
        long[]? shape = null;
        var p = 0;
        Expect('{');
        while (!Peek('}'))
        {
            var key = Quoted();
            Expect(':');
            switch (key)
            {
                case "descr" when descr is null:
                    descr = Peek('[') ? throw Invalid(name, "holds records; save plain arrays") : Quoted();
                    break;
                case "fortran_order" when fortran is null:
                    fortran = Word() switch { "True" => true, "False" => false, var w => throw Bad($"fortran_order is '{w}'") };
                    break;
                case "shape" when shape is null:
                    shape = Tuple();
                    break;
                default:
                    throw Bad($"key '{key}' is unknown or doubled");
            }

            if (!Peek('}'))
            {
                Expect(',');
            }
        }

        return descr is null || fortran is null || shape is null ? throw Bad("descr, fortran_order or shape is missing") : (descr, fortran.Value, shape);

        bool Peek(char c)
        {
            while (p < text.Length && text[p] is ' ' or '\n')
            {
                p++;
            }

            return p < text.Length && text[p] == c;
        }

        void Expect(char c)
        {
            if (!Peek(c))
            {
                throw Bad($"'{c}' is expected at character {p}");
            }

            p++;
        }

        string Quoted()
        {
            var quote = Peek('"') ? '"' : '\'';
            Expect(quote);
            var end = text.IndexOf(quote, p);
            var value = end < 0 ? throw Bad("a text does not end") : text[p..end];
            p = end + 1;
            return value.Length <= 32 ? value : throw Bad("a text is too long");
        }

        string Word()
        {
            Peek('\0');
            var begin = p;
            while (p < text.Length && char.IsAsciiLetterOrDigit(text[p]))
            {
                p++;
            }

            return text[begin..p];
        }

        long[] Tuple()
        {
            var dims = new List<long>();
            Expect('(');
            while (!Peek(')'))
            {
                var word = Word().TrimEnd('L');
                if (!long.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var dim) || dims.Count == MaxRank)
                {
                    throw Bad($"shape has '{word}' or more than {MaxRank} dimensions");
                }

                dims.Add(dim);
                if (!Peek(')'))
                {
                    Expect(',');
                }
            }

            p++;
            return [.. dims];
        }

        FailureException Bad(string why) => Invalid(name, $"has a broken header: {why}");
    }

    private static FailureException Invalid(string name, string what) => new(Failure.InvalidInput($"'{name}' {what}"));
}
