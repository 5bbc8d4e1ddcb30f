using System.Text;
using EdgeFarm.Toolchains;

namespace EdgeFarm.Server.Submissions;

/// <summary>
/// Guesses the format of a source. A name with a known extension is believed, so that a text file named .onnx is judged as ONNX and
/// refused by its import with a reason; only nameless contents are judged by their first bytes.
/// </summary>
public static class SourceFormat
{
    /// <summary>How many of the first bytes are looked at.</summary>
    public const int HeadBytes = 512;

    /// <summary>The format of a file.</summary>
    /// <param name="fileName">Its name, or empty.</param>
    /// <param name="head">Its first bytes; may be empty when they are not at hand.</param>
    public static string OfFile(string fileName, ReadOnlySpan<byte> head) => Path.GetExtension(fileName).ToLowerInvariant() switch
    {
        ".gguf" => FormatNames.Gguf,
        ".onnx" => FormatNames.Onnx,
        ".npz" => FormatNames.Npz,
        ".txt" or ".text" or ".md" or ".raw" => FormatNames.Text,
        _ => OfBytes(head),
    };

    /// <summary>The format of a directory.</summary>
    /// <param name="names">Paths of its files, with <c>/</c>.</param>
    public static string OfTree(IReadOnlyCollection<string> names)
    {
        var top = names.Where(n => !n.Contains('/', StringComparison.Ordinal)).ToArray();
        if (top.Contains("config.json") && top.Any(n => n.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)))
        {
            return FormatNames.HuggingFace;
        }

        // A model with its weights in files beside it.
        return top.Count(n => n.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase)) == 1 ? FormatNames.Onnx : FormatNames.Unknown;
    }

    private static string OfBytes(ReadOnlySpan<byte> head)
    {
        if (head.StartsWith("GGUF"u8))
        {
            return FormatNames.Gguf;
        }

        if (head.StartsWith("PK\x03\x04"u8))
        {
            return FormatNames.Npz;
        }

        // ONNX has no magic: a model starts with field 1 (ir_version), a varint below 128.
        if (head.Length > 2 && head[0] == 0x08 && head[1] is > 0 and < 0x40 && head[2] is 0x12 or 0x1a or 0x3a or 0x42)
        {
            return FormatNames.Onnx;
        }

        return !head.IsEmpty && IsText(head) ? FormatNames.Text : FormatNames.Unknown;
    }

    private static bool IsText(ReadOnlySpan<byte> head)
    {
        // The head may end within a character; those last bytes do not count.
        var end = head.Length < HeadBytes ? head.Length : head.Length - 3;
        foreach (var value in head[..end])
        {
            if (value < 0x20 && value is not ((byte)'\n' or (byte)'\r' or (byte)'\t' or 0x0c))
            {
                return false;
            }
        }

        return !Encoding.UTF8.GetString(head[..end]).TrimEnd('\ufffd').Contains('\ufffd', StringComparison.Ordinal);
    }
}
