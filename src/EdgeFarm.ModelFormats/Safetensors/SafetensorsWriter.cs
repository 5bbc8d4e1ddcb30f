using System.Text.Encodings.Web;
using System.Text.Json;

namespace EdgeFarm.ModelFormats.Safetensors;

/// <summary>A tensor that will be written.</summary>
/// <param name="Name">Unique name.</param>
/// <param name="Type">Type of the elements.</param>
/// <param name="Shape">Extents, the outermost first.</param>
public sealed record SafetensorsSpec(string Name, SafetensorsDType Type, IReadOnlyList<long> Shape)
{
    /// <summary>Size of the data, bytes.</summary>
    public long Bytes => checked(Shape.Aggregate(1L, (product, extent) => checked(product * extent)) * Type.Bits()) / 8;
}

/// <summary>Writes a safetensors file: the header at once (padded with spaces to 8 bytes), then the data in the order given.</summary>
public sealed class SafetensorsWriter
{
    // The reference implementation escapes only what JSON must escape.
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Stream _stream;
    private readonly long _total;
    private long _written;

    /// <summary>Writes the header.</summary>
    /// <param name="stream">Where to write; stays open.</param>
    /// <param name="tensors">All tensors, in the order in which their data follows.</param>
    /// <param name="metadata">Free text about the file; may be null.</param>
    public SafetensorsWriter(Stream stream, IReadOnlyList<SafetensorsSpec> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(tensors);
        _stream = stream;
        using var header = new MemoryStream();
        using (var json = new Utf8JsonWriter(header, Options))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata)
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            foreach (var tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", tensor.Type.ToString());
                json.WriteStartArray("shape");
                foreach (var extent in tensor.Shape)
                {
                    json.WriteNumberValue(extent);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(_total);
                _total = checked(_total + tensor.Bytes);
                json.WriteNumberValue(_total);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        while (header.Length % 8 != 0)
        {
            header.WriteByte((byte)' ');
        }

        stream.Write(BitConverter.GetBytes((ulong)header.Length));
        header.WriteTo(stream);
    }

    /// <summary>Writes the next bytes of the data of all tensors, one after the other.</summary>
    /// <exception cref="InvalidOperationException">More bytes than the tensors have.</exception>
    public void Write(ReadOnlySpan<byte> data)
    {
        if (data.Length > _total - _written)
        {
            throw new InvalidOperationException($"{data.Length} bytes are more than the {_total - _written} that are left");
        }

        _stream.Write(data);
        _written += data.Length;
    }

    /// <summary>Checks that all data was written and flushes the stream.</summary>
    /// <exception cref="InvalidOperationException">Data is missing.</exception>
    public void Complete()
    {
        if (_written != _total)
        {
            throw new InvalidOperationException($"{_total - _written} bytes of tensor data are missing");
        }

        _stream.Flush();
    }
}
