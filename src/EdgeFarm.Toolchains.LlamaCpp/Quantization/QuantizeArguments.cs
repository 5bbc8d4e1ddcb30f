using System.Globalization;
using System.Text;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Quantization;

/// <summary>A request, checked against its input: what the library would abort on or misread is refused here.</summary>
internal sealed class QuantizeArguments
{
    private readonly QuantizeRequest _request;
    private readonly GgmlType? _outputType;
    private readonly GgmlType? _embeddingType;
    private readonly List<(string Pattern, GgmlType Type)> _tensorTypes;
    private readonly int[] _pruned;
    private readonly ImportanceMatrix? _imatrix;

    /// <summary>Checks a request. InvalidInput names the parameter and the values that it takes.</summary>
    public QuantizeArguments(QuantizeRequest request, LlamaAbi abi)
    {
        _request = request;
        Type = LlamaQuantTypes.TryGet(request.Type, out var type)
            ? type
            : throw Invalid($"\"{request.Type}\" is no quantization type of llama.cpp; it has {string.Join(", ", LlamaQuantTypes.All.Select(known => known.Name))}");
        if (request.Threads is < 0 or > 512)
        {
            throw Invalid($"threads is {request.Threads}; 1 to 512 are possible, 0 chooses");
        }

        Source = GgufModelCheck.Read(request.Input, abi.MaxLayers);
        _outputType = TensorType("the output tensor's type", request.OutputTensorType);
        _embeddingType = TensorType("the token embeddings' type", request.TokenEmbeddingType);
        CheckRows(_outputType, "output.weight");
        CheckRows(_embeddingType, "token_embd.weight");
        _tensorTypes = [.. request.TensorTypes.Select(entry => entry.Pattern.Length > 0
            ? (entry.Pattern.ToLowerInvariant(), TensorType($"the type of tensors like {entry.Pattern}", entry.Type)!.Value)
            : throw Invalid("a pattern of tensor names is empty"))];
        _pruned = [.. request.PruneLayers.Distinct().Order()];
        CheckPruned();
        _imatrix = request.Imatrix is { } path ? ImportanceMatrix.Read(path) : null;
        Expected = [.. Source.Tensors.Select(tensor => (Name: OutputName(tensor.Name), Tensor: tensor)).Where(pair => pair.Name is not null)
            .Select(pair => KeyValuePair.Create(pair.Name!, pair.Tensor))];
    }

    public LlamaQuantType Type { get; }

    /// <summary>The input's head.</summary>
    public GgufFile Source { get; }

    public bool HasImatrix => _imatrix is not null;

    /// <summary>Name in the output and source tensor, in the source's order.</summary>
    public IReadOnlyList<KeyValuePair<string, GgufTensor>> Expected { get; }

    /// <summary>
    /// Whether the input is the wanted form already: nothing to do but copy it. The library would write the same model with its tensors in
    /// another order, and the baseline of a sweep would no longer be the file that was submitted.
    /// </summary>
    public bool IsIdentity(IReadOnlyList<QuantizedTensor> planned) =>
        _imatrix is null && _pruned.Length == 0
        && Source.Metadata["general.file_type"]?.AsInteger() == Type.Ftype
        && planned.All(tensor => tensor.SourceType == tensor.Type);

    /// <summary>The library's parameters; pointers live as long as the arena.</summary>
    public unsafe ParamsBuffer Build(LlamaLibrary library, NativeArena arena, bool dryRun)
    {
        var layout = library.Abi.Quantize;
        var parameters = library.Api.QuantizeDefaultParams();
        parameters.Set(layout.Threads, _request.Threads > 0 ? _request.Threads : HostThreads.Auto);
        parameters.Set(layout.Ftype, Type.Ftype);
        parameters.Set(layout.OutputType, _outputType is { } output ? (int)output : library.Abi.TypeCount);
        parameters.Set(layout.EmbeddingType, _embeddingType is { } embedding ? (int)embedding : library.Abi.TypeCount);
        parameters.Set(layout.AllowRequantize, _request.AllowRequantize);
        parameters.Set(layout.QuantizeOutput, !_request.LeaveOutputTensor);
        parameters.Set(layout.Pure, _request.Pure);
        parameters.Set(layout.DryRun, dryRun);
        if (_imatrix is not null)
        {
            parameters.Set(layout.Imatrix, (nint)ImatrixEntries(arena, _imatrix));
            parameters.Set(layout.KvOverrides, (nint)ImatrixMetadata(arena, _imatrix));
        }

        if (_tensorTypes.Count > 0)
        {
            parameters.Set(layout.TensorTypes, (nint)TensorTypeEntries(library, arena));
        }

        if (_pruned.Length > 0)
        {
            parameters.Set(layout.PruneLayers, (nint)arena.Copy<int>([.. _pruned, -1]));
        }

        return parameters;
    }

    private static unsafe byte* ImatrixEntries(NativeArena arena, ImportanceMatrix imatrix)
    {
        // {name, values, count} per entry; an entry without a name ends the array.
        var entries = arena.Allocate((imatrix.Entries.Count + 1) * LlamaAbi.ImatrixEntrySize);
        for (var i = 0; i < imatrix.Entries.Count; i++)
        {
            var entry = (nint*)(entries + (i * LlamaAbi.ImatrixEntrySize));
            entry[0] = (nint)arena.Text(imatrix.Entries[i].Key);
            entry[1] = (nint)arena.Copy<float>(imatrix.Entries[i].Value);
            entry[2] = imatrix.Entries[i].Value.Length;
        }

        return entries;
    }

    // The metadata that llama-quantize adds, in its order.
    private unsafe byte* ImatrixMetadata(NativeArena arena, ImportanceMatrix imatrix)
    {
        var entries = new List<(string Key, object Value)> { ("quantize.imatrix.file", _request.ImatrixName ?? Path.GetFileName(_request.Imatrix!)) };
        if (imatrix.Datasets.Count > 0)
        {
            entries.Add(("quantize.imatrix.dataset", imatrix.Datasets[0]));
        }

        entries.Add(("quantize.imatrix.entries_count", (long)imatrix.Entries.Count));
        if (imatrix.ChunkCount > 0)
        {
            entries.Add(("quantize.imatrix.chunks_count", (long)imatrix.ChunkCount));
        }

        const int integer = 0, text = 3;
        var overrides = arena.Allocate((entries.Count + 1) * LlamaAbi.KvOverrideSize);
        for (var i = 0; i < entries.Count; i++)
        {
            var entry = overrides + (i * LlamaAbi.KvOverrideSize);
            Encoding.UTF8.GetBytes(entries[i].Key).CopyTo(new Span<byte>(entry + LlamaAbi.KvOverrideKey, 127));
            if (entries[i].Value is string value)
            {
                *(int*)entry = text;
                var bytes = Encoding.UTF8.GetBytes(value);
                bytes.AsSpan(0, Math.Min(bytes.Length, LlamaAbi.KvOverrideTextMax)).CopyTo(new Span<byte>(entry + LlamaAbi.KvOverrideValue, LlamaAbi.KvOverrideTextMax));
            }
            else
            {
                *(int*)entry = integer;
                *(long*)(entry + LlamaAbi.KvOverrideValue) = (long)entries[i].Value;
            }
        }

        return overrides;
    }

    private unsafe byte* TensorTypeEntries(LlamaLibrary library, NativeArena arena)
    {
        // {pattern, type} per entry; an entry without a pattern ends the array.
        var entries = arena.Allocate((_tensorTypes.Count + 1) * LlamaAbi.TensorOverrideSize);
        for (var i = 0; i <= _tensorTypes.Count; i++)
        {
            var entry = entries + (i * LlamaAbi.TensorOverrideSize);
            *(nint*)entry = i < _tensorTypes.Count ? (nint)arena.Text(_tensorTypes[i].Pattern) : 0;
            *(int*)(entry + sizeof(nint)) = i < _tensorTypes.Count ? (int)_tensorTypes[i].Type : library.Abi.TypeCount;
        }

        return entries;
    }

    private static GgmlType? TensorType(string what, string? name) =>
        name is null ? null
        : LlamaQuantTypes.TryGetTensorType(name, out var type) ? type
        : throw Invalid($"{what} is \"{name}\"; weights can have {string.Join(", ", LlamaQuantTypes.TensorTypes)}");

    // For these two tensors the library applies the type without looking for one that fits.
    private void CheckRows(GgmlType? type, string name)
    {
        if (type is { } wanted && Source.Tensor(name) is { } tensor && tensor.Shape[0] % GgmlTypes.Get(wanted).BlockSize != 0)
        {
            throw Invalid($"{name} has rows of {tensor.Shape[0]} weights, which blocks of {GgmlTypes.Get(wanted).BlockSize} ({wanted}) do not divide");
        }
    }

    private void CheckPruned()
    {
        if (_pruned.Length == 0)
        {
            return;
        }

        var layers = Source.Tensors.Select(tensor => GgufModelCheck.Layer(tensor.Name)).Where(layer => layer >= 0).Distinct().Count();
        if (_pruned[0] < 0 || _pruned[^1] >= layers || _pruned.Length >= layers)
        {
            throw Invalid($"layers to leave out are {string.Join(", ", _pruned)}; {_request.Input} has layers 0 to {layers - 1}, and one must stay");
        }
    }

    private string? OutputName(string name)
    {
        var layer = GgufModelCheck.Layer(name);
        if (layer < 0 || _pruned.Length == 0)
        {
            return name;
        }

        return Array.BinarySearch(_pruned, (int)layer) >= 0
            ? null
            : string.Create(CultureInfo.InvariantCulture, $"blk.{layer - _pruned.Count(pruned => pruned < layer)}{name[name.IndexOf('.', 4)..]}");
    }

    private static FailureException Invalid(string message) => new(Failure.InvalidInput(message));
}
