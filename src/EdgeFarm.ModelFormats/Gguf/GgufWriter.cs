using System.Text;

namespace EdgeFarm.ModelFormats.Gguf;

/// <summary>A tensor that will be written: <paramref name="Shape"/> is ggml's <c>ne</c>, the innermost extent first.</summary>
/// <param name="Name">Unique name, at most 63 bytes.</param>
/// <param name="Type">How the elements are stored.</param>
/// <param name="Shape">One to four positive extents.</param>
public sealed record GgufTensorSpec(string Name, GgmlType Type, IReadOnlyList<long> Shape);

/// <summary>
/// Writes a GGUF file of version 3 laid out as the reference writes it: header, metadata, tensor table, zeros up to the alignment,
/// then each tensor's data padded with zeros to the alignment, the last one too. The head is written at once, the data is streamed.
/// </summary>
public sealed class GgufWriter
{
    private readonly Stream _stream;
    private readonly List<GgufTensor> _tensors = [];
    private readonly int _alignment;
    private int _current;
    private long _written;

    /// <summary>Writes the head of the file.</summary>
    /// <param name="stream">Where to write; need not seek. Stays open.</param>
    /// <param name="metadata">All metadata, in order. <c>general.alignment</c> is obeyed, else 32 bytes.</param>
    /// <param name="tensors">All tensors, in the order in which their data follows.</param>
    /// <exception cref="ArgumentException">A name, shape or alignment is not possible in GGUF.</exception>
    public GgufWriter(Stream stream, GgufMetadata metadata, IReadOnlyList<GgufTensorSpec> tensors)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(metadata);
        ArgumentNullException.ThrowIfNull(tensors);
        _stream = stream;
        _alignment = metadata[GgufMetadata.AlignmentKey]?.Value switch
        {
            null => 32,
            uint value when value > 0 && (value & (value - 1)) == 0 && value <= 1 << 20 => (int)value,
            var other => throw new ArgumentException($"alignment {other} is not a power of two of type UInt32", nameof(metadata)),
        };
        Layout(tensors);
        DataOffset = WriteHead(metadata);
    }

    /// <summary>Start of the data section, bytes.</summary>
    public long DataOffset { get; }

    /// <summary>Size of the whole file, bytes.</summary>
    public long FileBytes => DataOffset + (_tensors.Count == 0 ? 0 : Padded(_tensors[^1].Offset + _tensors[^1].Bytes));

    /// <summary>The tensors with the place of their data.</summary>
    public IReadOnlyList<GgufTensor> Tensors => _tensors;

    /// <summary>The tensor whose data is expected next, or null when all is written.</summary>
    public GgufTensor? Current => _current < _tensors.Count ? _tensors[_current] : null;

    /// <summary>Writes the next bytes of the current tensor; after its last byte follows the padding, and the next tensor is current.</summary>
    /// <exception cref="InvalidOperationException">More bytes than the current tensor has left.</exception>
    public void Write(ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
        {
            return;
        }

        if (Current is not { } tensor || data.Length > tensor.Bytes - _written)
        {
            throw new InvalidOperationException($"{data.Length} bytes are more than {Current?.Name ?? "the file"} has left");
        }

        _stream.Write(data);
        _written += data.Length;
        if (_written == tensor.Bytes)
        {
            _stream.Write(new byte[Padded(tensor.Bytes) - tensor.Bytes]);
            _written = 0;
            _current++;
        }
    }

    /// <summary>Checks that all data was written and flushes the stream.</summary>
    /// <exception cref="InvalidOperationException">Data of a tensor is missing.</exception>
    public void Complete()
    {
        if (Current is { } tensor)
        {
            throw new InvalidOperationException($"{tensor.Bytes - _written} bytes of {tensor.Name} are missing");
        }

        _stream.Flush();
    }

    private long Padded(long bytes) => checked(bytes + _alignment - 1) / _alignment * _alignment;

    private void Layout(IReadOnlyList<GgufTensorSpec> tensors)
    {
        long offset = 0;
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var spec in tensors)
        {
            var nameBytes = Encoding.UTF8.GetByteCount(spec.Name);
            if (nameBytes is 0 or > GgufReader.MaxTensorName || !names.Add(spec.Name))
            {
                throw new ArgumentException($"tensor name \"{spec.Name}\" is empty, longer than {GgufReader.MaxTensorName} bytes or there twice", nameof(tensors));
            }

            var shape = spec.Shape.ToArray();
            var bytes = shape.Length is 0 or > GgufReader.MaxDimensions ? null : GgmlTypes.TensorBytes(spec.Type, shape);
            if (bytes is not { } size)
            {
                throw new ArgumentException($"tensor \"{spec.Name}\" of type {spec.Type} cannot have the shape [{string.Join(", ", shape)}]", nameof(tensors));
            }

            _tensors.Add(new GgufTensor(spec.Name, spec.Type, shape, offset, size));
            offset = checked(offset + Padded(size));
        }
    }

    private long WriteHead(GgufMetadata metadata)
    {
        using var head = new MemoryStream();
        using var writer = new BinaryWriter(head, Encoding.UTF8);
        writer.Write("GGUF"u8);
        writer.Write(3u);
        writer.Write((ulong)_tensors.Count);
        writer.Write((ulong)metadata.Entries.Count);
        foreach (var (key, value) in metadata.Entries)
        {
            GgufValues.WriteText(writer, key);
            GgufValues.Write(writer, value);
        }

        foreach (var tensor in _tensors)
        {
            GgufValues.WriteText(writer, tensor.Name);
            writer.Write((uint)tensor.Shape.Count);
            foreach (var extent in tensor.Shape)
            {
                writer.Write((ulong)extent);
            }

            writer.Write((uint)tensor.Type);
            writer.Write((ulong)tensor.Offset);
        }

        writer.Write(new byte[Padded(head.Length) - head.Length]);
        writer.Flush();
        head.Position = 0;
        head.CopyTo(_stream);
        return head.Length;
    }
}
