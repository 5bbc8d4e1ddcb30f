using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>What is done to a tensor's values on their way.</summary>
internal enum TensorTransform
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>One is added: the format multiplies by the weight, the checkpoint's norm by 1 + weight.</summary>
    AddOne,

    /// <summary>
    /// The rows of each head are interleaved: ggml's Llama rotates neighbours, the checkpoint the two halves of a head. New row 2i + j
    /// of a head of d rows is old row j * d/2 + i.
    /// </summary>
    InterleaveHeads,
}

/// <summary>A tensor of the output: either generated, or a checkpoint's with a transform.</summary>
/// <param name="Spec">Name, type and shape in the file.</param>
/// <param name="Source">The checkpoint's tensor; null for a generated one.</param>
/// <param name="Transform">What is done to its values.</param>
/// <param name="Heads">Heads that <see cref="TensorTransform.InterleaveHeads"/> divides the rows into.</param>
/// <param name="Generated">Values of a generated tensor; else empty.</param>
internal sealed record PlannedTensor(GgufTensorSpec Spec, CheckpointTensor? Source, TensorTransform Transform, int Heads, float[] Generated);
