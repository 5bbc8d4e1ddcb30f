using System.Globalization;
using System.Text;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Trees;

/// <summary>One file of a tree.</summary>
/// <param name="Path">Relative path with <c>/</c>; see <see cref="TreePath"/>.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Digest">Digest of the content.</param>
/// <param name="Executable">Whether the file is executable by its owner.</param>
public sealed record TreeEntry(string Path, long Size, Digest Digest, bool Executable);

/// <summary>
/// What a tree holds, in one canonical form: the digest of these bytes is the digest of the tree. UTF-8 text: the line
/// <c>edgefarm-tree/1</c>, then for each file <c>DIGEST SIZE - PATH</c> (<c>x</c> instead of <c>-</c> for an executable), ordered by
/// the bytes of the path, each line ended by one LF. Empty directories, times, owners and links do not exist in it.
/// </summary>
public sealed class TreeManifest
{
    /// <summary>Most files of a tree.</summary>
    public const int MaxEntries = 100_000;

    /// <summary>Most bytes of a manifest; a longer one is refused before it is read.</summary>
    public const int MaxBytes = 32 * 1024 * 1024;

    private const string Header = "edgefarm-tree/1\n";

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly byte[] _bytes;

    private TreeManifest(IReadOnlyList<TreeEntry> entries, long size, byte[] bytes)
    {
        Entries = entries;
        Size = size;
        _bytes = bytes;
        Digest = Digest.Of(bytes);
    }

    /// <summary>The files, ordered by the UTF-8 bytes of their paths.</summary>
    public IReadOnlyList<TreeEntry> Entries { get; }

    /// <summary>Bytes of all files together.</summary>
    public long Size { get; }

    /// <summary>The digest of the canonical bytes: the name of the tree.</summary>
    public Digest Digest { get; }

    /// <summary>The canonical bytes.</summary>
    public ReadOnlyMemory<byte> Bytes => _bytes;

    /// <summary>The distinct contents of the tree with their sizes in bytes.</summary>
    public IEnumerable<(Digest Digest, long Size)> Blobs => Entries.Select(e => (e.Digest, e.Size)).Distinct();

    /// <summary>
    /// Makes the manifest of some files, in any order. <see cref="FailureType.InvalidInput"/> for a name that a tree cannot hold, names that
    /// collide (also where case is ignored, as on Windows and macOS), a digest with two sizes, or too many files.
    /// </summary>
    public static Outcome<TreeManifest> Create(IEnumerable<TreeEntry> entries)
    {
        var sorted = new List<(byte[] Key, TreeEntry Entry)>();
        var names = new Dictionary<string, (string Name, bool IsDirectory, string Of)>(StringComparer.OrdinalIgnoreCase);
        var sizes = new Dictionary<Digest, long>();
        long total = 0;
        foreach (var entry in entries)
        {
            if (sorted.Count == MaxEntries)
            {
                return Failure.InvalidInput($"the tree has more than {MaxEntries} files; pack it into fewer");
            }

            if (TreePath.Problem(entry.Path) is { } problem)
            {
                return Failure.InvalidInput($"the path '{Printable(entry.Path)}' {problem}; rename it");
            }

            if (entry.Size < 0 || entry.Digest.IsEmpty || long.MaxValue - total < entry.Size)
            {
                return Failure.InvalidInput($"'{entry.Path}' has no digest or the impossible size {entry.Size}");
            }

            if (!sizes.TryAdd(entry.Digest, entry.Size) && sizes[entry.Digest] != entry.Size)
            {
                return Failure.InvalidInput($"'{entry.Path}' gives {entry.Digest} the size {entry.Size}, another file {sizes[entry.Digest]}");
            }

            if (Collision(names, entry.Path) is { } collision)
            {
                return collision;
            }

            total += entry.Size;
            sorted.Add((Strict.GetBytes(entry.Path), entry));
        }

        sorted.Sort((a, b) => a.Key.AsSpan().SequenceCompareTo(b.Key));
        var ordered = sorted.ConvertAll(s => s.Entry);
        var bytes = Write(ordered);
        return bytes.Length > MaxBytes
            ? Failure.InvalidInput($"the manifest of the tree has {bytes.Length} bytes, more than {MaxBytes}; pack the tree into fewer files")
            : new TreeManifest(ordered, total, bytes);
    }

    /// <summary>
    /// Reads the canonical bytes; anything else, such as another order or another way to write a number, is
    /// <see cref="FailureType.InvalidInput"/>, because one tree must have one digest.
    /// </summary>
    public static Outcome<TreeManifest> Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > MaxBytes)
        {
            return Failure.InvalidInput($"a tree manifest of {bytes.Length} bytes, more than {MaxBytes}");
        }

        string text;
        try
        {
            text = Strict.GetString(bytes);
        }
        catch (DecoderFallbackException e)
        {
            return Failure.InvalidInput($"a tree manifest that is not UTF-8: {e.Message}");
        }

        if (!text.StartsWith(Header, StringComparison.Ordinal))
        {
            return Failure.InvalidInput($"not a tree manifest: it does not begin with '{Header.TrimEnd()}'");
        }

        var entries = new List<TreeEntry>();
        for (var offset = Header.Length; offset < text.Length;)
        {
            var end = text.IndexOf('\n', offset);
            if (end < 0 || ParseLine(text[offset..end]) is not { } entry)
            {
                return Failure.InvalidInput($"line {entries.Count + 2} of a tree manifest (at character {offset}) is not 'DIGEST SIZE -|x PATH'");
            }

            if (entries.Count == MaxEntries)
            {
                return Failure.InvalidInput($"a tree manifest with more than {MaxEntries} files");
            }

            entries.Add(entry);
            offset = end + 1;
        }

        var manifest = Create(entries);
        return manifest.IsOk && !bytes.SequenceEqual(manifest.Value._bytes)
            ? Failure.InvalidInput("a tree manifest that is not in canonical form (order of paths, digits or case)")
            : manifest;
    }

    private static TreeEntry? ParseLine(string line)
    {
        var parts = line.Split(' ', 4);
        return parts.Length == 4
            && Digest.TryParse(parts[0], out var digest)
            && long.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var size)
            && parts[2] is "-" or "x"
            ? new TreeEntry(parts[3], size, digest, parts[2] == "x")
            : null;
    }

    private static byte[] Write(List<TreeEntry> entries)
    {
        var text = new StringBuilder(Header);
        foreach (var e in entries)
        {
            text.Append(CultureInfo.InvariantCulture, $"{e.Digest.Hex} {e.Size} {(e.Executable ? 'x' : '-')} {e.Path}\n");
        }

        return Strict.GetBytes(text.ToString());
    }

    private static Failure? Collision(Dictionary<string, (string Name, bool IsDirectory, string Of)> names, string path)
    {
        foreach (var (name, isDirectory) in TreePath.Parents(path).Select(p => (p, true)).Append((path, false)))
        {
            if (!names.TryAdd(name, (name, isDirectory, path)) && !(isDirectory && names[name].IsDirectory && names[name].Name == name))
            {
                return Failure.InvalidInput(
                    $"the tree has both '{names[name].Of}' and '{path}', which cannot stand side by side on every system; rename one");
            }
        }

        return null;
    }

    private static string Printable(string path) =>
        string.Concat(path.Take(80).Select(c => char.IsControl(c) || char.IsSurrogate(c) ? $"\\u{(int)c:x4}" : c.ToString()));
}
