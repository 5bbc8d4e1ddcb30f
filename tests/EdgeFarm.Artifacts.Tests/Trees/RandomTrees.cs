using CsCheck;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;

namespace EdgeFarm.Artifacts.Tests.Trees;

/// <summary>Generators of valid trees: distinct names per level, so that no path is a parent of another.</summary>
internal static class RandomTrees
{
    /// <summary>Path, content, executable.</summary>
    public static readonly Gen<(string Path, byte[] Content, bool Executable)[]> Files =
        Gen.Select(Gen.Int[0, 3], Gen.Byte.Array[0, 3000], Gen.Bool).Array[0, 12].Select(files => files
            .Select((f, i) => ($"{string.Concat(Enumerable.Range(0, f.Item1).Select(d => $"dir {d}é/"))}file-{i}.bin", f.Item2, f.Item3)).ToArray());

    public static readonly Gen<TreeEntry[]> Entries = Files.Select(files =>
        files.Select(f => new TreeEntry(f.Path, f.Content.Length, Digest.Of(f.Content), f.Executable)).ToArray());

    public static void Write(string directory, IEnumerable<(string Path, byte[] Content, bool Executable)> files)
    {
        Directory.CreateDirectory(directory);
        foreach (var (path, content, executable) in files)
        {
            var full = Path.Combine(directory, path);
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            File.WriteAllBytes(full, content);
            if (executable && !OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(full, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }
        }
    }

    public static (string Path, string Content, bool Executable)[] Read(string directory) =>
        [.. Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories)
            .Select(f => (
                Path.GetRelativePath(directory, f).Replace('\\', '/'),
                Convert.ToHexString(File.ReadAllBytes(f)),
                !OperatingSystem.IsWindows() && File.GetUnixFileMode(f).HasFlag(UnixFileMode.UserExecute)))
            .OrderBy(f => f.Item1, StringComparer.Ordinal)];
}
