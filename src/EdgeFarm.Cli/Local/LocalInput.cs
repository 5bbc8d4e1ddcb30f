using EdgeFarm.Cli.Client;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Server.Submissions;

namespace EdgeFarm.Cli.Local;

/// <summary>A file or directory of this machine that a job reads where it is.</summary>
/// <param name="Path">Absolute path.</param>
/// <param name="Artifact">
/// What it is. Its digest stands for the path and names it within one run alone: nothing is cached under it, and hashing a model of many
/// gigabytes first would tell nobody anything.
/// </param>
internal sealed record LocalInput(string Path, ArtifactRef Artifact)
{
    // Directories of checkpoints hold some ten files; one with more is looked at no further.
    private const int MaxEntries = 10_000;

    /// <summary>Looks at what the user named. <see cref="BadInputException"/> when there is nothing that can be read.</summary>
    public static LocalInput Open(string path)
    {
        var full = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(path));
        var name = System.IO.Path.GetFileName(full) is { Length: > 0 } last ? last : "input";
        try
        {
            if (Directory.Exists(full))
            {
                var files = new DirectoryInfo(full).EnumerateFiles().Take(MaxEntries).ToArray();
                var format = SourceFormat.OfTree([.. files.Select(f => f.Name)]);
                return new LocalInput(full, new ArtifactRef(Digest.OfText(full), ArtifactKind.Tree, files.Sum(Size), format, name));
            }

            using var stream = File.OpenRead(full);
            var head = new byte[SourceFormat.HeadBytes];
            var read = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
            return new LocalInput(full, new ArtifactRef(Digest.OfText(full), ArtifactKind.File, stream.Length, SourceFormat.OfFile(name, head.AsSpan(0, read)), name));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BadInputException($"there is no file or directory '{path}'");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"'{path}' cannot be read: {e.Message}");
        }
    }

    // A link's own length is that of the path in it.
    private static long Size(FileInfo file) => (file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file) is { Exists: true } found ? found.Length : 0;
}
