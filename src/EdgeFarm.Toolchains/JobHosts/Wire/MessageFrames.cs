using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace EdgeFarm.Toolchains.JobHosts.Wire;

/// <summary>Messages on a stream: a length (four bytes, little endian) and that many bytes of JSON.</summary>
internal static class MessageFrames
{
    /// <summary>Most bytes of one message; a result with a hundred thousand samples has about two million.</summary>
    public const int MaxBytes = 32 << 20;

    private const int HeaderBytes = 4;

    /// <summary>One message with its length before it. <see cref="InvalidDataException"/> when it is too long to be sent.</summary>
    public static byte[] Encode<T>(T message, JsonTypeInfo<T> type)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(message, type);
        if (json.Length > MaxBytes)
        {
            throw new InvalidDataException($"a message of {json.Length} bytes; at most {MaxBytes} are sent");
        }

        var frame = new byte[HeaderBytes + json.Length];
        BinaryPrimitives.WriteInt32LittleEndian(frame, json.Length);
        json.CopyTo(frame, HeaderBytes);
        return frame;
    }

    /// <summary>
    /// The next message, or null at the end of the stream. <see cref="InvalidDataException"/> for a length out of bounds or something
    /// that is not the expected message; <see cref="EndOfStreamException"/> when the stream ends within a message.
    /// </summary>
    public static async ValueTask<T?> ReadAsync<T>(Stream stream, JsonTypeInfo<T> type, CancellationToken cancellationToken)
        where T : class
    {
        var header = new byte[HeaderBytes];
        var got = await stream.ReadAtLeastAsync(header, HeaderBytes, throwOnEndOfStream: false, cancellationToken);
        if (got == 0)
        {
            return null;
        }

        if (got < HeaderBytes)
        {
            throw new EndOfStreamException();
        }

        var length = BinaryPrimitives.ReadInt32LittleEndian(header);
        if (length is <= 0 or > MaxBytes)
        {
            throw new InvalidDataException($"a message of {length} bytes; 1 to {MaxBytes} are possible");
        }

        var json = new byte[length];
        await stream.ReadExactlyAsync(json, cancellationToken);
        try
        {
            return JsonSerializer.Deserialize(json, type) ?? throw new InvalidDataException("a message that is null");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException or ArgumentException)
        {
            throw new InvalidDataException($"a message that cannot be read: {e.Message}", e);
        }
    }
}
