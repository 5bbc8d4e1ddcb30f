using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.HuggingFace;

/// <summary>
/// Brings one file of a repository into a store: several ranges at once, written in order, so that the store hashes them as they come and
/// an interrupted download goes on where it was. A server that knows no ranges is read from the start. Throws <see cref="FailureException"/>.
/// </summary>
internal sealed class HubFileDownload(HubClient client, HubSnapshot snapshot, IArtifactStore store, Action<long> arrived)
{
    // Bytes that were damaged on the way may arrive sound the second time; a third is a server that has others.
    private const int Rounds = 2;

    private Uri? _location;

    /// <summary>Fetches the file, or finds it in the store by its SHA-256.</summary>
    public async Task<StoredArtifact> FetchAsync(HubFile file, CancellationToken cancellation)
    {
        if (file.Size is null || (file.Sha256 is null && file.GitId is null))
        {
            file = await client.DescribeAsync(snapshot, file.Path, cancellation);
        }

        if (file.Size is not { } size || (file.Sha256 is null && file.GitId is null))
        {
            throw Broken(file, $"{client.Options.Endpoint.Authority} tells no size or digest of it, so that nothing could be checked; use the Hub or a complete mirror");
        }

        if (file.Sha256 is { } digest && Check(await store.StatBlobAsync(digest, cancellation)) is { } held)
        {
            arrived(held);
            return new StoredArtifact(digest, ArtifactKind.File, held);
        }

        for (var round = 1; ; round++)
        {
            if (await TryAsync(file, size, cancellation) is { } stored)
            {
                return stored;
            }

            if (round == Rounds)
            {
                throw Broken(file, $"what arrives is not what the Hub says it is ({(file.Sha256 is { } sha ? sha.ToString() : $"git object {file.GitId}")}): it is damaged on the way, or the mirror holds something else");
            }

            arrived(-size);
        }
    }

    /// <summary>One download; null when the bytes are not those of the digest.</summary>
    private async Task<StoredArtifact?> TryAsync(HubFile file, long size, CancellationToken cancellation)
    {
        await using var writer = Check(await store.BeginWriteAsync(file.Sha256, size, cancellation));
        using var git = file.Sha256 is null ? GitHash(size) : null;
        arrived(writer.Offset);
        async Task WriteAsync(ReadOnlyMemory<byte> bytes)
        {
            git?.AppendData(bytes.Span);
            Check(await writer.WriteAsync(bytes, cancellation));
            arrived(bytes.Length);
        }

        try
        {
            await RangesAsync(file, size, () => writer.Offset, WriteAsync, cancellation);
        }
        catch (NoRangesException)
        {
            await WholeAsync(file, size, () => writer.Offset, WriteAsync, cancellation);
        }

        if (git is not null && Convert.ToHexStringLower(git.GetHashAndReset()) != file.GitId)
        {
            return null;
        }

        var stored = await writer.CommitAsync(cancellation);
        return stored.IsOk ? stored.Value
            : stored.Failure!.Type is FailureType.InvalidInput && writer.Offset == size ? null
            : throw new FailureException(stored.Failure);
    }

    private async Task RangesAsync(HubFile file, long size, Func<long> written, Func<ReadOnlyMemory<byte>, Task> write, CancellationToken cancellation)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var ahead = new Queue<Task<byte[]>>();
        var next = written();
        void Begin()
        {
            var count = (int)Math.Min(client.Options.RangeBytes, size - next);
            ahead.Enqueue(RangeAsync(file, size, next, count, ending.Token));
            next += count;
        }

        try
        {
            while (written() < size)
            {
                // The first range alone tells whether there are ranges, and where the bytes are.
                while (next < size && ahead.Count < (_location is null ? 1 : client.Options.Connections))
                {
                    Begin();
                }

                await write(await ahead.Dequeue());
            }
        }
        finally
        {
            await ending.CancelAsync();
            foreach (var task in ahead)
            {
                await task.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            }
        }
    }

    /// <summary>The bytes of a range. A connection that breaks is taken up where it was.</summary>
    private async Task<byte[]> RangeAsync(HubFile file, long size, long start, int count, CancellationToken cancellation)
    {
        var bytes = new byte[count];
        var filled = 0;
        return await client.RetryAsync(snapshot.Source, async token =>
        {
            using var answer = await OpenAsync(file, start + filled, count - filled, token);
            if (answer.StatusCode is not HttpStatusCode.PartialContent)
            {
                throw new NoRangesException();
            }

            var range = answer.Content.Headers.ContentRange;
            if (range?.From != start + filled || (range.HasLength && range.Length != size))
            {
                throw Broken(file, $"bytes from {start + filled} of {size} were asked for, '{range}' was answered");
            }

            await using var stream = await answer.Content.ReadAsStreamAsync(token);
            while (filled < count)
            {
                var read = await StalledRead.ReadAsync(stream, bytes.AsMemory(filled), client.Options.StallTimeout, token);
                filled += read > 0 ? read : throw new IOException($"the connection ended {count - filled} bytes early");
            }

            return bytes;
        }, cancellation);
    }

    /// <summary>Reads the file from its start, past what is written already.</summary>
    private async Task WholeAsync(HubFile file, long size, Func<long> written, Func<ReadOnlyMemory<byte>, Task> write, CancellationToken cancellation)
    {
        var piece = new byte[256 * 1024];
        await client.RetryAsync(snapshot.Source, async token =>
        {
            using var answer = await OpenAsync(file, 0, size, token);
            await using var stream = await answer.Content.ReadAsStreamAsync(token);
            for (long position = 0; position < size;)
            {
                var read = await StalledRead.ReadAsync(stream, piece.AsMemory(0, (int)Math.Min(piece.Length, size - position)), client.Options.StallTimeout, token);
                if (read == 0)
                {
                    throw new IOException($"the connection ended {size - position} bytes early");
                }

                var known = (int)Math.Clamp(written() - position, 0, read);
                if (known < read)
                {
                    await write(piece.AsMemory(known, read - known));
                }

                position += read;
            }

            return true;
        }, cancellation);
    }

    /// <summary>Opens a range where the last one was found; an address that has expired is asked for anew.</summary>
    private async Task<HttpResponseMessage> OpenAsync(HubFile file, long offset, long count, CancellationToken cancellation)
    {
        var location = _location;
        try
        {
            var answer = await client.OpenAsync(snapshot, file.Path, location, offset, count, cancellation);
            _location ??= answer.RequestMessage?.RequestUri;
            return answer;
        }
        catch (FailureException) when (location is not null)
        {
            _location = null;
            return await client.OpenAsync(snapshot, file.Path, null, offset, count, cancellation);
        }
    }

    // Git names a content by the SHA-1 of a header and the content; it is the only digest that the Hub tells of small files.
#pragma warning disable CA5350 // The algorithm is git's.
    private static IncrementalHash GitHash(long size)
    {
        var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
        hash.AppendData(Encoding.ASCII.GetBytes($"blob {size.ToString(CultureInfo.InvariantCulture)}\0"));
        return hash;
    }
#pragma warning restore CA5350

    private FailureException Broken(HubFile file, string what) => new(Failure.InvalidInput($"{snapshot.Source}, file {file.Path}: {what}"));

    private static T Check<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);

    private sealed class NoRangesException : Exception;
}
