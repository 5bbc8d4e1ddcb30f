using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>
/// An ONNX model, checked when it was loaded. Its weights are memory maps of the files that it was loaded from: the model must outlive
/// whatever reads them, and those files must not be changed while it lives.
/// </summary>
public sealed class OnnxModel : IDisposable
{
    /// <summary>The most bytes that one protobuf message may have, and so the most that a model without external data may have.</summary>
    public const long MaxProtobufBytes = int.MaxValue;

    // Leaves room below 2 GiB for the graph and for a runtime that adds to it.
    private const long ExternalThreshold = 1_500_000_000;
    private const int ExternalMinimumBytes = 1024;
    private const int ExternalAlignment = 4096;

    private readonly ExternalData? _external;
    private readonly MappedFile? _file;

    // Whose weights these are, where they are another model's.
    private OnnxModel? _owner;

    private OnnxModel(ModelProto proto, ExternalData? external, MappedFile? file) => (Proto, _external, _file) = (proto, external, file);

    /// <summary>The model itself. A pass edits it in place.</summary>
    public ModelProto Proto { get; }

    /// <summary>The main graph.</summary>
    public GraphProto Graph => Proto.Graph;

    /// <summary>Whether weights came from files beside the model.</summary>
    public bool HasExternalData => _external is { IsUsed: true };

    /// <summary>Version of the standard operator set; 1 where the model names none.</summary>
    public long Opset => OpsetOf("") is var version and > 0 ? version : 1;

    /// <summary>Wraps a model that the program made itself; it is not checked.</summary>
    public static OnnxModel Wrap(ModelProto proto) => new(proto, null, null);

    /// <summary>
    /// A copy for trying something out: nodes and signatures are its own, weights are this model's and must not be changed. It must not
    /// outlive this model.
    /// </summary>
    public OnnxModel CopySharingWeights()
    {
        var proto = Proto.WithoutGraph();
        var graph = Proto.Graph.WithoutInitializers();
        var copy = graph.Clone();
        copy.Initializer.AddRange(Proto.Graph.Initializer);
        proto.Graph = copy;
        return new OnnxModel(proto, null, null) { _owner = this };
    }

    /// <summary>
    /// Reads and checks a model and maps its external data. InvalidInput where it is no ONNX model, is truncated, contradicts itself,
    /// is cyclic, or reaches outside its directory; Unsupported where it is sound but beyond what this program reads.
    /// </summary>
    /// <param name="path">The .onnx file; external data is looked for beside it.</param>
    /// <param name="mapped">Whether weights stay in the file; without it the file may go away, and its weights are copied.</param>
    public static Outcome<OnnxModel> Load(string path, bool mapped = true)
    {
        ExternalData? external = null;
        MappedFile? file = null;
        try
        {
            (var proto, file) = Parse(path, mapped);
            external = new ExternalData(path);
            OnnxChecker.Check(proto, external, Path.GetFileName(path));
            var model = new OnnxModel(proto, external, file);
            (external, file) = (null, null);
            return model;
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        finally
        {
            external?.Dispose();
            file?.Dispose();
        }
    }

    /// <summary>Lets the system take back the memory of weights that were read; they are read from the file again when they are wanted.</summary>
    public void ReleasePages()
    {
        _owner?.ReleasePages();
        _file?.ReleasePages();
        _external?.ReleasePages();
    }

    /// <summary>Checks the model as <see cref="Load"/> does; null where it is sound.</summary>
    public Failure? Check()
    {
        try
        {
            OnnxChecker.Check(Proto, null, Proto.Graph?.Name ?? "model");
            return null;
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    /// <summary>Version of an operator set (empty: the standard one); 0 where the model does not import it.</summary>
    public long OpsetOf(string domain) =>
        Proto.OpsetImport.Where(o => SameDomain(o.Domain, domain)).Select(o => o.Version).DefaultIfEmpty(0).Max();

    /// <summary>Imports an operator set at least in this version.</summary>
    public void RequireOpset(string domain, long version)
    {
        var import = Proto.OpsetImport.FirstOrDefault(o => SameDomain(o.Domain, domain));
        if (import is null)
        {
            Proto.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = version });
        }
        else if (import.Version < version)
        {
            import.Version = version;
        }
    }

    /// <summary>Bytes of the whole model as one message, counted so that more than 2 GiB does not overflow.</summary>
    public long SerializedBytes()
    {
        var shell = Proto.WithoutGraph();
        long size = shell.CalculateSize();
        foreach (var tensor in Proto.Graph.Initializer)
        {
            size += tensor.CalculateSize() + 10L;
        }

        foreach (var node in Proto.Graph.Node)
        {
            size += node.CalculateSize() + 10L;
        }

        size += Proto.Graph.ValueInfo.Sum(v => v.CalculateSize() + 10L) + Proto.Graph.Input.Sum(v => v.CalculateSize() + 10L)
            + Proto.Graph.Output.Sum(v => v.CalculateSize() + 10L) + Proto.Graph.SparseInitializer.Sum(v => v.CalculateSize() + 10L);
        return size + 1024;
    }

    /// <summary>
    /// Writes the model atomically. Where it is too large for one message its weights go to a file beside it, named after it with
    /// <c>.data</c> added.
    /// </summary>
    /// <param name="path">The .onnx file to make or replace; not a file that this model was loaded from when it has external data.</param>
    /// <returns>All files written, the model first; Internal where the disk refuses.</returns>
    public Outcome<IReadOnlyList<string>> Save(string path) => Save(path, ExternalThreshold);

    /// <summary>As <see cref="Save(string)"/>, with the size given above which weights leave the model file.</summary>
    /// <param name="path">The .onnx file to make or replace.</param>
    /// <param name="externalThreshold">Bytes of the whole model; 0 for weights that are always in a file of their own, which ONNX Runtime maps and does not copy.</param>
    public Outcome<IReadOnlyList<string>> Save(string path, long externalThreshold)
    {
        var temporary = path + ".tmp";
        var dataPath = path + ".data";
        try
        {
            var proto = Proto;
            var files = new List<string> { path };
            if (SerializedBytes() > externalThreshold)
            {
                proto = WriteExternal(dataPath);
                files.Add(dataPath);
            }

            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0))
            using (var coded = new CodedOutputStream(stream, 1 << 20))
            {
                proto.WriteTo(coded);
            }

            File.Move(temporary, path, overwrite: true);
            return files;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            File.Delete(temporary);
            return new Failure(FailureType.Internal, $"'{path}' cannot be written: {e.Message}");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _external?.Dispose();
        _file?.Dispose();
    }

    internal static bool SameDomain(string a, string b) => Normal(a) == Normal(b);

    private static string Normal(string domain) => domain == "ai.onnx" ? "" : domain;

    private static (ModelProto Proto, MappedFile? Weights) Parse(string path, bool mapped)
    {
        using var handle = MappedFile.Open(path, "model");
        var length = RandomAccess.GetLength(handle);
        var name = Path.GetFileName(path);
        if (length == 0)
        {
            throw Invalid($"'{name}' is empty");
        }

        if (length > MaxProtobufBytes)
        {
            throw Invalid($"'{name}' has {length} bytes, a model file has at most {MaxProtobufBytes}: weights beyond that belong in external data");
        }

        var head = new byte[Math.Min(length, 4096)];
        head.AsSpan(RandomAccess.Read(handle, head, 0)..).Clear();
        if (LooksLikeText(head))
        {
            var why = head.AsSpan().StartsWith("version https://git-lfs"u8) ? "a Git LFS pointer; fetch the file itself (git lfs pull)" : "text";
            throw Invalid($"'{name}' is not an ONNX model: it holds {why}");
        }

        var map = new MappedFile(handle);
        try
        {
            var parser = ModelProto.Parser.WithDiscardUnknownFields(false);
            if (!mapped || WeightSplitter.Split(map) is not { } split)
            {
                return (parser.ParseFrom(map.Sequence()), null);
            }

            var proto = parser.ParseFrom(split.Slim);
            foreach (var (initializer, offset, bytes) in split.Pieces)
            {
                proto.Graph.Initializer[initializer].RawData = UnsafeByteOperations.UnsafeWrap(map.Slice(offset, bytes));
            }

            var weights = map;
            map = null;
            return (proto, weights);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw Invalid($"'{name}' ({length} bytes) is not an ONNX model or is truncated: {e.Message}");
        }
        finally
        {
            map?.Dispose();
        }
    }

    private static bool LooksLikeText(ReadOnlySpan<byte> head)
    {
        foreach (var b in head)
        {
            // Protobuf's own tags and lengths are control characters; text has none but these.
            if (b is < 0x20 and not ((byte)'\n' or (byte)'\r' or (byte)'\t'))
            {
                return false;
            }
        }

        return true;
    }

    private ModelProto WriteExternal(string dataPath)
    {
        var temporary = dataPath + ".tmp";
        var graph = Proto.Graph;
        var slim = Proto.WithoutGraph();
        slim.Graph = graph.WithoutInitializers();
        using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
        {
            foreach (var tensor in graph.Initializer)
            {
                if (!tensor.HasRawData || tensor.RawData.Length < ExternalMinimumBytes)
                {
                    slim.Graph.Initializer.Add(tensor);
                    continue;
                }

                stream.Position = (stream.Position + ExternalAlignment - 1) / ExternalAlignment * ExternalAlignment;
                var entry = new TensorProto { Name = tensor.Name, DataType = tensor.DataType, DataLocation = TensorProto.Types.DataLocation.External };
                entry.Dims.AddRange(tensor.Dims);
                entry.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = Path.GetFileName(dataPath) });
                entry.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = $"{stream.Position}" });
                entry.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = $"{tensor.RawData.Length}" });
                stream.Write(tensor.RawData.Span);
                slim.Graph.Initializer.Add(entry);
            }
        }

        File.Move(temporary, dataPath, overwrite: true);
        return slim;
    }

    private static FailureException Invalid(string message) => new(Failure.InvalidInput(message));
}
