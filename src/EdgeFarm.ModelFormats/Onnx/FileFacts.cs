using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>What .NET does not tell about a file: how many names it has, and how much of it is really stored.</summary>
internal static partial class FileFacts
{
    private const int StatxBufferBytes = 256;
    private const int AtEmptyPath = 0x1000;
    private const int AtNoFollow = 0x100;
    private const int AtCurrentDirectory = -100;
    private const uint StatxBasic = 0x7ff;
    private const int TypeMask = 0xf000;
    private const int RegularFile = 0x8000;

    /// <summary>Whether the path, with symbolic links followed, is a regular file: a pipe or a device would block a reader or never end.</summary>
    public static bool IsRegular(string path)
    {
        if (!OperatingSystem.IsLinux())
        {
            return (File.GetAttributes(path) & FileAttributes.Device) == 0;
        }

        var facts = new byte[StatxBufferBytes];
        return Statx(AtCurrentDirectory, path, 0, StatxBasic, facts) == 0 && (BitConverter.ToUInt16(facts, 28) & TypeMask) == RegularFile;
    }

    /// <summary>Names (hard links) of an open file and the bytes that are allocated to it; null where the system does not tell.</summary>
    public static (long Links, long Allocated)? Of(SafeFileHandle handle)
    {
        if (OperatingSystem.IsLinux())
        {
            var facts = new byte[StatxBufferBytes];
            // The layout of struct statx is the same on every architecture: nlink at 16, blocks of 512 bytes at 48.
            return Statx((int)handle.DangerousGetHandle(), "", AtEmptyPath | AtNoFollow, StatxBasic, facts) == 0
                ? (BitConverter.ToUInt32(facts, 16), (long)BitConverter.ToUInt64(facts, 48) * 512)
                : null;
        }

        if (OperatingSystem.IsWindows() && GetFileInformationByHandle(handle, out var information))
        {
            return (information.NumberOfLinks, long.MaxValue);
        }

        return null;
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte[] buffer);

    [LibraryImport("kernel32.dll")]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool GetFileInformationByHandle(SafeFileHandle handle, out ByHandleFileInformation information);

    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private struct ByHandleFileInformation
    {
        public uint Attributes;
        public long CreationTime;
        public long LastAccessTime;
        public long LastWriteTime;
        public uint VolumeSerialNumber;
        public uint FileSizeHigh;
        public uint FileSizeLow;
        public uint NumberOfLinks;
        public uint FileIndexHigh;
        public uint FileIndexLow;
    }
}
