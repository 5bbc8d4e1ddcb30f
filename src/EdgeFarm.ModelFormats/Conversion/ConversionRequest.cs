using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Conversion;

#pragma warning disable CA1707 // Q8_0 is the type's name in its field.
/// <summary>Type of the matrices in a converted file.</summary>
public enum ConversionOutType
{
    /// <summary>That of the checkpoint's first matrix if it is BF16 or F16, else F16.</summary>
    Auto,

    /// <summary>IEEE single precision.</summary>
    F32,

    /// <summary>IEEE half precision.</summary>
    F16,

    /// <summary>bfloat16.</summary>
    BF16,

    /// <summary>8-bit blocks; rows that are not a multiple of 32 become F16.</summary>
    Q8_0,
}
#pragma warning restore CA1707

/// <summary>What to convert.</summary>
/// <param name="SourceDirectory">A Hugging Face checkpoint directory.</param>
/// <param name="OutputPath">The GGUF file to write; replaced when it exists.</param>
/// <param name="OutType">Type of the matrices.</param>
/// <param name="Strict">Refuse what llama.cpp would load and compute differently, instead of warning.</param>
public sealed record ConversionRequest(string SourceDirectory, string OutputPath, ConversionOutType OutType = ConversionOutType.Auto, bool Strict = false)
{
    /// <summary>Name that <c>general.name</c> and the labels are derived from; null: the name of the source directory.</summary>
    public string? Name { get; init; }
}

/// <summary>How far a conversion is.</summary>
/// <param name="Stage">"write" or "verify".</param>
/// <param name="Tensor">The tensor that was just finished.</param>
/// <param name="BytesDone">Bytes of tensor data that this stage has finished.</param>
/// <param name="BytesTotal">Bytes of tensor data of the file.</param>
public sealed record ConversionProgress(string Stage, string Tensor, long BytesDone, long BytesTotal);

/// <summary>What a warning is about.</summary>
public enum ConversionWarningCode
{
    /// <summary>A sliding window that llama.cpp does not apply.</summary>
    SlidingWindowIgnored,

    /// <summary>A pattern of windowed and full layers other than the one that llama.cpp has built in.</summary>
    LayerPatternIgnored,

    /// <summary>Attention scores scaled by something other than what llama.cpp has built in.</summary>
    AttentionScaleIgnored,

    /// <summary>A scaling or base of the rotary embedding that the file cannot hold.</summary>
    RopeIgnored,

    /// <summary>An activation function other than the one that llama.cpp has built in.</summary>
    ActivationIgnored,

    /// <summary>An output matrix that is missing though the config says that it is not tied, or one that is left out.</summary>
    OutputTied,

    /// <summary>Attention in both directions.</summary>
    DirectionIgnored,

    /// <summary>Numbers too large for half precision became infinite.</summary>
    OverflowToInfinity,

    /// <summary>Text is split differently from the checkpoint's tokenizer.</summary>
    TokenizationDiffers,

    /// <summary>Text is not normalized (NFC) before it is split, which few texts notice.</summary>
    NormalizerIgnored,

    /// <summary>Scores of the vocabulary were derived from the merges, because tokenizer.model is missing.</summary>
    ScoresRecovered,

    /// <summary>Tokens without a row in the embedding were left out.</summary>
    TokensCut,

    /// <summary><c>general.name</c> was changed, because llama.cpp chooses Phi-3's tokenization by it.</summary>
    NameAdjusted,

    /// <summary>Matrices whose rows do not fit the quantized type's blocks became F16.</summary>
    StoredAsF16,
}

/// <summary>Something that a user of a converted file should know.</summary>
/// <param name="Code">What it is about.</param>
/// <param name="Message">One sentence with the names and numbers.</param>
/// <param name="ComputesDifferently">Whether llama.cpp computes something other than the checkpoint; strict conversions refuse that.</param>
public sealed record ConversionWarning(ConversionWarningCode Code, string Message, bool ComputesDifferently);

/// <summary>A finished conversion, read back and compared with its source.</summary>
/// <param name="Path">The file.</param>
/// <param name="Architecture">llama.cpp's name of the architecture.</param>
/// <param name="FileType">Type of the matrices.</param>
/// <param name="Bytes">Size of the file.</param>
/// <param name="Parameters">Number of weights.</param>
/// <param name="Tensors">The tensors.</param>
/// <param name="Warnings">What a user should know.</param>
/// <param name="Proof">How well the file, read back, matches the checkpoint.</param>
public sealed record ConversionReport(
    string Path,
    string Architecture,
    GgmlType FileType,
    long Bytes,
    long Parameters,
    IReadOnlyList<GgufTensor> Tensors,
    IReadOnlyList<ConversionWarning> Warnings,
    ConversionProof Proof);

/// <summary>What reading back showed.</summary>
/// <param name="TensorsCompared">Tensors that were decoded and compared with the checkpoint's.</param>
/// <param name="ExactTensors">Those that hold exactly the source's values.</param>
/// <param name="WorstSnr">Lowest signal-to-noise ratio of the others, decibels; infinite when there are none.</param>
/// <param name="WorstTensor">The tensor with it; null when all are exact.</param>
public sealed record ConversionProof(int TensorsCompared, int ExactTensors, double WorstSnr, string? WorstTensor);
