using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Qnn;

/// <summary>What Qualcomm's NPU makes of an operator between QuantizeLinear and DequantizeLinear.</summary>
internal enum QnnVerdict
{
    /// <summary>Taken and computed in integers.</summary>
    Accepted,

    /// <summary>Taken and computed in floating point.</summary>
    Float,

    /// <summary>Taken and computed wrongly.</summary>
    Wrong,

    /// <summary>Refused.</summary>
    Refused,

    /// <summary>Never put to the validator.</summary>
    Unknown,
}

/// <summary>One operator as the validator sees it; a null type is floating point.</summary>
/// <param name="OpType">The operator.</param>
/// <param name="Input">Type of its first input.</param>
/// <param name="Output">Type of its output.</param>
internal sealed record QnnForm(string OpType, DataType? Input, DataType? Output)
{
    /// <summary>Type of the second input where that is a value.</summary>
    public DataType? Second { get; init; }

    /// <summary>Whether there is a second input that is a value.</summary>
    public bool HasSecond { get; init; }

    /// <summary>Type of the constant weight (or gamma).</summary>
    public DataType? Weight { get; init; }

    /// <summary>Whether there is a constant weight.</summary>
    public bool HasWeight { get; init; }

    /// <summary>Whether the weight has a scale per channel.</summary>
    public bool PerChannel { get; init; }

    /// <summary>Whether every zero point of the weight is the middle code.</summary>
    public bool Symmetric { get; init; } = true;

    /// <summary>Whether it is a convolution of each channel alone.</summary>
    public bool Depthwise { get; init; }

    /// <summary>Whether its output's zero point is the middle code, behind a Clip or Relu.</summary>
    public bool ClippedSymmetric { get; init; }
}

/// <summary>
/// The rules of Qualcomm's provider (QAIRT 2.51) for QDQ operators, as recorded from its validator and its emulation. Where architectures
/// differ the oldest, v68, is followed, unless another is asked for: what it takes all take.
/// </summary>
internal static class QnnRules
{
    private const int Oldest = 68;
    private const int First16 = 73;
    private const int MaxNamed = 5;

    private static readonly HashSet<string> ElementWise = new(StringComparer.Ordinal) { "Add", "Sub", "Mul", "Div", "Max", "Min", "Pow" };

    private static readonly HashSet<string> Recorded = new(StringComparer.Ordinal)
    {
        "Sigmoid", "Tanh", "Softmax", "Gelu", "Elu", "HardSwish", "Relu", "Exp", "Sqrt", "Abs", "Neg", "Floor", "Log", "Sin", "Softplus", "LeakyRelu", "ReduceMean", "GlobalAveragePool",
        "HardSigmoid", "Mish", "Round", "Sign", "LogSoftmax", "Concat", "Transpose",
        // Never alone, but in whole networks that ran in integers (../onnx-static).
        "Reshape", "Flatten", "Clip",
    };

    /// <summary>Judges one operator.</summary>
    /// <param name="form">The operator.</param>
    /// <param name="architecture">The NPU's architecture: 68 to 81.</param>
    public static QnnVerdict Judge(QnnForm form, int architecture = Oldest)
    {
        var verdict = form.OpType switch
        {
            "Erf" => QnnVerdict.Refused,
            "Conv" or "ConvTranspose" => Convolution(form, architecture),
            "MatMul" or "Gemm" when form.HasWeight => Multiplication(form, architecture),
            "MatMul" when form.HasSecond => Product(form, architecture),
            "LayerNormalization" => LayerNormalization(form, architecture),
            "InstanceNormalization" => form.Input is DataType.Uint8 or DataType.Uint16 && form.Weight is DataType.Uint8 or DataType.Int8 ? QnnVerdict.Accepted
                : form.Input is DataType.Int8 ? QnnVerdict.Refused
                : QnnVerdict.Unknown,
            "GlobalAveragePool" when form.Input == DataType.Int16 => QnnVerdict.Refused,
            "Pow" when form.Input == DataType.Int16 => QnnVerdict.Refused,
            _ when ElementWise.Contains(form.OpType) => Same(form),
            _ when Recorded.Contains(form.OpType) => Same(form),
            _ => QnnVerdict.Unknown,
        };
        // Without any integer input and output nothing was quantized: that is the graph's doing, not the operator's form.
        return verdict == QnnVerdict.Accepted && form.ClippedSymmetric ? QnnVerdict.Wrong : verdict;
    }

    /// <summary>Refuses options with which no form is taken by every NPU.</summary>
    /// <exception cref="FailureException">InvalidInput.</exception>
    public static void RefuseOptions(StaticOptions options)
    {
        if (options.ActivationType is not (DataType.Uint8 or DataType.Uint16) || options.Overrides.Any(o => o.Type == DataType.Int16))
        {
            throw new FailureException(Failure.InvalidInput("flavour qnn takes activation_type uint8 or uint16: signed ones are refused by layer normalization, depthwise convolution and others"));
        }

        if (options.WeightType is not (DataType.Int8 or DataType.Uint8 or DataType.Int4))
        {
            throw new FailureException(Failure.InvalidInput("flavour qnn takes weight_type int8, uint8 or int4: NPUs before v73 refuse weights of 16 bits"));
        }

        if (options.ActivationSymmetric)
        {
            throw new FailureException(Failure.InvalidInput("flavour qnn takes no activation_symmetric: the NPU computes Clip behind a convolution wrongly with it"));
        }

        if (options.DedicatedPairs)
        {
            throw new FailureException(Failure.InvalidInput("flavour qnn takes no dedicated_qdq_pair: no context binary can be made of such a model"));
        }
    }

    /// <summary>Refuses operators that no form of quantization makes acceptable.</summary>
    /// <exception cref="FailureException">Unsupported.</exception>
    public static void RefuseOperators(OnnxModel model)
    {
        var refused = model.Graph.Node.Where(n => n.Is("Erf")).Select(PassNodes.Label).ToList();
        if (refused.Count > 0)
        {
            throw new FailureException(Failure.Unsupported(
                $"Qualcomm's NPU takes Erf in no form, and the model has {refused.Count} ({Few(refused)}); run QnnPreparation first: it makes Gelu of the usual pattern"));
        }
    }

    /// <summary>Looks at every operator of a written model.</summary>
    /// <param name="model">With QuantizeLinear and DequantizeLinear.</param>
    /// <param name="notes">Takes what was counted.</param>
    /// <returns>What the user should know.</returns>
    /// <exception cref="FailureException">Unsupported: an operator has a form that is refused or computed wrongly.</exception>
    public static IReadOnlyList<string> Prove(OnnxModel model, List<string> notes)
    {
        var judged = QnnForms.Of(model).Select(f => (f.Node, f.Form, Verdict: Judge(f.Form))).ToList();
        var bad = judged.Where(j => j.Verdict is QnnVerdict.Refused or QnnVerdict.Wrong).Select(j => $"{PassNodes.Label(j.Node)} ({j.Node.OpType}, {Describe(j.Form)})").ToList();
        if (bad.Count > 0)
        {
            throw new FailureException(Failure.Unsupported($"{bad.Count} operators would have a form that Qualcomm's NPU refuses or computes wrongly: {Few(bad)}"));
        }

        notes.Add($"{judged.Count(j => j.Verdict == QnnVerdict.Accepted)} of {judged.Count} operators have a form that Qualcomm's validator took and computed in integers, on every NPU from v68");
        var warnings = new List<string>();
        var floats = judged.Where(j => j.Verdict == QnnVerdict.Float).Select(j => $"{PassNodes.Label(j.Node)} ({j.Node.OpType})").ToList();
        if (floats.Count > 0)
        {
            warnings.Add($"{floats.Count} operators stay floating point on the NPU: {Few(floats)}");
        }

        var unknown = judged.Where(j => j.Verdict == QnnVerdict.Unknown).GroupBy(j => j.Node.OpType).OrderByDescending(g => g.Count()).Select(g => $"{g.Key} ({g.Count()})").ToList();
        if (unknown.Count > 0)
        {
            warnings.Add($"nothing is known about what the NPU makes of {Few(unknown)}: compile before you rely on it");
        }

        var open = model.Graph.Input.Where(i => i.Type?.TensorType?.Shape is not { } shape || shape.Dim.Any(d => !d.HasDimValue || d.DimValue < 1)).Select(i => i.Name).ToList();
        if (open.Count > 0)
        {
            warnings.Add($"Qualcomm's NPU takes fixed shapes only, and those of {Few(open)} are open; run QnnPreparation first");
        }

        return warnings;
    }

    private static QnnVerdict Convolution(QnnForm form, int architecture)
    {
        if (form.Input is not { } input || form.Output != input || form is not { HasWeight: true, Weight: { } weight })
        {
            return form.Input is null && form.Output is null ? QnnVerdict.Float : QnnVerdict.Refused;
        }

        if ((form.PerChannel && !form.Symmetric) || (form.Depthwise && input == DataType.Int16))
        {
            return QnnVerdict.Refused;
        }

        var taken = weight switch
        {
            DataType.Int8 => true,
            DataType.Uint8 => input is DataType.Uint8 or DataType.Uint16,
            DataType.Int4 => form.PerChannel && input is DataType.Uint8 or DataType.Uint16,
            DataType.Int16 => input == DataType.Uint16 && architecture >= First16,
            DataType.Uint16 => input == DataType.Uint16 && architecture >= First16 && !form.PerChannel,
            _ => false,
        };
        return taken ? QnnVerdict.Accepted : QnnVerdict.Refused;
    }

    private static QnnVerdict Multiplication(QnnForm form, int architecture)
    {
        if (form.Input is not { } input || form.Output != input || form.Weight is not { } weight)
        {
            return form.Input is null && form.Output is null ? QnnVerdict.Float : QnnVerdict.Refused;
        }

        if (form.PerChannel && !form.Symmetric)
        {
            return QnnVerdict.Refused;
        }

        if (weight == DataType.Int4 && !form.Symmetric)
        {
            return QnnVerdict.Wrong;
        }

        return weight switch
        {
            DataType.Int8 => QnnVerdict.Accepted,
            DataType.Uint8 => input is DataType.Uint8 or DataType.Uint16 ? QnnVerdict.Accepted : QnnVerdict.Unknown,
            DataType.Int4 => input is DataType.Uint8 or DataType.Uint16 ? QnnVerdict.Accepted : QnnVerdict.Unknown,
            DataType.Int16 or DataType.Uint16 => input == DataType.Uint16 && architecture >= First16 ? QnnVerdict.Accepted : QnnVerdict.Refused,
            _ => QnnVerdict.Refused,
        };
    }

    private static QnnVerdict Product(QnnForm form, int architecture) => (form.Input, form.Second, form.Output) switch
    {
        (DataType.Int16, DataType.Int16, DataType.Int16) => architecture >= First16 ? QnnVerdict.Accepted : QnnVerdict.Refused,
        (DataType.Uint8, DataType.Uint8, DataType.Uint8) or (DataType.Uint16, DataType.Uint16, DataType.Uint16) or (DataType.Int8, DataType.Int8, DataType.Int8)
            or (DataType.Uint16, DataType.Uint8, DataType.Uint16) or (DataType.Uint8, DataType.Uint16, DataType.Uint16)
            or (DataType.Uint16, DataType.Int8, DataType.Uint16) or (DataType.Uint8, DataType.Int8, DataType.Uint8) => QnnVerdict.Accepted,
        (null, null, null) => QnnVerdict.Float,
        _ => QnnVerdict.Unknown,
    };

    private static QnnVerdict LayerNormalization(QnnForm form, int architecture) => (form.Input, form.Weight) switch
    {
        (null, _) => QnnVerdict.Float,
        _ when form.Output != form.Input => QnnVerdict.Unknown,
        (_, null) => QnnVerdict.Float,
        (DataType.Uint8 or DataType.Uint16, DataType.Uint8) or (DataType.Int8, DataType.Int8) => QnnVerdict.Accepted,
        (DataType.Uint16, DataType.Uint16 or DataType.Int16) when architecture >= First16 => QnnVerdict.Accepted,
        _ => QnnVerdict.Refused,
    };

    // Mixed types are taken, and computed in floating point.
    private static QnnVerdict Same(QnnForm form)
    {
        var types = form.HasSecond ? new[] { form.Input, form.Second, form.Output } : [form.Input, form.Output];
        return types.Distinct().Count() == 1 && form.Input is not null ? QnnVerdict.Accepted : QnnVerdict.Float;
    }

    private static string Describe(QnnForm form) =>
        $"input {Name(form.Input)}, {(form.HasWeight ? $"weight {Name(form.Weight)}{(form.PerChannel ? " per-channel" : "")}{(form.Symmetric ? "" : " asymmetric")}" : $"second {Name(form.Second)}")}, output {Name(form.Output)}";

    private static string Name(DataType? type) => type is { } t ? OnnxTensors.TypeName((int)t) : "float";

    private static string Few(List<string> names) => string.Join(", ", names.Take(MaxNamed)) + (names.Count > MaxNamed ? $" and {names.Count - MaxNamed} more" : "");
}
