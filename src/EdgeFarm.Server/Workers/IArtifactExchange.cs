using EdgeFarm.Artifacts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Workers;

/// <summary>The farm's artifacts as a worker reaches them.</summary>
public interface IArtifactExchange
{
    /// <summary>Brings an artifact into the worker's store, verified; only what the store lacks is sent. Null when it is there.</summary>
    Task<Failure?> FetchAsync(ArtifactRef artifact, CancellationToken cancellationToken);

    /// <summary>Brings an artifact of the worker's store to the farm. Null when the farm has it.</summary>
    Task<Failure?> UploadAsync(StoredArtifact artifact, CancellationToken cancellationToken);
}

/// <summary>For a worker whose store is the farm's own, as in one process: nothing needs to move.</summary>
/// <param name="store">The store of both.</param>
public sealed class SharedArtifacts(IArtifactStore store) : IArtifactExchange
{
    /// <inheritdoc/>
    public Task<Failure?> FetchAsync(ArtifactRef artifact, CancellationToken cancellationToken) => FindAsync(artifact.Digest, cancellationToken);

    /// <inheritdoc/>
    public Task<Failure?> UploadAsync(StoredArtifact artifact, CancellationToken cancellationToken) => FindAsync(artifact.Digest, cancellationToken);

    private async Task<Failure?> FindAsync(Digest digest, CancellationToken cancellationToken)
    {
        var held = await store.StatAsync(digest, cancellationToken);
        return held.Failure ?? (held.Value is null ? new Failure(FailureType.Internal, $"the farm's store has no {digest}; submit its source again") : null);
    }
}
