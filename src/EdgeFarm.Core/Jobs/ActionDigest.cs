using System.Buffers;
using System.Collections.Immutable;
using System.Globalization;
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

    private const string ParameterPrefix = "parameter.";
    private const string InputPrefix = "input.";
    private const int MaxNameOnStack = 256;
    private static readonly string Schema = SchemaVersion.ToString(CultureInfo.InvariantCulture);

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? _buffer;

    [ThreadStatic]
    private static Utf8JsonWriter? _json;

    /// <summary>Name and text of each component, in digest order.</summary>
    public static ImmutableArray<KeyValuePair<string, string>> Components(
        JobKind kind,
        string operation,
        EngineIdentity engine,
        ImmutableSortedDictionary<string, string> parameters,
        ImmutableSortedDictionary<string, ArtifactRef> inputs)
    {
        var parts = ImmutableArray.CreateBuilder<KeyValuePair<string, string>>();
        parts.Add(new("schema", Schema));
        parts.Add(new("kind", kind.ToString()));
        parts.Add(new("operation", operation));
        parts.Add(new("engine", engine.Id));
        parts.Add(new("release", engine.Release));
        parts.Add(new("commit", engine.SourceCommit));
        foreach (var (name, value) in parameters)
        {
            parts.Add(new(ParameterPrefix + name, value));
        }

        foreach (var (name, artifact) in inputs)
        {
            parts.Add(new(InputPrefix + name, artifact.Digest.Hex));
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
        // A sweep of a million jobs asks a million times and more: the buffers are kept, and the components are written without being made.
        var buffer = _buffer ??= new ArrayBufferWriter<byte>(1024);
        var json = _json ??= new Utf8JsonWriter(buffer);
        buffer.ResetWrittenCount();
        json.Reset(buffer);
        json.WriteStartArray();
        Put(json, "schema", Schema);
        Put(json, "kind", kind.ToString());
        Put(json, "operation", operation);
        Put(json, "engine", engine.Id);
        Put(json, "release", engine.Release);
        Put(json, "commit", engine.SourceCommit);
        foreach (var (name, value) in parameters)
        {
            Put(json, ParameterPrefix, name, value);
        }

        foreach (var (name, artifact) in inputs)
        {
            Put(json, InputPrefix, name, artifact.Digest.Hex);
        }

        json.WriteEndArray();
        json.Flush();
        return Digest.Of(buffer.WrittenSpan);
    }

    private static void Put(Utf8JsonWriter json, string name, string value)
    {
        json.WriteStringValue(name);
        json.WriteStringValue(value);
    }

    private static void Put(Utf8JsonWriter json, string prefix, string name, string value)
    {
        var length = prefix.Length + name.Length;
        Span<char> full = length <= MaxNameOnStack ? stackalloc char[length] : new char[length];
        prefix.CopyTo(full);
        name.CopyTo(full[prefix.Length..]);
        json.WriteStringValue(full);
        json.WriteStringValue(value);
    }
}
