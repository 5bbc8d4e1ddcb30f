using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>Parameters that the static passes share, and what they mean.</summary>
internal static class StaticParameters
{
    /// <summary>Operators that are quantized where nobody names others.</summary>
    public const string DefaultOps =
        "Conv,ConvTranspose,Gemm,MatMul,Add,Mul,Relu,Clip,LeakyRelu,Sigmoid,MaxPool,GlobalAveragePool,AveragePool,Split,Reshape,Squeeze,Unsqueeze,Flatten,"
        + "Transpose,Slice,Resize,Concat,Softmax,LayerNormalization,InstanceNormalization,Gather";

    /// <summary>Operators that can be named besides.</summary>
    public const string MoreOps =
        ",Gelu,Sub,Div,Tanh,HardSigmoid,HardSwish,PRelu,ReduceMean,Sqrt,Pow,Erf,Pad,Expand,DepthToSpace,SpaceToDepth,BatchNormalization,Identity,Tile,GatherElements,"
        + "Exp,Log,Neg,Abs,Max,Min,Where,Elu,Softplus,LogSoftmax,ReduceSum,ReduceMax";

    private static readonly IReadOnlyDictionary<string, string> Olive = new Dictionary<string, string>
    {
        ["QInt8"] = "int8",
        ["QUInt8"] = "uint8",
        ["QInt16"] = "int16",
        ["QUInt16"] = "uint16",
        ["QInt4"] = "int4",
    };

    /// <summary>Types and layout.</summary>
    public static IReadOnlyList<PassParameter> Layout(bool perChannel) =>
    [
        new("activation_type", PassParameterKind.Choice, "uint8", "type of the activations") { Choices = ["uint8", "int8", "uint16", "int16"], Aliases = Olive },
        new("weight_type", PassParameterKind.Choice, "int8", "type of the weights; signed types are symmetric") { Choices = ["int8", "uint8", "int16", "uint16", "int4"], Aliases = Olive },
        new("per_channel", PassParameterKind.Boolean, perChannel ? "true" : "false", "one scale per output channel of a weight"),
        new("per_channel_matmul", PassParameterKind.Boolean, "true", "with per_channel: MatMul weights, too"),
        new("reduce_range", PassParameterKind.Boolean, "false", "7-bit weights: avoids saturation on CPUs without VNNI"),
        new("tensor_types", PassParameterKind.Names, "", "mixed precision: tensor=type pairs, * and ? allowed in names; values are converted where operators of different types meet"),
    ];

    /// <summary>How ranges are found.</summary>
    public static IReadOnlyList<PassParameter> Calibration { get; } =
    [
        new("calibrate_method", PassParameterKind.Choice, "MinMax", "how the range of an activation is found") { Choices = ["MinMax", "MovingAverage", "Percentile", "Entropy", "MSE"] },
        new("percentile", PassParameterKind.Number, "99.999", "share of values within the range, percent; for Percentile") { Minimum = 50, Maximum = 100 },
        new("num_bins", PassParameterKind.Integer, "2048", "bins of the histogram; for Percentile, Entropy and MSE") { Minimum = 128, Maximum = 65536 },
        new("percentile_symmetric", PassParameterKind.Boolean, "true", "take the percentile of magnitudes"),
        new("max_samples", PassParameterKind.Integer, "0", "most calibration samples; 0 for all") { Minimum = 0, Maximum = int.MaxValue },
    ];

    /// <summary>Options that <see cref="Layout"/> gives.</summary>
    /// <exception cref="FailureException">InvalidInput: tensor_types cannot be read.</exception>
    public static StaticOptions Options(PassArguments arguments) => new()
    {
        ActivationType = ParseType(arguments.Text("activation_type"))!.Value,
        WeightType = ParseType(arguments.Text("weight_type"))!.Value,
        PerChannel = arguments.Flag("per_channel"),
        PerChannelMatMul = arguments.Flag("per_channel_matmul"),
        ReduceRange = arguments.Flag("reduce_range"),
        Overrides = [.. arguments.Names("tensor_types").Select(Override)],
    };

    /// <summary>Settings that <see cref="Calibration"/> gives.</summary>
    public static CalibrationSettings Settings(PassArguments arguments) =>
        new(Enum.Parse<CalibrationMethod>(arguments.Text("calibrate_method"), ignoreCase: true), arguments.Number("percentile"), arguments.Integer("num_bins"), arguments.Flag("percentile_symmetric"));

    private static (System.Text.RegularExpressions.Regex Pattern, DataType Type) Override(string pair)
    {
        var at = pair.LastIndexOf('=');
        var name = at < 0 ? "" : pair[(at + 1)..];
        return at > 0 && ParseType(Olive.GetValueOrDefault(name, name)) is { } type
            ? (NodeFilter.Pattern(pair[..at]), type)
            : throw new FailureException(Failure.InvalidInput($"tensor_types: '{pair}' is not a tensor, '=', and one of uint8, int8, uint16, int16, int4"));
    }

    private static DataType? ParseType(string name) => name switch
    {
        "int8" => DataType.Int8,
        "uint8" => DataType.Uint8,
        "int16" => DataType.Int16,
        "uint16" => DataType.Uint16,
        "int4" => DataType.Int4,
        _ => null,
    };
}
