using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>Puts files out of the operating system's file cache, so that a cold load can be timed (Linux: posix_fadvise(2), mincore(2)).</summary>
internal static partial class PageCache
{
    private const int DontNeed = 4;

    // Pages that somebody else holds stay; a load that finds more than this share is not cold.
    private const double MaxResidentShare = 0.05;

    /// <summary>Whether the files' pages are out of the cache now; false where the system does not do it or does not tell.</summary>
    public static bool Evict(IEnumerable<string> paths)
    {
        if (!OperatingSystem.IsLinux())
        {
            return false;
        }

        try
        {
            return paths.All(EvictOne);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or EntryPointNotFoundException)
        {
            return false;
        }
    }

    private static bool EvictOne(string path)
    {
        using (var handle = File.OpenHandle(path))
        {
            // Pages that wait to be written stay; a file that was just made has them.
            _ = FileSync(handle);
            if (FileAdvise(handle, 0, 0, DontNeed) != 0)
            {
                return false;
            }
        }

        return ResidentShare(path) <= MaxResidentShare;
    }

    /// <summary>Share of a file's pages that are in memory; 1 where the system does not tell.</summary>
    internal static unsafe double ResidentShare(string path)
    {
        var length = new FileInfo(path).Length;
        if (length == 0)
        {
            return 0;
        }

        using var map = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        using var view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        try
        {
            var pages = new byte[(length + Environment.SystemPageSize - 1) / Environment.SystemPageSize];
            return MemoryInCore(start, (nuint)length, pages) == 0 ? pages.Count(p => (p & 1) != 0) / (double)pages.Length : 1;
        }
        finally
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
        }
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int FileAdvise(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FileSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "mincore", SetLastError = true)]
    private static unsafe partial int MemoryInCore(byte* start, nuint length, [Out] byte[] pages);
}
