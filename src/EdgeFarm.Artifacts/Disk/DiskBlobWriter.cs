using System.Security.Cryptography;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Disk;

/// <summary>Writes one content to a temporary or partial file, hashing as it goes, and renames it into place.</summary>
internal sealed class DiskBlobWriter : IBlobWriter
{
    private readonly StoreLayout _layout;
    private readonly FileStream _stream;
    private readonly string _path;
    private readonly Digest? _expected;
    private readonly long? _size;
    private readonly bool _resumable;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private State _state;

    private DiskBlobWriter(StoreLayout layout, FileStream stream, string path, Digest? expected, long? size, bool resumable)
    {
        _layout = layout;
        _stream = stream;
        _path = path;
        _expected = expected;
        _size = size;
        _resumable = resumable;
    }

    private enum State
    {
        Open,
        Interrupted,
        Failed,
        Committed,
    }

    public long Offset { get; private set; }

    private string What => $"store {(_expected is { } digest ? digest.ToString() : "a new artifact")}";

    public static async Task<DiskBlobWriter> OpenAsync(StoreLayout layout, Digest? expected, long? size, CancellationToken cancellationToken)
    {
        if (expected is { } digest && TryOpenPartial(layout, digest) is { } partial)
        {
            var resumed = new DiskBlobWriter(layout, partial, layout.Partial(digest), expected, size, resumable: true);
            await resumed.HashExistingAsync(cancellationToken);
            return resumed;
        }

        var path = layout.NewTemp();
        return new DiskBlobWriter(layout, DurableFiles.CreateNew(path), path, expected, size, resumable: false);
    }

    /// <summary>Takes over a complete file in the store's file system, hashing what it holds; to be committed without further writes.</summary>
    public static async Task<DiskBlobWriter> AdoptAsync(StoreLayout layout, string path, CancellationToken cancellationToken)
    {
        var stream = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None, 0);
        var writer = new DiskBlobWriter(layout, stream, path, expected: null, size: null, resumable: true);
        await writer.HashExistingAsync(cancellationToken);
        return writer;
    }

    public Task<Outcome<long>> WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) =>
        GuardAsync(async () =>
        {
            if (_size is { } size && size - Offset < bytes.Length)
            {
                throw StoreFailures.InvalidInput(
                    $"cannot {What}: {bytes.Length} bytes at offset {Offset} go past its size of {size}; send exactly the announced bytes");
            }

            await _stream.WriteAsync(bytes, cancellationToken);
            _hash.AppendData(bytes.Span);
            Offset += bytes.Length;
            return Offset;
        });

    public async Task<Outcome<StoredArtifact>> CommitAsync(CancellationToken cancellationToken)
    {
        if (_state == State.Open && Offset < _size)
        {
            // Too few bytes are no reason to drop them: the sender may go on later.
            return Failure.InvalidInput($"cannot {What}: only {Offset} of {_size} bytes arrived; resume at offset {Offset}");
        }

        return await GuardAsync(() =>
        {
            var actual = Digest.FromHash(_hash.GetCurrentHash());
            if (_expected is { } expected && expected != actual)
            {
                throw StoreFailures.InvalidInput(
                    $"cannot {What}: the {Offset} bytes that arrived hash to {actual}; they were damaged on the way or the source has changed, send them again from offset 0");
            }

            Place(actual);
            return Task.FromResult(new StoredArtifact(actual, ArtifactKind.File, Offset));
        });
    }

    public async ValueTask DisposeAsync()
    {
        _hash.Dispose();
        await _stream.DisposeAsync();
        if (_state == State.Failed || (_state != State.Committed && !_resumable))
        {
            DurableFiles.TryDelete(_path);
        }
    }

    private void Place(Digest actual)
    {
        _stream.Flush(flushToDisk: true);
        DurableFiles.SetMode(_path, writable: false, executable: false);
        var target = _layout.Blob(actual);
        var folder = Path.GetDirectoryName(target)!;
        if (!Directory.Exists(folder))
        {
            Directory.CreateDirectory(folder);
            DurableFiles.SyncDirectory(_layout.Blobs);
        }

        // On Unix the lock must outlive the rename: see TryOpenPartial. Windows does not rename an open file.
        if (OperatingSystem.IsWindows())
        {
            _stream.Dispose();
        }

        if (File.Exists(target) && new FileInfo(target).Length == Offset)
        {
            File.Delete(_path);
        }
        else
        {
            File.Move(_path, target, overwrite: true);
        }

        _stream.Dispose();
        DurableFiles.SyncDirectory(folder);
        _state = State.Committed;
    }

    private async Task HashExistingAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (_size < _stream.Length)
            {
                _stream.SetLength(0);
            }

            var buffer = new byte[DurableFiles.BufferBytes];
            for (int read; (read = await _stream.ReadAsync(buffer, cancellationToken)) > 0; Offset += read)
            {
                _hash.AppendData(buffer, 0, read);
            }
        }
        catch
        {
            await DisposeAsync();
            throw;
        }
    }

    /// <summary>Opens the partial file of a digest under a lock; null when another writer holds it or it was committed meanwhile.</summary>
    private static FileStream? TryOpenPartial(StoreLayout layout, Digest digest)
    {
        if (File.Exists(layout.Blob(digest)))
        {
            return null;
        }

        FileStream stream;
        try
        {
            stream = new FileStream(layout.Partial(digest), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Locked by another writer, who may be gone by now. Where the cause is another, the temporary file fails for it too.
            return null;
        }

        // Opening and locking are two steps on Unix. A writer that held the lock may have renamed this very file to its blob in
        // between, so that what is locked here would be the committed blob; it has the name before it gives up the lock.
        if (File.Exists(layout.Blob(digest)))
        {
            stream.Dispose();
            return null;
        }

        return stream;
    }

    private async Task<Outcome<T>> GuardAsync<T>(Func<Task<T>> operation)
    {
        if (_state != State.Open)
        {
            throw new InvalidOperationException($"cannot {What}: the writer is {_state} already");
        }

        try
        {
            return await operation();
        }
        catch (OperationCanceledException)
        {
            // The file may hold a part of the last write: good for a resumption, which reads it again, but not for going on here.
            _state = State.Interrupted;
            throw;
        }
        catch (Exception e) when (StoreFailures.From(e, What) is not null)
        {
            _state = State.Failed;
            return StoreFailures.From(e, What)!;
        }
    }
}
