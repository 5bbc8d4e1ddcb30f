namespace EdgeFarm.ModelFormats.Io;

/// <summary>Writes a file so that its name never stands for anything but the finished content.</summary>
public static class AtomicFile
{
    /// <summary>
    /// Lets <paramref name="write"/> fill a temporary file beside the target, flushes it to the disk and renames it onto the target.
    /// When <paramref name="write"/> or <paramref name="verify"/> throws, the temporary file is deleted and the target is untouched.
    /// </summary>
    /// <param name="path">The target. Its directory must exist; an existing file is replaced.</param>
    /// <param name="write">Writes the content.</param>
    /// <param name="verify">Looks at the finished temporary file, given its path, before it gets its name; may be null.</param>
    public static void Write(string path, Action<FileStream> write, Action<string>? verify = null)
    {
        ArgumentNullException.ThrowIfNull(write);
        var target = Path.GetFullPath(path);
        var temporary = $"{target}.{Guid.NewGuid():N}.partial";
        try
        {
            using (var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            verify?.Invoke(temporary);
            File.Move(temporary, target, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
