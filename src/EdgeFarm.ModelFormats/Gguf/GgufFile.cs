namespace EdgeFarm.ModelFormats.Gguf;

/// <summary>What a GGUF file says about one tensor, checked against the file.</summary>
/// <param name="Name">Unique name, at most 63 bytes.</param>
/// <param name="Type">How the elements are stored.</param>
/// <param name="Shape">ggml's <c>ne</c>: one to four extents, the innermost first, all positive.</param>
/// <param name="Offset">Start within the data section in bytes, a multiple of the alignment.</param>
/// <param name="Bytes">Size of the data without padding.</param>
public sealed record GgufTensor(string Name, GgmlType Type, IReadOnlyList<long> Shape, long Offset, long Bytes)
{
    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, (product, extent) => product * extent);
}

/// <summary>Header, metadata and tensor table of a GGUF file. The tensors' data stays in the file.</summary>
public sealed class GgufFile
{
    internal GgufFile(uint version, GgufMetadata metadata, IReadOnlyList<GgufTensor> tensors, int alignment, long dataOffset, long fileBytes)
    {
        (Version, Metadata, Tensors, Alignment, DataOffset, FileBytes) = (version, metadata, tensors, alignment, dataOffset, fileBytes);
        _byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
    }

    private readonly Dictionary<string, GgufTensor> _byName;

    /// <summary>Version of the format, 2 or 3.</summary>
    public uint Version { get; }

    /// <summary>The metadata.</summary>
    public GgufMetadata Metadata { get; }

    /// <summary>The tensors, in the order of the table.</summary>
    public IReadOnlyList<GgufTensor> Tensors { get; }

    /// <summary>Alignment of the data section and of every tensor in it, bytes; a power of two.</summary>
    public int Alignment { get; }

    /// <summary>Start of the data section in the file, bytes.</summary>
    public long DataOffset { get; }

    /// <summary>Size of the file, bytes.</summary>
    public long FileBytes { get; }

    /// <summary>The tensor of a name, or null.</summary>
    public GgufTensor? Tensor(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Start of a tensor's data in the file, bytes.</summary>
    public long FileOffset(GgufTensor tensor) => DataOffset + tensor.Offset;
}
