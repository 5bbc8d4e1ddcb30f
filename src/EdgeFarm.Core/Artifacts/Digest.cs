using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace EdgeFarm.Core.Artifacts;

/// <summary>A SHA-256 digest as lower-case hexadecimal: the name of an artifact, of an action, of a source.</summary>
public readonly record struct Digest : IComparable<Digest>
{
    /// <summary>Characters of the hexadecimal form.</summary>
    public const int HexLength = 64;

    private readonly string? _hex;

    private Digest(string hex) => _hex = hex;

    /// <summary>64 lower-case hexadecimal characters; empty for the default value.</summary>
    public string Hex => _hex ?? "";

    /// <summary>Whether this is the default value, which names nothing.</summary>
    public bool IsEmpty => _hex is null;

    /// <summary>The digest of some bytes.</summary>
    public static Digest Of(ReadOnlySpan<byte> bytes)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(bytes, hash);
        return new Digest(Convert.ToHexStringLower(hash));
    }

    /// <summary>The digest of UTF-8 text.</summary>
    public static Digest OfText(string text) => Of(System.Text.Encoding.UTF8.GetBytes(text));

    /// <summary>The digest that a finished SHA-256 computation of 32 bytes gives.</summary>
    public static Digest FromHash(ReadOnlySpan<byte> hash) =>
        hash.Length == SHA256.HashSizeInBytes
            ? new Digest(Convert.ToHexStringLower(hash))
            : throw new ArgumentException($"a SHA-256 hash has {SHA256.HashSizeInBytes} bytes, not {hash.Length}", nameof(hash));

    /// <summary>Reads 64 hexadecimal characters, with or without a leading <c>sha256:</c>.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out Digest digest)
    {
        digest = default;
        if (text is null)
        {
            return false;
        }

        var hex = text.StartsWith("sha256:", StringComparison.Ordinal) ? text[7..] : text;
        if (hex.Length != HexLength)
        {
            return false;
        }

        foreach (var c in hex)
        {
            if (!char.IsAsciiHexDigit(c))
            {
                return false;
            }
        }

        digest = new Digest(hex.ToLowerInvariant());
        return true;
    }

    /// <summary>Reads what <see cref="TryParse"/> reads, or throws <see cref="FormatException"/>.</summary>
    public static Digest Parse(string text) =>
        TryParse(text, out var digest) ? digest : throw new FormatException($"'{text}' is not a SHA-256 digest of {HexLength} hexadecimal characters");

    /// <inheritdoc/>
    public int CompareTo(Digest other) => string.CompareOrdinal(Hex, other.Hex);

    /// <summary>Ordinal order of the hexadecimal form.</summary>
    public static bool operator <(Digest left, Digest right) => left.CompareTo(right) < 0;

    /// <summary>Ordinal order of the hexadecimal form.</summary>
    public static bool operator >(Digest left, Digest right) => left.CompareTo(right) > 0;

    /// <summary>Ordinal order of the hexadecimal form.</summary>
    public static bool operator <=(Digest left, Digest right) => left.CompareTo(right) <= 0;

    /// <summary>Ordinal order of the hexadecimal form.</summary>
    public static bool operator >=(Digest left, Digest right) => left.CompareTo(right) >= 0;

    /// <inheritdoc/>
    public override string ToString() => IsEmpty ? "" : $"sha256:{_hex}";
}

/// <summary>What kind of thing a digest names.</summary>
public enum ArtifactKind
{
    /// <summary>Never set; a wire default.</summary>
    Unspecified = 0,

    /// <summary>One file; its digest is that of its bytes.</summary>
    File = 1,

    /// <summary>A file tree; its digest is that of its canonical manifest.</summary>
    Tree = 2,
}

/// <summary>An artifact by name: what a job consumes and produces.</summary>
/// <param name="Digest">Its content's digest.</param>
/// <param name="Kind">File or tree.</param>
/// <param name="Size">Bytes: of the file, or of all files of the tree.</param>
/// <param name="Format">Model or data format (<c>gguf</c>, <c>onnx</c>, <c>hf</c>, <c>text</c>, <c>npz</c>, ...); see <c>ModelFormat</c>.</param>
/// <param name="FileName">A name to show and to use when the artifact is materialized; never a path.</param>
public sealed record ArtifactRef(Digest Digest, ArtifactKind Kind, long Size, string Format, string FileName);
