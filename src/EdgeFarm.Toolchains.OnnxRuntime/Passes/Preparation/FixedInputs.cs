using System.Globalization;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Preparation;

/// <summary>Inputs of a model that become constants: a sample rate, a flag. Branches that depend on them can then be decided beforehand.</summary>
internal static class FixedInputs
{
    /// <summary>Takes inputs out of the signature.</summary>
    /// <param name="model">The model; changed in place.</param>
    /// <param name="settings"><c>name=value</c> each; every element of the input gets the value.</param>
    /// <returns>What became of them.</returns>
    /// <exception cref="FailureException">InvalidInput: no such input, an open shape, or a value that its type has not.</exception>
    public static IReadOnlyList<ChangedOp> Apply(OnnxModel model, IReadOnlyList<string> settings)
    {
        var changed = new List<ChangedOp>();
        foreach (var setting in settings)
        {
            var at = setting.IndexOf('=', StringComparison.Ordinal);
            var name = at < 0 ? setting : setting[..at];
            var inputs = model.Graph.Input.Select(i => i.Name).Except(model.Graph.Initializer.Select(t => t.Name)).ToList();
            if (at < 1 || !inputs.Contains(name))
            {
                throw Invalid(setting, at < 1 ? "write name=value" : $"the model's inputs are {string.Join(", ", inputs)}");
            }

            var input = model.Graph.Input.Single(i => i.Name == name);
            if (input.Type?.TensorType is not { Shape: { } shape } type || shape.Dim.Any(d => !d.HasDimValue || d.DimValue < 0) || OnnxTensors.ElementCount(shape.Dim.Select(d => d.DimValue)) is not <= MostElements)
            {
                throw Invalid(setting, $"its shape is open or has more than {MostElements} elements");
            }

            long[] dims = [.. shape.Dim.Select(d => d.DimValue)];
            var element = Element(type.ElemType, setting[(at + 1)..]) ?? throw Invalid(setting, $"that is no value of {OnnxTensors.TypeName(type.ElemType)}");
            var bytes = Enumerable.Repeat(element, (int)OnnxTensors.ElementCount(dims)!.Value).SelectMany(b => b).ToArray();
            model.Graph.Initializer.Add(OnnxTensors.Create(name, (DataType)type.ElemType, dims, bytes));
            model.Graph.Input.Remove(input);
            changed.Add(new ChangedOp(name, "input", $"fixed to {setting[(at + 1)..]}"));
        }

        return changed;
    }

    private const long MostElements = 4096;

    private static byte[]? Element(int type, string text)
    {
        var (culture, style) = (CultureInfo.InvariantCulture, NumberStyles.AllowLeadingSign);
        return (DataType)type switch
        {
            DataType.Float => float.TryParse(text, NumberStyles.Float, culture, out var v) ? Bytes(v) : null,
            DataType.Double => double.TryParse(text, NumberStyles.Float, culture, out var v) ? Bytes(v) : null,
            DataType.Int64 => long.TryParse(text, style, culture, out var v) ? Bytes(v) : null,
            DataType.Int32 => int.TryParse(text, style, culture, out var v) ? Bytes(v) : null,
            DataType.Bool => bool.TryParse(text, out var v) ? [v ? (byte)1 : (byte)0] : null,
            _ => null,
        };
    }

    private static byte[] Bytes<T>(T value) where T : unmanaged => MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray();

    private static FailureException Invalid(string setting, string what) => new(Failure.InvalidInput($"fixed_inputs '{setting}': {what}"));
}
