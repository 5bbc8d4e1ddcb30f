using System.Collections.Immutable;
using System.Text.Json;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Jobs;

/// <summary>
/// The key of the result cache: SHA-256 over a canonical JSON array of a job's kind, operation, parameters, inputs and engine
/// build. Two jobs with one digest make the same thing. Its components stay readable, so that a miss can be explained.
/// </summary>
public static class ActionDigest
{
    /// <summary>Changes when the meaning of the components changes, so that old results are not taken for new ones.</summary>
    public const int SchemaVersion = 1;

    /// <summary>Name and text of each component, in digest order.</summary>
    public static ImmutableArray<KeyValuePair<string, string>> Components(
        JobKind kind,
        string operation,
        EngineIdentity engine,
        ImmutableSortedDictionary<string, string> parameters,
        ImmutableSortedDictionary<string, ArtifactRef> inputs)
    {
        var parts = ImmutableArray.CreateBuilder<KeyValuePair<string, string>>();
        parts.Add(new("schema", SchemaVersion.ToString(System.Globalization.CultureInfo.InvariantCulture)));
        parts.Add(new("kind", kind.ToString()));
        parts.Add(new("operation", operation));
        parts.Add(new("engine", engine.Id));
        parts.Add(new("release", engine.Release));
        parts.Add(new("commit", engine.SourceCommit));
        foreach (var (name, value) in parameters)
        {
            parts.Add(new($"parameter.{name}", value));
        }

        foreach (var (name, artifact) in inputs)
        {
            parts.Add(new($"input.{name}", artifact.Digest.Hex));
        }

        return parts.ToImmutable();
    }

    /// <summary>The digest of a job with known inputs.</summary>
    public static Digest Of(JobSpec spec, ImmutableSortedDictionary<string, ArtifactRef> inputs) =>
        Of(spec.Kind, spec.Operation, spec.Engine, spec.Parameters, inputs);

    /// <summary>The digest of its components.</summary>
    public static Digest Of(
        JobKind kind,
        string operation,
        EngineIdentity engine,
        ImmutableSortedDictionary<string, string> parameters,
        ImmutableSortedDictionary<string, ArtifactRef> inputs)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartArray();
            foreach (var (name, value) in Components(kind, operation, engine, parameters, inputs))
            {
                json.WriteStringValue(name);
                json.WriteStringValue(value);
            }

            json.WriteEndArray();
        }

        return Digest.Of(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
    }
}
