using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using Microsoft.Win32.SafeHandles;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>
/// A read-only memory map of one file, handed out as <see cref="ReadOnlyMemory{T}"/>: weights of many gigabytes cost address space, not heap.
/// Memory that was handed out must not be used after <see cref="Dispose"/>.
/// </summary>
internal sealed unsafe partial class MappedFile : IDisposable
{
    private const int SegmentBytes = 1 << 30;
    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _start;

    /// <summary>Maps the whole of an open file; the handle may be closed afterwards.</summary>
    public MappedFile(SafeFileHandle handle)
    {
        Length = RandomAccess.GetLength(handle);
        if (Length == 0)
        {
            return;
        }

        _map = MemoryMappedFile.CreateFromFile(handle, null, Length, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        _view = _map.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _start);
    }

    /// <summary>Bytes of the file.</summary>
    public long Length { get; }

    /// <summary>A part of the file; the caller has checked that it lies inside.</summary>
    public ReadOnlyMemory<byte> Slice(long offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length - offset);
        return length == 0 ? ReadOnlyMemory<byte>.Empty : new Window(_start + offset, length).Memory;
    }

    /// <summary>The whole file as a sequence of segments, because one span holds at most 2 GiB.</summary>
    public ReadOnlySequence<byte> Sequence()
    {
        Segment? first = null, last = null;
        for (long offset = 0; offset < Length; offset += SegmentBytes)
        {
            var segment = new Segment(Slice(offset, (int)Math.Min(SegmentBytes, Length - offset)), offset);
            first ??= segment;
            last?.Append(segment);
            last = segment;
        }

        return first is null ? ReadOnlySequence<byte>.Empty : new ReadOnlySequence<byte>(first, 0, last!, last!.Memory.Length);
    }

    /// <summary>Takes the file's pages out of this process's memory until they are read again; nothing where the system is not Linux.</summary>
    public void ReleasePages()
    {
        const int DontNeed = 4;
        if (_start is not null && OperatingSystem.IsLinux())
        {
            // A refusal costs memory and nothing else.
            _ = Advise(_start, (nuint)Length, DontNeed);
        }
    }

    /// <summary>Opens a regular file for reading; anything else is InvalidInput.</summary>
    public static SafeFileHandle Open(string path, string what)
    {
        try
        {
            var attributes = File.GetAttributes(path);
            if ((attributes & FileAttributes.Directory) != 0)
            {
                throw Invalid($"{what} '{path}' is a directory, not a file");
            }

            if (!OperatingSystem.IsWindows() && !FileFacts.IsRegular(path))
            {
                throw Invalid($"{what} '{path}' is not a regular file");
            }

            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw Invalid($"{what} '{path}' does not exist");
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw Invalid($"{what} '{path}' cannot be opened: {e.Message}");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_view is not null)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _map!.Dispose();
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(byte* start, nuint length, int advice);

    private static FailureException Invalid(string message) => new(Failure.InvalidInput(message));

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, long index) => (Memory, RunningIndex) = (memory, index);

        public void Append(Segment next) => Next = next;
    }

    private sealed class Window(byte* start, int length) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => new(start, length);

        public override MemoryHandle Pin(int elementIndex = 0) => new(start + elementIndex);

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
