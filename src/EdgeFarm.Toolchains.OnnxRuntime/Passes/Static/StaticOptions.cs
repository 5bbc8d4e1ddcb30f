using System.Text.RegularExpressions;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>Whose rules a QDQ model follows.</summary>
internal enum Flavour
{
    /// <summary>ONNX Runtime's CPU provider.</summary>
    Ort,

    /// <summary>Qualcomm's execution provider.</summary>
    Qnn,

    /// <summary>OpenVINO.</summary>
    OpenVino,
}

/// <summary>How QDQ nodes are laid out.</summary>
internal sealed record StaticOptions
{
    /// <summary>Whose rules are followed.</summary>
    public Flavour Flavour { get; init; }

    /// <summary>Type of activations.</summary>
    public DataType ActivationType { get; init; } = DataType.Uint8;

    /// <summary>Type of weights.</summary>
    public DataType WeightType { get; init; } = DataType.Int8;

    /// <summary>Whether activations are symmetric.</summary>
    public bool ActivationSymmetric { get; init; }

    /// <summary>Whether weights have a scale per output channel.</summary>
    public bool PerChannel { get; init; }

    /// <summary>Whether weights use half the codes.</summary>
    public bool ReduceRange { get; init; }

    /// <summary>Whether MatMul has scales per channel, too, where <see cref="PerChannel"/> is on.</summary>
    public bool PerChannelMatMul { get; init; } = true;

    /// <summary>Least width of a range; 0 for none.</summary>
    public float MinimumRealRange { get; init; }

    /// <summary>Whether Relu and Clip stay behind quantized operators.</summary>
    public bool KeepRemovableActivations { get; init; }

    /// <summary>Whether every reader of a value has a pair of QuantizeLinear and DequantizeLinear of its own.</summary>
    public bool DedicatedPairs { get; init; }

    /// <summary>Operators whose outputs stay floating point.</summary>
    public IReadOnlySet<string> OutputsLeft { get; init; } = new HashSet<string>();

    /// <summary>Types of single tensors by name, over the general ones; the first pattern that fits counts.</summary>
    public IReadOnlyList<(Regex Pattern, DataType Type)> Overrides { get; init; } = [];

    /// <summary>Whether only operators with a constant weight are quantized, and only what they read.</summary>
    public bool InputsOnly => Flavour == Flavour.OpenVino;

    /// <summary>The type that the user gives a tensor; null where he gives none.</summary>
    public DataType? Override(string tensor)
    {
        foreach (var (pattern, type) in Overrides)
        {
            if (pattern.IsMatch(tensor))
            {
                return type;
            }
        }

        return null;
    }

    /// <summary>The type in which an operator computes where no tensor of its has one of its own. OpenVINO runs convolutions of signed activations in float.</summary>
    public DataType TypeOf(NodeProto node) =>
        Flavour == Flavour.OpenVino && node.OpType is "Conv" or "ConvTranspose" && ActivationType == DataType.Int8 ? DataType.Uint8 : ActivationType;

    /// <summary>Range of an activation's codes.</summary>
    public QuantRange Activation(DataType type) => QuantRange.Of(type, ActivationSymmetric, reduce: false);

    /// <summary>Range of a weight's codes: signed types are symmetric, and all with a scale per channel, because integer kernels take one zero point.</summary>
    public QuantRange Weight(string tensor, bool perChannel)
    {
        var type = Override(tensor) ?? WeightType;
        return QuantRange.Of(type, IsSigned(type) || perChannel, ReduceRange);
    }

    /// <summary>Whether a weight gets a scale per channel on this operator. Qualcomm takes 4-bit convolution weights in no other way.</summary>
    public bool HasChannels(NodeProto node, string weight) => node.OpType switch
    {
        "MatMul" => PerChannel && PerChannelMatMul,
        "Conv" or "ConvTranspose" => PerChannel || (Flavour == Flavour.Qnn && (Override(weight) ?? WeightType) == DataType.Int4),
        _ => PerChannel,
    };

    private static bool IsSigned(DataType type) => type is DataType.Int8 or DataType.Int16 or DataType.Int4;
}
