using System.Collections.Immutable;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.HuggingFace;

/// <summary>How far a download is.</summary>
/// <param name="File">The file that is being fetched.</param>
/// <param name="Done">Bytes that are here, those that were here already included.</param>
/// <param name="Total">Bytes of all files; 0 until it is known.</param>
public sealed record HubProgress(string File, long Done, long Total);

/// <summary>A checkpoint that came from the Hub.</summary>
/// <param name="Stored">The tree in the store.</param>
/// <param name="Commit">The commit that the revision stood for.</param>
/// <param name="FileName">The repository's own name, which converters take a model's name from.</param>
public sealed record HubArtifact(StoredArtifact Stored, string Commit, string FileName);

/// <summary>
/// Brings checkpoints of the Hub into a store, only the files that a checkpoint needs. The store is the cache: what it holds by SHA-256 is
/// not fetched again, whatever repository or commit it came with, and an interrupted download goes on where it was.
/// </summary>
/// <param name="client">The Hub.</param>
/// <param name="store">Takes the files.</param>
public sealed class HubDownload(HubClient client, IArtifactStore store)
{
    private const long MaxIndexBytes = 64 << 20;

    /// <summary>
    /// Fetches a checkpoint. InvalidInput for what is absent, gated, not authorized or not what the Hub says it is; Unsupported for a
    /// repository without a checkpoint in safetensors; Internal when the Hub cannot be reached or the store cannot be written.
    /// </summary>
    /// <param name="source">The model.</param>
    /// <param name="progress">Told how far it is, at most some ten times a second; may be null.</param>
    /// <param name="cancellation">Ends it; what arrived is kept.</param>
    public async Task<Outcome<HubArtifact>> FetchAsync(HubSource source, IProgress<HubProgress>? progress, CancellationToken cancellation)
    {
        try
        {
            var snapshot = await client.ResolveAsync(source, cancellation);
            var meter = new Meter(progress);
            var described = Check(snapshot.Describing());
            var weights = snapshot.Weights()!.Value;
            var entries = new List<TreeEntry>();
            if (snapshot.Find(HubSnapshot.IndexFile) is { } index)
            {
                // Repositories hold weights in other precisions and layouts beside those that the index names.
                await FetchAsync(snapshot, index, meter, entries, cancellation);
                weights = Check(snapshot.Shards(await ReadAsync(entries[0], source, cancellation)));
            }

            ImmutableArray<HubFile> files = [.. described, .. weights];
            meter.Total = files.Sum(f => f.Size ?? 0) + entries.Sum(e => e.Size);
            foreach (var file in files)
            {
                await FetchAsync(snapshot, file, meter, entries, cancellation);
            }

            var tree = Check(await store.CommitTreeAsync(Check(TreeManifest.Create(entries)), cancellation));
            return new HubArtifact(tree, snapshot.Commit, source.Name);
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    /// <summary>What a checkpoint's commit is and its files weigh, bytes, without fetching it. Where the list of files tells no sizes, 0.</summary>
    public async Task<Outcome<(string Commit, long Bytes)>> DescribeAsync(HubSource source, CancellationToken cancellation)
    {
        try
        {
            var snapshot = await client.ResolveAsync(source, cancellation);
            return (snapshot.Commit, Check(snapshot.Describing()).Concat(snapshot.Weights()!.Value).Sum(f => f.Size ?? 0));
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    private async Task FetchAsync(HubSnapshot snapshot, HubFile file, Meter meter, List<TreeEntry> entries, CancellationToken cancellation)
    {
        meter.File = file.Path;
        var stored = await new HubFileDownload(client, snapshot, store, meter.Add).FetchAsync(file, cancellation);
        entries.Add(new TreeEntry(file.Path, stored.Size, stored.Digest, Executable: false));
    }

    private async Task<byte[]> ReadAsync(TreeEntry entry, HubSource source, CancellationToken cancellation)
    {
        if (entry.Size > MaxIndexBytes)
        {
            throw new FailureException(Failure.InvalidInput($"{source}: {entry.Path} has {entry.Size} bytes; {MaxIndexBytes} is the most that is read of it"));
        }

        await using var stream = Check(await store.OpenReadAsync(entry.Digest, 0, cancellation));
        var bytes = new byte[entry.Size];
        await stream.ReadExactlyAsync(bytes, cancellation);
        return bytes;
    }

    private static T Check<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);

    /// <summary>Counts bytes and tells of them now and then.</summary>
    private sealed class Meter(IProgress<HubProgress>? progress)
    {
        private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);
        private long _done;
        private long _told;

        public string File { get; set; } = "";

        public long Total { get; set; }

        public void Add(long bytes)
        {
            _done += bytes;
            if (progress is not null && (_told == 0 || System.Diagnostics.Stopwatch.GetElapsedTime(_told) >= Interval || _done == Total))
            {
                _told = System.Diagnostics.Stopwatch.GetTimestamp();
                progress.Report(new HubProgress(File, _done, Total));
            }
        }
    }
}
