using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>Inputs for a session: seeded ones of a given shape, or rows of a data set.</summary>
internal static class ModelInputs
{
    /// <summary>Tokens of a sequence where the model leaves its length open and nobody declares it.</summary>
    public const long DefaultSequence = 128;

    // Below every vocabulary that is worth embedding, so that an index never leaves its table.
    private const int TokenLimit = 250;

    /// <summary>
    /// The shape of each input: the declared one, else the model's with an open first dimension, or one called a batch, taken as 1 and an
    /// open sequence as <see cref="DefaultSequence"/>.
    /// </summary>
    /// <exception cref="FailureException">InvalidInput: an open dimension that nothing fills, or a declaration that does not fit.</exception>
    public static IReadOnlyDictionary<string, long[]> Shapes(OrtSession session, IReadOnlyDictionary<string, long[]> declared)
    {
        foreach (var name in declared.Keys.Where(k => !session.Inputs.Contains(k)))
        {
            throw Invalid(session, $"has no input '{name}'; its inputs are {string.Join(", ", session.Inputs)}");
        }

        return session.Inputs.ToDictionary(name => name, name => Shape(session, name, declared.GetValueOrDefault(name)), StringComparer.Ordinal);
    }

    /// <summary>Seeded values: floats uniform from 0 to 1, masks all 1, segment ids 0, positions counted, other integers small.</summary>
    public static IReadOnlyDictionary<string, NpyArray> Seeded(OrtSession session, IReadOnlyDictionary<string, long[]> shapes, int seed)
    {
        var random = new Random(seed);
        return session.Inputs.ToDictionary(name => name, name => Seeded(session, name, shapes[name], random), StringComparer.Ordinal);
    }

    /// <summary>An input's value from an array, converted to the type that the model wants.</summary>
    /// <exception cref="FailureException">InvalidInput: the type has no conversion.</exception>
    public static OrtValue ToOrt(OrtSession session, string name, NpyArray array)
    {
        var meta = session.Inner.InputMetadata[name];
        var dims = array.Shape.ToArray();
        switch (meta.ElementDataType)
        {
            case TensorElementType.Float:
                return OrtValue.CreateTensorValueFromMemory(array.ToFloats(), dims);
            case TensorElementType.Float16:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(array.ToFloats(), v => (Float16)v), dims);
            case TensorElementType.BFloat16:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(array.ToFloats(), v => (BFloat16)v), dims);
            case TensorElementType.Double:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(array.ToFloats(), v => (double)v), dims);
            case TensorElementType.Int64:
                return OrtValue.CreateTensorValueFromMemory(Integers(), dims);
            case TensorElementType.Int32:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(Integers(), v => (int)v), dims);
            case TensorElementType.UInt8:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(Integers(), v => (byte)v), dims);
            case TensorElementType.Int8:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(Integers(), v => (sbyte)v), dims);
            case TensorElementType.UInt16:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(Integers(), v => (ushort)v), dims);
            case TensorElementType.Bool:
                return OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(Integers(), v => v != 0), dims);
            default:
                throw Invalid(session, $"takes {meta.ElementDataType} for '{name}', for which no values are made");
        }

        long[] Integers() => array.Type is NpyType.Float16 or NpyType.Float32 or NpyType.Float64
            ? throw Invalid(session, $"takes {meta.ElementDataType} for '{name}', the data set has {array.Type}")
            : array.ToInt64s();
    }

    /// <summary>An output's values as floats; null for types that hold none.</summary>
    public static float[]? Floats(OrtValue value)
    {
        if (!value.IsTensor)
        {
            return null;
        }

        return value.GetTensorTypeAndShape().ElementDataType switch
        {
            TensorElementType.Float => value.GetTensorDataAsSpan<float>().ToArray(),
            TensorElementType.Float16 => Array.ConvertAll(MemoryMarshal.Cast<Float16, Half>(value.GetTensorDataAsSpan<Float16>()).ToArray(), v => (float)v),
            TensorElementType.Double => Array.ConvertAll(value.GetTensorDataAsSpan<double>().ToArray(), v => (float)v),
            _ => null,
        };
    }

    private static long[] Shape(OrtSession session, string name, long[]? declared)
    {
        var meta = session.Inner.InputMetadata[name];
        if (!meta.IsTensor)
        {
            throw new FailureException(Failure.Unsupported($"'{session.Name}' takes a {meta.OnnxValueType} for '{name}'; only tensors are supported"));
        }

        var (own, symbols) = (meta.Dimensions, meta.SymbolicDimensions);
        if (declared is not null)
        {
            if (declared.Length != own.Length || declared.Where((d, i) => d < 1 || (own[i] > 0 && own[i] != d)).Any())
            {
                throw Invalid(session, $"takes '{name}' as [{string.Join(", ", own.Select((d, i) => d > 0 ? $"{d}" : symbols[i]))}]; the declared [{string.Join(", ", declared)}] does not fit");
            }

            return declared;
        }

        return own.Select((dim, i) => dim > 0 ? dim
            : i == 0 || IsBatch(symbols[i]) ? 1
            : symbols[i].Contains("seq", StringComparison.OrdinalIgnoreCase) || symbols[i].Contains("length", StringComparison.OrdinalIgnoreCase) ? DefaultSequence
            : throw Invalid(session, $"leaves dimension {i} of '{name}' open ([{string.Join(", ", own.Select((d, j) => d > 0 ? $"{d}" : symbols[j].Length > 0 ? symbols[j] : "?"))}]); declare its shape with dims"))
            .ToArray();

        // A recurrent state has its batch in the middle, under the name that it has in front of other inputs.
        bool IsBatch(string symbol) => symbol.Contains("batch", StringComparison.OrdinalIgnoreCase)
            || (symbol.Length > 0 && session.Inputs.Any(input => session.Inner.InputMetadata[input] is { IsTensor: true, SymbolicDimensions: [var first, ..] } && first == symbol));
    }

    private static NpyArray Seeded(OrtSession session, string name, long[] shape, Random random)
    {
        var count = checked((int)shape.Aggregate(1L, (a, d) => checked(a * d)));
        var type = session.Inner.InputMetadata[name].ElementDataType;
        if (type is TensorElementType.Float or TensorElementType.Float16 or TensorElementType.BFloat16 or TensorElementType.Double)
        {
            var values = new float[count];
            for (var i = 0; i < count; i++)
            {
                values[i] = random.NextSingle();
            }

            return NpyArray.Of(shape, values);
        }

        var numbers = new long[count];
        for (var i = 0; i < count; i++)
        {
            numbers[i] = name switch
            {
                _ when type == TensorElementType.Bool || name.Contains("mask", StringComparison.OrdinalIgnoreCase) => 1,
                _ when name.Contains("type", StringComparison.OrdinalIgnoreCase) || name.Contains("segment", StringComparison.OrdinalIgnoreCase) => 0,
                _ when name.Contains("position", StringComparison.OrdinalIgnoreCase) => i % shape[^1],
                _ => random.Next(1, type == TensorElementType.Int8 ? 127 : TokenLimit),
            };
        }

        return NpyArray.Of(shape, numbers);
    }

    private static FailureException Invalid(OrtSession session, string what) => new(Failure.InvalidInput($"'{session.Name}' {what}"));
}
