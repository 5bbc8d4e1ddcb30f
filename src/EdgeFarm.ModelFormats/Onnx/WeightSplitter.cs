using System.Buffers;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>
/// Takes the weights out of a serialized model before protobuf sees it, because protobuf would copy them to the heap: what is left is
/// small, and the weights are used where they lie in the mapped file.
/// </summary>
/// <remarks>
/// It follows the wire format along one path only: ModelProto.graph (7), GraphProto.initializer (5), TensorProto.raw_data (9). Whatever
/// it does not understand it leaves to protobuf, which says what is wrong with it.
/// </remarks>
internal static class WeightSplitter
{
    // Below this a view costs what it saves.
    private const int LeastBytes = 16 << 10;
    private const int GraphField = 7, InitializerField = 5, RawDataField = 9;

    /// <summary>Bytes of an initializer in the file.</summary>
    /// <param name="Initializer">Its position among the initializers of the graph.</param>
    /// <param name="Offset">First byte.</param>
    /// <param name="Length">Number of bytes.</param>
    public readonly record struct Piece(int Initializer, long Offset, int Length);

    /// <summary>The model without its large weights, and where those are; null where nothing is gained or the bytes are not as expected.</summary>
    public static (byte[] Slim, List<Piece> Pieces)? Split(MappedFile file)
    {
        if (file.Length < LeastBytes || file.Length > int.MaxValue)
        {
            return null;
        }

        var bytes = file.Slice(0, (int)file.Length).Span;
        var pieces = new List<Piece>();
        var rest = new ArrayBufferWriter<byte>();
        var graphs = 0;
        var at = 0;
        while (at < bytes.Length)
        {
            if (Field(bytes, at) is not { } field)
            {
                return null;
            }

            if (field.Number != GraphField || !field.IsMessage)
            {
                rest.Write(bytes[at..field.End]);
            }
            else if (++graphs > 1 || Graph(bytes, field, pieces) is not { } graph)
            {
                // A second graph would be merged into the first.
                return null;
            }
            else
            {
                Message(rest, GraphField, graph);
            }

            at = field.End;
        }

        return pieces.Count == 0 ? null : (rest.WrittenSpan.ToArray(), pieces);
    }

    private static ArrayBufferWriter<byte>? Graph(ReadOnlySpan<byte> bytes, Span graph, List<Piece> pieces)
    {
        var rest = new ArrayBufferWriter<byte>();
        var initializers = 0;
        for (var at = graph.Start; at < graph.End;)
        {
            if (Field(bytes[..graph.End], at) is not { } field)
            {
                return null;
            }

            if (field.Number != InitializerField || !field.IsMessage)
            {
                rest.Write(bytes[at..field.End]);
            }
            else if (field.End - field.Start < LeastBytes)
            {
                initializers++;
                rest.Write(bytes[at..field.End]);
            }
            else if (Tensor(bytes, field, initializers++, pieces) is { } tensor)
            {
                Message(rest, InitializerField, tensor);
            }
            else
            {
                return null;
            }

            at = field.End;
        }

        return rest;
    }

    private static ArrayBufferWriter<byte>? Tensor(ReadOnlySpan<byte> bytes, Span tensor, int initializer, List<Piece> pieces)
    {
        var rest = new ArrayBufferWriter<byte>();
        var before = pieces.Count;
        for (var at = tensor.Start; at < tensor.End;)
        {
            if (Field(bytes[..tensor.End], at) is not { } field)
            {
                return null;
            }

            if (field.Number == RawDataField && field.IsMessage && field.End - field.Start >= LeastBytes)
            {
                pieces.Add(new Piece(initializer, field.Start, field.End - field.Start));
            }
            else if (field.Number == RawDataField)
            {
                // Small weights, or a field of this number that is none: with a large one beside it, the last would count.
                if (pieces.Count > before)
                {
                    return null;
                }

                rest.Write(bytes[at..field.End]);
            }
            else
            {
                rest.Write(bytes[at..field.End]);
            }

            at = field.End;
        }

        return pieces.Count - before > 1 ? null : rest;
    }

    private static void Message(ArrayBufferWriter<byte> target, int field, ArrayBufferWriter<byte> content)
    {
        Span<byte> head = stackalloc byte[11];
        head[0] = (byte)((field << 3) | 2);
        var length = 1;
        for (var value = (uint)content.WrittenCount; ; value >>= 7)
        {
            head[length++] = (byte)(value >= 0x80 ? value | 0x80 : value);
            if (value < 0x80)
            {
                break;
            }
        }

        target.Write(head[..length]);
        target.Write(content.WrittenSpan);
    }

    // A field's number and where its content begins and ends; null where it is cut off or of a kind that ONNX does not use.
    private static Span? Field(ReadOnlySpan<byte> bytes, int at)
    {
        if (Varint(bytes, ref at) is not { } tag || tag > uint.MaxValue || tag >> 3 == 0)
        {
            return null;
        }

        var number = (int)(tag >> 3);
        switch (tag & 7)
        {
            case 0:
                return Varint(bytes, ref at) is null ? null : new Span(number, at, at, false);
            case 1:
                return bytes.Length - at < 8 ? null : new Span(number, at, at + 8, false);
            case 2:
                return Varint(bytes, ref at) is { } length && length <= (ulong)(bytes.Length - at) ? new Span(number, at, at + (int)length, true) : null;
            case 5:
                return bytes.Length - at < 4 ? null : new Span(number, at, at + 4, false);
            default:
                return null;
        }
    }

    private static ulong? Varint(ReadOnlySpan<byte> bytes, ref int at)
    {
        ulong value = 0;
        for (var shift = 0; shift < 64 && at < bytes.Length; shift += 7)
        {
            var b = bytes[at++];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
            {
                return value;
            }
        }

        return null;
    }

    private readonly record struct Span(int Number, int Start, int End, bool IsMessage);
}
