namespace EdgeFarm.ModelFormats.Inspect;

/// <summary>What kind of file a model is.</summary>
public enum ModelFormat
{
    /// <summary>A GGUF file.</summary>
    Gguf,

    /// <summary>A safetensors file.</summary>
    Safetensors,

    /// <summary>A Hugging Face checkpoint directory.</summary>
    Checkpoint,

    /// <summary>An ONNX file.</summary>
    Onnx,
}

/// <summary>A tensor of a model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Type of its elements, spelled as the format spells it.</param>
/// <param name="Shape">Extents, the outermost first whatever the format.</param>
/// <param name="Bytes">Size of its data.</param>
public sealed record TensorSummary(string Name, string Type, IReadOnlyList<long> Shape, long Bytes)
{
    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, (product, extent) => product * extent);
}

/// <summary>The tensors of one type.</summary>
/// <param name="Type">The type.</param>
/// <param name="Tensors">How many tensors.</param>
/// <param name="Parameters">How many elements they have together.</param>
/// <param name="Bytes">Size of their data together.</param>
public sealed record TypeSummary(string Type, int Tensors, long Parameters, long Bytes);

/// <summary>How a model's text is split.</summary>
/// <param name="Kind">Kind of vocabulary and, where there is one, pre-tokenizer.</param>
/// <param name="Tokens">Number of tokens.</param>
/// <param name="Bos">Id of the token that begins a text; null when there is none.</param>
/// <param name="Eos">Id of the token that ends a text; null when there is none.</param>
/// <param name="ChatTemplateDigest">SHA-256 of the default chat template's UTF-8 text; null when there is none.</param>
public sealed record TokenizerSummary(string Kind, int Tokens, int? Bos, int? Eos, string? ChatTemplateDigest);

/// <summary>What a model file or directory is.</summary>
public sealed record ModelSummary
{
    /// <summary>Path of the file or directory.</summary>
    public required string Path { get; init; }

    /// <summary>The format.</summary>
    public required ModelFormat Format { get; init; }

    /// <summary>The architecture, as the format names it; null when the file does not say.</summary>
    public string? Architecture { get; init; }

    /// <summary>The model's name; null when the file does not say.</summary>
    public string? Name { get; init; }

    /// <summary>Size of all files that make the model, bytes.</summary>
    public required long FileBytes { get; init; }

    /// <summary>Longest sequence, tokens; null when the file does not say.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Number of layers; null when the file does not say.</summary>
    public int? Layers { get; init; }

    /// <summary>The tokenizer; null when there is none.</summary>
    public TokenizerSummary? Tokenizer { get; init; }

    /// <summary>All tensors in the order of the file.</summary>
    public required IReadOnlyList<TensorSummary> Tensors { get; init; }

    /// <summary>What could not be told, and why; empty when nothing is missing.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>Number of weights.</summary>
    public long Parameters => Tensors.Sum(tensor => tensor.Elements);

    /// <summary>Bits of tensor data per weight; 0 when there are none.</summary>
    public double BitsPerWeight => Parameters == 0 ? 0 : 8.0 * Tensors.Sum(tensor => tensor.Bytes) / Parameters;

    /// <summary>The tensors by type, the largest share first.</summary>
    public IReadOnlyList<TypeSummary> Types =>
        [.. Tensors.GroupBy(tensor => tensor.Type)
            .Select(group => new TypeSummary(group.Key, group.Count(), group.Sum(tensor => tensor.Elements), group.Sum(tensor => tensor.Bytes)))
            .OrderByDescending(type => type.Bytes).ThenBy(type => type.Type, StringComparer.Ordinal)];
}
