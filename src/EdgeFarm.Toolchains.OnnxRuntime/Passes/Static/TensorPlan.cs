using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

/// <summary>How one tensor is quantized.</summary>
internal abstract record TensorPlan(string Name);

/// <summary>A value with bounds from calibration.</summary>
internal sealed record ActivationPlan(string Name) : TensorPlan(Name);

/// <summary>A value that has the parameters of another, because its operator only moves data.</summary>
/// <param name="Name">The value.</param>
/// <param name="Source">Whose parameters it has.</param>
internal sealed record SharedPlan(string Name, string Source) : TensorPlan(Name);

/// <summary>A constant.</summary>
/// <param name="Name">The initializer.</param>
/// <param name="Axis">Axis with a scale per index; null for one scale.</param>
/// <param name="AsActivation">Whether it has the type of the operator's activations, because it is no weight of its.</param>
internal sealed record ConstantPlan(string Name, int? Axis, bool AsActivation) : TensorPlan(Name)
{
    /// <summary>A type that it has whatever the weights' is, asymmetric; null for the weights'.</summary>
    public DataType? Fixed { get; init; }
}

/// <summary>A bias, as int32 with the product of two other scales.</summary>
/// <param name="Name">The initializer.</param>
/// <param name="Input">The value that is multiplied.</param>
/// <param name="InputType">The type in which it is read.</param>
/// <param name="Weight">The weight that it is multiplied with.</param>
internal sealed record BiasPlan(string Name, string Input, DataType InputType, string Weight) : TensorPlan(Name);
