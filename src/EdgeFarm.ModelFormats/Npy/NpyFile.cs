using System.IO.Compression;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.ModelFormats.Npy;

/// <summary>Named arrays from a .npz archive, or the one array of a .npy file.</summary>
public static class NpyFile
{
    /// <summary>Name that the array of a .npy file gets.</summary>
    public const string SingleName = "";

    private const int MaxEntries = 4096;

    // Deflate reaches 1032:1 on constant data; arrays of real samples stay far below, and small ones are harmless.
    private const long MaxRatio = 200;
    private const long RatioFloor = 16L << 20;

    /// <summary>
    /// Reads .npy or .npz (told apart by content). InvalidInput for anything but plain numeric arrays that are exactly as long as they
    /// say; Unsupported above <paramref name="maxBytes"/>.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="maxBytes">The most bytes that all arrays together may expand to.</param>
    public static Outcome<IReadOnlyDictionary<string, NpyArray>> Load(string path, long maxBytes = 4L << 30)
    {
        var name = Path.GetFileName(path);
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
            Span<byte> head = stackalloc byte[4];
            var have = stream.ReadAtLeast(head, 4, throwOnEndOfStream: false);
            stream.Position = 0;
            if (have == 4 && head.StartsWith("PK"u8))
            {
                return Outcome<IReadOnlyDictionary<string, NpyArray>>.Ok(ReadArchive(stream, name, maxBytes));
            }

            CheckTotal(stream.Length, maxBytes, name);
            return new Dictionary<string, NpyArray>(StringComparer.Ordinal) { [SingleName] = NpyReader.Read(stream, stream.Length, name) };
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (InvalidDataException e)
        {
            return Failure.InvalidInput($"'{name}' is not a sound .npz archive: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Failure.InvalidInput($"'{name}' cannot be read: {e.Message}");
        }
    }

    /// <summary>Writes an array as .npy version 1.</summary>
    public static void Write(Stream stream, NpyArray array)
    {
        var descr = array.Type switch
        {
            NpyType.Bool => "|b1",
            NpyType.Int8 => "|i1",
            NpyType.UInt8 => "|u1",
            NpyType.Int16 => "<i2",
            NpyType.UInt16 => "<u2",
            NpyType.Int32 => "<i4",
            NpyType.UInt32 => "<u4",
            NpyType.Int64 => "<i8",
            NpyType.UInt64 => "<u8",
            NpyType.Float16 => "<f2",
            NpyType.Float32 => "<f4",
            _ => "<f8",
        };
        var shape = string.Join(", ", array.Shape) + (array.Shape.Count == 1 ? "," : "");
        var header = $"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}";
        var padded = header.PadRight(((10 + header.Length + 1 + 63) / 64 * 64) - 11) + '\n';
        stream.Write([0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0, (byte)padded.Length, (byte)(padded.Length >> 8)]);
        stream.Write(System.Text.Encoding.ASCII.GetBytes(padded));
        stream.Write(array.Bytes);
    }

    /// <summary>Writes named arrays as .npz.</summary>
    public static void WriteArchive(string path, IReadOnlyDictionary<string, NpyArray> arrays)
    {
        using var archive = ZipFile.Open(path, ZipArchiveMode.Create);
        foreach (var (name, array) in arrays)
        {
            using var stream = archive.CreateEntry(name + ".npy", CompressionLevel.Fastest).Open();
            Write(stream, array);
        }
    }

    private static Dictionary<string, NpyArray> ReadArchive(Stream stream, string name, long maxBytes)
    {
        using var archive = new ZipArchive(stream, ZipArchiveMode.Read);
        if (archive.Entries.Count is 0 or > MaxEntries)
        {
            throw new FailureException(Failure.InvalidInput($"'{name}' has {archive.Entries.Count} entries; 1 to {MaxEntries} are read"));
        }

        var arrays = new Dictionary<string, NpyArray>(StringComparer.Ordinal);
        long total = 0;
        foreach (var entry in archive.Entries)
        {
            var what = $"{name}/{entry.FullName}";
            if (!entry.FullName.EndsWith(".npy", StringComparison.Ordinal) || entry.FullName.Contains("..", StringComparison.Ordinal))
            {
                throw new FailureException(Failure.InvalidInput($"'{what}' is not a .npy array; a .npz holds nothing else"));
            }

            if (entry.Length > RatioFloor && entry.Length / MaxRatio > entry.CompressedLength)
            {
                throw new FailureException(Failure.InvalidInput($"'{what}' expands {entry.CompressedLength} bytes to {entry.Length}: more than {MaxRatio} times is not taken for data"));
            }

            CheckTotal(total += entry.Length, maxBytes, name);
            using var content = entry.Open();
            var array = NpyReader.Read(content, entry.Length, what);
            if (content.ReadByte() >= 0)
            {
                throw new FailureException(Failure.InvalidInput($"'{what}' holds more than the {entry.Length} bytes that its entry declares"));
            }

            if (!arrays.TryAdd(entry.FullName[..^4], array))
            {
                throw new FailureException(Failure.InvalidInput($"'{what}' is in the archive twice"));
            }
        }

        return arrays;
    }

    private static void CheckTotal(long total, long maxBytes, string name)
    {
        if (total > maxBytes)
        {
            throw new FailureException(Failure.Unsupported($"'{name}' expands to {total} bytes or more; at most {maxBytes} are read"));
        }
    }
}
