using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeFarm.Artifacts.Disk;

/// <summary>The few file system operations that the BCL lacks, and what goes with them.</summary>
internal static partial class DurableFiles
{
    private const int NoSuchFile = 2;
    private const int OpenNonBlockLinux = 0x800;
    private const int OpenCloseOnExecLinux = 0x80000;
    private const int OpenNonBlockMac = 0x4;
    private const int OpenCloseOnExecMac = 0x1000000;

    /// <summary>Bytes that one read or write moves.</summary>
    public const int BufferBytes = 256 * 1024;

    /// <summary>Makes a rename in a directory survive a power cut. Windows gives no way to do this, and journals renames itself.</summary>
    public static void SyncDirectory(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        var fd = Open(path, 0);
        if (fd < 0)
        {
            throw new IOException($"cannot open the directory '{path}' to flush it: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        using var handle = new SafeFileHandle(fd, ownsHandle: true);

        // Some network file systems know no fsync of directories (EINVAL); they write renames through.
        _ = FSync(fd);
    }

    /// <summary>Makes a hard link; false where the file system cannot, e.g. across devices.</summary>
    public static bool TryHardLink(string existing, string link) =>
        OperatingSystem.IsWindows() ? CreateHardLink(link, existing, 0) : Link(existing, link) == 0;

    /// <summary>
    /// Opens a regular file for reading. A named pipe or a device fails with an <see cref="IOException"/> instead of blocking for ever.
    /// On Unix it takes no lock, unlike the BCL: a content can be read while the writer that has just named it still holds its own.
    /// </summary>
    public static FileStream OpenRegular(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 0, FileOptions.SequentialScan);
        }

        var fd = Open(path, OperatingSystem.IsMacOS() ? OpenNonBlockMac | OpenCloseOnExecMac : OpenNonBlockLinux | OpenCloseOnExecLinux);
        if (fd < 0)
        {
            throw Marshal.GetLastPInvokeError() == NoSuchFile
                ? new FileNotFoundException($"there is no file '{path}'", path)
                : new IOException($"cannot open '{path}': {Marshal.GetLastPInvokeErrorMessage()}", Marshal.GetLastPInvokeError());
        }

        var stream = new FileStream(new SafeFileHandle(fd, ownsHandle: true), FileAccess.Read, 0);
        if (!stream.CanSeek)
        {
            stream.Dispose();
            throw new IOException($"'{path}' is not a regular file");
        }

        return stream;
    }

    public static FileStream CreateNew(string path) =>
        new(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 0);

    public static void SetMode(string path, bool writable, bool executable)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        var mode = UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        mode |= writable ? UnixFileMode.UserWrite : UnixFileMode.None;
        mode |= executable ? UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute : UnixFileMode.None;
        File.SetUnixFileMode(path, mode);
    }

    public static bool IsExecutable(string path) =>
        !OperatingSystem.IsWindows() && File.GetUnixFileMode(path).HasFlag(UnixFileMode.UserExecute);

    /// <summary>Removes a file or directory on a way that has failed already, where a second error would hide the first.</summary>
    public static void TryDelete(string path)
    {
        try
        {
            if (Directory.Exists(path))
            {
                Directory.Delete(path, recursive: true);
            }
            else
            {
                File.Delete(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What stays is a leftover, which the next start of the store removes by its age.
        }
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(int fd);

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string existing, string link);

    [LibraryImport("kernel32", EntryPoint = "CreateHardLinkW", SetLastError = true, StringMarshalling = StringMarshalling.Utf16)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool CreateHardLink(string link, string existing, nint security);
}
