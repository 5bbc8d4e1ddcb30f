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
        Each(parts, static (to, prefix, name, value) => to.Add(new(prefix + name, value)), kind, operation, engine, parameters, inputs);
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
        Each(json, Put, kind, operation, engine, parameters, inputs);
        json.WriteEndArray();
        json.Flush();
        return Digest.Of(buffer.WrittenSpan);
    }

    /// <summary>Gives every component, in digest order, to a receiver: a prefix of its name, the rest of it, and its text.</summary>
    private static void Each<T>(
        T to,
        Action<T, string, string, string> put,
        JobKind kind,
        string operation,
        EngineIdentity engine,
        ImmutableSortedDictionary<string, string> parameters,
        ImmutableSortedDictionary<string, ArtifactRef> inputs)
    {
        put(to, "", "schema", Schema);
        put(to, "", "kind", kind.ToString());
        put(to, "", "operation", operation);
        put(to, "", "engine", engine.Id);
        put(to, "", "release", engine.Release);
        put(to, "", "commit", engine.SourceCommit);
        foreach (var (name, value) in parameters)
        {
            put(to, ParameterPrefix, name, value);
        }

        foreach (var (name, artifact) in inputs)
        {
            put(to, InputPrefix, name, artifact.Digest.Hex);
        }
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
