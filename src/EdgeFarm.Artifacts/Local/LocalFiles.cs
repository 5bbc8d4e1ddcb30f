using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Local;

/// <summary>One file of a directory that is to become a tree.</summary>
/// <param name="Path">Path in the tree.</param>
/// <param name="FullPath">Where its bytes are; behind a link, the target.</param>
/// <param name="IsLink">Whether it is reached through a link.</param>
internal sealed record LocalFile(string Path, string FullPath, bool IsLink);

/// <summary>Walks a directory that is not trusted.</summary>
internal static class LocalFiles
{
    private static readonly EnumerationOptions Everything = new() { AttributesToSkip = 0, IgnoreInaccessible = false };

    /// <summary>
    /// All files below a directory. Throws a <see cref="FailureException"/> for a link that leaves the directory or leads to a
    /// directory, a name that a tree cannot hold, or too many files.
    /// </summary>
    public static List<LocalFile> Walk(string directory)
    {
        // The root itself may be a link, e.g. a temporary folder on macOS; what is below is judged against where it leads.
        var root = Path.GetFullPath(new DirectoryInfo(directory).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? directory);
        var files = new List<LocalFile>();
        var pending = new Stack<(string Path, DirectoryInfo Directory)>();
        pending.Push(("", new DirectoryInfo(root)));
        while (pending.TryPop(out var next))
        {
            foreach (var item in next.Directory.EnumerateFileSystemInfos("*", Everything))
            {
                var path = next.Path.Length == 0 ? item.Name : $"{next.Path}/{item.Name}";
                if (TreePath.Problem(path) is { } problem)
                {
                    throw StoreFailures.InvalidInput($"the path '{path}' in '{directory}' {problem}; rename it");
                }

                if (item.LinkTarget is not null)
                {
                    files.Add(new LocalFile(path, Follow(root, path, item), IsLink: true));
                }
                else if (item is DirectoryInfo child)
                {
                    pending.Push((path, child));
                }
                else
                {
                    files.Add(new LocalFile(path, item.FullName, IsLink: false));
                }

                if (files.Count > TreeManifest.MaxEntries)
                {
                    throw StoreFailures.InvalidInput($"'{directory}' has more than {TreeManifest.MaxEntries} files; pack it into fewer");
                }
            }
        }

        return files;
    }

    private static string Follow(string root, string path, FileSystemInfo link)
    {
        var target = Path.GetFullPath(link.ResolveLinkTarget(returnFinalTarget: true)!.FullName);
        var relative = Path.GetRelativePath(root, target);
        if (relative is "." or ".." || relative.StartsWith(".." + Path.DirectorySeparatorChar, StringComparison.Ordinal) || Path.IsPathRooted(relative))
        {
            throw StoreFailures.InvalidInput($"'{path}' is a link that leaves the directory, to '{target}'; copy the file in its place");
        }

        // A directory on the way to the target cannot be a link that leads out: it is below the root, so this walk refuses it as well.
        if (!File.Exists(target))
        {
            throw StoreFailures.InvalidInput($"'{path}' is a link to '{target}', which is {(Directory.Exists(target) ? "a directory" : "not there")}; copy what is meant in its place");
        }

        return target;
    }
}
