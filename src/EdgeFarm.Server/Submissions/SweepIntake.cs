using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using EdgeFarm.Actors;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.Services;
using EdgeFarm.Server.SweepFiles;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Submissions;

/// <summary>Makes a submission out of a request: reads the file, resolves its sources, plans. Whatever is wrong is an RpcException.</summary>
internal sealed partial class SweepIntake(ToolchainCatalog catalog, SourceResolver sources, ModelShapeReader shapeReader, IFarm farm)
{
    private const int MaxRequestId = 128;
    private const int MaxSources = 1000;
    private const string IdAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    private const int IdSuffix = 6;

    /// <summary>The submission of a request.</summary>
    /// <param name="request">What the client sent.</param>
    /// <param name="needUploads">Whether <c>file:</c> sources must be in the store already.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<SweepSubmission> PrepareAsync(Wire.SubmitRequest request, bool needUploads, CancellationToken cancellationToken)
    {
        CheckRequest(request);
        var file = SweepFile.Parse(request.Yaml, catalog);
        if (file.Spec is not { } spec)
        {
            throw RpcErrors.InvalidFile(file.Errors);
        }

        var resolved = await sources.ResolveAsync(file, request.Sources, needUploads, cancellationToken);
        if (!resolved.Errors.IsEmpty)
        {
            throw RpcErrors.InvalidFile(resolved.Errors);
        }

        if (!resolved.Missing.IsEmpty)
        {
            var (field, digest) = resolved.Missing[0];
            throw RpcErrors.Precondition(digest.ToString(), $"{field}: {digest} is not uploaded completely; upload it (Artifacts.Upload) and submit again with the same request id");
        }

        spec = Pin(spec, request.Sources);
        var content = ContentDigest(request, resolved.Artifacts);
        var id = request.Id.Length > 0 ? request.Id : MakeId(spec.Name, request.RequestId);
        var fleet = new Lazy<Task<FleetView>>(() => farm.FleetAsync(cancellationToken));
        var devices = await CountDevicesAsync(spec, fleet);
        var shapes = await shapeReader.ReadAsync(spec.Models.ToDictionary(m => m.Id, m => resolved.Artifacts[m.Id]), cancellationToken);
        var errors = Planner.TryPlan(id, spec, resolved.Artifacts, catalog, out var plan, deviceCounts: devices, shapes: shapes);
        return errors.IsEmpty
            ? new SweepSubmission(id, request.RequestId, content, "", request.Yaml, spec, resolved.Artifacts, plan!, request.Fresh)
            {
                LibraryVariants = await VariantsAsync(plan!, fleet),
            }
            : throw RpcErrors.InvalidFile([.. errors.Select(e => file.ErrorAt(e.Path, e.Message))]);
    }

    /// <summary>Variants of the linked workers' runtimes, where some evaluation is compared with another.</summary>
    private static async Task<ImmutableArray<string>> VariantsAsync(SweepPlan plan, Lazy<Task<FleetView>> fleet)
    {
        if (!plan.Jobs.Any(j => j.IsReference))
        {
            return [];
        }

        return
        [
            .. (await fleet.Value).Workers.SelectMany(w => w.Capability.Runtimes)
                .SelectMany(r => r.Devices.Select(d => RuntimeInfo.VariantOn(d, r.LibraryVariant)))
                .Where(v => v.Length > 0).Distinct().Order(StringComparer.Ordinal),
        ];
    }

    /// <summary>Models of the Hub by the commit that was fetched: what a sweep says it measured must not move with a branch.</summary>
    private static SweepSpec Pin(SweepSpec spec, IDictionary<string, Wire.SourceFile> sources) => spec with
    {
        Models =
        [
            .. spec.Models.Select(m => HubSource.TryParse(m.Source, out var hub) && sources.TryGetValue(m.Id, out var file) && CommitPattern().IsMatch(file.Revision)
                ? m with { Source = (hub with { Revision = file.Revision }).ToString() }
                : m),
        ],
    };

    /// <summary>How many devices "each" means now: the distinct ones of linked workers that meet the target's conditions.</summary>
    private static async Task<ImmutableDictionary<string, int>> CountDevicesAsync(SweepSpec spec, Lazy<Task<FleetView>> fleet)
    {
        var each = spec.Targets.Where(t => t.Devices == 0).ToArray();
        if (each.Length == 0)
        {
            return ImmutableDictionary<string, int>.Empty;
        }

        var workers = (await fleet.Value).Workers;
        return each.ToImmutableDictionary(t => t.Id, t => Math.Max(1, workers
            .SelectMany(w => RequirementMatcher
                .Candidates(w.Capability, JobRequirements.None with { Properties = [.. t.Require.Select(r => new Requirement(r.Key, r.Value))] })
                .Select(d => (w.Capability.HostId, d.Id)))
            .Distinct().Count()));
    }

    private static void CheckRequest(Wire.SubmitRequest request)
    {
        if (request.RequestId.Length is 0 or > MaxRequestId)
        {
            throw RpcErrors.Invalid("request_id", $"must have 1 to {MaxRequestId} characters; a UUID will do");
        }

        if (request.Id.Length > 0 && !IdPattern().IsMatch(request.Id))
        {
            throw RpcErrors.Invalid("id", $"'{request.Id}' must be lower-case letters, digits, dots and dashes, start with a letter or digit, and have at most 64 characters");
        }

        if (request.Sources.Count > MaxSources)
        {
            throw RpcErrors.Invalid("sources", $"{request.Sources.Count} are too many; at most {MaxSources}");
        }
    }

    /// <summary>
    /// An id from the name and the request id: a repeated request makes the same one, so that its plan names the same jobs.
    /// </summary>
    private static string MakeId(string name, string requestId)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes(requestId));
        var suffix = string.Concat(hash.Take(IdSuffix).Select(b => IdAlphabet[b % IdAlphabet.Length]));
        var stem = NotInId().Replace(name.ToLowerInvariant(), "-").Trim('-', '.');
        return $"{(stem.Length == 0 ? "sweep" : stem[..Math.Min(stem.Length, 40)])}-{suffix}";
    }

    private static Digest ContentDigest(Wire.SubmitRequest request, ImmutableSortedDictionary<string, ArtifactRef> artifacts)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{request.Id}\n{request.Fresh}\n{Digest.OfText(request.Yaml)}\n");
        foreach (var (id, artifact) in artifacts)
        {
            text.Append(CultureInfo.InvariantCulture, $"{id}\n{artifact.Digest}\n{artifact.FileName}\n");
        }

        return Digest.OfText(text.ToString());
    }

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9.-]{0,63}\z")]
    private static partial Regex IdPattern();

    [GeneratedRegex(@"\A[0-9a-f]{40}\z")]
    private static partial Regex CommitPattern();

    [GeneratedRegex(@"[^a-z0-9.-]+")]
    private static partial Regex NotInId();
}
