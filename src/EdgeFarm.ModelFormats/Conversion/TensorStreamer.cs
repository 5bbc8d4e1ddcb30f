using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>
/// Passes a planned tensor's values along in chunks of whole rows, so that memory depends on the longest row or head, not on the
/// tensor.
/// </summary>
internal sealed class TensorStreamer
{
    private const int ChunkElements = 1 << 20;

    private byte[] _source = [];
    private byte[] _ordered = [];
    private float[] _values = [];
    private byte[] _encoded = [];

    /// <summary>Numbers that were finite and became infinite in the last tensor.</summary>
    public long Overflows { get; private set; }

    /// <summary>Converts a tensor and writes it.</summary>
    public void Write(PlannedTensor tensor, GgufWriter writer, CancellationToken cancellation)
    {
        Overflows = 0;
        var type = tensor.Spec.Type;
        if (tensor.Source is not { } source)
        {
            Overflows += Encode(type, tensor.Generated, writer);
            return;
        }

        var stored = source.Source.Type;
        foreach (var (offset, count) in Chunks(tensor))
        {
            cancellation.ThrowIfCancellationRequested();
            var bytes = ReadOrdered(tensor, source, offset, count);
            if (tensor.Transform != TensorTransform.AddOne && IsSameForm(stored, type))
            {
                writer.Write(bytes);
                continue;
            }

            Overflows += Encode(type, Widen(tensor, stored, bytes, count), writer);
        }
    }

    /// <summary>The values that a tensor should have in the file, in chunks of at most <paramref name="consume"/>'s span.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="consume">Gets the first element's index and the values.</param>
    /// <param name="cancellation">Ends it.</param>
    public void Values(PlannedTensor tensor, Action<long, ReadOnlyMemory<float>> consume, CancellationToken cancellation)
    {
        if (tensor.Source is not { } source)
        {
            consume(0, tensor.Generated);
            return;
        }

        foreach (var (offset, count) in Chunks(tensor))
        {
            cancellation.ThrowIfCancellationRequested();
            var bytes = ReadOrdered(tensor, source, offset, count);
            Widen(tensor, source.Source.Type, bytes, count);
            consume(offset, _values.AsMemory(0, count));
        }
    }

    // Chunks are whole rows; with interleaving they are whole heads.
    private static IEnumerable<(long Offset, int Count)> Chunks(PlannedTensor tensor)
    {
        var elements = tensor.Source!.Source.Elements;
        var unit = tensor.Transform == TensorTransform.InterleaveHeads ? elements / tensor.Heads : tensor.Spec.Shape[0];
        var chunk = unit * Math.Max(1, ChunkElements / unit);
        for (long offset = 0; offset < elements; offset += chunk)
        {
            yield return (offset, checked((int)Math.Min(chunk, elements - offset)));
        }
    }

    private static bool IsSameForm(SafetensorsDType stored, GgmlType type) => (stored, type) switch
    {
        (SafetensorsDType.F32, GgmlType.F32) or (SafetensorsDType.F16, GgmlType.F16) or (SafetensorsDType.BF16, GgmlType.BF16) => true,
        _ => false,
    };

    private ReadOnlySpan<byte> ReadOrdered(PlannedTensor tensor, CheckpointTensor source, long offset, int count)
    {
        var size = source.Source.Type.Bits() / 8;
        var bytes = Span(ref _source, checked(count * size));
        source.Read(offset * size, bytes);
        if (tensor.Transform != TensorTransform.InterleaveHeads)
        {
            return bytes;
        }

        var headBytes = (int)(source.Source.Bytes / tensor.Heads);
        var rowBytes = source.Source.Shape.Count > 1 ? (int)source.Source.Shape[1] * size : size;
        var half = headBytes / rowBytes / 2;
        var ordered = Span(ref _ordered, bytes.Length);
        for (var head = 0; head < bytes.Length; head += headBytes)
        {
            for (var row = 0; row < 2 * half; row++)
            {
                var from = ((row % 2 * half) + (row / 2)) * rowBytes;
                bytes.Slice(head + from, rowBytes).CopyTo(ordered.Slice(head + (row * rowBytes), rowBytes));
            }
        }

        return ordered;
    }

    private Span<float> Widen(PlannedTensor tensor, SafetensorsDType stored, ReadOnlySpan<byte> bytes, int count)
    {
        var values = Span(ref _values, count);
        ElementCodec.Widen(stored, bytes, values);
        if (tensor.Transform == TensorTransform.AddOne)
        {
            ElementCodec.AddOne(stored, values);
        }

        return values;
    }

    private long Encode(GgmlType type, ReadOnlySpan<float> values, GgufWriter writer)
    {
        var info = GgmlTypes.Get(type);
        var encoded = Span(ref _encoded, checked(values.Length / info.BlockSize * info.BlockBytes));
        var overflows = ElementCodec.Encode(type, values, encoded);
        writer.Write(encoded);
        return overflows;
    }

    private static Span<T> Span<T>(ref T[] buffer, int length)
    {
        if (buffer.Length < length)
        {
            buffer = new T[length];
        }

        return buffer.AsSpan(0, length);
    }
}
