using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.IO.Hashing;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;
using Google.Protobuf;
using Link = EdgeFarm.Contracts.Link.V1;

namespace EdgeFarm.Actors.Workers;

/// <summary>Keeps the results that the farm has not acknowledged, over a worker's death.</summary>
public interface IResultStore
{
    /// <summary>Everything that is kept, e.g. from before a restart.</summary>
    Task<ImmutableArray<PendingResult>> LoadAsync(CancellationToken cancellationToken);

    /// <summary>Keeps a result; durable when it returns. Keeping one twice is harmless.</summary>
    Task KeepAsync(PendingResult result, CancellationToken cancellationToken);

    /// <summary>Forgets a result; an unknown one is fine.</summary>
    Task ForgetAsync(AttemptKey key, CancellationToken cancellationToken);
}

/// <summary>
/// A log in a directory: records of kept and of forgotten results, appended. What is asked for while a write is under way goes into
/// the next one, so that many results share one flush to the disk (it costs about a millisecond, whatever it holds). The log is
/// emptied when no result is left in it and rewritten when most of it is stale. What cannot be read, e.g. the tail that a power cut tore,
/// is set aside as <c>.broken</c>: its leases are lost and the farm runs the jobs again.
/// </summary>
/// <param name="directory">Directory of this worker alone; made on first use.</param>
public sealed class DiskResultStore(string directory) : IResultStore
{
    private const long RewriteFrom = 8 << 20;

    private sealed record Write(AttemptKey Key, byte[]? Kept, TaskCompletionSource Done);

    /// <summary>Guards what waits to be written; never held while the disk is waited for, because the worker's actor comes by here.</summary>
    private readonly Lock _lock = new();

    /// <summary>Guards the file and what is known to be in it.</summary>
    private readonly Lock _file = new();
    private readonly Dictionary<AttemptKey, byte[]> _live = [];
    private List<Write> _waiting = [];
    private bool _writing;
    private bool _read;

    private string LogPath => Path.Combine(directory, "results.log");

    /// <inheritdoc/>
    public Task<ImmutableArray<PendingResult>> LoadAsync(CancellationToken cancellationToken) => Task.Run(
        () =>
        {
            lock (_file)
            {
                ReadLog();
                return _live.Values.Select(Parse).ToImmutableArray();
            }
        },
        cancellationToken);

    /// <inheritdoc/>
    public Task KeepAsync(PendingResult result, CancellationToken cancellationToken)
    {
        var kept = new Link.KeptResult { Lease = LinkMapping.ToLink(result.Lease, 0), Outcome = LinkMapping.ToLink(result.Outcome) };
        return Append(result.Lease.Key, kept.ToByteArray()).WaitAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public Task ForgetAsync(AttemptKey key, CancellationToken cancellationToken) => Append(key, null).WaitAsync(cancellationToken);

    private Task Append(AttemptKey key, byte[]? kept)
    {
        var write = new Write(key, kept, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        lock (_lock)
        {
            _waiting.Add(write);
            if (!_writing)
            {
                _writing = true;
                Task.Run(WriteAll);
            }
        }

        return write.Done.Task;
    }

    private void WriteAll()
    {
        while (true)
        {
            List<Write> batch;
            lock (_lock)
            {
                if (_waiting.Count == 0)
                {
                    _writing = false;
                    return;
                }

                (batch, _waiting) = (_waiting, []);
            }

            try
            {
                WriteBatch(batch);
                batch.ForEach(w => w.Done.TrySetResult());
            }
            catch (Exception e)
            {
                // What reached the file is unknown: it is read again before the next write, and a half-written record cut off.
                lock (_file)
                {
                    _read = false;
                }

                batch.ForEach(w => w.Done.TrySetException(e));
            }
        }
    }

    private void WriteBatch(List<Write> batch)
    {
        lock (_file)
        {
            ReadLog();
            using var log = new FileStream(LogPath, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, 1);
            log.Seek(0, SeekOrigin.End);
            var records = new ArrayBufferWriter<byte>();
            var keeps = false;
            foreach (var write in batch)
            {
                if (write.Kept is { } kept)
                {
                    _live[write.Key] = kept;
                    keeps = true;
                    ResultLog.Append(records, ResultLog.Kept, kept);
                }
                else if (_live.Remove(write.Key))
                {
                    ResultLog.Append(records, ResultLog.Forgotten, LinkMapping.ToLink(write.Key).ToByteArray());
                }
            }

            if (_live.Count == 0)
            {
                // Nobody needs the records; when this is lost in a power cut the results are sent once more, and acknowledged unread.
                log.SetLength(0);
                return;
            }

            log.Write(records.WrittenSpan);
            if (keeps)
            {
                log.Flush(flushToDisk: true);
            }

            if (log.Length >= RewriteFrom && log.Length > 2 * _live.Values.Sum(v => (long)v.Length))
            {
                log.Dispose();
                Rewrite();
            }
        }
    }

    private void Rewrite()
    {
        var records = new ArrayBufferWriter<byte>();
        foreach (var kept in _live.Values)
        {
            ResultLog.Append(records, ResultLog.Kept, kept);
        }

        var part = LogPath + ".part";
        using (var file = new FileStream(part, FileMode.Create, FileAccess.Write, FileShare.None, 1))
        {
            file.Write(records.WrittenSpan);
            file.Flush(flushToDisk: true);
        }

        File.Move(part, LogPath, overwrite: true);
    }

    private void ReadLog()
    {
        if (_read)
        {
            return;
        }

        Directory.CreateDirectory(directory);
        _live.Clear();
        var bytes = File.Exists(LogPath) ? File.ReadAllBytes(LogPath) : [];
        var good = 0;
        while (ResultLog.TryRead(bytes.AsSpan(good), out var kind, out var body, out var length) && Replay(kind, body))
        {
            good += length;
        }

        if (good < bytes.Length)
        {
            File.WriteAllBytes(LogPath + ".broken", bytes[good..]);
            using var log = new FileStream(LogPath, FileMode.Open, FileAccess.Write);
            log.SetLength(good);
        }

        _read = true;
    }

    private bool Replay(byte kind, ReadOnlySpan<byte> body)
    {
        try
        {
            if (kind == ResultLog.Kept)
            {
                var kept = body.ToArray();
                _live[Parse(kept).Lease.Key] = kept;
                return true;
            }

            _live.Remove(LinkMapping.ToCore(Link.AttemptKey.Parser.ParseFrom(body)));
            return kind == ResultLog.Forgotten;
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or LinkProtocolException)
        {
            return false;
        }
    }

    private static PendingResult Parse(byte[] bytes)
    {
        var kept = Link.KeptResult.Parser.ParseFrom(bytes);
        return new PendingResult(LinkMapping.ToCore(kept.Lease ?? new Link.LeaseOffer()), LinkMapping.ToCore(kept.Outcome));
    }
}

/// <summary>The records of a result log: length of the body (4 bytes, little endian), CRC-32 of kind and body (4), kind (1), body.</summary>
internal static class ResultLog
{
    public const byte Kept = 1;
    public const byte Forgotten = 2;
    private const int HeaderBytes = 9;

    public static void Append(IBufferWriter<byte> to, byte kind, ReadOnlySpan<byte> body)
    {
        var record = to.GetSpan(HeaderBytes + body.Length);
        BinaryPrimitives.WriteInt32LittleEndian(record, body.Length);
        record[8] = kind;
        body.CopyTo(record[HeaderBytes..]);
        BinaryPrimitives.WriteUInt32LittleEndian(record[4..], Crc32.HashToUInt32(record[8..(HeaderBytes + body.Length)]));
        to.Advance(HeaderBytes + body.Length);
    }

    /// <summary>Reads the first record; false at the end and for a record that is not whole.</summary>
    public static bool TryRead(ReadOnlySpan<byte> from, out byte kind, out ReadOnlySpan<byte> body, out int length)
    {
        kind = 0;
        body = [];
        length = 0;
        if (from.Length < HeaderBytes)
        {
            return false;
        }

        var bodyBytes = BinaryPrimitives.ReadInt32LittleEndian(from);
        if (bodyBytes < 0 || bodyBytes > from.Length - HeaderBytes)
        {
            return false;
        }

        length = HeaderBytes + bodyBytes;
        kind = from[8];
        body = from[HeaderBytes..length];
        return BinaryPrimitives.ReadUInt32LittleEndian(from[4..]) == Crc32.HashToUInt32(from[8..length]);
    }
}
