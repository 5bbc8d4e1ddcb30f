using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>
/// Weights that a model keeps in files beside it. A model names those files itself, so each name is an attack until shown otherwise:
/// only plain files with one name, below the model's own directory, reached through no link.
/// </summary>
internal sealed class ExternalData(string modelPath) : IDisposable
{
    // A file with holes claims far more bytes than its author stored; below this size the waste is harmless.
    private const long SparseFloor = 64L << 20;
    private const int SparseRatio = 8;

    private readonly string _root = Path.GetDirectoryName(Path.GetFullPath(modelPath))!;
    private readonly Dictionary<string, MappedFile> _files = [];

    /// <summary>Whether any tensor was attached.</summary>
    public bool IsUsed => _files.Count > 0;

    /// <summary>Points the tensor's raw data at its bytes in the external file, which stays mapped until <see cref="Dispose"/>.</summary>
    public void Attach(TensorProto tensor)
    {
        var what = $"external data of tensor '{OnnxText.Clip(tensor.Name)}'";
        string? location = null;
        long offset = 0;
        long? length = null;
        foreach (var entry in tensor.ExternalData)
        {
            // Any other key is ignored: a key must never select a member to set (CVE-2026-34445).
            switch (entry.Key)
            {
                case "location":
                    location = entry.Value;
                    break;
                case "offset":
                    offset = Number(entry.Value, "offset", what);
                    break;
                case "length":
                    length = Number(entry.Value, "length", what);
                    break;
            }
        }

        var needed = OnnxTensors.ElementCount(tensor.Dims) is { } count ? OnnxTensors.RawLength(tensor.DataType, count) : null;
        if (needed is null || OnnxTensors.BitsPerElement(tensor.DataType) == 0)
        {
            throw Invalid($"{what}: its dimensions [{string.Join(',', tensor.Dims)}] of {OnnxTensors.TypeName(tensor.DataType)} have no size in bytes");
        }

        if (length is { } given && given != needed)
        {
            throw Invalid($"{what}: length says {given} bytes, its dimensions need {needed}");
        }

        if (needed > int.MaxValue)
        {
            throw new FailureException(Failure.Unsupported($"{what} has {needed} bytes; a single tensor of more than 2 GiB is not supported"));
        }

        var file = Open(location ?? "", what);
        if (offset > file.Length || needed > file.Length - offset)
        {
            throw Invalid($"{what}: bytes {offset} to {offset + (decimal)needed} are asked for, '{OnnxText.Clip(location!)}' has {file.Length}");
        }

        tensor.RawData = UnsafeByteOperations.UnsafeWrap(file.Slice(offset, (int)needed));
        tensor.ExternalData.Clear();
        tensor.ClearDataLocation();
    }

    /// <summary>As <see cref="MappedFile.ReleasePages"/>, of every file.</summary>
    public void ReleasePages()
    {
        foreach (var file in _files.Values)
        {
            file.ReleasePages();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var file in _files.Values)
        {
            file.Dispose();
        }
    }

    private MappedFile Open(string location, string what)
    {
        if (_files.TryGetValue(location, out var known))
        {
            return known;
        }

        var path = Resolve(location, what);
        using var handle = MappedFile.Open(path, what);
        if (FileFacts.Of(handle) is { } facts)
        {
            if (facts.Links > 1)
            {
                throw Invalid($"{what}: '{OnnxText.Clip(location)}' has {facts.Links} hard links, so it may be a file of somebody else; copy it");
            }

            var length = RandomAccess.GetLength(handle);
            if (length > SparseFloor && facts.Allocated < length / SparseRatio)
            {
                throw Invalid($"{what}: '{OnnxText.Clip(location)}' claims {length} bytes and stores {facts.Allocated}: a file with holes is not taken for weights");
            }
        }

        return _files[location] = new MappedFile(handle);
    }

    private string Resolve(string location, string what)
    {
        if (location.Length is 0 or > 1024 || location.Any(char.IsControl))
        {
            throw Invalid($"{what}: the location is empty, too long or has control characters");
        }

        var parts = location.Split('/', '\\');
        if (Path.IsPathRooted(location) || location.Contains(':', StringComparison.Ordinal) || parts[0].Length == 0)
        {
            throw Invalid($"{what}: location '{OnnxText.Clip(location)}' is absolute; it must lie beside the model");
        }

        if (parts.Contains(".."))
        {
            throw Invalid($"{what}: location '{OnnxText.Clip(location)}' leaves the model's directory through '..'");
        }

        var path = _root;
        foreach (var part in parts)
        {
            path = Path.Combine(path, part);
            if (new FileInfo(path).LinkTarget is not null)
            {
                throw Invalid($"{what}: location '{OnnxText.Clip(location)}' leads through a symbolic link");
            }
        }

        return path;
    }

    private static long Number(string text, string key, string what) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw Invalid($"{what}: {key} '{OnnxText.Clip(text)}' is not a number of bytes");

    private static FailureException Invalid(string message) => new(Failure.InvalidInput(message));
}
