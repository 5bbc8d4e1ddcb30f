using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Quantization;

/// <summary>A tensor type for the tensors whose name matches a pattern.</summary>
/// <param name="Pattern">A regular expression (ECMAScript, as std::regex takes it), lower case, searched for in the tensor's name.</param>
/// <param name="Type">ggml's name of the type (<c>q8_0</c>).</param>
public sealed record TensorTypeOverride(string Pattern, string Type);

/// <summary>What to quantize and how: llama-quantize's parameters.</summary>
/// <param name="Input">A GGUF model, F32, F16 or BF16 unless <see cref="AllowRequantize"/>.</param>
/// <param name="Output">The file to write. Replaced when it exists; it must not be the input.</param>
/// <param name="Type">Name of the quantization type, see <see cref="LlamaQuantTypes"/>.</param>
public sealed record QuantizeRequest(string Input, string Output, string Type)
{
    /// <summary>An importance matrix in GGUF form, or null for none.</summary>
    public string? Imatrix { get; init; }

    /// <summary>
    /// The name of the importance matrix in the output's metadata, at most 127 bytes of UTF-8; null takes its file name. The library's
    /// tool writes the path, which would make equal files differ.
    /// </summary>
    public string? ImatrixName { get; init; }

    /// <summary>Type of <c>output.weight</c>, or null for the mixture's choice.</summary>
    public string? OutputTensorType { get; init; }

    /// <summary>Type of the token embeddings, or null for the mixture's choice.</summary>
    public string? TokenEmbeddingType { get; init; }

    /// <summary>Types by pattern; the first match decides.</summary>
    public IReadOnlyList<TensorTypeOverride> TensorTypes { get; init; } = [];

    /// <summary>All tensors get the same type instead of a mixture.</summary>
    public bool Pure { get; init; }

    /// <summary>Quantized tensors may be quantized again, at a loss.</summary>
    public bool AllowRequantize { get; init; }

    /// <summary><c>output.weight</c> stays as it is.</summary>
    public bool LeaveOutputTensor { get; init; }

    /// <summary>Numbers of layers to leave out, from 0.</summary>
    public IReadOnlyList<int> PruneLayers { get; init; } = [];

    /// <summary>Threads; 0 takes <see cref="HostThreads.Auto"/>. The bytes do not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Directory or libllama file of another build of llama.cpp; null for the environment's or the packaged one.</summary>
    public string? LibraryPath { get; init; }
}

/// <summary>A tensor of a plan or a result.</summary>
/// <param name="Name">Its name in the output.</param>
/// <param name="SourceType">Its type in the input.</param>
/// <param name="Type">Its type in the output.</param>
/// <param name="Elements">Number of weights.</param>
/// <param name="SqnrDecibels">
/// Signal to quantization noise ratio over the rows that were compared, dB; null when the type did not change, when the copy is exact,
/// and in a plan.
/// </param>
public sealed record QuantizedTensor(string Name, GgmlType SourceType, GgmlType Type, long Elements, double? SqnrDecibels = null);

/// <summary>What a quantization would give: the library's own decision for each tensor, without the work.</summary>
/// <param name="Form">Canonical name of the type.</param>
/// <param name="OutputBytes">Size of the output, within 2 KiB: the metadata's growth is estimated.</param>
/// <param name="BitsPerWeight">8 times the output's bytes over its weights.</param>
/// <param name="MissingImatrix">Whether it needs an importance matrix that the request lacks.</param>
/// <param name="FallbackTensors">Tensors whose row length does not fit the wanted type and that got another.</param>
/// <param name="Unchanged">Whether the input is the wanted form already, so that the output would be a copy.</param>
/// <param name="Tensors">The tensors, in the output's order.</param>
public sealed record QuantizePlan(
    string Form, long OutputBytes, double BitsPerWeight, bool MissingImatrix, int FallbackTensors, bool Unchanged, IReadOnlyList<QuantizedTensor> Tensors);

/// <summary>A quantized model that was read back, compared with its source and loaded.</summary>
/// <param name="Form">Canonical name of the type.</param>
/// <param name="Output">The file.</param>
/// <param name="OutputBytes">Its size.</param>
/// <param name="Parameters">Number of weights.</param>
/// <param name="BitsPerWeight">8 times the file's bytes over its weights.</param>
/// <param name="PrecisionClass"><c>1-2</c>, <c>3-4</c>, <c>5-8</c>, <c>half</c> or <c>full</c>.</param>
/// <param name="FallbackTensors">Tensors whose row length does not fit the wanted type and that got another.</param>
/// <param name="Tensors">The tensors, in the file's order.</param>
/// <param name="Seconds">Time that the library took to quantize.</param>
/// <param name="Library">The library that did it.</param>
public sealed record QuantizeResult(
    string Form,
    string Output,
    long OutputBytes,
    long Parameters,
    double BitsPerWeight,
    string PrecisionClass,
    int FallbackTensors,
    IReadOnlyList<QuantizedTensor> Tensors,
    double Seconds,
    LlamaLibraryInfo Library);
