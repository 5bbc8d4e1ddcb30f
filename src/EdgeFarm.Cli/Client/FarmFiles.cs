using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Workers;
using Grpc.Core;
using ArtifactKind = EdgeFarm.Core.Artifacts.ArtifactKind;
using Failure = EdgeFarm.Core.Jobs.Failure;

namespace EdgeFarm.Cli.Client;

/// <summary>Artifacts between the farm and files of this machine. A farm that goes away is told as such, whatever moves the bytes.</summary>
internal static class FarmFiles
{
    /// <summary>What the farm holds under a digest. <see cref="BadInputException"/> when it holds nothing.</summary>
    public static async Task<ArtifactRef> StatAsync(EdgeFarmClient farm, Digest digest, CancellationToken cancellation)
    {
        var stat = await farm.AwaitAsync(farm.Artifacts.StatAsync(new StatRequest { Digest = digest.ToString() }, cancellationToken: cancellation));
        return stat.Complete
            ? new ArtifactRef(digest, (ArtifactKind)stat.Artifact.Kind, stat.Artifact.Size, "", digest.Hex[..12])
            : throw new BadInputException($"the farm holds no artifact {digest}");
    }

    /// <summary>Fetches an artifact to a path that is not there yet.</summary>
    /// <param name="farm">The farm.</param>
    /// <param name="artifact">The artifact.</param>
    /// <param name="path">Where it appears, complete.</param>
    /// <param name="partial">Directory for what has arrived; kept after an interruption, so that the next fetch goes on there.</param>
    /// <param name="cancellation">Ends it.</param>
    public static async Task FetchAsync(EdgeFarmClient farm, ArtifactRef artifact, string path, string partial, CancellationToken cancellation)
    {
        var store = Check(DiskArtifactStore.Open(partial, TimeProvider.System));
        RpcException? broken = null;
        var artifacts = new FarmArtifacts(farm.Artifacts, store) { OnError = e => broken = e };
        Throw(await artifacts.FetchAsync(artifact, cancellation), broken, farm);
        Check(await store.MaterializeAsync(artifact.Digest, path, MaterializeMode.Copy, cancellation));
        Directory.Delete(partial, recursive: true);
    }

    /// <summary>Brings an artifact to the farm.</summary>
    public static async Task PushAsync(EdgeFarmClient farm, IBlobSource source, Digest digest, ArtifactKind kind, CancellationToken cancellation)
    {
        RpcException? broken = null;
        Throw(await FarmArtifacts.PushAsync(farm.Artifacts, source, digest, kind, cancellation, e => broken = e), broken, farm);
    }

    private static void Throw(Failure? failure, RpcException? broken, EdgeFarmClient farm)
    {
        if (failure is not null)
        {
            throw broken is null ? new FailureException(failure) : FarmCallException.From(broken, farm.Address);
        }
    }

    private static T Check<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);
}
