using System.Runtime.InteropServices;
using System.Text;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.ModelFormats.Io;

/// <summary>
/// Reads little-endian values from an untrusted seekable stream and never beyond its length. Failures are
/// <see cref="FailureException"/> with the name of the input, the offset and the reason.
/// </summary>
internal sealed class BoundedReader
{
    /// <summary>UTF-8 that throws on bytes that are not UTF-8, instead of replacing them.</summary>
    public static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly Stream _stream;
    private readonly string _name;
    private readonly string _format;
    private readonly byte[] _buffer = new byte[1 << 16];
    private int _start;
    private int _end;

    /// <summary>Reads from the start of <paramref name="stream"/>.</summary>
    /// <param name="stream">A seekable stream.</param>
    /// <param name="name">Name of the input for messages.</param>
    /// <param name="format">Name of the format for messages.</param>
    public BoundedReader(Stream stream, string name, string format)
    {
        (_stream, _name, _format) = (stream, name, format);
        Length = stream.Length;
        stream.Position = 0;
    }

    /// <summary>Size of the input, bytes.</summary>
    public long Length { get; }

    /// <summary>Offset of the next byte.</summary>
    public long Position { get; private set; }

    /// <summary>The failure for something wrong at an offset.</summary>
    public FailureException Error(long offset, string reason) =>
        new(Failure.InvalidInput($"{_name}: not a sound {_format} file: at byte {offset}, {reason}"));

    public byte Byte() => Scalar<byte>();

    public uint UInt32() => Scalar<uint>();

    public ulong UInt64() => Scalar<ulong>();

    /// <summary>One scalar. All supported hosts are little endian, as the format is.</summary>
    public T Scalar<T>()
        where T : unmanaged
    {
        T value = default;
        Bytes(MemoryMarshal.AsBytes(new Span<T>(ref value)));
        return value;
    }

    /// <summary>Some scalars; the caller has checked that the file can hold them.</summary>
    public T[] Scalars<T>(int count)
        where T : unmanaged
    {
        var values = new T[count];
        Bytes(MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    /// <summary>UTF-8 text with a 64-bit length in front.</summary>
    /// <param name="limit">Most bytes.</param>
    /// <param name="what">Name of the text for messages.</param>
    public string Text(int limit, string what)
    {
        var at = Position;
        var length = UInt64();
        if (length > (ulong)limit || length > (ulong)(Length - Position))
        {
            throw Error(at, $"{what} claims {length} bytes; {Math.Min(limit, Length - Position)} is the most possible here");
        }

        if (length == 0)
        {
            return "";
        }

        var bytes = new byte[(int)length];
        Bytes(bytes);
        try
        {
            return StrictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw Error(at + 8, $"{what} is not UTF-8");
        }
    }

    /// <summary>Fills the span.</summary>
    public void Bytes(Span<byte> target)
    {
        if (target.Length > Length - Position)
        {
            throw Error(Position, $"{target.Length} bytes are needed, but {Length - Position} are left; the file is truncated");
        }

        while (!target.IsEmpty)
        {
            if (_start == _end)
            {
                _start = 0;
                _end = _stream.Read(_buffer);
                if (_end == 0)
                {
                    throw Error(Position, "the file became shorter while it was read");
                }
            }

            var take = Math.Min(target.Length, _end - _start);
            _buffer.AsSpan(_start, take).CopyTo(target);
            target = target[take..];
            _start += take;
            Position += take;
        }
    }
}
