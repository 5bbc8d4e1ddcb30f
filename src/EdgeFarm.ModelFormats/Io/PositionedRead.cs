using Microsoft.Win32.SafeHandles;

namespace EdgeFarm.ModelFormats.Io;

/// <summary>Reads at a position without a shared cursor, so that several threads may read one file.</summary>
internal static class PositionedRead
{
    /// <summary>Fills the span from the offset on; <see cref="EndOfStreamException"/> when the file ends before.</summary>
    public static void Fill(SafeFileHandle handle, string path, long offset, Span<byte> target)
    {
        while (!target.IsEmpty)
        {
            var read = RandomAccess.Read(handle, target, offset);
            if (read == 0)
            {
                throw new EndOfStreamException($"{path} ends at byte {offset}; it became shorter while it was read");
            }

            target = target[read..];
            offset += read;
        }
    }
}
