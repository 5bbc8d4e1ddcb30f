using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;
using Microsoft.Win32.SafeHandles;

namespace EdgeFarm.ModelFormats.Safetensors;

/// <summary>A tensor of a safetensors file, checked against the file.</summary>
/// <param name="Name">Unique name.</param>
/// <param name="Type">Type of the elements.</param>
/// <param name="Shape">Extents, the outermost first; empty for a scalar.</param>
/// <param name="Offset">Start of the data in the file, bytes.</param>
/// <param name="Bytes">Size of the data.</param>
public sealed record SafetensorsTensor(string Name, SafetensorsDType Type, IReadOnlyList<long> Shape, long Offset, long Bytes)
{
    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, (product, extent) => product * extent);
}

/// <summary>
/// An open safetensors file. The header is read and checked at opening; data is read on demand with positioned reads, not mapped:
/// a file that someone truncates meanwhile gives an <see cref="IOException"/> instead of killing the process.
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>Most bytes of a header, as in the reference implementation.</summary>
    public const long MaxHeader = 100_000_000;

    private const int MaxDimensions = 16;
    private readonly SafeFileHandle _handle;
    private readonly Dictionary<string, SafetensorsTensor> _byName;

    private SafetensorsFile(SafeFileHandle handle, string path, long fileBytes, IReadOnlyDictionary<string, string> metadata, IReadOnlyList<SafetensorsTensor> tensors)
    {
        (_handle, Path, FileBytes, Metadata, Tensors) = (handle, path, fileBytes, metadata, tensors);
        _byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
    }

    /// <summary>Path of the file.</summary>
    public string Path { get; }

    /// <summary>Size of the file.</summary>
    public long FileBytes { get; }

    /// <summary>The header's <c>__metadata__</c>.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The tensors in ordinal order of their names.</summary>
    public IReadOnlyList<SafetensorsTensor> Tensors { get; }

    /// <summary>The tensor of a name, or null.</summary>
    public SafetensorsTensor? Tensor(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Opens a file and checks its header. InvalidInput when it cannot be read or is not sound.</summary>
    public static Outcome<SafetensorsFile> Open(string path)
    {
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path);
            var length = RandomAccess.GetLength(handle);
            var (metadata, tensors) = ReadHeader(handle, path, length);
            var file = new SafetensorsFile(handle, path, length, metadata, tensors);
            handle = null;
            return file;
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return Failure.InvalidInput($"{path}: cannot be read ({e.Message}); check the path and its permissions");
        }
        finally
        {
            handle?.Dispose();
        }
    }

    /// <summary>Reads some of a tensor's bytes.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="offset">Where to start within the tensor's data, bytes.</param>
    /// <param name="target">Is filled completely.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range is not within the tensor.</exception>
    /// <exception cref="IOException">The file cannot be read or became shorter.</exception>
    public void Read(SafetensorsTensor tensor, long offset, Span<byte> target)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(target.Length, tensor.Bytes - offset);
        PositionedRead.Fill(_handle, Path, tensor.Offset + offset, target);
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    private static (IReadOnlyDictionary<string, string>, IReadOnlyList<SafetensorsTensor>) ReadHeader(SafeFileHandle handle, string path, long length)
    {
        Span<byte> prefix = stackalloc byte[8];
        if (length < 8)
        {
            throw Error(path, 0, $"the file has {length} bytes, fewer than the 8 of the header's length; it is empty or truncated");
        }

        PositionedRead.Fill(handle, path, 0, prefix);
        var headerLength = BitConverter.ToUInt64(prefix);
        if (headerLength > (ulong)Math.Min(MaxHeader, length - 8))
        {
            throw Error(path, 0, $"the header claims {headerLength} bytes; {Math.Min(MaxHeader, length - 8)} is the most possible here");
        }

        var header = new byte[(int)headerLength];
        PositionedRead.Fill(handle, path, 8, header);
        if (header.Length == 0 || header[0] != '{')
        {
            throw Error(path, 8, "the header does not start with \"{\"");
        }

        var start = 8 + (long)headerLength;
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        var tensors = new List<SafetensorsTensor>();
        foreach (var (name, node) in JsonNode.Parse(header, path).Entries())
        {
            if (name == "__metadata__")
            {
                foreach (var (key, value) in node.Entries())
                {
                    metadata[key] = value.Text();
                }
            }
            else
            {
                tensors.Add(ReadTensor(name, node, start, length - start));
            }
        }

        CheckLayout(path, tensors, start, length);
        tensors.Sort((a, b) => string.CompareOrdinal(a.Name, b.Name));
        return (metadata, tensors);
    }

    private static SafetensorsTensor ReadTensor(string name, JsonNode node, long start, long room)
    {
        var spelling = node.Require("dtype").Text();
        if (!Enum.TryParse<SafetensorsDType>(spelling, out var type) || type.ToString() != spelling)
        {
            throw node.Error($"has the unknown dtype \"{spelling}\"");
        }

        var shapeNode = node.Require("shape");
        if (shapeNode.Count() > MaxDimensions)
        {
            throw shapeNode.Error($"has {shapeNode.Count()} dimensions; {MaxDimensions} are possible");
        }

        var shape = shapeNode.Items().Select(extent => extent.Integer(0, long.MaxValue)).ToArray();
        var bits = (UInt128)type.Bits();
        foreach (var extent in shape)
        {
            bits *= (UInt128)extent;
            if (bits > (UInt128)long.MaxValue)
            {
                throw shapeNode.Error("has more elements than any file can hold");
            }
        }

        var offsets = node.Require("data_offsets");
        if (offsets.Count() != 2)
        {
            throw offsets.Error($"has {offsets.Count()} numbers, not 2");
        }

        var range = offsets.Items().Select(offset => offset.Integer(0, room)).ToArray();
        if (bits % 8 != 0 || range[0] > range[1] || (UInt128)(range[1] - range[0]) != bits / 8)
        {
            throw offsets.Error($"is [{range[0]}, {range[1]}], but {type} of shape [{string.Join(", ", shape)}] has {bits / 8} bytes");
        }

        return new SafetensorsTensor(name, type, shape, start + range[0], range[1] - range[0]);
    }

    private static void CheckLayout(string path, List<SafetensorsTensor> tensors, long start, long length)
    {
        var end = start;
        foreach (var tensor in tensors.OrderBy(tensor => tensor.Offset).ThenBy(tensor => tensor.Bytes))
        {
            if (tensor.Offset != end)
            {
                throw Error(path, tensor.Offset, $"tensor \"{tensor.Name}\" {(tensor.Offset < end ? "overlaps the one before it" : "leaves a gap behind the one before it")}, which ends at {end}");
            }

            end += tensor.Bytes;
        }

        if (end != length)
        {
            throw Error(path, end, $"the tensors end here, but the file has {length} bytes; it is truncated or has something appended");
        }
    }

    private static FailureException Error(string path, long offset, string reason) =>
        new(Failure.InvalidInput($"{path}: not a sound safetensors file: at byte {offset}, {reason}"));
}
