using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
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
/// One file per attempt in a directory, written beside its place, flushed to the disk and renamed. A file that cannot be read is
/// set aside as <c>.broken</c>: its lease is lost and the farm runs the job again.
/// </summary>
/// <param name="directory">Directory of this worker alone; made on first use.</param>
public sealed class DiskResultStore(string directory) : IResultStore
{
    private const string Extension = ".result";

    /// <inheritdoc/>
    public async Task<ImmutableArray<PendingResult>> LoadAsync(CancellationToken cancellationToken)
    {
        if (!Directory.Exists(directory))
        {
            return [];
        }

        var results = ImmutableArray.CreateBuilder<PendingResult>();
        foreach (var path in Directory.EnumerateFiles(directory, "*" + Extension).Order(StringComparer.Ordinal))
        {
            try
            {
                var kept = Link.KeptResult.Parser.ParseFrom(await File.ReadAllBytesAsync(path, cancellationToken));
                results.Add(new PendingResult(LinkMapping.ToCore(kept.Lease ?? new Link.LeaseOffer()), LinkMapping.ToCore(kept.Outcome)));
            }
            catch (Exception e) when (e is InvalidProtocolBufferException or LinkProtocolException)
            {
                File.Move(path, path + ".broken", overwrite: true);
            }
        }

        return results.ToImmutable();
    }

    /// <inheritdoc/>
    public async Task KeepAsync(PendingResult result, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(directory);
        var kept = new Link.KeptResult { Lease = LinkMapping.ToLink(result.Lease, 0), Outcome = LinkMapping.ToLink(result.Outcome) };
        var path = PathOf(result.Lease.Key);
        var part = path + ".part";
        await using (var file = new FileStream(part, FileMode.Create, FileAccess.Write, FileShare.None, 4096, FileOptions.Asynchronous))
        {
            await file.WriteAsync(kept.ToByteArray(), cancellationToken);
            file.Flush(flushToDisk: true);
        }

        File.Move(part, path, overwrite: true);
    }

    /// <inheritdoc/>
    public Task ForgetAsync(AttemptKey key, CancellationToken cancellationToken)
    {
        if (Directory.Exists(directory))
        {
            File.Delete(PathOf(key));
        }

        return Task.CompletedTask;
    }

    // A digest, because a job id holds a slash and comes from the network.
    private string PathOf(AttemptKey key) =>
        Path.Combine(directory, Digest.OfText($"{key.JobId}\n{key.Attempt}\n{key.Fence}").Hex + Extension);
}
