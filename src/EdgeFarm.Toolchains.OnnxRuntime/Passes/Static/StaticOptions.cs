using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>How QDQ nodes are laid out.</summary>
internal sealed record StaticOptions
{
    /// <summary>Type of activations.</summary>
    public TensorProto.Types.DataType ActivationType { get; init; } = TensorProto.Types.DataType.Uint8;

    /// <summary>Type of weights.</summary>
    public TensorProto.Types.DataType WeightType { get; init; } = TensorProto.Types.DataType.Int8;

    /// <summary>Whether activations are symmetric.</summary>
    public bool ActivationSymmetric { get; init; }

    /// <summary>Whether weights are symmetric.</summary>
    public bool WeightSymmetric { get; init; } = true;

    /// <summary>Whether weights have a scale per output channel.</summary>
    public bool PerChannel { get; init; }

    /// <summary>Whether weights use half the codes.</summary>
    public bool ReduceRange { get; init; }

    /// <summary>Whether MatMul has scales per channel, too, where <see cref="PerChannel"/> is on.</summary>
    public bool PerChannelMatMul { get; init; } = true;

    /// <summary>Least width of an activation's range; 0 for none.</summary>
    public float MinimumRealRange { get; init; }

    /// <summary>Whether Relu and Clip stay behind quantized operators.</summary>
    public bool KeepRemovableActivations { get; init; }

    /// <summary>Whether every reader of a value has a pair of QuantizeLinear and DequantizeLinear of its own.</summary>
    public bool DedicatedPairs { get; init; }

    /// <summary>Operators whose outputs stay floating point.</summary>
    public IReadOnlySet<string> OutputsLeft { get; init; } = new HashSet<string>();

    /// <summary>Types of single tensors, over the general ones.</summary>
    public IReadOnlyDictionary<string, TensorProto.Types.DataType> Overrides { get; init; } = new Dictionary<string, TensorProto.Types.DataType>();

    /// <summary>Range of an activation's codes.</summary>
    public QuantRange Activation(string tensor) => QuantRange.Of(Overrides.GetValueOrDefault(tensor, ActivationType), ActivationSymmetric, reduce: false);

    /// <summary>Range of a weight's codes.</summary>
    public QuantRange Weight(string tensor) => Overrides.TryGetValue(tensor, out var type)
        ? QuantRange.Of(type, type is TensorProto.Types.DataType.Int8 or TensorProto.Types.DataType.Int16 or TensorProto.Types.DataType.Int4, ReduceRange)
        : QuantRange.Of(WeightType, WeightSymmetric, ReduceRange);
}
