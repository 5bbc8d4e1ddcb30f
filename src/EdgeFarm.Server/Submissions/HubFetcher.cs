using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains;

namespace EdgeFarm.Server.Submissions;

/// <summary>
/// Fetches models of the Hub into the farm's store. The farm downloads, not the user's machine: its network is the faster one, its store
/// is the cache for all of its users, and its token never travels.
/// </summary>
/// <param name="store">The farm's store.</param>
/// <param name="options">How the Hub is reached; asked for each time, so that what is wrong with it fails one call and no start.</param>
public sealed class HubFetcher(IArtifactStore store, Func<Outcome<HubOptions>> options)
{
    /// <summary>What a model is and weighs, without fetching it.</summary>
    public async Task<Outcome<(string Commit, long Bytes)>> DescribeAsync(HubSource source, CancellationToken cancellationToken)
    {
        var read = options();
        if (!read.IsOk)
        {
            return read.Failure!;
        }

        using var client = new HubClient(read.Value);
        return await new HubDownload(client, store).DescribeAsync(source, cancellationToken);
    }

    /// <summary>Fetches a model; its commit stands beside it.</summary>
    public async Task<Outcome<(ArtifactRef Artifact, string Commit)>> FetchAsync(HubSource source, IProgress<HubProgress> progress, CancellationToken cancellationToken)
    {
        var read = options();
        if (!read.IsOk)
        {
            return read.Failure!;
        }

        using var client = new HubClient(read.Value);
        var fetched = await new HubDownload(client, store).FetchAsync(source, progress, cancellationToken);
        return fetched.IsOk
            ? (fetched.Value.Stored.ToRef(FormatNames.HuggingFace, fetched.Value.FileName), fetched.Value.Commit)
            : fetched.Failure!;
    }
}
