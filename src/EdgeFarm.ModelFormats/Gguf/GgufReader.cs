using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Gguf;

/// <summary>
/// Reads and checks the head of a GGUF file (version 2 or 3, little endian). Every length, count and offset is checked against the
/// file before memory is taken for it, so what is read never exceeds a small multiple of the file's own size.
/// </summary>
public static class GgufReader
{
    /// <summary>Most bytes of a tensor's name, as in ggml (63 and a terminating zero).</summary>
    public const int MaxTensorName = 63;

    /// <summary>Most dimensions of a tensor, as in ggml.</summary>
    public const int MaxDimensions = 4;

    /// <summary>Most bytes of a metadata key, from the GGUF specification.</summary>
    public const int MaxKey = 65535;

    /// <summary>Most bytes of one metadata text; the longest chat templates have some ten thousand.</summary>
    public const int MaxText = 1 << 26;

    /// <summary>Deepest nesting of arrays that is read; no known writer nests at all.</summary>
    public const int MaxNesting = 4;

    /// <summary>Most elements of one array; the largest vocabularies have some hundred thousand.</summary>
    public const int MaxArray = 1 << 26;

    private const uint Magic = 0x46554747; // "GGUF" read as a little-endian number

    // Smallest possible entries: key length + one key byte + type + one value byte; name length + one byte + n_dims + one extent + type + offset.
    private const int SmallestEntry = 8 + 1 + 4 + 1;
    private const int SmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;

    /// <summary>Reads the head of a file. InvalidInput when it cannot be read or is not a sound GGUF file.</summary>
    /// <param name="path">Path of the file.</param>
    public static Outcome<GgufFile> Read(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
            return Read(stream, path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return Failure.InvalidInput($"{path}: cannot be read ({e.Message}); check the path and its permissions");
        }
    }

    /// <summary>Reads the head of a GGUF file from the start of a seekable stream. InvalidInput when it is not sound.</summary>
    /// <param name="stream">A seekable stream; its length counts as the size of the file.</param>
    /// <param name="name">Name of the input for messages.</param>
    public static Outcome<GgufFile> Read(Stream stream, string name)
    {
        try
        {
            return Parse(new BoundedReader(stream, name, "GGUF"));
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    private static GgufFile Parse(BoundedReader reader)
    {
        if (reader.Length < 24)
        {
            throw reader.Error(0, $"the file has {reader.Length} bytes, fewer than the 24 of a GGUF header; it is empty or truncated");
        }

        if (reader.UInt32() != Magic)
        {
            throw reader.Error(0, "the magic is not \"GGUF\"; this is another kind of file");
        }

        var version = reader.UInt32();
        if (version is not (2 or 3))
        {
            throw reader.Error(4, (version & 0xFFFF) == 0 && version != 0
                ? "the version is byte-swapped; big-endian files are not read, convert the file on a little-endian machine"
                : $"version {version} is not 2 or 3; convert the model again with a current converter");
        }

        var tensorCount = Count(reader, "tensors", SmallestTensor);
        var entryCount = Count(reader, "metadata entries", SmallestEntry);
        var metadata = new GgufMetadata();
        for (var i = 0; i < entryCount; i++)
        {
            var at = reader.Position;
            var key = reader.Text(MaxKey, $"key {i}");
            if (key.Length == 0)
            {
                throw reader.Error(at, $"key {i} is empty");
            }

            if (!metadata.TryAdd(key, GgufValues.Read(reader, key)))
            {
                throw reader.Error(at, $"key \"{Printable(key)}\" occurs twice");
            }
        }

        var alignment = Alignment(reader, metadata);
        var tensors = new List<GgufTensor>();
        var tableAt = new List<long>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < tensorCount; i++)
        {
            tableAt.Add(reader.Position);
            var tensor = ReadTensor(reader, i, alignment);
            if (!names.Add(tensor.Name))
            {
                throw reader.Error(tableAt[i], $"tensor \"{Printable(tensor.Name)}\" occurs twice");
            }

            tensors.Add(tensor);
        }

        var dataOffset = (reader.Position + alignment - 1) / alignment * alignment;
        CheckLayout(reader, tensors, tableAt, dataOffset);
        return new GgufFile(version, metadata, tensors, alignment, dataOffset, reader.Length);
    }

    private static long Count(BoundedReader reader, string what, int smallest)
    {
        var at = reader.Position;
        var count = reader.UInt64();
        var room = (ulong)(reader.Length / smallest);
        return count <= room
            ? (long)count
            : throw reader.Error(at, $"the header claims {count} {what}, but the file of {reader.Length} bytes has room for {room} at most");
    }

    private static int Alignment(BoundedReader reader, GgufMetadata metadata)
    {
        if (metadata[GgufMetadata.AlignmentKey] is not { } value)
        {
            return 32;
        }

        return value.Value is uint alignment && alignment is > 0 and <= 1 << 20 && (alignment & (alignment - 1)) == 0
            ? (int)alignment
            : throw reader.Error(reader.Position, $"{GgufMetadata.AlignmentKey} is {value.Type} {Printable(value.ToString())}, not a power of two (UInt32, at most 2^20)");
    }

    private static GgufTensor ReadTensor(BoundedReader reader, int index, int alignment)
    {
        var at = reader.Position;
        var name = reader.Text(MaxTensorName, $"the name of tensor {index}");
        if (name.Length == 0 || name.Contains('\0'))
        {
            throw reader.Error(at, $"the name of tensor {index} is empty or contains a zero byte");
        }

        var label = $"tensor \"{Printable(name)}\"";
        at = reader.Position;
        var dimensions = reader.UInt32();
        if (dimensions is 0 or > MaxDimensions)
        {
            throw reader.Error(at, $"{label} has {dimensions} dimensions; 1 to {MaxDimensions} are possible");
        }

        var shape = new long[dimensions];
        for (var d = 0; d < shape.Length; d++)
        {
            at = reader.Position;
            var extent = reader.UInt64();
            if (extent is 0 or > long.MaxValue)
            {
                throw reader.Error(at, $"{label} has an extent of {extent} in dimension {d}; it must be 1 to 2^63-1");
            }

            shape[d] = (long)extent;
        }

        at = reader.Position;
        var number = reader.UInt32();
        if (!GgmlTypes.TryGet(number, out var type))
        {
            throw reader.Error(at, $"{label} has type {number}, which ggml does not have");
        }

        if (shape[0] % type.BlockSize != 0)
        {
            throw reader.Error(at, $"{label} of type {type.Type} has rows of {shape[0]} elements, not a multiple of the block size {type.BlockSize}");
        }

        var bytes = GgmlTypes.TensorBytes(type.Type, shape)
            ?? throw reader.Error(at, $"{label} of shape [{string.Join(", ", shape)}] has more than 2^63-1 elements or bytes");
        at = reader.Position;
        var offset = reader.UInt64();
        if (offset > (ulong)reader.Length || bytes > reader.Length)
        {
            throw reader.Error(at, $"{label} of {bytes} bytes at data offset {offset} exceeds the file of {reader.Length} bytes; it is truncated or forged");
        }

        return (long)offset % alignment == 0
            ? new GgufTensor(name, type.Type, shape, (long)offset, bytes)
            : throw reader.Error(at, $"{label} has data offset {offset}, not a multiple of the alignment {alignment}");
    }

    private static void CheckLayout(BoundedReader reader, List<GgufTensor> tensors, List<long> tableAt, long dataOffset)
    {
        long end = 0;
        foreach (var i in Enumerable.Range(0, tensors.Count).OrderBy(i => tensors[i].Offset))
        {
            var tensor = tensors[i];
            if (tensor.Offset < end)
            {
                throw reader.Error(tableAt[i], $"tensor \"{Printable(tensor.Name)}\" at data offset {tensor.Offset} overlaps the one before it, which ends at {end}");
            }

            // Offset and size are each at most the file's length, so the sums cannot overflow.
            end = tensor.Offset + tensor.Bytes;
            if (dataOffset + end > reader.Length)
            {
                throw reader.Error(tableAt[i], $"tensor \"{Printable(tensor.Name)}\" ends at {dataOffset + end}, after the end of the file of {reader.Length} bytes; the file is truncated");
            }
        }
    }

    internal static string Printable(string text)
    {
        var clean = string.Concat(text.Take(80).Select(c => char.IsControl(c) || char.IsSurrogate(c) ? '?' : c));
        return text.Length > 80 ? clean + "..." : clean;
    }
}
