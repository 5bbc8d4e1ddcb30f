using System.Buffers;
using System.Text;

namespace EdgeFarm.Artifacts.Trees;

/// <summary>
/// What a path inside a tree may look like: relative, separated by <c>/</c>, and a valid name on Linux, macOS and Windows, so that
/// any worker can lay the tree out and nothing is ever written outside its root.
/// </summary>
public static class TreePath
{
    /// <summary>Most bytes of a path in UTF-8.</summary>
    public const int MaxBytes = 1024;

    /// <summary>Most bytes of one name in UTF-8; the limit of the common file systems.</summary>
    public const int MaxNameBytes = 255;

    private static readonly SearchValues<char> Forbidden = SearchValues.Create("\\:*?\"<>|");

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private static readonly HashSet<string> Reserved = new(StringComparer.OrdinalIgnoreCase)
    {
        "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$",
        "COM0", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
        "LPT0", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
    };

    /// <summary>Why a path cannot stand in a tree, or null when it can.</summary>
    /// <param name="path">The path, relative to the root of the tree.</param>
    public static string? Problem(string path)
    {
        if (path.Length == 0)
        {
            return "is empty";
        }

        if (path.Length > MaxBytes || ByteCount(path) is not { } bytes)
        {
            return path.Length > MaxBytes ? $"is longer than {MaxBytes} bytes" : "is not valid Unicode";
        }

        if (bytes > MaxBytes)
        {
            return $"is longer than {MaxBytes} bytes";
        }

        foreach (var range in path.AsSpan().Split('/'))
        {
            if (NameProblem(path[range]) is { } problem)
            {
                return problem;
            }
        }

        return null;
    }

    /// <summary>The parents of a path, nearest to the root first: <c>a</c> and <c>a/b</c> of <c>a/b/c</c>.</summary>
    internal static IEnumerable<string> Parents(string path)
    {
        for (var slash = path.IndexOf('/', StringComparison.Ordinal); slash >= 0; slash = path.IndexOf('/', slash + 1))
        {
            yield return path[..slash];
        }
    }

    private static string? NameProblem(string name)
    {
        if (name.Length == 0)
        {
            return "is absolute or has an empty name in it";
        }

        if (name is "." or "..")
        {
            return $"has the name '{name}' in it";
        }

        foreach (var c in name)
        {
            if (char.IsControl(c))
            {
                return $"has the control character U+{(int)c:X4} in it";
            }
        }

        var at = name.AsSpan().IndexOfAny(Forbidden);
        if (at >= 0)
        {
            return $"has the character '{name[at]}' in it";
        }

        if (name[^1] is '.' or ' ')
        {
            return $"has the name '{name}' in it, which ends with a dot or a space";
        }

        // Windows opens the device for any extension: NUL.txt is NUL.
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        if (Reserved.Contains((dot < 0 ? name : name[..dot]).TrimEnd(' ')))
        {
            return $"has the name '{name}' in it, which Windows reserves for a device";
        }

        return ByteCount(name) > MaxNameBytes ? $"has a name longer than {MaxNameBytes} bytes in it" : null;
    }

    private static int? ByteCount(string text)
    {
        try
        {
            return Strict.GetByteCount(text);
        }
        catch (EncoderFallbackException)
        {
            return null;
        }
    }
}
