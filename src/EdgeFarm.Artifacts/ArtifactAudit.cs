using System.Runtime.CompilerServices;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts;

/// <summary>An artifact that an audit found wanting.</summary>
/// <param name="Digest">The artifact that was asked about.</param>
/// <param name="Missing">Its contents (the manifest of a tree among them) that the store lacks.</param>
/// <param name="Corrupt">Its contents that did not hash to their name; they are in quarantine now.</param>
/// <param name="Failure">Why it could not be judged at all, or null.</param>
public sealed record AuditFinding(Digest Digest, IReadOnlyList<Digest> Missing, IReadOnlyList<Digest> Corrupt, Failure? Failure)
{
    /// <summary>Whether everything is there and hashes.</summary>
    public bool IsSound => Missing.Count == 0 && Corrupt.Count == 0 && Failure is null;
}

/// <summary>Verifies that artifacts exist and hash, contents of trees included.</summary>
public static class ArtifactAudit
{
    /// <summary>One finding for each distinct artifact, sound ones too, in the order given. A content that several share is hashed once.</summary>
    /// <param name="store">The store.</param>
    /// <param name="artifacts">What should be there. <see cref="ArtifactKind.Unspecified"/> is judged by what the store takes it for.</param>
    /// <param name="cancellationToken">Ends the audit.</param>
    public static async IAsyncEnumerable<AuditFinding> RunAsync(
        IArtifactStore store, IEnumerable<(Digest Digest, ArtifactKind Kind)> artifacts, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var known = new Dictionary<Digest, BlobState>();
        foreach (var (digest, kind) in artifacts.Distinct())
        {
            yield return await JudgeAsync(store, digest, kind, known, cancellationToken);
        }
    }

    private static async Task<AuditFinding> JudgeAsync(
        IArtifactStore store, Digest digest, ArtifactKind kind, Dictionary<Digest, BlobState> known, CancellationToken cancellationToken)
    {
        List<Digest> missing = [], corrupt = [];
        AuditFinding Finding(Failure? failure) => new(digest, missing, corrupt, failure);

        if (kind == ArtifactKind.Unspecified)
        {
            var stat = await store.StatAsync(digest, cancellationToken);
            kind = stat is { IsOk: true, Value: { } artifact } ? artifact.Kind : ArtifactKind.Unspecified;
        }

        var failure = await VerifyAsync(digest);
        if (failure is not null || missing.Count + corrupt.Count > 0 || kind != ArtifactKind.Tree)
        {
            return Finding(failure);
        }

        var manifest = await store.ReadManifestAsync(digest, cancellationToken);
        if (!manifest.IsOk)
        {
            return Finding(manifest.Failure);
        }

        foreach (var (blob, _) in manifest.Value.Blobs)
        {
            failure ??= await VerifyAsync(blob);
        }

        return Finding(failure);

        async Task<Failure?> VerifyAsync(Digest blob)
        {
            if (!known.TryGetValue(blob, out var state))
            {
                var verified = await store.VerifyAsync(blob, cancellationToken);
                if (!verified.IsOk)
                {
                    return verified.Failure;
                }

                known[blob] = state = verified.Value;
            }

            if (state != BlobState.Sound)
            {
                (state == BlobState.Missing ? missing : corrupt).Add(blob);
            }

            return null;
        }
    }
}
