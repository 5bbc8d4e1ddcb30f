using System.Collections.Immutable;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.SweepFiles;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Submissions;

/// <summary>What a sweep's sources are.</summary>
/// <param name="Artifacts">Model or data set id to artifact.</param>
/// <param name="Errors">Sources that cannot be used.</param>
/// <param name="Missing">Sources that must be uploaded first: field and digest.</param>
internal sealed record ResolvedSources(
    ImmutableSortedDictionary<string, ArtifactRef> Artifacts,
    ImmutableArray<SweepFileError> Errors,
    ImmutableArray<(string Field, Digest Digest)> Missing);

/// <summary>Turns sources as written into artifacts. The farm opens nothing but its store and its own samples.</summary>
internal sealed class SourceResolver(IArtifactStore store, BundledContent bundled, HubFetcher hub)
{
    /// <summary>Resolves every source of a sweep; all errors come at once.</summary>
    /// <param name="file">The sweep file, for the places of errors.</param>
    /// <param name="uploads">What the client says its <c>file:</c> and <c>hf:</c> sources are.</param>
    /// <param name="needUploads">Whether they must be in the store; a dry run does without.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<ResolvedSources> ResolveAsync(
        SweepFile file, IReadOnlyDictionary<string, Wire.SourceFile> uploads, bool needUploads, CancellationToken cancellationToken)
    {
        var artifacts = ImmutableSortedDictionary.CreateBuilder<string, ArtifactRef>(StringComparer.Ordinal);
        var errors = ImmutableArray.CreateBuilder<SweepFileError>();
        var missing = ImmutableArray.CreateBuilder<(string, Digest)>();
        foreach (var (field, id, source) in Sources(file.Spec!))
        {
            var colon = source.IndexOf(':', StringComparison.Ordinal);
            var (scheme, rest) = (source[..colon], source[(colon + 1)..]);
            var resolved = scheme switch
            {
                "bundled" => await BundledAsync(rest, cancellationToken),
                "blob" => await StoredAsync(Digest.Parse(rest), cancellationToken),
                "hf" => await FetchedAsync(source, field, uploads.GetValueOrDefault(id), needUploads, cancellationToken),
                _ => await UploadedAsync(uploads.GetValueOrDefault(id), needUploads, cancellationToken),
            };
            if (resolved.Artifact is { } artifact)
            {
                artifacts[id] = artifact;
            }
            else if (resolved.Problem is { } problem)
            {
                var error = file.ErrorAt(field, problem);
                errors.Add(scheme == "bundled" ? WithNames(error, rest) : error);
            }
            else
            {
                missing.Add((field, resolved.Missing));
            }
        }

        return new ResolvedSources(artifacts.ToImmutable(), errors.ToImmutable(), missing.ToImmutable());
    }

    private static IEnumerable<(string Field, string Id, string Source)> Sources(SweepSpec spec) =>
        spec.Models.Select((m, i) => ($"spec.models[{i}].source", m.Id, m.Source))
            .Concat(spec.Data.Select((d, i) => ($"spec.data[{i}].source", d.Id, d.Source)));

    private SweepFileError WithNames(SweepFileError error, string name)
    {
        var names = bundled.Items.Select(i => i.Name).ToImmutableArray();
        return names.Contains(name) ? error : error with { Accepted = names, Suggestion = Suggestions.Nearest(name, names) };
    }

    private async Task<Resolved> BundledAsync(string name, CancellationToken cancellationToken)
    {
        var imported = await bundled.ImportAsync(name, store, cancellationToken);
        return imported switch
        {
            { IsOk: true } => new Resolved(imported.Value, null, default),
            { Failure.Type: FailureType.Internal } => throw new FailureException(imported.Failure),
            _ => new Resolved(null, imported.Failure!.Message, default),
        };
    }

    private async Task<Resolved> StoredAsync(Digest digest, CancellationToken cancellationToken)
    {
        var held = Unwrap(await store.StatAsync(digest, cancellationToken));
        return held is null
            ? new Resolved(null, $"the farm holds no artifact {digest}", default)
            : new Resolved(held.ToRef(await FormatAsync(held, "", cancellationToken), digest.Hex[..12]), null, default);
    }

    /// <summary>
    /// A model of the Hub is in the store before a sweep is accepted (Artifacts.Fetch): a submission answers at once, and what is gated or
    /// absent shows before any job. A dry run asks the Hub for its size alone.
    /// </summary>
    private async Task<Resolved> FetchedAsync(string text, string field, Wire.SourceFile? fetched, bool needUploads, CancellationToken cancellationToken)
    {
        if (!HubSource.TryParse(text, out var source) || field.StartsWith("spec.data", StringComparison.Ordinal))
        {
            return new Resolved(null, "only models come from the Hub; fetch a data set and use file:PATH", default);
        }

        if (fetched is not null)
        {
            return await UploadedAsync(fetched, needUploads, cancellationToken);
        }

        if (needUploads)
        {
            return new Resolved(null, "is not fetched yet; submit with 'edgefarm submit', or call Artifacts.Fetch first and send what it tells", default);
        }

        var described = await hub.DescribeAsync(source, cancellationToken);
        return described switch
        {
            { IsOk: true } => new Resolved(new ArtifactRef(Digest.OfText($"{source.Repository}@{described.Value.Commit}"), ArtifactKind.Tree, described.Value.Bytes, Toolchains.FormatNames.HuggingFace, source.Name), null, default),
            { Failure.Type: FailureType.Internal } => throw new FailureException(described.Failure),
            _ => new Resolved(null, described.Failure!.Message, default),
        };
    }

    private async Task<Resolved> UploadedAsync(Wire.SourceFile? upload, bool needUploads, CancellationToken cancellationToken)
    {
        if (upload is null)
        {
            return new Resolved(null, "is a file of the client's, and the client sent no digest for it; submit with 'edgefarm submit', or upload it and use blob:sha256:DIGEST", default);
        }

        var name = upload.FileName;
        if (!Digest.TryParse(upload.Digest, out var digest) || upload.Kind is not (Wire.ArtifactKind.File or Wire.ArtifactKind.Tree)
            || name.Length is 0 or > 255 || name.AsSpan().ContainsAny('/', '\\', '\0'))
        {
            return new Resolved(null, "was sent with a bad digest, kind or file name", default);
        }

        var held = Unwrap(await store.StatAsync(digest, cancellationToken));
        if (held is not null)
        {
            return new Resolved(held.ToRef(await FormatAsync(held, name, cancellationToken), name), null, default);
        }

        if (needUploads)
        {
            return new Resolved(null, null, digest);
        }

        var format = upload.Kind is Wire.ArtifactKind.Tree ? SourceFormat.OfTree([.. upload.Entries.Take(1000)]) : SourceFormat.OfFile(name, []);
        return new Resolved(new ArtifactRef(digest, (ArtifactKind)upload.Kind, Math.Max(0, upload.Size), format, name), null, default);
    }

    private async Task<string> FormatAsync(StoredArtifact held, string name, CancellationToken cancellationToken)
    {
        if (held.Kind is ArtifactKind.Tree)
        {
            var manifest = Unwrap(await store.ReadManifestAsync(held.Digest, cancellationToken));
            return SourceFormat.OfTree([.. manifest.Entries.Select(e => e.Path)]);
        }

        await using var stream = Unwrap(await store.OpenReadAsync(held.Digest, 0, cancellationToken));
        var head = new byte[SourceFormat.HeadBytes];
        var read = await stream.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken);
        return SourceFormat.OfFile(name, head.AsSpan(0, read));
    }

    private static T Unwrap<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);

    /// <summary>An artifact, or what is wrong with the source, or the digest that must be uploaded.</summary>
    private readonly record struct Resolved(ArtifactRef? Artifact, string? Problem, Digest Missing);
}
